"""From records to rows: what the catalog says about an artifact is what its record says.

Enters: records of any stage. Leaves: rows for the tables, in the order in which they can be written. No database here, so that
the mapping can be read, and tested, alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Table

from storage.artifacts import Artifact, Record
from storage.catalog import before_0004, tables
from storage.catalog.journal import JOURNAL
from storage.keys import canonical_json, digest
from storage.stages import FILE

Row = dict[str, Any]
Read = Callable[[Artifact, str], bytes]
"""Reads a file of an artifact, as ArtifactStore.read does."""

_IDENTITY = ("class_name", "cad_id", "view_index", "draw_index")


class Rows:
    """Rows waiting to be written, a list for each table."""

    ORDER = (
        tables.classes, tables.cad_models, tables.specs, tables.artifacts, tables.views, tables.controls, tables.captions,
        tables.images, tables.image_controls, tables.filters, tables.verdict_scores, tables.verdicts, tables.scores, tables.runs,
        tables.members,
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

    def find(self, table: Table, *key: Any) -> Row | None:
        """Return the row of a key, if it waits here."""
        return self._rows[table].get(key)

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._rows.values())


class Indexer:
    """Turns records into rows. Remembers the specs it has seen, because thousands of records share one."""

    def __init__(self, read: Read, kind_of: Callable[[str], str | None] = lambda key: None) -> None:
        """read: how verdicts.json is read. kind_of: a control's key -> its kind, as far as it is known (see before_0004)."""
        self._read = read
        self._kind_of = kind_of
        self._spec_keys: dict[bytes, str] = {}
        self.cad_facts: list[Row] = []
        """Facts of canonical GLBs, for the CAD models registered under their key."""

    def add(self, rows: Rows, item: Record | Artifact) -> None:
        """Add the rows of one record. A verdict's are made from its file, so it has to be an Artifact."""
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
                **_work(record),
                **_outcome(record),
            },
        )
        record = before_0004.today(record, lambda key: self._kind(rows, key))
        if record.stage == "cad":
            self.cad_facts.append({"spec_key": spec_key, **cad_facts(record)})
        elif record.stage == "verdict":
            self._verdict(rows, item, record, spec_key)
        elif record.stage in _STAGES:
            table, make = _STAGES[record.stage]
            rows.add(table, {"spec_key": spec_key, **_outcome(record), **make(record)})
        if record.stage == "image":
            for kind, key in record.inputs["controls"].items():
                rows.add(tables.image_controls, {"image_key": record.key, "kind": kind, "control_key": key})

    def _kind(self, rows: Rows, control_key: str) -> str:
        waiting = rows.find(tables.controls, control_key)
        return (waiting["kind"] if waiting else self._kind_of(control_key)) or before_0004.kind({})

    def _spec(self, rows: Rows, record: Record) -> str:
        spelling = orjson.dumps([record.stage, record.version, record.spec], option=orjson.OPT_SORT_KEYS)
        key = self._spec_keys.get(spelling)
        if key is None:
            key = self._spec_keys[spelling] = spec_key(record.stage, record.version, record.spec)
        rows.add(tables.specs, {"spec_key": key, "stage": record.stage, "version": record.version, "spec": record.spec})
        return key

    def _verdict(self, rows: Rows, item: Record | Artifact, record: Record, spec_key: str) -> None:
        if not isinstance(item, Artifact):
            raise ValueError(f"verdict {record.key[:12]}: its rows are made from its file; index the artifact, not the record")
        listed = json.loads(self._read(item, FILE["verdict"]))
        record, listed = before_0004.verdict_today(record, listed)
        values = record.values
        rows.add(
            tables.filters,
            {
                "verdict_key": record.key,
                "class_name": record.inputs.get("class_name"),
                "kept_images": values["kept"],
                "dropped_images": values["dropped"],
                "unjudged_images": values["not_judged"],
                **{name: values[name] for name in ("rule", "rules", "judges")},
                "spec_key": spec_key,
                **_outcome(record),
            },
        )
        for judge, key in record.inputs["scores"].items():
            rows.add(tables.verdict_scores, {"verdict_key": record.key, "judge": judge, "score_key": key})
        for verdict in listed:
            which = {"verdict_key": record.key, "image_key": verdict["image_key"]}
            rows.add(
                tables.verdicts,
                {**which, "kept": _bit(verdict["kept"]), "reason": verdict["reason"], "words": verdict.get("words")},
            )
            for name, value in verdict["scores"].items():
                if value is not None:
                    rows.add(tables.scores, {**which, "name": name, "value": value})


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


def _work(record: Record) -> Row:
    """Return who made an artifact and what it took, as tasks.shard has noted it; None where it was not."""
    names = {"made_by": "run", "attempt": "task_attempt", "seconds": "seconds", "waited": "waited"}
    return {column: record.runtime.get(name) for column, name in names.items()}


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


def _control(record: Record) -> Row:
    facts = {name: value for name, value in record.values.items() if name not in ("pixels", "density")}
    return {
        "control_key": record.key,
        "render_key": record.inputs.get("render"),
        "kind": record.spec["kind"],
        "pixels": record.values.get("pixels"),
        "density": record.values.get("density"),
        "facts": facts or None,
    }


def _caption(record: Record) -> Row:
    values = record.values
    words = values.get("words") or {}
    return {
        "caption_key": record.key,
        "words": words,
        **{name: record.inputs.get(name) for name in _IDENTITY},
        **{name: _text(words.get(name)) for name in ("colour", "material", "scene", "light")},
        **{name: values.get(name) for name in ("prompt", "negative_prompt", "captioner", "captioner_revision", "facts")},
    }


def _image(record: Record) -> Row:
    return {
        "image_key": record.key,
        "caption_key": record.inputs.get("caption"),
        **{name: record.inputs[name] for name in _IDENTITY},
        **{name: record.values.get(name) for name in ("seed", "attempt", "model_id", "model_revision")},
        "sha256": record.files.get("image.png", {}).get("sha256"),
        "values": record.values,
    }


_STAGES: Mapping[str, tuple[Table, Callable[[Record], Row]]] = {
    "render": (tables.views, _view),
    "control": (tables.controls, _control),
    "caption": (tables.captions, _caption),
    "image": (tables.images, _image),
}


def _bit(value: Any) -> int | None:
    return None if value is None else int(bool(value))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return canonical_json(value)
