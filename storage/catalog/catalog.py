"""The catalog: one index over everything that was made, and the only door to it.

Enters: records from the artifact store, registrations of CAD models, runs and the cohorts they end with. Leaves: rows, and
answers to plain SQL. Given the store, it also keeps there what no artifact says (see storage.catalog.journal), so that `rebuild`
restores everything.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage.artifacts import Artifact, ArtifactStore, Record
from storage.catalog import journal, tables, writing
from storage.catalog.database import CatalogError, Database
from storage.catalog.index import Row
from storage.catalog.query import query
from storage.catalog.schema import migrate
from storage.keys import plain

if TYPE_CHECKING:
    import pandas as pd

RUN_STATUSES = ("running", "complete", "invalid", "failed", "crashed")
CAD_STATUSES = ("ok", "rejected", "replaced", "removed")
"""ok: what runs are made of. replaced: its file holds other bytes by now. removed: taken out of its class by a person."""
QUARANTINE_ORIGINS = ("watch", "import", "add")


class RunGoing(CatalogError):
    """A run of the same class and recipe is going on, which makes the same samples."""

    def __init__(self, row: Row) -> None:
        self.row = row
        super().__init__(
            f"run {row['run_id'][:8]} of {row['class_name']}, recipe {row['recipe']}, is going on since {row['started_at'][:19]} "
            f"on {row['host']}, process {row['pid']}"
        )


class Catalog:
    """The catalog at a SQLAlchemy URL (SQLite file or Postgres). `store`: where its journal is kept; None keeps none."""

    def __init__(self, url: str, store: ArtifactStore | None = None) -> None:
        self.database = Database(url)
        self.store = store

    # -- schema --------------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether there is a catalog at the URL."""
        return self.database.exists

    def migrate(self) -> bool:
        """Make the catalog or bring it to the current schema; return whether there was anything to do."""
        return migrate(self.database)

    # -- reading -------------------------------------------------------------------------------------------------------

    def query(self, sql: str) -> pd.DataFrame:
        """Return the rows of one reading SQL statement. Raises CatalogError, in one line, for everything else."""
        return query(self.database, sql)

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """Return the rows of our own SQL (`:name` parameters), as dicts."""
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(sa.text(sql), parameters).mappings()]

    # -- CAD models ----------------------------------------------------------------------------------------------------

    def classes(self) -> list[str]:
        """Return the names of all classes."""
        with self.database.reading() as connection:
            names = connection.execute(sa.select(tables.classes.c.class_name).order_by(tables.classes.c.class_name))
            return [str(name) for name in names.scalars()]

    def cad_models(self, class_name: str | None = None, status: str | None = "ok", cad_id: str | None = None) -> list[Row]:
        """Return the rows of CAD models (of one class, one status, one cad_id; None: all), in order of class and cad_id."""
        table = tables.cad_models
        statement = sa.select(table).order_by(table.c.class_name, table.c.cad_id)
        if class_name is not None:
            statement = statement.where(table.c.class_name == class_name)
        if status is not None:
            statement = statement.where(table.c.status == status)
        if cad_id is not None:
            statement = statement.where(table.c.cad_id == cad_id)
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def add_cad_model(self, **model: Any) -> Row:
        """Register a CAD model for a class, or change what is known of it; return its row.

        cad_id, class_name and source must be said. name, keywords, licence, up, front, cad_key, status, reason and detail are as
        in the table. `facts`: values of its cad record (faces, vertices, extents, watertight, textured, ...). collection, uid:
        where it is published. symmetry: rotational, about +z (1 none, n-fold, 0 any angle), and its origin: given, mesh or
        class. camera: what its CAD list asks of the camera for this one. alignment: an extra 3x3 rotation into the canonical
        frame. Of these last six, what is None stays as it was said before.
        """
        return self.add_cad_models([model])[0]

    def add_cad_models(self, models: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Register many CAD models in one transaction, each with the arguments of `add_cad_model`; return their rows."""
        rows = [_cad_row(**model) for model in models]
        with self.database.writing() as connection:
            artifact = tables.artifacts.c
            keys = [row["cad_key"] for row in rows if row["cad_key"] is not None]
            specs: dict[str, str] = {}
            for start in range(0, len(keys), 500):
                known = sa.select(artifact.key, artifact.spec_key).where(artifact.key.in_(keys[start : start + 500]))
                specs.update({str(key): str(spec) for key, spec in connection.execute(known)})
            for row in rows:
                writing.fill_in_what_was_said(connection, row)
                row["spec_key"] = specs.get(row["cad_key"])
            for class_name in sorted({row["class_name"] for row in rows}):
                writing.ensure_class(connection, class_name)
            writing.upsert(connection, tables.cad_models, rows)
        if self.store is not None:
            for row in rows:
                self.store.put(journal.registration(row))
        return rows

    def mark_cad_model(self, class_name: str, cad_id: str, **changes: str | None) -> Row:
        """Change status, reason, detail or source of a registered CAD model; what was made from it stays. Returns its row."""
        if unknown := set(changes) - {"status", "reason", "detail", "source"}:
            raise ValueError(f"of a CAD model, {', '.join(sorted(unknown))} cannot be marked")
        if changes.get("status", "ok") not in CAD_STATUSES:
            raise ValueError(f"a CAD model is {', '.join(CAD_STATUSES)}, not {changes['status']}")
        model = tables.cad_models
        same = sa.and_(model.c.class_name == class_name, model.c.cad_id == cad_id)
        with self.database.writing() as connection:
            connection.execute(sa.update(model).where(same).values(**changes, added_at=journal.now()))
            row = dict(connection.execute(sa.select(model).where(same)).mappings().one())
        if self.store is not None:
            self.store.put(journal.registration(row))
        return row

    # -- files that were refused ---------------------------------------------------------------------------------------

    def quarantine(
        self,
        path: Path | str,
        *,
        reason: str,
        origin: str,
        detail: str | None = None,
        class_name: str | None = None,
        digest: str | None = None,
        size: int | None = None,
        modified_at: str | None = None,
    ) -> Row:
        """Note that a file was refused before it had a cad_id, or was refused again; return its row.

        reason: a short name that reports count by. origin: watch, import or add. modified_at: UTC, ISO 8601.
        """
        if origin not in QUARANTINE_ORIGINS:
            raise ValueError(f"a file is refused by {', '.join(QUARANTINE_ORIGINS)}, not by {origin}")
        row: Row = {
            "path": str(path),
            "class_name": class_name,
            "reason": reason,
            "detail": detail,
            "digest": digest,
            "size": size,
            "modified_at": modified_at,
            "found_at": journal.now(),
            "origin": origin,
        }
        with self.database.writing() as connection:
            writing.upsert(connection, tables.quarantine, [row])
        if self.store is not None:
            self.store.put(journal.quarantine(str(path), row))
        return row

    def unquarantine(self, path: Path | str) -> bool:
        """Forget that a file was refused; return whether it was."""
        table = tables.quarantine
        with self.database.writing() as connection:
            gone = connection.execute(sa.delete(table).where(table.c.path == str(path))).rowcount
        if gone and self.store is not None:
            self.store.put(journal.quarantine(str(path), None))
        return bool(gone)

    def quarantined(self, class_name: str | None = None, origin: str | None = None) -> list[Row]:
        """Return the rows of refused files (of one class, from one origin), by path."""
        table = tables.quarantine
        statement = sa.select(table).order_by(table.c.path)
        if class_name is not None:
            statement = statement.where(table.c.class_name == class_name)
        if origin is not None:
            statement = statement.where(table.c.origin == origin)
        return self._select(statement)

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def index(self, items: Iterable[Record | Artifact]) -> int:
        """Write the rows of records of any stage, in one transaction; return how many rows those are.

        Rows are keyed by artifact key, so indexing again changes nothing. Verdicts on single images are read from the record's
        values or, for an Artifact, from its verdicts.json.
        """
        with self.database.writing() as connection:
            return writing.index(connection, items)

    def rebuild(self, items: Iterable[Record | Artifact]) -> int:
        """Restore the rows from all of the store's records, in one transaction; return how many were written.

        What artifacts say replaces what was there. Registrations and runs are set back to what the journal says of them; those it
        does not know (a run that is going on) stay. Readers see the old rows until the new ones are complete. Raises CatalogError
        when there is no record at all: a disk that is not mounted is no reason to forget everything.
        """
        found = iter(items)
        first = next(found, None)
        if first is None:
            where = f" in {self.store.root}" if self.store is not None else ""
            raise CatalogError(f"there is no artifact{where} to restore from: nothing was changed; is DST_HOME the right folder?")
        self.migrate()
        with self.database.writing() as connection:
            return writing.rebuild(connection, chain([first], found))

    def record(self, key: str) -> Record | None:
        """Return an artifact's record as its rows tell it (without what was found out while making it), or None."""
        artifact, spec = tables.artifacts, tables.specs
        joined = sa.select(artifact, spec.c.spec).join(spec, spec.c.spec_key == artifact.c.spec_key)
        with self.database.reading() as connection:
            row = connection.execute(joined.where(artifact.c.key == key)).mappings().one_or_none()
        if row is None:
            return None
        names = ("key", "stage", "version", "spec", "inputs", "reason", "detail", "runtime", "files", "created_at")
        return Record(outcome=row["status"], **{name: row[name] for name in names})

    # -- runs ----------------------------------------------------------------------------------------------------------

    def start_run(
        self,
        *,
        class_name: str,
        recipe: str,
        recipe_specs: Mapping[str, Any],
        samples: int,
        run_id: str | None = None,
        flow_run_id: str | None = None,
        flow_run_url: str | None = None,
        runtime: Mapping[str, Any] | None = None,
        kind: str = "generate",
        parent_run: str | None = None,
        alone: bool = False,
    ) -> str:
        """Note that a run has begun; return its run_id. Runs whose process is gone become `crashed`.

        kind: what it does (generate, ...). parent_run: the run_id of the run that started it. alone: raise RunGoing, and note
        nothing, where a run of the same class, recipe and kind is going on.
        """
        row: Row = {
            "run_id": run_id or uuid.uuid4().hex[:12],
            "class_name": class_name,
            "recipe": recipe,
            "recipe_specs": plain(recipe_specs),
            "samples": samples,
            "status": "running",
            "reason": None,
            "flow_run_id": flow_run_id,
            "flow_run_url": flow_run_url,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": journal.now(),
            "finished_at": None,
            "seconds": None,
            "counts": None,
            "runtime": plain(runtime or {}),
            "docs_path": None,
            "heartbeat_at": journal.now(),
            "parent_run": parent_run,
            "kind": kind,
        }
        with self.database.writing() as connection:
            writing.bury_the_dead(connection)
            going = writing.going(connection, row) if alone else None
            if going is None:
                writing.ensure_class(connection, class_name)
                writing.upsert(connection, tables.runs, [row])
        if going is not None:
            raise RunGoing(going)
        return str(row["run_id"])

    def bury_the_dead(self) -> list[Row]:
        """Mark running runs whose process is gone (here: by its pid; elsewhere: no heartbeat) as crashed; return their rows."""
        with self.database.writing() as connection:
            return writing.bury_the_dead(connection)

    def heartbeat(self, run_id: str) -> None:
        """Note that a run is alive."""
        table = tables.runs
        with self.database.writing() as connection:
            connection.execute(sa.update(table).where(table.c.run_id == run_id).values(heartbeat_at=journal.now()))

    def finish_run(
        self,
        run_id: str,
        *,
        status: str,
        reason: str | None = None,
        seconds: Mapping[str, float] | None = None,
        counts: Mapping[str, Any] | None = None,
        docs_path: str | None = None,
    ) -> Row:
        """Note how a run ended: complete, invalid (with the reason), failed or crashed; return its row.

        seconds: stage -> seconds. counts: what the run's summary says (made, failed by reason, kept, ...).
        """
        if status not in RUN_STATUSES:
            raise ValueError(f"a run is {', '.join(RUN_STATUSES)}, not {status}")
        table, member = tables.runs, tables.members
        with self.database.writing() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.run_id == run_id)
                .values(
                    status=status,
                    reason=reason,
                    seconds=plain(seconds),
                    counts=plain(counts),
                    docs_path=docs_path,
                    finished_at=journal.now(),
                )
            )
            row = _run_row(connection, run_id)
            mine = sa.select(member).where(member.c.run_id == run_id, member.c.in_cohort == 1).order_by(member.c.sample_id)
            members = [dict(found) for found in connection.execute(mine).mappings()]
        if self.store is not None:
            self.store.put(journal.run(row, members))
        return row

    def runs(self, class_name: str | None = None, limit: int | None = None) -> list[Row]:
        """Return the rows of runs, the newest first."""
        table = tables.runs
        statement = sa.select(table).order_by(table.c.started_at.desc()).limit(limit)
        if class_name is not None:
            statement = statement.where(table.c.class_name == class_name)
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def run(self, run_id: str) -> Row:
        """Return the row of one run. Raises ValueError."""
        with self.database.reading() as connection:
            return _run_row(connection, run_id)

    def complete_run(
        self, class_name: str, recipe: str, recipe_specs: Mapping[str, Any], images: Mapping[str, str | None]
    ) -> str | None:
        """Return the complete run that left exactly this cohort behind, or None: then there is something to do.

        images: sample_id -> image_key, or None for a sample that failed.
        """
        run, member = tables.runs, tables.members
        if self.database.schema is None:
            return None
        current = (
            sa.select(member.c.run_id, member.c.sample_id, member.c.image_key)
            .where(member.c.class_name == class_name, member.c.recipe == recipe, member.c.in_cohort == 1)
            .order_by(member.c.sample_id)
        )
        with self.database.reading() as connection:
            rows = connection.execute(current).all()
            run_ids = {row.run_id for row in rows}
            if len(run_ids) != 1 or {row.sample_id: row.image_key for row in rows} != dict(images):
                return None
            (run_id,) = run_ids
            found = connection.execute(sa.select(run.c.status, run.c.recipe_specs).where(run.c.run_id == run_id)).one()
        return str(run_id) if found.status == "complete" and found.recipe_specs == plain(recipe_specs) else None

    def set_cohort(self, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
        """Make `members` the cohort of a class under a recipe, all at once; return how many they are.

        A member: sample_id, cad_id, view_index, draw_index, cad_key, render_key, edge_key, caption_key, image_key and verdict_key
        (None where it did not get so far), status (`made` or `failed`) and, for failed, stage, reason and detail. Keys of
        stages behind the one that failed are not kept: nothing was made under them.
        Samples that were members before and have an image stay, with in_cohort = 0.
        """
        with self.database.writing() as connection:
            return writing.set_cohort(connection, class_name, recipe, run_id, members)

    # -- releases ------------------------------------------------------------------------------------------------------

    def add_release(
        self,
        *,
        name: str,
        format: str,
        query: str,
        digest: str,
        path: Path | str,
        samples: Sequence[Mapping[str, Any]],
        card: Mapping[str, Any] | None = None,
    ) -> Row:
        """Note a release, once: raises ValueError if there is one of that name. Returns its row.

        query: the condition that chose the samples. digest: over the sorted sample ids and their digests. samples: sample_id,
        image_key, sha256, recipe, render_key and verdict_key each.
        """
        row: Row = {
            "name": name,
            "format": format,
            "created_at": journal.now(),
            "query": query,
            "samples": len(samples),
            "digest": digest,
            "path": str(path),
            "card": plain(card),
        }
        columns = [column.name for column in tables.release_samples.columns]
        listed = sorted(({**{c: sample.get(c) for c in columns}, "name": name} for sample in samples), key=_by_sample)
        with self.database.writing() as connection:
            known = sa.select(tables.releases.c.created_at).where(tables.releases.c.name == name)
            if (since := connection.execute(known).scalar()) is not None:
                raise ValueError(f'there is a release "{name}" since {since[:10]}, and releases never change; give another name')
            writing.upsert(connection, tables.releases, [row])
            writing.upsert(connection, tables.release_samples, listed)
        if self.store is not None:
            self.store.put(journal.release(row, listed))
        return row

    def add_release_copy(self, name: str, format: str, path: Path | str) -> None:
        """Note a further folder that holds a release, in its card's `copies`; one that is noted already is no news."""
        table = tables.releases
        with self.database.writing() as connection:
            row: Row = dict(connection.execute(sa.select(table).where(table.c.name == name)).mappings().one())
            card = dict(row["card"] or {})
            copy = {"format": format, "path": str(path)}
            places = [(row["format"], row["path"]), *((known["format"], known["path"]) for known in card.get("copies", ()))]
            if (format, str(path)) in places:
                return
            row["card"] = card | {"copies": [*card.get("copies", ()), copy | {"created_at": journal.now()}]}
            writing.upsert(connection, table, [row])
        if self.store is not None:
            # The samples are in the entry that the release began with.
            self.store.put(journal.release(row, ()))

    def releases(self) -> list[Row]:
        """Return the rows of releases, the oldest first."""
        return self._select(sa.select(tables.releases).order_by(tables.releases.c.created_at))

    def release_samples(self, name: str) -> list[Row]:
        """Return the rows of a release's samples, by sample_id. Raises ValueError if there is no such release."""
        table = tables.release_samples
        names = [row["name"] for row in self.releases()]
        if name not in names:
            raise ValueError(f'no release "{name}"; there are: {", ".join(names) or "none yet"}')
        return self._select(sa.select(table).where(table.c.name == name).order_by(table.c.sample_id, table.c.image_key))

    # -- what others made ----------------------------------------------------------------------------------------------

    def add_foreign_images(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write images that others made, or change what is known of them; return how many.

        A row: image_id (sha256 of the file), origin, class_name and path, and what is known of cad_uid, caption, azimuth_deg,
        elevation_deg, inplane_deg, distance, kept and facts. Give thousands at once: each call is one entry in the journal.
        """
        return self._add_foreign(tables.foreign_images, [{"added_at": journal.now(), **row} for row in rows])

    def foreign_images(self, origin: str | None = None, class_name: str | None = None) -> list[Row]:
        """Return the rows of images that others made (of one origin, of one class), by class and path."""
        table = tables.foreign_images
        statement = sa.select(table).order_by(table.c.class_name, table.c.path)
        if origin is not None:
            statement = statement.where(table.c.origin == origin)
        if class_name is not None:
            statement = statement.where(table.c.class_name == class_name)
        return self._select(statement)

    def add_foreign_captions(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write captions that others wrote: origin, class_name, number, prompt and, where known, cad_uid; return how many."""
        return self._add_foreign(tables.foreign_captions, rows)

    def _add_foreign(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
        complete = [{column.name: plain(row.get(column.name)) for column in table.columns} for row in rows]
        if not complete:
            return 0
        with self.database.writing() as connection:
            writing.upsert(connection, table, complete)
        if self.store is not None:
            self.store.put(journal.foreign(table.name, complete))
        return len(complete)

    def _select(self, statement: sa.Select[Any]) -> list[Row]:
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]


def _by_sample(row: Row) -> tuple[str, str]:
    return row["sample_id"], row["image_key"]


def _cad_row(
    *,
    cad_id: str,
    class_name: str,
    source: str,
    name: str | None = None,
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
) -> Row:
    if status not in CAD_STATUSES:
        raise ValueError(f"a CAD model is {', '.join(CAD_STATUSES)}, not {status}")
    facts = dict(facts or {})
    return {
        "class_name": class_name,
        "cad_id": cad_id,
        "name": name or Path(source).stem,
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
    }


def _run_row(connection: sa.Connection, run_id: str) -> Row:
    found = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().one_or_none()
    if found is None:
        raise ValueError(f'no run "{run_id}" in the catalog; see: dst status')
    return {str(name): value for name, value in found.items()}
