"""A run, gathered from the catalog and the store for its page.

Enters: the catalog, the store, a run's name. Leaves: a RunReport. Numbers come through the same `query` that serves `dst sql`;
pictures are read by digest, and a damaged one is left out, not shown.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.artifacts import ArtifactStore, DamagedArtifact, MissingArtifact
from storage.images import UnreadablePicture, from_png
from storage.report import thumbnails
from storage.report.content import (
    STATUSES,
    Annotation,
    CadModel,
    RunReport,
    Sample,
    StageRow,
    Status,
    Thumbnail,
    reasons_of,
    side_of,
)

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

CARDS = 144
"""Samples shown with their pictures; a larger run shows a stratified selection."""
_HEADS = ("azimuth", "elevation", "inplane")

_ROWS = """
SELECT s.*, CAST(s.seed AS TEXT) AS seed_text, v.box3d, v.intrinsics, v.rotation, v.translation
FROM samples s LEFT JOIN views v ON v.render_key = s.render_key
WHERE {which} ORDER BY s.view_index, s.draw_index, s.cad_id
"""

Row = dict[str, Any]


def collect(catalog: Catalog, store: ArtifactStore, run_id: str, cards: int = CARDS, size: int = 256) -> RunReport:
    """Return what a run's page shows, with pictures of at most `cards` samples, `size` pixels wide.

    Raises ValueError for a run that the catalog does not know.
    """
    run = catalog.run(run_id)
    rows = _query(catalog, f"s.run_id = {_quoted(run_id)}")
    reason = str(run["reason"] or "")
    if not rows and run["status"] != "running":
        # A later run of the same cohort has taken the samples over: they are the same ones.
        same = f"s.class_name = {_quoted(run['class_name'])} AND s.recipe = {_quoted(run['recipe'])} AND s.in_cohort = 1"
        rows = _query(catalog, same)
    states = [_status(row) for row in rows]
    judged = _judged(store, {str(row["verdict_key"]) for row in rows if row["verdict_key"]})
    for row in rows:
        row.update(judged.get(str(row["image_key"]), {}))
    chosen = select(list(zip(rows, states, strict=True)), cards)
    samples = [_sample(store, rows[i], states[i], size) for i in chosen]
    finite = [(float(row["score"]), state) for row, state in zip(rows, states, strict=True) if _number(row["score"]) is not None]
    verdict = next((row for row in rows if row["verdict_key"]), None)
    specs = {name: spec for name, spec in (_json(run["recipe_specs"]) or {}).items() if isinstance(spec, dict)}
    rule = _rule(catalog, verdict["verdict_key"]) if verdict else ""
    return RunReport(
        run_id=run_id,
        class_name=run["class_name"],
        recipe=run["recipe"],
        status=run["status"],
        status_detail=reason,
        asked=int(run["samples"]),
        samples=tuple(sorted(samples, key=lambda s: -(s.score or 0.0) if s.status == "dropped" else 0.0)),
        poses=tuple(
            (float(row["azimuth_deg"]), float(row["elevation_deg"]), state, str(row["sample_id"]))
            for row, state in zip(rows, states, strict=True)
            if _number(row["azimuth_deg"]) is not None
        ),
        distances=tuple(
            (float(row["distance"]), state)
            for row, state in zip(rows, states, strict=True)
            if _number(row["distance"]) is not None
        ),
        scores=tuple(finite),
        edge_scores=tuple(
            (float(row["edge_score"]), state)
            for row, state in zip(rows, states, strict=True)
            if _number(row.get("edge_score")) is not None
        ),
        edge_threshold=_number(specs.get("verdict", {}).get("min_edge_score")),
        counts=dict(Counter(states)),
        threshold=_number(verdict["threshold"]) if verdict else None,
        rule=rule,
        stages=_stages(rows, _json(run["seconds"]) or {}),
        wall_s=_between(run["started_at"], run["finished_at"]),
        cad_models=_cad_models(catalog, run["class_name"], rows, states, samples),
        specs=specs,
        docs=str(run["docs_path"] or ""),
        provenance=_provenance(run, rows),
    )


def select(rows: Sequence[tuple[Mapping[str, Any], Status]], cards: int) -> list[int]:
    """Return the places of at most `cards` rows, in order: all of them, or some of each CAD model, side and verdict.

    Failed and dropped samples get up to a third each, as there is most to learn from them; the rest is kept ones.
    """
    if len(rows) <= cards:
        return list(range(len(rows)))
    groups: dict[Status, dict[tuple[str, str], list[int]]] = {status: {} for status in STATUSES}
    for i, (row, status) in enumerate(rows):
        side = side_of(_number(row["azimuth_deg"]), _number(row["elevation_deg"]))
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


def _query(catalog: Catalog, which: str) -> list[Row]:
    frame = catalog.query(_ROWS.format(which=which))
    return [{str(name): _missing_to_none(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _status(row: Row) -> Status:
    if row["status"] == "failed":
        return "failed"
    if row["kept"] is None:
        return "unjudged"
    return "kept" if row["kept"] else "dropped"


def _sample(store: ArtifactStore, row: Row, status: Status, size: int) -> Sample:
    heads = tuple(value for value in (_number(row.get(f"score_{head}")) for head in _HEADS) if value is not None)
    return Sample(
        sample_id=row["sample_id"],
        cad_id=row["cad_id"],
        cad_name=row["cad_name"] or row["cad_id"][:12],
        view_index=int(row["view_index"]),
        status=status,
        stage=row["stage"] or "",
        reason=row["reason"] or (row.get("drop_reason") or "" if status == "dropped" else ""),
        detail=row["detail"] or "",
        azimuth_deg=_number(row["azimuth_deg"]),
        elevation_deg=_number(row["elevation_deg"]),
        inplane_deg=_number(row["inplane_deg"]),
        distance=_number(row["distance"]),
        caption=row["prompt"] or "",
        seed=int(row["seed_text"]) if row["seed_text"] else None,
        attempt=None if row["attempt"] is None else int(row["attempt"]),
        score=_number(row["score"]),
        head_scores=heads,
        edge_score=_number(row.get("edge_score")),
        disagreement=_number(row["disagreement"]),
        fold=None if row["fold"] is None else int(row["fold"]),
        annotation=_annotation(row),
        render=picture(store, "render", row["render_key"], "rgba.png", size),
        edge=picture(store, "edge", row["edge_key"], "edge.png", size),
        image=picture(store, "image", row["image_key"], "image.png", size),
    )


def _judged(store: ArtifactStore, verdict_keys: set[str]) -> dict[str, Row]:
    """Return, by image key, what only the verdict's own file says: the reason for dropping, the edge score, the heads."""
    found: dict[str, Row] = {}
    for key in sorted(verdict_keys):
        try:
            artifact = store.get("verdict", key)
            listed = json.loads(store.read(artifact, "verdicts.json")) if "verdicts.json" in artifact.record.files else []
        except (MissingArtifact, DamagedArtifact):
            continue
        for verdict in listed:
            heads = {f"score_{head}": verdict[f"{head}_score"] for head in _HEADS if f"{head}_score" in verdict}
            found[verdict["image_key"]] = {"drop_reason": verdict.get("reason"), "edge_score": verdict.get("edge_score"), **heads}
    return found


def _annotation(row: Row) -> Annotation | None:
    if _number(row["width"]) is None:
        return None
    box = [_number(row[f"box_{corner}"]) for corner in ("x0", "y0", "x1", "y1")]
    return Annotation(
        width=int(row["width"]),
        height=int(row["height"]),
        box=None if None in box else tuple(value for value in box if value is not None),
        box3d=_tuples(row["box3d"]),
        K=_tuples(row["intrinsics"]),
        R=_tuples(row["rotation"]),
        t=_tuples(row["translation"]),
        visible_fraction=_number(row["visible_fraction"]),
        truncated_fraction=_number(row["truncated_fraction"]),
    )


def picture(store: ArtifactStore, stage: str, key: str | None, name: str, size: int) -> Thumbnail | None:
    """Return a small copy of an artifact's picture, or None where it is not there or not sound."""
    if not key:
        return None
    try:
        artifact = store.get(stage, key)
        if name not in artifact.record.files:
            return None
        picture = np.asarray(from_png(store.read(artifact, name)), dtype=np.uint8)
    except (MissingArtifact, DamagedArtifact, UnreadablePicture):
        return None
    return thumbnails.line_drawing(picture, size) if stage == "edge" else thumbnails.photograph(picture, size)


def _stages(rows: Sequence[Row], seconds: Mapping[str, float]) -> tuple[StageRow, ...]:
    made = {
        "cad": {row["cad_key"] for row in rows if row["cad_key"] and row["stage"] != "cad"},
        "render": {row["render_key"] for row in rows if row["render_file"]},
        "edge": {row["edge_key"] for row in rows if row["edge_file"]},
        "caption": {row["caption_key"] for row in rows if row["prompt"]},
        "image": {row["image_key"] for row in rows if row["file"]},
        "verdict": {row["image_key"] for row in rows if row["score"] is not None},
    }
    failures = {
        (row["stage"], row[f"{row['stage']}_key"] or row["sample_id"]): row["reason"]
        for row in rows
        if row["status"] == "failed" and row["stage"] in made
    }
    reasons = reasons_of([(stage, str(reason)) for (stage, _), reason in failures.items()])
    drops = Counter(str(row.get("drop_reason") or "above_threshold") for row in rows if row["kept"] == 0)
    times = {stage: _number(seconds.get(stage)) for stage in (*made, *(name for name in seconds if name not in made))}
    return tuple(
        StageRow(
            stage=stage,
            made=len(made.get(stage, ())),
            failed=sum(count for _, count in reasons.get(stage, ())),
            reasons=reasons.get(stage, ()),
            dropped=tuple(drops.most_common()) if stage == "verdict" else (),
            seconds=times[stage],
        )
        for stage in times
    )


def _cad_models(
    catalog: Catalog, class_name: str, rows: Sequence[Row], states: Sequence[Status], samples: Sequence[Sample]
) -> tuple[CadModel, ...]:
    used = Counter((row["cad_id"], state) for row, state in zip(rows, states, strict=True))
    ids = {row["cad_id"] for row in rows}
    known = {row["cad_id"]: row for row in catalog.cad_models(class_name, status=None)}
    models = []
    for cad_id in sorted(ids):
        row = known.get(cad_id, {})
        failed = used[cad_id, "failed"]
        made = sum(used[cad_id, state] for state in STATUSES) - failed
        models.append(
            CadModel(
                cad_id=cad_id,
                name=str(row.get("name") or cad_id[:12]),
                source=_source(str(row.get("source") or "")),
                keywords=tuple(row.get("keywords") or ()),
                faces=row.get("faces"),
                licence=str(row.get("licence") or ""),
                thumbnail=_portrait(cad_id, samples),
                made=made,
                kept=used[cad_id, "kept"],
                failed=failed,
            )
        )
    return tuple(sorted(models, key=lambda model: (model.name, model.cad_id)))


def _portrait(cad_id: str, samples: Sequence[Sample]) -> Thumbnail | None:
    """Return the CAD model's render that is closest to three quarters from the front, a little above."""
    own = [sample for sample in samples if sample.cad_id == cad_id and sample.render and sample.azimuth_deg is not None]

    def turned(sample: Sample) -> float:
        azimuth = abs(((sample.azimuth_deg or 0.0) + 180) % 360 - 180)
        return abs(azimuth - 40) + abs((sample.elevation_deg or 0.0) - 20)

    return min(own, key=turned).render if own else None


def _source(source: str) -> str:
    """Return where a CAD model came from without the folders of the machine it was on."""
    return "/".join(source.replace("\\", "/").split("/")[-2:]) if "/" in source or "\\" in source else source


def _rule(catalog: Catalog, verdict_key: str) -> str:
    found = catalog.query(f"SELECT rule, folds FROM filters WHERE verdict_key = {_quoted(verdict_key)}").to_dict("records")
    if not found or not found[0]["rule"]:
        return ""
    rule = _json(found[0]["rule"], text=True)
    return ", ".join(f"{name} {value}" for name, value in rule.items()) if isinstance(rule, dict) else str(rule).replace("_", " ")


def _provenance(run: Mapping[str, Any], rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    runtime = _json(run["runtime"]) or {}
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


def _between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _readable(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _json(value: Any, text: bool = False) -> Any:
    """Return a JSON column's value: drivers hand it over parsed or as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        if text:
            return value
        raise


def _tuples(value: Any) -> Any:
    value = _json(value)
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float, np.number)) and math.isfinite(value) else None


def _missing_to_none(value: Any) -> Any:
    import pandas as pd

    # A DataFrame says None, NaN or NA, whatever its column's type has for it.
    return value if isinstance(value, (list, dict, str)) or not pd.isna(value) else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
