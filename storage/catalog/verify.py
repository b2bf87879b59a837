"""Do catalog and store say the same? Every difference by name.

Enters: a catalog, its store. Leaves: Differences, in an order that does not depend on the database. The store is the truth: what
differs in the catalog is mended by `dst catalog rebuild`, what is missing in the store by running the class again. Both sides are
read along the same order of stage and key, a few hundred artifacts at once, so size costs time and no memory.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import RECORD, Artifact, ArtifactError, ArtifactStore, DamagedArtifact, MissingFile, at
from storage.catalog import address, before_0004, journal, tables
from storage.catalog.catalog import Catalog
from storage.catalog.index import Indexer, Row, Rows
from storage.stages import OF_A_SAMPLE

_AT_ONCE = 400
_COHORTS_AT_ONCE = 4
"""A verdict has rows for each image of a cohort."""
_DERIVED = {
    "render": (tables.views,),
    "control": (tables.controls,),
    before_0004.EDGE: (tables.controls,),
    "caption": (tables.captions,),
    "image": (tables.images, tables.image_controls),
    "verdict": (tables.filters, tables.verdict_scores, tables.verdicts, tables.scores),
}
"""Stage -> the tables of rows that come from its records, besides `artifacts`."""
_JOURNALLED = (
    tables.cad_models, tables.runs, tables.run_members, tables.quarantine, tables.releases, tables.release_samples,
    tables.foreign_images, tables.foreign_captions, tables.tags, tables.decisions,
)  # fmt: skip
_NOT_WRITTEN_DOWN = {"heartbeat_at"}
"""Columns that only the catalog knows."""
_KEYS = tuple(f"{stage}_key" for stage in (*OF_A_SAMPLE, "verdict"))


@dataclass(frozen=True, kw_only=True, order=True)
class Difference:
    """One thing on which catalog and store disagree."""

    kind: str
    """no_row, no_artifact, other_value, missing_file, damaged_file, strange_file, damaged_record, orphan or no_entry."""
    where: str
    """Which artifact, row or file."""
    what: str
    """One line: what is wrong."""
    made_by: str | None = field(default=None, compare=False)
    """For an artifact without a row: the run that made it, if its record says so."""

    def __str__(self) -> str:
        return f"{self.kind:<14} {self.where}  {self.what}"


Tell = Callable[[int], None]
_CAME_TO_ITS_END = ("complete", "invalid")
"""Of any other run, an artifact without a row is no difference: the run writes it when it ends, or the next one of its class."""


def verify(
    catalog: Catalog,
    store: ArtifactStore,
    *,
    digests: bool = True,
    tell: Tell = lambda count: None,
    unwritten: Callable[[str], None] = lambda run_id: None,
) -> Iterator[Difference]:
    """Yield every difference. digests: read every file's bytes, else compare sizes only. tell(artifacts seen so far).

    unwritten(run) is called for each artifact without a row that is no difference: its run is going on, or was broken off, and
    what it made is written down by it or by the next.
    """
    left = {row["run_id"] for row in catalog.runs() if row["status"] not in _CAME_TO_ITS_END}
    for difference in _artifacts(catalog, store, digests, tell):
        if difference.kind == "no_row" and difference.made_by in left:
            unwritten(str(difference.made_by))
        else:
            yield difference
    yield from _journalled(catalog, store)
    yield from _orphans(catalog)


def _artifacts(catalog: Catalog, store: ArtifactStore, digests: bool, tell: Tell) -> Iterator[Difference]:
    seen = 0
    stages = [stage for stage in store.stages() if stage not in journal.JOURNAL]
    for stage in stages:
        keys, last = store.keys(stage), ""
        while batch := list(islice(keys, _COHORTS_AT_ONCE if stage == "verdict" else _AT_ONCE)):
            yield from _compare(catalog, store, stage, batch, last, batch[-1], digests)
            seen, last = seen + len(batch), batch[-1]
            tell(seen)
        yield from _compare(catalog, store, stage, [], last, None, digests)
    table = tables.artifacts
    for key, stage in _rows(catalog, sa.select(table.c.key, table.c.stage).where(table.c.stage.not_in(stages))):
        yield _lost(stage, key)


def _compare(
    catalog: Catalog, store: ArtifactStore, stage: str, keys: Sequence[str], after: str, until: str | None, digests: bool
) -> Iterator[Difference]:
    """Compare the artifacts of some keys with the rows whose keys lie in the same range: after < key <= until."""
    table = tables.artifacts
    of_range = [table.c.stage == stage]
    if after:
        of_range.append(table.c.key > after)
    if until is not None:
        of_range.append(table.c.key <= until)
    known = {str(key) for (key,) in _rows(catalog, sa.select(table.c.key).where(*of_range))}
    indexer, expected = Indexer(store.read, lambda key: _kind_of(store, key)), Rows()
    readable: list[Artifact] = []
    unreadable: set[str] = set()
    for key in keys:
        where = f"{stage}/{key[:12]}"
        try:
            artifact = store.get(stage, key)
        except ArtifactError as error:
            yield Difference(kind="damaged_record", where=where, what=str(error))
            known.discard(key)
            continue
        readable.append(artifact)
        yield from _files(store, artifact, where, digests)
        if key in known:
            try:
                indexer.add(expected, artifact)
            except (ArtifactError, ValueError):
                # Its verdicts.json, the one file that rows are made from, is gone or damaged: said above.
                unreadable.add(key)
        else:
            what = "the catalog has no row for this artifact"
            yield Difference(kind="no_row", where=where, what=what, made_by=artifact.record.runtime.get("run"))
    there = {artifact.key for artifact in readable}
    for key in sorted(known - there):
        yield _lost(stage, key)
    yield from _values(catalog, stage, expected, sorted((known & there) - unreadable))


def _kind_of(store: ArtifactStore, control_key: str) -> str | None:
    try:
        return before_0004.kind(store.get(before_0004.EDGE, control_key).record.spec)
    except ArtifactError:
        return None


def _lost(stage: str, key: str) -> Difference:
    return Difference(
        kind="no_artifact", where=f"{stage}/{key[:12]}", what="the catalog has a row, the store has no such artifact"
    )


def _files(store: ArtifactStore, artifact: Artifact, where: str, digests: bool) -> Iterator[Difference]:
    recorded = artifact.record.files
    for name, facts in recorded.items():
        try:
            store.check(store.address(artifact, name), facts, digest=digests)
        except DamagedArtifact as error:
            kind = "missing_file" if isinstance(error, MissingFile) else "damaged_file"
            yield Difference(kind=kind, where=f"{where}/{name}", what=str(error))
    for name in store.names(at(artifact.record.stage, artifact.key)):
        if name != RECORD and name not in recorded:
            what = f"{store.where}/{store.address(artifact, name)} is in no record"
            yield Difference(kind="strange_file", where=f"{where}/{name}", what=what)


def _values(catalog: Catalog, stage: str, expected: Rows, keys: Sequence[str]) -> Iterator[Difference]:
    """Compare every column of the rows that come from these artifacts."""
    compared = set(keys)
    for table in (tables.artifacts, *_DERIVED.get(stage, ())):
        first = next(iter(table.primary_key.columns))
        wanted = {_key(table, row): row for row in expected.of(table) if row[first.name] in compared}
        found = {_key(table, row): row for row in _dicts(catalog, sa.select(table).where(first.in_(keys)))} if keys else {}
        yield from _rows_compared(table, wanted, found, "its record")


def _rows_compared(
    table: sa.Table, wanted: Mapping[tuple[Any, ...], Row], found: Mapping[tuple[Any, ...], Row], source: str
) -> Iterator[Difference]:
    for key in sorted({*wanted, *found}, key=str):
        where = f"{table.name}/{'/'.join(str(part)[:40] for part in key)}"
        if key not in found:
            yield Difference(kind="no_row", where=where, what=f"{source} says there is one, the catalog has no such row")
        elif key not in wanted:
            yield Difference(kind="no_entry", where=where, what=f"the catalog has a row that {source} does not know")
        else:
            for name in wanted[key]:
                mine, theirs = found[key][name], wanted[key][name]
                if name not in _NOT_WRITTEN_DOWN and _plain(mine) != _plain(theirs):
                    what = f"{name} is {_short(mine)}, {source} says {_short(theirs)}"
                    yield Difference(kind="other_value", where=where, what=what)


def _journalled(catalog: Catalog, store: ArtifactStore) -> Iterator[Difference]:
    """Compare what people and runs did with the journal: replayed into an empty catalog, it gives the rows there should be."""
    with tempfile.TemporaryDirectory(prefix="dst-verify-") as folder:
        replayed = Catalog(address.of_file(Path(folder, "journal.sqlite")))
        replayed.migrate()
        replayed.index(record for stage in ("cad", *journal.JOURNAL) for record in store.records(stage))
        unfinished = {row["run_id"] for row in catalog.runs() if row["status"] in ("running", "crashed")}
        for table in _JOURNALLED:
            wanted = {_key(table, row): row for row in _dicts(replayed, sa.select(table))}
            found = {_key(table, row): row for row in _dicts(catalog, sa.select(table))}
            if table in (tables.runs, tables.run_members):
                # A run writes itself down when it ends; one that was killed has not yet.
                found = {key: row for key, row in found.items() if key in wanted or row["run_id"] not in unfinished}
            yield from _rows_compared(table, wanted, found, "the journal")
        member = tables.members
        for class_name, recipe in _cohorts(replayed, catalog):
            of_cohort = sa.select(member).where(member.c.class_name == class_name, member.c.recipe == recipe)
            found = {_key(member, row): row for row in _dicts(catalog, of_cohort)}
            if not unfinished.isdisjoint(row["run_id"] for row in found.values()):
                continue
            yield from _rows_compared(member, {_key(member, r): r for r in _dicts(replayed, of_cohort)}, found, "the journal")


def _cohorts(*catalogs: Catalog) -> list[tuple[str, str]]:
    member = tables.members
    distinct = sa.select(member.c.class_name, member.c.recipe).distinct()
    return sorted({(str(name), str(recipe)) for catalog in catalogs for name, recipe in _rows(catalog, distinct)})


def _orphans(catalog: Catalog) -> Iterator[Difference]:
    """Yield rows that refer to an artifact of which the catalog knows nothing."""
    artifact = tables.artifacts
    refer: list[tuple[sa.Table, str, str]] = [(tables.members, name, "sample_id") for name in _KEYS]
    refer += [(tables.release_samples, name, "sample_id") for name in ("image_key", "render_key", "verdict_key")]
    refer += [(tables.cad_models, "cad_key", "cad_id"), (tables.decisions, "verdict_key", "name")]
    for table, name, label in refer:
        column = table.c[name]
        statement = (
            sa.select(table.c[label], column)
            .select_from(table.outerjoin(artifact, artifact.c.key == column))
            .where(column.is_not(None), artifact.c.key.is_(None))
        )
        for said, key in sorted(map(tuple, _rows(catalog, statement))):
            what = f"its {name} {str(key)[:12]} is no artifact that the catalog knows"
            yield Difference(kind="orphan", where=f"{table.name}/{said}", what=what)


def _key(table: sa.Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key)


def _dicts(catalog: Catalog, statement: sa.Select[Any]) -> list[Row]:
    with catalog.database.reading() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def _rows(catalog: Catalog, statement: sa.Select[Any]) -> list[Any]:
    with catalog.database.reading() as connection:
        return list(connection.execute(statement).all())


def _plain(value: Any) -> Any:
    # Rows and records spell numbers alike only after JSON: 1 and 1.0, tuples and lists.
    return json.loads(json.dumps(value, sort_keys=True))


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
