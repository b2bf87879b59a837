"""The page a person opens first: one run as one self-contained HTML file, and the index that leads to such pages.

Enters: what was collected about a run. Leaves: an HTML file with every picture, style and script inside it; a content security
policy in it forbids everything else, so it works offline, from a disk or an archive. Paper: figures 2 and 5.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from markupsafe import Markup

from storage.folders import write_whole
from storage.report import plots
from storage.report.content import SIDES, STATUSES, Annotation, Judged, Report, side_of
from storage.report.verdict import ONE_CAD_MODEL, RuleFacts, in_words

if TYPE_CHECKING:
    import jinja2

    from storage.artifacts import ArtifactStore
    from storage.catalog.catalog import Catalog

TEMPLATES = Path(__file__).parent / "templates"
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<path d="M16 3 28 9.5v13L16 29 4 22.5v-13z" fill="#1f5eff"/>
<path d="M4 9.5 16 16v13M16 16 28 9.5" stroke="#fff" stroke-width="2" fill="none"/></svg>"""


def render(report: Report, home: str = "", docs: str = "") -> str:
    """Return a run's page as HTML. `home`, `docs`: relative links to the index page and to the Data Docs, if there are any."""
    verdicts = [("", "all")] + [(status, in_words(status)) for status in STATUSES if report.count(status)]
    shown = {sample.sample_id for sample in report.samples}
    return (
        environment()
        .get_template("page.html")
        .render(
            r=report,
            home=home,
            docs=docs if urlsplit(docs).scheme in ("", "file", "http", "https") else "",
            showcase=report.showcase(),
            selected=len(shown) < report.total,
            verdicts=verdicts,
            sides=[side for side in SIDES if any(sample.side == side for sample in report.samples)],
            statuses=STATUSES,
            one_cad_model=ONE_CAD_MODEL if len(report.cad_models) == 1 else "",
            ruled=[rule.score for rule in report.rules],
            hemisphere=plots.hemisphere(report.poses, shown),
            by_side=_by_side(report),
            drop_rates=_drop_rates(report),
            shown=shown,
            histograms=plots.pose_histograms((pose[:3] for pose in report.poses), report.distances),
            judges=[_judge(report, judge) for judge in report.judged],
            longest=max((row.seconds or 0.0 for row in report.stages), default=0.0),
            specs=[(stage, {"text": _pretty(spec), "summary": _summary(spec)}) for stage, spec in report.specs.items()],
            **frame(),
        )
    )


def render_index(entries: Iterable[tuple[str, Report]], title: str = "3D-DST") -> str:
    """Return the page that links several runs' pages: pairs of (relative link, Report.brief)."""
    listed = list(entries)
    return (
        environment()
        .get_template("index.html")
        .render(
            entries=listed,
            totals={status: sum(report.count(status) for _, report in listed) for status in STATUSES},
            made=sum(report.made for _, report in listed),
            models=sum(len(report.cad_models) for _, report in listed),
            title=title,
            **frame(),
        )
    )


def write(report: Report, out: Path, home: Path | None = None, docs: Path | None = None) -> Path:
    """Write the page of a run to the file `out` and, beside it, what the index says of it; return `out`.

    home: the index page to link back to. docs: the Data Docs of the run's checks, linked where they are there.
    """
    from pydantic import TypeAdapter

    linked = relative_link(docs, out) if docs and docs.exists() else ""
    save(_brief_path(out), TypeAdapter(Report).dump_json(report.brief()).decode())
    return save(out, render(report, relative_link(home, out) if home else "", linked))


def write_index(catalog: Catalog, store: ArtifactStore, pages: Mapping[str, Path], out: Path, title: str = "3D-DST") -> Path:
    """Write the page that links several runs' pages (run_id -> path of its page) to the file `out`; return `out`."""
    from pydantic import TypeAdapter, ValidationError

    from storage.report.collect import collect

    kept = TypeAdapter(Report)
    entries: list[tuple[str, Report]] = []
    for run_id, page in pages.items():
        try:
            brief = kept.validate_json(_brief_path(page).read_bytes())
        except (FileNotFoundError, ValidationError):
            # The page was written by other code than this.
            brief = collect(catalog, store, run_id, cards=24).brief()
            save(_brief_path(page), kept.dump_json(brief).decode())
        entries.append((relative_link(page, out), brief))
    return save(out, render_index(entries, title))


def _brief_path(page: Path) -> Path:
    """Return the file with what the index says of a run: what was read for its page is not read again for every later run."""
    return page.with_suffix(".json")


def save(out: Path, html: str) -> Path:
    """Write a page; who reads the old one never sees half of the new one. Returns the path."""
    write_whole(out, html.encode())
    return out


def relative_link(target: Path, page: Path) -> str:
    """Return the link from a page to a file, as a URL that stays right when both move together."""
    return quote(os.path.relpath(target.absolute(), page.absolute().parent).replace(os.sep, "/"))


def duration(seconds: float | None) -> str:
    """Return a time as a person says it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _by_side(report: Report) -> list[tuple[str, dict[str, int]]]:
    """Return, for each side that was seen, status -> number of samples."""
    counted = Counter((side_of(azimuth, elevation), status) for azimuth, elevation, status, _ in report.poses)
    rows: list[tuple[str, dict[str, int]]] = [(side, {status: counted[side, status] for status in STATUSES}) for side in SIDES]
    return [(side, counts) for side, counts in rows if any(counts.values())]


def _judge(report: Report, judge: Judged) -> dict[str, Any]:
    """Return a judge, its scores each with their plot, and the plots of its further scores."""

    def plot(name: str, rule: RuleFacts | None = None) -> Markup:
        thresholds = [rule.threshold] if rule and rule.threshold is not None else []
        return plots.score_histogram(report.scores.get(name, ()), thresholds, name)

    return {
        "facts": judge.facts,
        "scores": [{"shown": score, "plot": plot(score.name, score.rule)} for score in judge.scores],
        "others": [drawn for name in judge.others if (drawn := plot(name))],
    }


def _drop_rates(report: Report) -> list[tuple[str, Markup]]:
    """Return (what is shown, plot) of where images are dropped, by viewpoint: for all reasons, and for each of several."""
    reasons = sorted({why for *_, why in report.drops if why})
    if not reasons:
        return []
    wanted = {"dropped, whatever the reason": reasons, **({in_words(why): [why] for why in reasons} if len(reasons) > 1 else {})}
    return [
        (
            label,
            plots.drop_rate(
                ((a, e, why in counted) for a, e, why in report.drops), f"Share of images dropped by viewpoint: {label}"
            ),
        )
        for label, counted in wanted.items()
    ]


def _dial(azimuth_deg: float) -> Markup:
    """Return a compass: the object with its front down, the camera as a dot around it."""
    return Markup(
        '<svg class="dial" viewBox="-10 -10 20 20" aria-hidden="true"><circle r="8"/>'
        '<path class="object" d="M-3-4h6v6l-3 3-3-3z"/>'
        '<circle class="camera" r="2.6" cx="0" cy="8" transform="rotate({:.0f})"/></svg>'
    ).format(-azimuth_deg)


def _extrinsics(annotation: Annotation) -> list[list[float]]:
    assert annotation.R is not None
    assert annotation.t is not None
    return [[*row, shift] for row, shift in zip(annotation.R, annotation.t, strict=True)]


def _number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits, never -0.00."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _pretty(spec: Any) -> str:
    return json.dumps(spec, indent=2, ensure_ascii=False, sort_keys=isinstance(spec, dict) and len(spec) > 30)


def _summary(spec: Any) -> str:
    """Return the first few plain settings of a spec on one line."""
    if not isinstance(spec, Mapping):
        return str(spec)
    plain = [
        f"{name} {value}" for name, value in spec.items() if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    ]
    text = ", ".join(item for item in plain if len(item) < 40)
    return text if len(text) <= 60 else text[:57].rsplit(", ", 1)[0] + ", …"


@cache
def environment() -> jinja2.Environment:
    """Return the templates, every text in them escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        overlay=plots.overlay,
        time_bar=plots.time_bar,
        dial=_dial,
        number=_number,
        share_bar=plots.share_bar,
        duration=duration,
        extrinsics=_extrinsics,
    )
    environment.filters["words"] = in_words
    return environment


@cache
def frame(script_name: str = "page.js", *styles: str) -> dict[str, Any]:
    """Return what every page carries: style, script (the policy names its digest, so no other can run), icon.

    styles: further style sheets, behind the one of all pages.
    """
    script = (TEMPLATES / script_name).read_text()
    return {
        "style": Markup("".join((TEMPLATES / name).read_text() for name in ("page.css", *styles))),
        "script": Markup(script),
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "icon": "data:image/svg+xml;base64," + base64.b64encode(_ICON.encode()).decode(),
    }
