"""The room of CAD models: which there are of which class, and what a person or a collection said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import before_0005, journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain

STATUSES = ("ok", "rejected", "replaced", "removed")
"""ok: what runs are made of. replaced: its file holds other bytes by now. removed: taken out of its class by a person."""

ORIENTATIONS = ("assumed", "set", "confirmed")
"""assumed: up and front follow from a convention. set: a person said them. confirmed: a person looked and found them right."""

_ORIENTATION = ("orientation", "orientation_why", "orientation_doubts")


class CadModels(Room):
    """Classes and their CAD models."""

    def classes(self) -> list[str]:
        """Return the names of all classes."""
        names = self._select(sa.select(tables.classes.c.class_name).order_by(tables.classes.c.class_name))
        return [str(row["class_name"]) for row in names]

    def classes_to_run(self) -> list[str]:
        """Return the names of the classes with a CAD model that can be rendered; none before there is a catalog."""
        model = tables.cad_models.c
        known = sa.select(model.class_name).where(model.status == "ok").distinct().order_by(model.class_name)
        return [str(row["class_name"]) for row in self._select(known)] if self.database.exists else []

    def cad_models(self, class_name: str | None = None, status: str | None = "ok", cad_id: str | None = None) -> list[Row]:
        """Return the rows of CAD models (of one class, one status, one cad_id; None: all), in order of class and cad_id."""
        table = tables.cad_models
        statement = sa.select(table).order_by(table.c.class_name, table.c.cad_id)
        for name, value in (("class_name", class_name), ("status", status), ("cad_id", cad_id)):
            if value is not None:
                statement = statement.where(table.c[name] == value)
        return self._select(statement)

    def published(self) -> set[tuple[str, str]]:
        """Return (class, uid in its collection) of every usable CAD model that has one."""
        model = tables.cad_models.c
        known = sa.select(model.class_name, model.uid).where(model.status == "ok", model.uid.is_not(None))
        return {(row["class_name"], row["uid"]) for row in self._select(known)}

    def add_cad_model(self, **model: Any) -> Row:
        """Register a CAD model for a class, or change what is known of it; return its row.

        cad_id, class_name and source must be said. cad_name, keywords, licence, up, front, cad_key, status, reason and detail are
        as in the table. `facts`: values of its cad record (faces, vertices, extents, watertight, textured, ...). collection, uid:
        where it is published. symmetry: rotational, about +z (1 none, n-fold, 0 any angle), its origin (given, class, views)
        and how sure. camera: what its CAD list asks of the camera for this one. alignment: an extra 3x3 rotation into the
        canonical frame. orientation: one of ORIENTATIONS, with why and what speaks against it. Of these, from collection on, what
        is None stays as it was said before.
        """
        return self.add_cad_models([model])[0]

    def add_cad_models(self, models: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Register many CAD models in one transaction, each with the arguments of `add_cad_model`; return their rows."""
        rows = [_row(**model) for model in models]
        with self.database.writing() as connection:
            artifact = tables.artifacts.c
            keys = [row["cad_key"] for row in rows if row["cad_key"] is not None]
            specs: dict[str, str] = {}
            for start in range(0, len(keys), 500):
                known = sa.select(artifact.key, artifact.spec_key).where(artifact.key.in_(keys[start : start + 500]))
                specs.update({str(key): str(spec) for key, spec in connection.execute(known)})
            for row in rows:
                _fill_in_what_was_said(connection, row)
                row["spec_key"] = specs.get(row["cad_key"])
            for class_name in sorted({row["class_name"] for row in rows}):
                writing.ensure_class(connection, class_name)
            for row, number in zip(rows, writing.numbers(connection, len(rows)), strict=True):
                row["entry"] = number
            writing.upsert(connection, tables.cad_models, rows)
        self._note(*map(journal.registration, rows))
        return rows

    def mark_cad_model(self, class_name: str, cad_id: str, **changes: str | None) -> Row:
        """Change status, reason, detail, source or orientation of a CAD model; what was made from it stays. Returns its row."""
        if unknown := set(changes) - {"status", "reason", "detail", "source", "orientation", "orientation_why"}:
            raise ValueError(f"of a CAD model, {', '.join(sorted(unknown))} cannot be marked")
        if changes.get("status", "ok") not in STATUSES:
            raise ValueError(f"a CAD model is {', '.join(STATUSES)}, not {changes['status']}")
        if changes.get("orientation", "set") not in ORIENTATIONS:
            raise ValueError(f"an orientation is {', '.join(ORIENTATIONS)}, not {changes['orientation']}")
        with self.database.writing() as connection:
            same = _same(class_name, cad_id)
            (number,) = writing.numbers(connection)
            connection.execute(sa.update(tables.cad_models).where(same).values(**changes, added_at=journal.now(), entry=number))
            row = dict(connection.execute(sa.select(tables.cad_models).where(same)).mappings().one())
        self._note(journal.registration(row))
        return row


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the row of a registration; known_too: also where the catalog has a newer one. Return how many rows were written."""
    row = before_0005.cad_model_today(record.values["row"])
    model = tables.cad_models.c
    newest = connection.execute(sa.select(model.entry, model.added_at).where(_same(row["class_name"], row["cad_id"]))).first()
    if not known_too and newest is not None and (newest.entry or 0, newest.added_at) >= (row["entry"] or 0, row["added_at"]):
        return 0
    writing.ensure_class(connection, row["class_name"], row["added_at"])
    writing.upsert(connection, tables.cad_models, [row])
    return 1


def fill_in_facts(connection: sa.Connection, facts: Sequence[Row]) -> None:
    """Write what cad records say into the rows of the CAD models registered under their keys."""
    if not facts:
        return
    table = tables.cad_models
    names = ("spec_key", "faces", "vertices", "extents", "watertight", "textured", "facts")
    connection.execute(
        sa.update(table)
        .where(table.c.cad_key == sa.bindparam("of_cad_key"))
        .values({name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}),
        [{"of_cad_key": row["cad_key"], **{f"new_{name}": row[name] for name in names}} for row in facts],
    )


def _fill_in_what_was_said(connection: sa.Connection, row: Row) -> None:
    """Keep of a CAD model's row what an earlier registration said and this one leaves open."""
    names = ("collection", "uid", "symmetry", "symmetry_origin", "symmetry_detail", "camera", "alignment", *_ORIENTATION)
    said = sa.select(*(tables.cad_models.c[name] for name in names)).where(_same(row["class_name"], row["cad_id"]))
    before = connection.execute(said).mappings().one_or_none()
    if before is not None:
        row.update({name: before[name] for name in names if row[name] is None})


def _same(class_name: str, cad_id: str) -> sa.ColumnElement[bool]:
    model = tables.cad_models.c
    return sa.and_(model.class_name == class_name, model.cad_id == cad_id)


def _row(
    *,
    cad_id: str,
    class_name: str,
    source: str,
    cad_name: str | None = None,
    keywords: Sequence[str] = (),
    licence: str | None = None,
    up: str = "auto",
    front: str = "auto",
    cad_key: str | None = None,
    facts: Mapping[str, Any] | None = None,
    status: str = "ok",
    reason: str | None = None,
    detail: str | None = None,
    collection: str | None = None,
    uid: str | None = None,
    symmetry: int | None = None,
    symmetry_origin: str | None = None,
    camera: Mapping[str, Any] | None = None,
    alignment: Sequence[Sequence[float]] | None = None,
    symmetry_detail: str | None = None,
    orientation: str | None = None,
    orientation_why: str | None = None,
    orientation_doubts: Sequence[str] | None = None,
) -> Row:
    if status not in STATUSES:
        raise ValueError(f"a CAD model is {', '.join(STATUSES)}, not {status}")
    facts = dict(facts or {})
    return {
        "class_name": class_name,
        "cad_id": cad_id,
        "cad_name": cad_name or Path(source).stem,
        "source": source,
        "keywords": list(keywords),
        "keywords_text": ", ".join(keywords),
        "licence": licence,
        "up": up,
        "front": front,
        "cad_key": cad_key,
        "spec_key": None,
        "faces": facts.get("faces"),
        "vertices": facts.get("vertices"),
        "extents": plain(facts.get("extents")),
        "watertight": writing.bit(facts.get("watertight")),
        "textured": writing.bit(facts.get("textured")),
        "facts": plain(facts),
        "status": status,
        "reason": reason,
        "detail": detail,
        "added_at": journal.now(),
        "collection": collection,
        "uid": uid,
        "symmetry": symmetry,
        "symmetry_origin": symmetry_origin,
        "camera": plain(camera),
        "alignment": plain(alignment),
        "symmetry_detail": symmetry_detail,
        "orientation": orientation,
        "orientation_why": orientation_why,
        "orientation_doubts": plain(orientation_doubts),
        "entry": None,
    }
