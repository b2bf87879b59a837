"""The room of artifacts: rows made from their records, the catalog restored from the store, and questions about single ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import sqlalchemy as sa

from storage.artifacts import Artifact, Record
from storage.catalog import cad_models, decisions, journal, others, quarantine, releases, runs, schema, tables, tags, writing
from storage.catalog.database import CatalogError
from storage.catalog.index import Indexer, Row, Rows
from storage.catalog.room import Room

BATCH = 100_000
"""Rows written at once: bounds memory, not the transaction."""

DERIVED = (
    tables.scores, tables.verdicts, tables.verdict_scores, tables.filters, tables.image_controls, tables.images, tables.captions,
    tables.controls, tables.views, tables.artifacts, tables.specs,
)  # fmt: skip
"""Tables whose every row comes from the record of an artifact."""

_REPLAYS = {
    journal.REGISTRATION: cad_models.replay,
    journal.QUARANTINE: quarantine.replay,
    journal.RUN: runs.replay,
    journal.DECISION: decisions.replay,
    journal.RELEASE: releases.replay,
    journal.FOREIGN: others.replay,
    journal.TAG: tags.replay,
}


class Artifacts(Room):
    """Rows of everything that was made."""

    def migrate(self) -> bool:
        """Make the catalog or bring it to the current schema; return whether there was anything to do."""
        return schema.migrate(self.database, self._take_up)

    def index(self, items: Iterable[Record | Artifact]) -> int:
        """Write the rows of records of any stage, in one transaction; return how many rows those are.

        Rows are keyed by artifact key, so indexing again changes nothing. The rows of a verdict are made from its verdicts.json:
        it is given as an Artifact, to a catalog that has a store.
        """
        with self.database.writing() as connection:
            return self._index(connection, items)

    def rebuild(self, items: Iterable[Record | Artifact]) -> int:
        """Restore the rows from all of the store's records, in one transaction; return how many were written.

        What artifacts say replaces what was there. Registrations and runs are set back to what the journal says of them; those it
        does not know (a run that is going on) stay. Readers see the old rows until the new ones are complete. Raises CatalogError
        when there is no record at all: a disk that is not mounted is no reason to forget everything.
        """
        found = iter(items)
        first = next(found, None)
        if first is None:
            where = f" in {self.store.where}" if self.store is not None else ""
            raise CatalogError(f"there is no artifact{where} to restore from: nothing was changed; is DST_HOME the right folder?")
        self.migrate()
        with self.database.writing() as connection:
            for table in DERIVED:
                connection.execute(sa.delete(table))
            return self._index(connection, chain([first], found), replay_known=True)

    def record(self, key: str) -> Record | None:
        """Return an artifact's record as its rows tell it (without what was found out while making it), or None."""
        artifact, spec = tables.artifacts, tables.specs
        joined = sa.select(artifact, spec.c.spec).join(spec, spec.c.spec_key == artifact.c.spec_key)
        found = self._select(joined.where(artifact.c.key == key))
        if not found:
            return None
        names = ("key", "stage", "version", "spec", "inputs", "reason", "detail", "runtime", "files", "created_at")
        return Record(outcome=found[0]["status"], **{name: found[0][name] for name in names})

    def prompts(self, class_name: str) -> list[tuple[str, str]]:
        """Return (prompt, sample) of every sample of a class that has a caption, in order of the samples."""
        sample, caption = tables.members.c, tables.captions.c
        joined = tables.members.join(tables.captions, caption.caption_key == sample.caption_key)
        asked = sa.select(caption.prompt, sample.sample_id).select_from(joined).where(sample.class_name == class_name)
        found = self._select(asked.where(caption.prompt.is_not(None)).distinct().order_by(sample.sample_id, caption.prompt))
        return [(row["prompt"], row["sample_id"]) for row in found]

    def mean_bytes(self, stage: str, spec_key: str, of_at_most: int = 500) -> float | None:
        """Return the mean size of artifacts that a stage made under a spec, or None where it made none."""
        artifact = tables.artifacts.c
        some = sa.select(artifact.bytes).where(artifact.stage == stage, artifact.spec_key == spec_key, artifact.status == "made")
        (row,) = self._select(sa.select(sa.func.avg(some.limit(of_at_most).subquery().c.bytes).label("mean")))
        return None if row["mean"] is None else float(row["mean"])

    def view_of(self, render_key: str) -> Row | None:
        """Return class_name, cad_id and view_index of a render, or None."""
        view = tables.views.c
        found = self._select(sa.select(view.class_name, view.cad_id, view.view_index).where(view.render_key == render_key))
        return found[0] if found else None

    def _index(self, connection: sa.Connection, items: Iterable[Record | Artifact], replay_known: bool = False) -> int:
        kind = sa.select(tables.controls.c.kind)
        indexer = Indexer(self._read, lambda key: connection.execute(kind.where(tables.controls.c.control_key == key)).scalar())
        entries: list[Record] = []
        rows, written = Rows(), 0
        names: set[str] = set()
        for item in items:
            record = item.record if isinstance(item, Artifact) else item
            if record.stage in journal.JOURNAL:
                entries.append(record)
            else:
                indexer.add(rows, item)
            if len(rows) >= BATCH:
                written, rows = written + _write(connection, rows, names), Rows()
        written += _write(connection, rows, names)
        for record in journal.in_order(entries):
            written += _REPLAYS[record.stage](connection, record, replay_known)
        writing.count_from(connection, max(map(journal.number, entries), default=0))
        cad_models.fill_in_facts(connection, indexer.cad_facts)
        schema.show_scores(connection, names)
        return written

    def _take_up(self, connection: sa.Connection) -> None:
        """Read what the journal knows and a catalog that has just come to this schema does not: numbers, and who listed what."""
        if self.store is None or writing.counts(connection):
            return
        last = 0
        for stage in journal.JOURNAL:
            for artifact in self.store.records(stage):
                last = max(last, journal.number(artifact.record))
                if stage == journal.RUN:
                    runs.take_up_members(connection, artifact.record)
        writing.count_from(connection, last)

    def _read(self, artifact: Artifact, name: str) -> bytes:
        if self.store is None:
            raise ValueError(
                f"the rows of {artifact.record.stage} {artifact.key[:12]} are made from its {name}: a store is needed"
            )
        return self.store.read(artifact, name)


def _write(connection: sa.Connection, rows: Rows, names: set[str]) -> int:
    for table in Rows.ORDER:
        writing.upsert(connection, table, rows.of(table))
    names.update(row["name"] for row in rows.of(tables.scores))
    return len(rows)
