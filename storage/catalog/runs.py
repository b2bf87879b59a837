"""The room of runs: one class, one recipe, one flow run each; who is at work, and how it ended."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import before_0004, before_0005, cohorts, journal, liveness, tables, writing
from storage.catalog.database import CatalogError
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain

STATUSES = ("running", "complete", "invalid", "stopped", "failed", "crashed")
"""stopped: told to, by a person or the machine. failed: by an error. crashed: its process was killed."""


class RunGoing(CatalogError):
    """A run of the same class and recipe is going on, which makes the same samples."""

    def __init__(self, row: Row) -> None:
        self.row = row
        super().__init__(
            f"run {row['run_id'][:8]} of {row['class_name']}, recipe {row['recipe']}, is going on since {row['started_at'][:19]} "
            f"on {row['host']}, process {row['pid']}"
        )


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run itself made, and what that took."""

    made: Mapping[str, int]
    """Stage -> artifacts; what failed is not among them, and stages of which it tried none are not there."""
    seconds: Mapping[str, float]
    """Stage -> seconds of work, also on what failed."""
    waited: Mapping[str, float]
    """Stage -> seconds behind others before that work: for a renderer, a device."""


class Runs(Room):
    """Runs, from their beginning to what their summary says."""

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
            "flow_run_id": flow_run_id,
            "flow_run_url": flow_run_url,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": journal.now(),
            "runtime": plain(runtime or {}),
            "parent_run": parent_run,
            "kind": kind,
            **dict.fromkeys(("reason", "finished_at", "seconds", "waited", "counts", "docs_path", "entry")),
        }
        with self.database.writing() as connection:
            row["heartbeat_at"] = liveness.clock(connection)
            _bury_the_dead(connection)
            going = _going(connection, row) if alone else None
            if going is None:
                writing.ensure_class(connection, class_name)
                (row["number"],) = writing.numbers(connection)
                writing.upsert(connection, tables.runs, [row])
        if going is not None:
            raise RunGoing(going)
        return str(row["run_id"])

    def bury_the_dead(self) -> list[Row]:
        """Mark running runs whose process is gone (here: by its pid; elsewhere: no heartbeat) as crashed; return their rows."""
        with self.database.writing() as connection:
            return _bury_the_dead(connection)

    def now(self) -> str:
        """Return the time by the clock that heartbeats are said by."""
        with self.database.reading() as connection:
            return liveness.clock(connection)

    def heartbeat(self, run_id: str) -> None:
        """Note that a run is alive."""
        table = tables.runs
        with self.database.writing() as connection:
            connection.execute(sa.update(table).where(table.c.run_id == run_id).values(heartbeat_at=liveness.clock(connection)))

    def finish_run(
        self,
        run_id: str,
        *,
        status: str,
        reason: str | None = None,
        seconds: Mapping[str, float] | None = None,
        waited: Mapping[str, float] | None = None,
        counts: Mapping[str, Any] | None = None,
        docs_path: str | None = None,
    ) -> Row:
        """Note how a run ended: complete, invalid (with the reason), stopped, failed or crashed; return its row.

        seconds: stage -> seconds of work, waited: stage -> seconds behind others, see `work_of`. counts: what the run's summary
        says (made, failed by reason, kept, ...).
        """
        if status not in STATUSES:
            raise ValueError(f"a run is {', '.join(STATUSES)}, not {status}")
        table = tables.runs
        ended = {"status": status, "reason": reason, "docs_path": docs_path, "finished_at": journal.now()}
        said = {"seconds": plain(seconds), "waited": plain(waited), "counts": plain(counts)}
        with self.database.writing() as connection:
            (number,) = writing.numbers(connection)
            connection.execute(sa.update(table).where(table.c.run_id == run_id).values(**ended, **said, entry=number))
            row = _row(connection, run_id)
            members = cohorts.left_by(connection, row)
            unfinished = not cohorts.left_a_cohort(connection, row)
        self._note(journal.run(row, members, unfinished=unfinished))
        return row

    def work_of(self, run_id: str) -> Work:
        """Return what a run has made and what that took, by stage, from the rows of the artifacts that it made."""
        artifact = tables.artifacts.c
        total = (sa.func.sum(artifact[name]).label(name) for name in ("seconds", "waited"))
        made = sa.func.sum(sa.case((artifact.status == "made", 1), else_=0)).label("made")
        mine = sa.select(artifact.stage, made, *total).where(artifact.made_by == run_id).group_by(artifact.stage)
        rows = self._select(mine.order_by(artifact.stage))
        return Work(
            made={row["stage"]: int(row["made"]) for row in rows},
            **{name: {r["stage"]: round(r[name], 3) for r in rows if r[name] is not None} for name in ("seconds", "waited")},
        )

    def runs(self, class_name: str | None = None, limit: int | None = None, kind: str | None = None) -> list[Row]:
        """Return the rows of runs (of one class, of one kind), the newest first."""
        table = tables.runs
        statement = sa.select(table).order_by(*_newest_first()).limit(limit)
        for name, value in (("class_name", class_name), ("kind", kind)):
            if value is not None:
                statement = statement.where(table.c[name] == value)
        return self._select(statement)

    def run(self, run_id: str) -> Row:
        """Return the row of one run. Raises ValueError."""
        with self.database.reading() as connection:
            return _row(connection, run_id)

    def run_changes(self, from_run: str, to_run: str) -> list[Row]:
        """Return the rows of the view `run_changes` of two runs, by sample_id: one for each sample that either of them listed."""
        sql = "SELECT * FROM run_changes WHERE from_run = :from_run AND to_run = :to_run ORDER BY sample_id"
        return self._select(sa.text(sql).bindparams(from_run=from_run, to_run=to_run))

    def recipes_run(self) -> list[str]:
        """Return the names of the recipes that there are runs under; none before there is a catalog."""
        run = tables.runs.c
        known = sa.select(run.recipe).where(run.kind == "generate").distinct().order_by(run.recipe)
        return [str(row["recipe"]) for row in self._select(known)] if self.database.exists else []

    def any_run_since(self, moment: str) -> bool:
        """Say whether a run is going on, or ended at or after a moment (UTC, ISO 8601)."""
        run = tables.runs.c
        during = sa.select(run.run_id).where(sa.or_(run.status == "running", run.finished_at >= moment)).limit(1)
        return bool(self._select(during))

    def unwritten_runs(self) -> list[Row]:
        """Return the rows of the runs that crashed and of whose work nobody has written down anything yet."""
        run = tables.runs.c
        dead = sa.select(tables.runs).where(run.status == "crashed", run.entry.is_(None), run.number.is_not(None))
        return self._select(dead.order_by(run.number))

    def crashed_flow_runs(self, since: str) -> dict[str, str]:
        """Return flow run -> reason of the runs that crashed after a moment (UTC, ISO 8601), as far as Prefect knew them."""
        run = tables.runs.c
        found = sa.select(run.flow_run_id, run.reason).where(run.status == "crashed", run.finished_at > since)
        return {row["flow_run_id"]: row["reason"] for row in self._select(found.where(run.flow_run_id.is_not(None)))}


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the row of a finished run and make what it left behind the cohort; return how many rows were written."""
    row = _row_of(record)
    known = connection.execute(sa.select(tables.runs.c.finished_at).where(tables.runs.c.run_id == row["run_id"])).scalar()
    if known is not None and not known_too:
        return 0
    writing.ensure_class(connection, row["class_name"], row["started_at"])
    writing.upsert(connection, tables.runs, [row])
    members = _members_of(connection, record)
    if not members:
        # A preview, or a run that failed before it had a cohort: the one that was there stayed.
        return 1
    write = cohorts.add if record.values.get("unfinished") else cohorts.write
    return 1 + write(connection, row["class_name"], row["recipe"], row["run_id"], members)


def take_up_members(connection: sa.Connection, record: Record) -> None:
    """Note who were the samples of a run of which the catalog knows nothing but its row."""
    run_id = record.inputs["run_id"]
    if connection.execute(sa.select(tables.runs.c.run_id).where(tables.runs.c.run_id == run_id)).first() is not None:
        cohorts.note_members(connection, run_id, _members_of(connection, record))


def _row_of(record: Record) -> Row:
    said = {"heartbeat_at": None, "parent_run": None, "kind": "generate", **record.values["row"]}
    return before_0005.run_today(before_0004.run_today(said))


def _members_of(connection: sa.Connection, record: Record) -> list[Row]:
    """Return the members that an entry lists. A first run whose own entry was lost is not known: then it is this one."""
    members = journal.members_of(record)
    first = {member["first_run_id"] for member in members} - {record.inputs["run_id"]}
    known = set(connection.scalars(sa.select(tables.runs.c.run_id).where(tables.runs.c.run_id.in_(first)))) if first else set()
    for member in members:
        if member["first_run_id"] not in known:
            member["first_run_id"] = record.inputs["run_id"]
    return members


def _newest_first() -> tuple[sa.ColumnElement[Any], ...]:
    """Return the order of runs, those that began last first: by number, as a clock may have gone back; older ones by time."""
    run = tables.runs.c
    return sa.func.coalesce(run.number, 0).desc(), run.started_at.desc()


def _bury_the_dead(connection: sa.Connection) -> list[Row]:
    table = tables.runs
    running = connection.execute(sa.select(table).where(table.c.status == "running")).mappings()
    buried: list[Row] = []
    now = liveness.clock(connection)
    for row in running.all():
        if (reason := liveness.death(dict(row), now)) is not None:
            changes = {"status": "crashed", "reason": reason, "finished_at": journal.now()}
            connection.execute(sa.update(table).where(table.c.run_id == row["run_id"]).values(changes))
            buried.append({**row, **changes})
    return buried


def _going(connection: sa.Connection, run: Row) -> Row | None:
    """Return another running run of the same class, recipe and kind, or None."""
    table = tables.runs
    same = [table.c[name] == run[name] for name in ("class_name", "recipe", "kind")]
    found = sa.select(table).where(table.c.status == "running", table.c.run_id != run["run_id"], *same)
    row = connection.execute(found.order_by(table.c.started_at)).mappings().first()
    return dict(row) if row is not None else None


def _row(connection: sa.Connection, run_id: str) -> Row:
    found = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().one_or_none()
    if found is None:
        raise ValueError(f'no run "{run_id}" in the catalog; see: dst status')
    return {str(name): value for name, value in found.items()}
