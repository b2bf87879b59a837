"""The card of a release: what it is, how it was made, how far it can be trusted; as JSON, as Markdown and with a plot.

Enters: a selection and the catalog. Leaves: a dict of JSON types, Markdown text, and an SVG of the cameras' directions.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from storage.catalog import journal
from storage.export.selection import Figures, Selection
from storage.report.facts import verdicts
from storage.report.verdict import ONE_CAD_MODEL, UNJUDGED, in_words

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

AZIMUTH_BIN, ELEVATION_BIN = 30, 30
"""Degrees."""

_LIMITS = (
    "One object a picture, in the middle, on a background that the generator invented; masks and depth are the object's alone.",
    "Views that are rare in the data a generator was trained on (from below, straight from above) fail more often than others.",
    "Colours, materials and backgrounds are the generator's reading of the prompt, with the biases of what it was trained on.",
    "Depth is that of the CAD model: the painted surface may differ from it.",
)


def card(catalog: Catalog, selection: Selection, name: str, format: str) -> dict[str, Any]:
    """Return what is known of a release, as JSON types."""
    figures = selection.figures
    models = [
        {"class_name": class_name, "cad_id": cad_id, **{key: known[key] for key in ("name", "licence", "samples")}}
        for (class_name, cad_id), known in figures.models.items()
    ]
    licences: Counter[str] = Counter()
    for model in models:
        licences[model["licence"] or "not stated"] += model["samples"]
    per_class = Counter(model["class_name"] for model in models)
    return {
        "name": name,
        "format": format,
        "created_at": journal.now(),
        "code": _code(),
        "query": selection.where,
        "samples": figures.samples,
        "digest": selection.digest,
        "classes": {
            class_name: {"samples": figures.classes[class_name], "cad_models": per_class[class_name]}
            for class_name in selection.classes()
        },
        "verdicts": dict(sorted(figures.verdicts.items())),
        "tags": dict(sorted(figures.tags.items())),
        "recipes": dict(sorted(figures.recipes.items())),
        "generators": dict(sorted(figures.generators.items())),
        "controls": dict(sorted(figures.controls.items())),
        "captioners": dict(sorted(figures.captioners.items())),
        "render_sizes": dict(sorted(figures.sizes.items())),
        "runs": sorted(figures.runs),
        "viewpoints": _viewpoints(figures.poses),
        "truncated": figures.cut,
        "from_below": figures.below,
        "filters": _filters(catalog, figures.filters),
        "scores": {name: _spread(values) for name, values in sorted(figures.scores.items())},
        "licences": dict(sorted(licences.items())),
        "cad_models": models,
        "specs": {stage: _specs(catalog, keys) for stage, keys in figures.specs.items()},
        "limits": _limits(figures, per_class),
    }


def markdown(facts: Mapping[str, Any], contents: str, loading: str) -> str:
    """Return the card as Markdown. `contents`: what lies where in this format; `loading`: Python that loads it."""
    classes = facts["classes"]
    more = f" and {len(facts['runs']) - 8} more" if len(facts["runs"]) > 8 else ""
    lines = [
        f"# {facts['name']}",
        "",
        f"{facts['samples']:,} generated images of {len(classes)} {'class' if len(classes) == 1 else 'classes'} with exact 3D "
        f"annotations, from {len(facts['cad_models'])} CAD models. Made by 3D-DST: a CAD model is rendered, the render "
        "is reduced to a control, and a generator paints an image that follows the control and a caption; judges measure the "
        f"images, and rules decide which are kept. Released as `{facts['format']}` on {facts['created_at'][:10]}.",
        "",
        "| | |",
        "|---|---|",
        f"| chosen by | `{facts['query']}` |",
        f"| digest of samples and pictures | `{facts['digest']}` |",
        f"| recipes | {_counted(facts['recipes'])} |",
        f"| generators | {_counted(facts['generators'])} |",
        f"| controls | {_counted(facts['controls'])} |",
        f"| captioners | {_counted(facts['captioners'])} |",
        f"| code | {facts['code']} |",
        f"| runs | {', '.join(facts['runs'][:8])}{more} |",
        "",
        "## What is in it",
        "",
        contents.strip(),
        "",
        "Frames, rotations and units: a right-handed frame for each class, +z up, the front faces -y; azimuth 0 sees the front, "
        "90 the object's own left; cameras in the OpenCV convention, pixel centres at integers. `release/samples.tsv` lists "
        "every sample with the digest of its picture, `release/release.json` is this card for programs, with all specs.",
        "",
        "```python",
        loading.strip(),
        "```",
        "",
        "## Counts",
        "",
        "| class | samples | CAD models |",
        "|---|---|---|",
        *(f"| {class_name} | {counts['samples']:,} | {counts['cad_models']} |" for class_name, counts in classes.items()),
        "",
        f"Verdicts: {_counted(facts['verdicts'])}. {_tagged(facts)}"
        f"{facts['truncated']:,} objects reach beyond the picture's edge, "
        f"{facts['from_below']:,} are seen from below.",
        "",
        "## Viewpoints",
        "",
        "![where the cameras stood](release/viewpoints.svg)",
        "",
        _viewpoint_table(facts["viewpoints"]),
        "",
        "## The filter",
        "",
        *_filter_lines(facts),
        "",
        "## Licences of the CAD models",
        "",
        "| licence | samples |",
        "|---|---|",
        *(f"| {licence} | {count:,} |" for licence, count in facts["licences"].items()),
        "",
        "Each CAD model's own is in `release/release.json`. The pictures are derived from the CAD models: where a licence is not "
        "stated, ask before you publish.",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in facts["limits"]),
        "",
    ]
    return "\n".join(lines)


def summary(facts: Mapping[str, Any]) -> str:
    """Return the card as a terminal shows it."""
    classes = ", ".join(
        f"{name} {counts['samples']:,} ({counts['cad_models']} CAD models)" for name, counts in facts["classes"].items()
    )
    lines = [
        f"{facts['name']}  {facts['format']}  {facts['samples']:,} samples  {facts['created_at'][:19]}Z",
        f"query      {facts['query']}",
        f"digest     {facts['digest']}",
        f"classes    {classes}",
        f"verdicts   {_counted(facts['verdicts'])}",
        *([f"tags       {_counted(facts['tags'])}"] if facts.get("tags") else []),
        f"recipes    {_counted(facts['recipes'])}",
        f"generators {_counted(facts['generators'])}",
        f"controls   {_counted(facts['controls'])}",
        f"captioners {_counted(facts['captioners'])}",
        f"licences   {_counted(facts['licences'])}",
        f"views      {facts['from_below']:,} from below, {facts['truncated']:,} reach beyond the picture",
    ]
    for entry in facts["filters"]:
        counts = f"{entry['kept']} kept, {entry['dropped']} dropped, {entry['unjudged']} {UNJUDGED}"
        lines.append(f"filter     {entry['class_name']}: {entry['words'] or 'no rule'}; {counts}")
    for name, spread in facts["scores"].items():
        lines.append(f"score      {name}: median {spread['median']:.3f}, {spread['min']:.3f} to {spread['max']:.3f}")
    return "\n".join([*lines, "limits", *(f"  - {limit}" for limit in facts["limits"])])


def _tagged(facts: Mapping[str, Any]) -> str:
    """Return what people said of the samples, as a sentence; nothing where nobody said anything."""
    return f"Tagged by people: {_counted(facts['tags'])}. " if facts.get("tags") else ""


def viewpoints_svg(poses: Sequence[tuple[float, float, float]]) -> str:
    """Return where the cameras stood as an SVG that stands alone: directions seen from above, and three histograms."""
    from storage.report import plots

    directions = plots.hemisphere([(azimuth, elevation, "kept", "") for azimuth, elevation, _ in poses], ())
    histograms = plots.pose_histograms(
        [(azimuth, elevation, "kept") for azimuth, elevation, _ in poses], [(distance, "kept") for _, _, distance in poses]
    )
    placed = [
        _placed(directions, 0, 0, 420, 420),
        *(_placed(plot, 450, 8 + i * 140, 400, 130) for i, plot in enumerate(histograms)),
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 880 450" width="880" height="450">'
        f'<style>{_STYLE}</style><rect x="-10" y="-10" width="880" height="450" fill="#fff"/>{"".join(placed)}</svg>\n'
    )


_STYLE = """
text{font:12px system-ui,sans-serif;fill:#5a6472}.tick{font-size:10.5px;fill:#8a94a3}.label{fill:#14181f}
.middle{text-anchor:middle}.end{text-anchor:end}.grid{fill:none;stroke:#dfe3e9}.rim{fill:none;stroke:#dfe3e9}
.equator{fill:none;stroke:#8a94a3;stroke-width:2}.axis{stroke:#8a94a3}.kept{fill:#12855f}.speck{opacity:.55}
"""


def _placed(plot: str, x: float, y: float, width: float, height: float) -> str:
    # Markup would escape what replaces.
    return str(plot).replace("<svg ", f'<svg x="{x}" y="{y}" width="{width}" height="{height}" ', 1)


def _viewpoints(poses: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    bins: Counter[tuple[int, int]] = Counter(
        (
            int(azimuth % 360 // AZIMUTH_BIN) * AZIMUTH_BIN,
            min(int((elevation + 90) // ELEVATION_BIN) * ELEVATION_BIN - 90, 90 - ELEVATION_BIN),
        )
        for azimuth, elevation, _ in poses
    )
    return {
        "bins": [
            {"azimuth_deg": azimuth, "elevation_deg": elevation, "samples": count}
            for (azimuth, elevation), count in sorted(bins.items())
        ],
        "bin_deg": [AZIMUTH_BIN, ELEVATION_BIN],
        "elevation_deg": _spread([elevation for _, elevation, _ in poses]),
        "distance": _spread([distance for _, _, distance in poses]),
    }


def _viewpoint_table(viewpoints: Mapping[str, Any]) -> str:
    counts = {(entry["azimuth_deg"], entry["elevation_deg"]): entry["samples"] for entry in viewpoints["bins"]}
    columns = range(0, 360, AZIMUTH_BIN)
    rows = [row for row in range(90 - ELEVATION_BIN, -91, -ELEVATION_BIN) if any((column, row) in counts for column in columns)]
    lines = [
        "| elevation \\ azimuth | " + " | ".join(f"{column}°" for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for row in rows:
        cells = " | ".join(str(counts.get((column, row), "")) for column in columns)
        lines.append(f"| {row}° to {row + ELEVATION_BIN}° | {cells} |")
    return "\n".join(lines)


def _filters(catalog: Catalog, keys: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what was measured and decided about each cohort that samples come from, and how many samples come from it."""
    found = verdicts(catalog, keys)
    return [
        {
            "verdict_key": key,
            "samples": keys[key],
            **dataclasses.asdict(verdict),
            "judges": [{**dataclasses.asdict(judge), "words": judge.words} for judge in verdict.judges],
        }
        for key, verdict in found.items()
    ]


def _filter_lines(facts: Mapping[str, Any]) -> list[str]:
    if not facts["filters"]:
        return ["No filter was applied to these samples."]
    lines = [
        "Judges measure each image, rules decide from what they measured. An image that no rule could decide about is not "
        "judged, and is not kept. The figures are of the whole cohorts that the samples come from.",
        "",
        f"| class | rules | kept of the cohort | dropped | {UNJUDGED} | samples here |",
        "|---|---|---|---|---|---|",
    ]
    for entry in facts["filters"]:
        counts = f"{entry['kept']} | {entry['dropped']} | {entry['unjudged']} | {entry['samples']}"
        lines.append(f"| {entry['class_name']} | {entry['words']} | {counts} |")
    lines += ["", "How it was judged:", ""]
    lines += [
        f"- {entry['class_name']}, {judge['name']}: {judge['words']}" for entry in facts["filters"] for judge in entry["judges"]
    ]
    if facts["scores"]:
        lines += ["", "| score of these samples | lowest | median | highest | threshold |", "|---|---|---|---|---|"]
    for name, spread in facts["scores"].items():
        drawn = {rule["threshold"] for entry in facts["filters"] for rule in entry["rules"] if rule["score"] == name}
        limits = ", ".join(f"{threshold:.3g}" for threshold in sorted(drawn - {None}))
        lines.append(f"| {name} | {spread['min']:.3f} | {spread['median']:.3f} | {spread['max']:.3f} | {limits} |")
    return lines


def _limits(figures: Figures, models: Mapping[str, int]) -> list[str]:
    """Return what a user should know. models: class_name -> how many CAD models its samples come from."""
    strayed = (
        "The images are generated. Their 3D annotation is that of the render that guided the generator: exact where the picture "
        "follows it, wrong where it does not."
    )
    unjudged, kept = figures.verdicts["unjudged"], figures.verdicts["kept"]
    if kept:
        strayed += " What the rules kept holds fewer such pictures, not none."
    if unjudged:
        strayed += f" {unjudged:,} of these samples were {UNJUDGED}: nothing was done about such pictures there."
    single = [f"{class_name}: {ONE_CAD_MODEL}" for class_name, count in sorted(models.items()) if count == 1]
    return [strayed, *single, *_LIMITS]


def _specs(catalog: Catalog, keys: set[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key in sorted(keys):
        for row in catalog.rows("SELECT spec_key, version, spec FROM specs WHERE spec_key = :key", key=key):
            found.append({**row, "spec": json.loads(row["spec"]) if isinstance(row["spec"], str) else row["spec"]})
    return found


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"min": min(values), "mean": statistics.fmean(values), "median": statistics.median(values), "max": max(values)}


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{in_words(what) if what == 'unjudged' else what} ({count:,})" for what, count in counts.items())


def _code() -> str:
    try:
        return f"dst-platform {version('dst-platform')}"
    except PackageNotFoundError:
        return "dst-platform"
