"""What a finished run is found to rest on: its files on disk and its poses, as rows.

Enters: a run whose cohort is set, and the store. Leaves: rows in `file_checks` and `coverage_checks`. Great Expectations sees
tables, not files: what it is to judge has to be a column first.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import RECORD, ArtifactStore
from storage.catalog import tables, writing
from storage.catalog.coverage import compare, promises
from storage.catalog.database import Database

Row = dict[str, Any]

_KEYS = ("cad_key", "render_key", "edge_key", "caption_key", "image_key", "verdict_key")


def note(database: Database, run_id: str, store: ArtifactStore) -> None:
    """Look at every file and every pose that the run's cohort rests on, and write down what was found."""
    with database.reading() as connection:
        files = list(_files(connection, run_id, store))
        poses = list(_coverage(connection, run_id))
    with database.writing() as connection:
        for table, rows in ((tables.file_checks, files), (tables.coverage_checks, poses)):
            connection.execute(sa.delete(table).where(table.c.run_id == run_id))
            writing.upsert(connection, table, rows)


def _files(connection: sa.Connection, run_id: str, store: ArtifactStore) -> Iterator[Row]:
    members, artifacts = tables.members, tables.artifacts
    used = sa.select(*(members.c[name] for name in _KEYS)).where(members.c.run_id == run_id, members.c.in_cohort == 1)
    keys = sorted({key for row in connection.execute(used) for key in row if key})
    known: dict[str, Any] = {}
    for start in range(0, len(keys), 500):
        of_these = sa.select(artifacts).where(artifacts.c.key.in_(keys[start : start + 500]))
        known.update((row.key, row) for row in connection.execute(of_these))
    for key in keys:
        if key not in known:
            yield _finding(run_id, key, RECORD, "", "the catalog has no row for this artifact", present=False)
            continue
        stage, expected = known[key].stage, known[key].files
        folder = store.folder(stage, key)
        there = (folder / RECORD).is_file()
        yield _finding(run_id, key, RECORD, stage, None if there else f"{folder / RECORD} is missing", present=there)
        for name, facts in expected.items():
            yield _compared(run_id, key, stage, folder / name, facts["sha256"])


def _compared(run_id: str, key: str, stage: str, path: Path, expected: str) -> Row:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return _finding(run_id, key, path.name, stage, f"{path} is missing", present=False)
    problem = None if found == expected else f"{path} is not what was written (digest differs)"
    return _finding(run_id, key, path.name, stage, problem, present=True)


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
