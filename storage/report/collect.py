"""A run, gathered from the catalog and the store for its page.

Enters: the catalog, the store, a run's name. Leaves: a Report. A picture that is missing or damaged is left out, not shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.artifacts import ArtifactError, ArtifactStore, at
from storage.images import UnreadablePicture, from_png
from storage.report import judging, thumbnails
from storage.report.agreement import of_rows
from storage.report.content import (
    STATUSES,
    Annotation,
    NamedDecision,
    Report,
    ReportModel,
    ReportSample,
    StageRow,
    Status,
    Thumbnail,
    reasons_of,
    side_of,
)
from storage.report.diversity import diversity
from storage.report.facts import scores, verdicts
from storage.report.verdict import Verdict, decided, parsed
from storage.stages import FILE, OF_A_SAMPLE

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

CARDS = 144
"""Samples shown with their pictures; a larger run shows a stratified selection."""

_COLUMNS = (
    "sample_id", "cad_id", "cad_name", "view_index", "draw_index", "status", "stage", "reason", "detail", "kept", "drop_reason",
    "drop_words", "tag", "tag_note",
    "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "width", "height", "box_x0", "box_y0", "box_x1", "box_y1",
    "visible_fraction", "truncated_fraction", "prompt", "seed", "attempt", "model_id", "model_revision", "captioner",
    "captioner_revision", *(f"{stage}_key" for stage in (*OF_A_SAMPLE, "verdict")), "render_file", "control_file", "file",
)  # fmt: skip
_ROWS = f"""
SELECT {", ".join(f"s.{name}" for name in _COLUMNS)}, v.box3d, v.intrinsics, v.rotation, v.translation
FROM samples s LEFT JOIN views v ON v.render_key = s.render_key
WHERE {{which}} ORDER BY s.view_index, s.draw_index, s.cad_id
"""

_LISTED = "SELECT sample_id, image_key FROM run_members WHERE run_id = :run_id"

Row = dict[str, Any]


def collect(catalog: Catalog, store: ArtifactStore, run_id: str, cards: int = CARDS, size: int = 256) -> Report:
    """Return what a run's page shows, with pictures of at most `cards` samples, `size` pixels wide.

    Raises ValueError for a run that the catalog does not know.
    """
    run = catalog.run(run_id)
    rows = _rows(catalog, run)
    states = [_status(row) for row in rows]
    judged = scores(catalog, ((row["verdict_key"], row["image_key"]) for row in rows))
    measured = {image_key: named for (_, image_key), named in judged.items()}
    verdict = _verdict(catalog, rows)
    chosen = select(list(zip(rows, states, strict=True)), cards)
    with ThreadPoolExecutor() as pool:
        # Reading and shrinking pictures is most of the work, and done outside the interpreter's lock.
        samples = list(
            pool.map(lambda i: _sample(store, rows[i], states[i], measured.get(str(rows[i]["image_key"]), {}), size), chosen)
        )
    models = _cad_models(catalog, run["class_name"], rows, states, samples)
    report = Report(
        run_id=run_id,
        class_name=run["class_name"],
        recipe=run["recipe"],
        status=run["status"],
        status_detail=str(run["reason"] or ""),
        asked=int(run["samples"]),
        samples=tuple(samples),
        poses=tuple(
            (row["azimuth_deg"], row["elevation_deg"], state, str(row["sample_id"]))
            for row, state in zip(rows, states, strict=True)
            if row["azimuth_deg"] is not None
        ),
        drops=tuple(
            (row["azimuth_deg"], row["elevation_deg"], str(row["drop_reason"] or "not said") if state == "dropped" else "")
            for row, state in zip(rows, states, strict=True)
            if row["azimuth_deg"] is not None and state in ("kept", "dropped")
        ),
        distances=tuple((row["distance"], state) for row, state in zip(rows, states, strict=True) if row["distance"] is not None),
        scores=_by_name(rows, states, measured, verdict),
        verdict=verdict,
        decisions=_decisions(catalog, run["class_name"], run["recipe"]),
        agreement=of_rows(catalog, rows),
        counts=dict(Counter(states)),
        stages=_stages(rows, measured, verdict, parsed(run["seconds"]) or {}, parsed(run["waited"]) or {}),
        wall_s=_between(run["started_at"], run["finished_at"]),
        cad_models=models,
        specs={name: spec for name, spec in (parsed(run["recipe_specs"]) or {}).items() if isinstance(spec, dict)},
        provenance=_provenance(run, rows),
    )
    # What was dropped the most clearly is seen first.
    ordered = sorted(samples, key=lambda one: -report.clear(one) if one.status == "dropped" else 0.0)
    return replace(_with_judges(report, store, rows, states, measured), samples=tuple(ordered))


def _with_judges(
    report: Report,
    store: ArtifactStore,
    rows: Sequence[Row],
    states: Sequence[Status],
    measured: Mapping[str, Mapping[str, float]],
) -> Report:
    """Return the report with what it shows of judges and of CAD models whose images they drop."""
    files = {str(row["sample_id"]): row["file"] for row in rows}

    @cache
    def pictures(sample_id: str) -> Thumbnail | None:
        return picture(store, files[sample_id], judging.PICTURE)

    scored = {name: list[judging.Scored]() for name in report.scores}
    for row, state in zip(rows, states, strict=True):
        for name, value in measured.get(str(row["image_key"]), {}).items():
            scored[name].append((value, state, str(row["drop_reason"] or ""), str(row["sample_id"])))
    dropped = [
        (str(row["cad_id"]), str(row["drop_reason"]), str(row["sample_id"]))
        for row, state in zip(rows, states, strict=True)
        if state == "dropped"
    ]
    return replace(
        report,
        judged=judging.judged(report.verdict, scored, sum(bool(row["file"]) for row in rows), pictures),
        low_yield=judging.lowest_yield(report.cad_models, dropped, pictures),
    )


def select(rows: Sequence[tuple[Mapping[str, Any], Status]], cards: int) -> list[int]:
    """Return the places of at most `cards` rows, in order: all of them, or some of each CAD model, side and verdict.

    Failed and dropped samples get up to a third each, as there is most to learn from them; the rest is kept ones.
    """
    if len(rows) <= cards:
        return list(range(len(rows)))
    groups: dict[Status, dict[tuple[str, str], list[int]]] = {status: {} for status in STATUSES}
    for i, (row, status) in enumerate(rows):
        side = side_of(row["azimuth_deg"], row["elevation_deg"])
        groups[status].setdefault((side, str(row["cad_id"])), []).append(i)
    sizes = {status: sum(map(len, strata.values())) for status, strata in groups.items()}
    quota = {status: min(sizes[status], cards // 3) for status in ("failed", "dropped")}
    rest = cards - sum(quota.values())
    quota["kept"] = min(sizes["kept"], rest)
    quota["unjudged"] = min(sizes["unjudged"], rest - quota["kept"])
    chosen: list[int] = []
    for status, strata in groups.items():
        # Deal round: the first of each stratum, then the second of each, until the quota is full.
        dealt = sorted((place, stratum, i) for stratum, members in strata.items() for place, i in enumerate(members))
        chosen += [i for _, _, i in dealt[: quota[status]]]
    return sorted(chosen)


def _rows(catalog: Catalog, run: Mapping[str, Any]) -> list[Row]:
    """Return the run's samples, each with the keys of its controls by kind."""
    which: dict[str, Any] = {"class_name": run["class_name"], "recipe": run["recipe"]}
    listed = {row["sample_id"]: row["image_key"] for row in catalog.rows(_LISTED, run_id=run["run_id"])}
    if listed:
        mine = f"{_holds('s', which)} AND s.sample_id IN (SELECT sample_id FROM run_members WHERE run_id = :run_id)"
        rows = catalog.rows(_ROWS.format(which=mine), **which, run_id=run["run_id"])
        # Another run may have made another image of the sample.
        rows = [row for row in rows if row["image_key"] == listed[row["sample_id"]]]
    else:
        # Of a run of an old home it may not be known who listed what.
        which |= {"in_cohort": 1}
        rows = catalog.rows(_ROWS.format(which=_holds("s", which)), **which) if run["status"] != "running" else []
    sql = f"SELECT m.sample_id, m.image_key, m.controls FROM members m WHERE {_holds('m', which)}"
    controls = {(row["sample_id"], row["image_key"]): parsed(row["controls"]) or {} for row in catalog.rows(sql, **which)}
    for row in rows:
        row["controls"] = controls.get((row["sample_id"], row["image_key"]), {})
    return rows


def _holds(table: str, which: Mapping[str, Any]) -> str:
    return " AND ".join(f"{table}.{name} = :{name}" for name in which)


def _verdict(catalog: Catalog, rows: Sequence[Row]) -> Verdict | None:
    """Return the verdict about the rows; where they have several, the one about most of them."""
    keys = Counter(row["verdict_key"] for row in rows if row["verdict_key"])
    key = max(keys, key=lambda key: keys[key], default=None)
    return verdicts(catalog, [key]).get(key) if key else None


def _decisions(catalog: Catalog, class_name: str, recipe: str) -> tuple[NamedDecision, ...]:
    listed = catalog.decisions(class_name, recipe)
    told = verdicts(catalog, {row["verdict_key"] for row in listed})
    return tuple(
        NamedDecision(
            name=row["name"],
            keep=row["keep"],
            is_default=bool(row["is_default"]),
            kept=verdict.kept,
            dropped=verdict.dropped,
            unjudged=verdict.unjudged,
            expected=parsed(row["expected"]),
            decided_by=row["decided_by"],
            decided_at=row["decided_at"],
        )
        for row in listed
        if (verdict := told.get(row["verdict_key"]))
    )


def _by_name(
    rows: Sequence[Row], states: Sequence[Status], measured: Mapping[str, Mapping[str, float]], verdict: Verdict | None
) -> dict[str, tuple[tuple[float, Status], ...]]:
    """Return name -> (value, status) of each row that has this score; those that rules look at come first."""
    found: dict[str, list[tuple[float, Status]]] = {}
    for row, state in zip(rows, states, strict=True):
        for name, value in measured.get(str(row["image_key"]), {}).items():
            found.setdefault(name, []).append((value, state))
    ruled = dict.fromkeys(rule.score for rule in (verdict.rules if verdict else ()))
    names = [name for name in ruled if name in found] + sorted(set(found) - set(ruled))
    return {name: tuple(found[name]) for name in names}


def _status(row: Row) -> Status:
    return "failed" if row["status"] == "failed" else decided(row["kept"])


def _sample(store: ArtifactStore, row: Row, status: Status, measured: Mapping[str, float], size: int) -> ReportSample:
    return ReportSample(
        sample_id=row["sample_id"],
        cad_id=row["cad_id"],
        cad_name=row["cad_name"] or row["cad_id"][:12],
        view_index=int(row["view_index"]),
        status=status,
        stage=row["stage"] or "",
        reason=row["reason"] or (row["drop_reason"] or "" if status == "dropped" else ""),
        detail=row["detail"] or (row["drop_words"] or "" if status == "dropped" else ""),
        azimuth_deg=row["azimuth_deg"],
        elevation_deg=row["elevation_deg"],
        inplane_deg=row["inplane_deg"],
        distance=row["distance"],
        caption=row["prompt"] or "",
        seed=row["seed"],
        attempt=row["attempt"],
        scores=measured,
        tag=row["tag"] or "",
        note=row["tag_note"] or "",
        annotation=_annotation(row),
        render=picture(store, row["render_file"], size),
        controls=tuple((kind, picture(store, address, size)) for kind, address in control_files(row, row["controls"])),
        image=picture(store, row["file"], size),
    )


def _annotation(row: Row) -> Annotation | None:
    if row["width"] is None:
        return None
    box = tuple(row[f"box_{corner}"] for corner in ("x0", "y0", "x1", "y1"))
    return Annotation(
        width=int(row["width"]),
        height=int(row["height"]),
        box=None if None in box else box,
        box3d=_tuples(row["box3d"]),
        K=_tuples(row["intrinsics"]),
        R=_tuples(row["rotation"]),
        t=_tuples(row["translation"]),
        visible_fraction=row["visible_fraction"],
        truncated_fraction=row["truncated_fraction"],
    )


def picture(store: ArtifactStore, address: str | None, size: int) -> Thumbnail | None:
    """Return a small copy of the picture at an address in the store, or None where it is not there or not sound."""
    if not address:
        return None
    try:
        return thumbnails.thumbnail(np.asarray(from_png(store.open_address(address)), dtype=np.uint8), size)
    except (ArtifactError, UnreadablePicture):
        return None


def control_files(row: Mapping[str, Any], controls: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return (kind, address) of each control of a row of the `samples` view, in order of kind."""
    return [
        (kind, row["control_file"] if key == row["control_key"] else f"{at('control', key)}/{FILE['control']}")
        for kind, key in sorted(controls.items())
    ]


def _stages(
    rows: Sequence[Row],
    measured: Mapping[str, Any],
    verdict: Verdict | None,
    seconds: Mapping[str, float],
    waited: Mapping[str, float],
) -> tuple[StageRow, ...]:
    taught = {str(judge.facts["readout"]) for judge in (verdict.judges if verdict else ()) if "readout" in judge.facts}
    made = {
        "cad": {row["cad_key"] for row in rows if row["cad_key"] and row["stage"] != "cad"},
        "render": {row["render_key"] for row in rows if row["render_file"]},
        "control": {key for row in rows if row["control_file"] for key in row["controls"].values()},
        "caption": {row["caption_key"] for row in rows if row["prompt"]},
        "image": {row["image_key"] for row in rows if row["file"]},
        **({"readout": taught} if taught else {}),
        "score": {row["image_key"] for row in rows if row["image_key"] in measured},
        "verdict": {row["image_key"] for row in rows if row["kept"] is not None},
    }
    failures = {
        (row["stage"], row[f"{row['stage']}_key"] or row["sample_id"]): row["reason"]
        for row in rows
        if row["status"] == "failed" and row["stage"] in made
    }
    reasons = reasons_of([(stage, str(reason)) for (stage, _), reason in failures.items()])
    drops = Counter(str(row["drop_reason"]) for row in rows if row["kept"] == 0)
    unjudged = sum(_status(row) == "unjudged" for row in rows if row["verdict_key"])
    times = {stage: seconds.get(stage) for stage in (*made, *(name for name in seconds if name not in made))}
    return tuple(
        StageRow(
            stage=stage,
            made=len(made.get(stage, ())),
            failed=sum(count for _, count in reasons.get(stage, ())),
            reasons=reasons.get(stage, ()),
            dropped=tuple(drops.most_common()) if stage == "verdict" else (),
            unjudged=unjudged if stage == "verdict" else 0,
            seconds=times[stage],
            waited=waited.get(stage, 0.0),
        )
        for stage in times
    )


def _cad_models(
    catalog: Catalog, class_name: str, rows: Sequence[Row], states: Sequence[Status], samples: Sequence[ReportSample]
) -> tuple[ReportModel, ...]:
    used = Counter((row["cad_id"], state) for row, state in zip(rows, states, strict=True))
    ids = {row["cad_id"] for row in rows}
    known = {row["cad_id"]: row for row in catalog.cad_models(class_name, status=None)}
    models = []
    for cad_id in sorted(ids):
        row = known.get(cad_id, {})
        failed = used[cad_id, "failed"]
        made = sum(used[cad_id, state] for state in STATUSES) - failed
        models.append(
            ReportModel(
                cad_id=cad_id,
                name=str(row.get("cad_name") or cad_id[:12]),
                source=_source(str(row.get("source") or "")),
                keywords=tuple(row.get("keywords") or ()),
                faces=row.get("faces"),
                licence=str(row.get("licence") or ""),
                orientation=_orientation(row),
                warnings=tuple((row.get("facts") or {}).get("warnings", ())),
                thumbnail=_portrait(cad_id, samples),
                made=made,
                kept=used[cad_id, "kept"],
                dropped=used[cad_id, "dropped"],
                failed=failed,
            )
        )
    return tuple(sorted(models, key=lambda model: (model.name, model.cad_id)))


def _orientation(row: Mapping[str, Any]) -> str:
    """Return which axes of its file are up and front, and who says so; "" where the catalog has no row of it."""
    facts = row.get("facts") or {}
    if "up" not in facts:
        return ""
    said = f"up {facts['up']}, front {facts['front']}: {row.get('orientation') or 'assumed'}"
    return "; ".join([said, *(row.get("orientation_doubts") or ())])


def _portrait(cad_id: str, samples: Sequence[ReportSample]) -> Thumbnail | None:
    """Return the CAD model's render that is closest to three quarters from the front, a little above."""
    own = [sample for sample in samples if sample.cad_id == cad_id and sample.render and sample.azimuth_deg is not None]

    def turned(sample: ReportSample) -> float:
        azimuth = abs(((sample.azimuth_deg or 0.0) + 180) % 360 - 180)
        return abs(azimuth - 40) + abs((sample.elevation_deg or 0.0) - 20)

    return min(own, key=turned).render if own else None


def _source(source: str) -> str:
    """Return where a CAD model came from without the folders of the machine it was on."""
    return "/".join(source.replace("\\", "/").split("/")[-2:]) if "/" in source or "\\" in source else source


def _provenance(run: Mapping[str, Any], rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    runtime = parsed(run["runtime"]) or {}
    packages = runtime.get("packages") or {}
    generators = sorted({f"{row['model_id']} @ {str(row['model_revision'] or '')[:19]}" for row in rows if row["model_id"]})
    captioners = sorted({f"{row['captioner']} {row['captioner_revision'] or ''}".strip() for row in rows if row["captioner"]})
    machine = [str(runtime.get(name)) for name in ("machine", "device") if runtime.get(name)]
    if runtime.get("torch_threads"):
        machine.append(f"{runtime['torch_threads']} threads")
    listed = [
        ("code", f"{packages.get('dst-platform', '')} {runtime.get('code') or ''}".strip()),
        ("generator", ", ".join(generators)),
        ("captioner", ", ".join(captioners)),
        ("captions", "; ".join(_varied(rows))),
        ("machine", ", ".join(machine)),
        (
            "versions",
            ", ".join(f"{name} {packages[name]}" for name in ("torch", "diffusers", "bpy", "blenderproc") if name in packages),
        ),
        ("started", _readable(run["started_at"])),
        ("finished", _readable(run["finished_at"])),
        ("run", str(run["run_id"])),
    ]
    return tuple((name, value) for name, value in listed if value)


def _varied(rows: Sequence[Row]) -> Iterator[str]:
    """Yield, for each captioner, how varied its captions are."""
    by_captioner: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["captioner"] and row["prompt"]:
            by_captioner.setdefault(row["captioner"], {})[row["caption_key"]] = row["prompt"]
    for captioner, prompts in sorted(by_captioner.items()):
        found = diversity(list(prompts.values()))
        bleu = "" if math.isnan(found.self_bleu) else f", self-BLEU {found.self_bleu:.2f}"
        yield (
            f"{found.captions} by {captioner}, {found.words:.0f} words on average, distinct-1 {found.distinct_1:.2f}, "
            f"distinct-2 {found.distinct_2:.2f}{bleu}, {found.repeated} repeated"
        )


def _between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _readable(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _tuples(value: Any) -> Any:
    value = parsed(value)
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
