"""What a finished run is found to rest on: its files in the store and its poses, as rows.

Enters: a run whose cohort is set, and the store. Leaves: rows in `file_checks` and `coverage_checks`. Great Expectations sees
tables, not files: what it is to judge has to be a column first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from storage.artifacts import RECORD, ArtifactStore, DamagedArtifact, MissingFile, at
from storage.catalog import tables, writing
from storage.catalog.coverage import compare, promises
from storage.catalog.database import Database
from storage.catalog.index import Row
from storage.stages import OF_A_SAMPLE


def note(database: Database, run_id: str, store: ArtifactStore) -> None:
    """Look at every file and every pose that the run's cohort rests on, and write down what was found."""
    with database.reading() as connection:
        files = list(_files(connection, run_id, store))
        poses = list(_coverage(connection, run_id))
    with database.writing() as connection:
        for table, rows in ((tables.file_checks, files), (tables.coverage_checks, poses)):
            connection.execute(sa.delete(table).where(table.c.run_id == run_id))
            writing.upsert(connection, table, rows)


def _keys(connection: sa.Connection, run_id: str) -> list[str]:
    """Return the keys of all artifacts that the samples of a run's cohort, and what was decided of them, rest on."""
    member, score = tables.members.c, tables.verdict_scores.c
    mine = sa.and_(member.run_id == run_id, member.in_cohort == 1)
    names = [f"{stage}_key" for stage in OF_A_SAMPLE if stage != "control"] + ["verdict_key"]
    keys: set[str] = set()
    for controls, *row in connection.execute(sa.select(member.controls, *(member[name] for name in names)).where(mine)):
        keys |= {key for key in (*(controls or {}).values(), *row) if key}
    verdicts = sa.select(member.verdict_key).where(mine, member.verdict_key.is_not(None)).distinct()
    keys |= set(connection.scalars(sa.select(score.score_key).where(score.verdict_key.in_(verdicts))))
    return sorted(keys)


def _files(connection: sa.Connection, run_id: str, store: ArtifactStore) -> Iterator[Row]:
    artifact = tables.artifacts.c
    keys = _keys(connection, run_id)
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        of_these = sa.select(artifact.key, artifact.stage, artifact.files).where(artifact.key.in_(some))
        known = {row.key: row for row in connection.execute(of_these)}
        for key in some:
            if key not in known:
                yield _finding(run_id, key, RECORD, "", "the catalog has no row for this artifact", present=False)
                continue
            stage, files = known[key].stage, known[key].files
            there = RECORD in store.names(at(stage, key))
            missing = None if there else f"{store.where}/{at(stage, key)}/{RECORD} is missing"
            yield _finding(run_id, key, RECORD, stage, missing, present=there)
            for name, facts in files.items():
                yield _compared(run_id, key, stage, name, facts, store)


def _compared(run_id: str, key: str, stage: str, name: str, facts: Mapping[str, Any], store: ArtifactStore) -> Row:
    try:
        store.check(f"{at(stage, key)}/{name}", facts)
    except MissingFile as error:
        return _finding(run_id, key, name, stage, str(error), present=False)
    except DamagedArtifact as error:
        return _finding(run_id, key, name, stage, str(error), present=True)
    return _finding(run_id, key, name, stage, None, present=True)


def _finding(run_id: str, key: str, file: str, stage: str, problem: str | None, *, present: bool) -> Row:
    return {
        "run_id": run_id,
        "key": key,
        "file": file,
        "stage": stage,
        "present": int(present),
        "digest_right": int(problem is None),
        "problem": problem,
    }


def _coverage(connection: sa.Connection, run_id: str) -> Iterator[Row]:
    views, members, specs = tables.views, tables.members, tables.specs
    rendered = (
        sa.select(views)
        .where(
            views.c.render_key.in_(sa.select(members.c.render_key).where(members.c.run_id == run_id, members.c.in_cohort == 1)),
            views.c.status == "made",
        )
        .order_by(views.c.spec_key, views.c.render_key)
    )
    groups: dict[str | None, list[Any]] = {}
    for row in connection.execute(rendered):
        groups.setdefault(row.spec_key, []).append(row._mapping)
    # Without a spec there is no promise to compare with; the expectation on provenance says so.
    groups.pop(None, None)
    for spec_key, poses in groups.items():
        spec: Any = connection.execute(sa.select(specs.c.spec).where(specs.c.spec_key == spec_key)).scalar_one()
        for promise in promises(spec["viewpoint"]):
            finding = compare(promise, [pose[promise.quantity] for pose in poses])
            yield {"run_id": run_id, "spec_key": spec_key, **dataclasses.asdict(finding)}
