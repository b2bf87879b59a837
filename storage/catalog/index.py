"""From records to rows: what the catalog says about an artifact is what its record says.

Enters: records of any stage. Leaves: rows for the tables, in the order in which they can be written. No database here, so that
the mapping can be read, and tested, alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Table

from storage.artifacts import Artifact, Record
from storage.catalog import tables
from storage.catalog.journal import JOURNAL
from storage.keys import canonical_json, digest

Row = dict[str, Any]

_IDENTITY = ("class_name", "cad_id", "view_index", "draw_index")


class Rows:
    """Rows waiting to be written, a list for each table."""

    ORDER = (
        tables.classes, tables.cad_models, tables.specs, tables.artifacts, tables.views, tables.edges, tables.captions,
        tables.images, tables.filters, tables.verdicts, tables.runs, tables.members,
    )  # fmt: skip
    """Tables in the order in which rows go in: what others refer to comes first."""

    def __init__(self) -> None:
        self._rows: dict[Table, dict[tuple[Any, ...], Row]] = {table: {} for table in self.ORDER}
        self._keys = {table: tuple(column.name for column in table.primary_key) for table in self.ORDER}
        self._columns = {table: tuple(column.name for column in table.columns) for table in self.ORDER}

    def add(self, table: Table, row: Row) -> None:
        """Add a row; of two with the same key the later one stays. Columns it does not name are NULL."""
        key = tuple(row[name] for name in self._keys[table])
        self._rows[table][key] = {name: row.get(name) for name in self._columns[table]}

    def of(self, table: Table) -> list[Row]:
        """Return a table's rows in order of their keys (writers that queue for rows in one order never deadlock)."""
        waiting = self._rows[table]
        return [waiting[key] for key in sorted(waiting)]

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._rows.values())


class Indexer:
    """Turns records into rows. Remembers the specs it has seen, because thousands of records share one."""

    def __init__(self) -> None:
        self._spec_keys: dict[bytes, str] = {}
        self.cad_facts: list[Row] = []
        """Facts of canonical GLBs, for the CAD models registered under their key."""

    def add(self, rows: Rows, item: Record | Artifact) -> None:
        """Add the rows of one record."""
        record = item.record if isinstance(item, Artifact) else item
        if record.stage in JOURNAL:
            raise ValueError(f"a {record.stage} record is replayed, not indexed (see storage.catalog.journal)")
        spec_key = self._spec(rows, record)
        rows.add(
            tables.artifacts,
            {
                "key": record.key,
                "stage": record.stage,
                "version": record.version,
                "spec_key": spec_key,
                "inputs": record.inputs,
                "files": record.files,
                "bytes": sum(facts["bytes"] for facts in record.files.values()),
                "runtime": record.runtime,
                "path": f"{record.stage}/{record.key[:2]}/{record.key}",
                **_outcome(record),
            },
        )
        if record.stage == "cad":
            self.cad_facts.append({"spec_key": spec_key, **cad_facts(record)})
        elif record.stage == "verdict":
            _index_verdict(rows, item, record, spec_key)
        elif record.stage in _STAGES:
            table, make = _STAGES[record.stage]
            rows.add(table, {"spec_key": spec_key, **_outcome(record), **make(record)})

    def _spec(self, rows: Rows, record: Record) -> str:
        spelling = orjson.dumps([record.stage, record.version, record.spec], option=orjson.OPT_SORT_KEYS)
        key = self._spec_keys.get(spelling)
        if key is None:
            key = self._spec_keys[spelling] = spec_key(record.stage, record.version, record.spec)
        rows.add(tables.specs, {"spec_key": key, "stage": record.stage, "version": record.version, "spec": record.spec})
        return key


def spec_key(stage: str, version: int, spec: Any) -> str:
    """Return the key of a spec: what all artifacts made under it by this version of the stage share."""
    return digest(canonical_json({"stage": stage, "version": version, "spec": spec}).encode())


def cad_facts(record: Record) -> Row:
    """Return what a cad record says about the mesh."""
    values = record.values
    return {
        "cad_key": record.key,
        "faces": values.get("faces"),
        "vertices": values.get("vertices"),
        "extents": values.get("extents"),
        "watertight": _bit(values.get("watertight")),
        "textured": _bit(values.get("textured")),
        "facts": values,
    }


def _outcome(record: Record) -> Row:
    return {
        "status": record.outcome,
        "reason": record.reason,
        "detail": record.detail,
        "created_at": record.created_at,
    }


def _view(record: Record) -> Row:
    values = record.values
    box = values.get("box") or (None,) * 4
    return {
        "render_key": record.key,
        "cad_key": record.inputs.get("cad"),
        "class_name": record.inputs["class_name"],
        "cad_id": record.inputs["cad_id"],
        "view_index": record.inputs["view_index"],
        "box_x0": box[0],
        "box_y0": box[1],
        "box_x1": box[2],
        "box_y1": box[3],
        "intrinsics": values.get("K"),
        "rotation": values.get("R"),
        "translation": values.get("t"),
        "moved_back": _bit(values.get("moved_back")),
        **{name: values.get(name) for name in _ANNOTATION},
    }


_ANNOTATION = (
    "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "requested_distance", "width", "height", "box3d", "box3d_extents",
    "visible_fraction", "truncated_fraction", "depth_scale", "light",
)  # fmt: skip


def _edge(record: Record) -> Row:
    return {
        "edge_key": record.key,
        "render_key": record.inputs.get("render"),
        "edge_pixels": record.values.get("edge_pixels"),
        "edge_density": record.values.get("edge_density"),
    }


def _caption(record: Record) -> Row:
    values = record.values
    words = values.get("words") or {}
    return {
        "caption_key": record.key,
        "words": words,
        **{name: record.inputs.get(name) for name in _IDENTITY},
        **{name: _text(words.get(name)) for name in ("colour", "material", "scene", "light")},
        **{name: values.get(name) for name in ("prompt", "negative_prompt", "captioner", "captioner_revision")},
    }


def _image(record: Record) -> Row:
    return {
        "image_key": record.key,
        "edge_key": record.inputs.get("edge"),
        "caption_key": record.inputs.get("caption"),
        **{name: record.inputs[name] for name in _IDENTITY},
        **{name: record.values.get(name) for name in ("seed", "attempt", "model_id", "model_revision")},
        "sha256": record.files.get("image.png", {}).get("sha256"),
        "values": record.values,
    }


_STAGES: Mapping[str, tuple[Table, Callable[[Record], Row]]] = {
    "render": (tables.views, _view),
    "edge": (tables.edges, _edge),
    "caption": (tables.captions, _caption),
    "image": (tables.images, _image),
}


def _index_verdict(rows: Rows, item: Record | Artifact, record: Record, key: str) -> None:
    values = record.values
    listed = _verdicts(item, record)
    rows.add(
        tables.filters,
        {
            "verdict_key": record.key,
            "class_name": record.inputs.get("class_name"),
            "threshold": values.get("threshold"),
            "rule": _text(values.get("rule")),
            "folds": _text(values.get("folds")),
            "kept_images": sum(1 for verdict in listed if verdict.get("kept")),
            "dropped_images": sum(1 for verdict in listed if not verdict.get("kept")),
            "values": {name: value for name, value in values.items() if name != "verdicts"},
            "spec_key": key,
            **_outcome(record),
        },
    )
    for verdict in listed:
        rows.add(
            tables.verdicts,
            {
                "verdict_key": record.key,
                "image_key": verdict["image_key"],
                "score": verdict.get("score"),
                "score_azimuth": verdict.get("azimuth_score"),
                "score_elevation": verdict.get("elevation_score"),
                "score_inplane": verdict.get("inplane_score"),
                "disagreement": verdict.get("disagreement"),
                "edge_score": verdict.get("edge_score"),
                "fold": verdict.get("fold"),
                "kept": _bit(verdict.get("kept")),
                "reason": verdict.get("reason"),
                "threshold": values.get("threshold"),
            },
        )


def _verdicts(item: Record | Artifact, record: Record) -> list[Row]:
    """Return the verdicts on single images: from the record's values, or from verdicts.json beside it.

    Each: image_key, score, azimuth_score, elevation_score, inplane_score, disagreement, edge_score, fold, kept, reason.
    """
    listed = record.values.get("verdicts")
    if listed is None and isinstance(item, Artifact) and "verdicts.json" in record.files:
        listed = json.loads(item.path("verdicts.json").read_bytes())
        if isinstance(listed, dict):
            listed = listed["verdicts"]
    return list(listed or ())


def batches(items: Iterable[Record | Artifact], size: int) -> Iterable[list[Record | Artifact]]:
    """Yield the items in lists of at most `size`."""
    batch: list[Record | Artifact] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _bit(value: Any) -> int | None:
    return None if value is None else int(bool(value))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return canonical_json(value)
