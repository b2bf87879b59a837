"""The room of cohorts: the samples a class consists of under a recipe, past and present, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.catalog import tables, writing
from storage.catalog.before_0004 import EDGE
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain
from storage.stages import OF_A_SAMPLE, behind

_AT_ONCE = 400
_COUNTED = ("class_name", "recipe", "cad_id", "cad_key", "status", "stage", "reason")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the rules made of a cohort's images."""

    kept: int = 0
    """Images that no rule dropped."""
    dropped: int = 0
    """Images that some rule dropped."""
    not_judged: int = 0
    """Images that no rule could judge."""


class Cohorts(Room):
    """Cohorts and their members."""

    def set_cohort(self, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
        """Make `members` the cohort of a class under a recipe, all at once; return how many they are.

        A member: sample_id, cad_id, view_index, draw_index, cad_key, render_key, controls (kind -> key), caption_key, image_key
        and verdict_key (None where it did not get so far), status (`made` or `failed`) and, for failed, stage, reason and detail.
        control_key: the control that stands for all of them; left out, the first in order of kind. Keys of stages behind the one
        that failed are not kept: nothing was made under them.
        Samples that were members before and have an image stay, with in_cohort = 0. That the run listed them is kept for ever.
        """
        with self.database.writing() as connection:
            return write(connection, class_name, recipe, run_id, members)

    def add_to_run(self, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
        """Note the samples that a run had finished when it ended before its time; the class's cohort stays as it is.

        members: as in `set_cohort`. Those that are new have in_cohort = 0.
        """
        with self.database.writing() as connection:
            if left_a_cohort(connection, {"run_id": run_id, "class_name": class_name, "recipe": recipe}):
                # It broke off behind that, while it was checked.
                return 0
            return add(connection, class_name, recipe, run_id, members)

    def complete_run(
        self, class_name: str, recipe: str, recipe_specs: Mapping[str, Any], images: Mapping[str, str | None]
    ) -> str | None:
        """Return the complete run that left exactly this cohort behind, or None: then there is something to do.

        images: sample_id -> image_key, or None for a sample that failed.
        """
        run, member = tables.runs.c, tables.members.c
        if self.database.schema is None:
            return None
        rows = self._select(sa.select(member.run_id, member.sample_id, member.image_key).where(_present(class_name, recipe)))
        run_ids = {row["run_id"] for row in rows}
        if len(run_ids) != 1 or {row["sample_id"]: row["image_key"] for row in rows} != dict(images):
            return None
        (run_id,) = run_ids
        (found,) = self._select(sa.select(run.status, run.recipe_specs).where(run.run_id == run_id))
        return str(run_id) if found["status"] == "complete" and found["recipe_specs"] == plain(recipe_specs) else None

    def members(self, sample_id: str) -> list[Row]:
        """Return the rows of a sample, one for each image it ever had: those of present cohorts and of late runs first."""
        member, run = tables.members, tables.runs
        found = sa.select(member).join(run, run.c.run_id == member.c.run_id).where(member.c.sample_id == sample_id)
        newest = sa.func.coalesce(run.c.number, 0).desc(), run.c.started_at.desc()
        return self._select(found.order_by(member.c.in_cohort.desc(), *newest))

    def members_of(self, sample_ids: Sequence[str]) -> dict[str, list[Row]]:
        """Return sample_id -> its rows, as `members` does, of many samples at once; one that is not there is not in it."""
        member, run = tables.members, tables.runs
        joined = sa.select(member).join(run, run.c.run_id == member.c.run_id)
        found: dict[str, list[Row]] = {}
        wanted = sorted(set(sample_ids))
        for start in range(0, len(wanted), _AT_ONCE):
            some = joined.where(member.c.sample_id.in_(wanted[start : start + _AT_ONCE]))
            for row in self._select(some.order_by(member.c.in_cohort.desc(), run.c.started_at.desc())):
                found.setdefault(row["sample_id"], []).append(row)
        return found

    def sample_ids(self, start: str, limit: int | None = None) -> list[str]:
        """Return the names of the samples that begin with `start`, in order."""
        member = tables.members.c
        within = sa.and_(member.sample_id >= start, member.sample_id < f"{start}~")
        found = sa.select(member.sample_id).where(within).distinct().order_by(member.sample_id).limit(limit)
        return [row["sample_id"] for row in self._select(found)]

    def class_of_sample(self, sample_id: str) -> str | None:
        """Return the class of a sample, or None where there is no such sample."""
        member = tables.members.c
        found = self._select(sa.select(member.class_name).where(member.sample_id == sample_id).limit(1))
        return str(found[0]["class_name"]) if found else None

    def recipes(self) -> list[str]:
        """Return the names of the recipes that runs had, in order."""
        run = tables.runs.c
        return [row["recipe"] for row in self._select(sa.select(run.recipe).distinct().order_by(run.recipe))]

    def with_image(self, class_name: str) -> set[str]:
        """Return the keys of the images that cohorts of a class have, past and present."""
        member = tables.members.c
        found = sa.select(member.image_key).where(member.class_name == class_name, member.status == "made")
        return {row["image_key"] for row in self._select(found.distinct())}

    def present_members(self, class_name: str, recipe: str) -> list[Row]:
        """Return the members of a present cohort, by sample_id."""
        member = tables.members
        return self._select(sa.select(member).where(_present(class_name, recipe)).order_by(member.c.sample_id))

    def failed_members(self, class_name: str, recipe: str) -> list[Row]:
        """Return the members of a present cohort that failed, by sample_id."""
        member = tables.members
        failed = sa.select(member).where(_present(class_name, recipe), member.c.status == "failed")
        return self._select(failed.order_by(member.c.sample_id))

    def counted(self, class_name: str | None = None) -> dict[tuple[str, str], list[Row]]:
        """Return (class, recipe) -> its present cohort, counted, of all classes with one question.

        A row: cad_id, cad_key, status, stage and reason, how many `samples` share them, their `first` view_index, and the keys
        of the first view of the CAD model (render_key, control_key, caption_key, image_key; None where it is not among them).
        """
        member = tables.members.c
        first_view = sa.and_(member.view_index == 0, member.draw_index == 0)
        keys = [sa.func.min(sa.case((first_view, member[f"{s}_key"]))).label(f"{s}_key") for s in behind("cad")]
        group = [member[name] for name in _COUNTED]
        counts = sa.func.count().label("samples"), sa.func.min(member.view_index).label("first")
        statement = sa.select(*group, *counts, *keys).where(member.in_cohort == 1).group_by(*group)
        if class_name is not None:
            statement = statement.where(member.class_name == class_name)
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self._select(statement):
            found.setdefault((row["class_name"], row["recipe"]), []).append(row)
        return found

    def decided(self, class_name: str, recipe: str) -> Decided:
        """Return what the rules made of the images of a present cohort."""
        member, verdict = tables.members, tables.verdicts
        same = sa.and_(verdict.c.verdict_key == member.c.verdict_key, verdict.c.image_key == member.c.image_key)
        made = sa.and_(_present(class_name, recipe), member.c.status == "made")
        counted = sa.select(verdict.c.kept, sa.func.count().label("n")).select_from(member.outerjoin(verdict, same)).where(made)
        counts = {row["kept"]: row["n"] for row in self._select(counted.group_by(verdict.c.kept))}
        return Decided(kept=counts.get(1, 0), dropped=counts.get(0, 0), not_judged=counts.get(None, 0))

    def made_before_0004(self, class_name: str, recipe: str) -> bool:
        """Say whether a present cohort has controls that code before schema 0004 made, under other keys than today's."""
        member, control, spec = tables.members, tables.controls, tables.specs
        joined = member.join(control, control.c.control_key == member.c.control_key).join(
            spec, spec.c.spec_key == control.c.spec_key
        )
        old = sa.select(member.c.sample_id).select_from(joined).where(_present(class_name, recipe), spec.c.stage == EDGE)
        return bool(self._select(old.limit(1)))

    def provenance(self, sample_id: str) -> list[Row]:
        """Return the rows of the view `provenance` of a sample, one for each image it ever had."""
        return self.rows("SELECT * FROM provenance WHERE sample_id = :sample_id", sample_id=sample_id)


def write(connection: sa.Connection, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
    """Make `members` the cohort of a class under a recipe; see Cohorts.set_cohort."""
    table = tables.members
    rows = _rows(class_name, recipe, run_id, members, in_cohort=1)
    of_cohort = sa.and_(table.c.class_name == class_name, table.c.recipe == recipe)
    connection.execute(sa.update(table).where(of_cohort).values(in_cohort=0))
    writing.upsert(connection, table, rows, keep=("first_run_id",))
    # A sample that had failed before it had an image has nothing that could stay behind.
    connection.execute(sa.delete(table).where(of_cohort, table.c.in_cohort == 0, table.c.image_key.is_(None)))
    note_members(connection, run_id, rows)
    return len(rows)


def add(connection: sa.Connection, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
    """Note the samples that a run had finished when it ended before its time; see Cohorts.add_to_run."""
    rows = _rows(class_name, recipe, run_id, members, in_cohort=0)
    writing.insert_new(connection, tables.members, rows)
    note_members(connection, run_id, rows)
    return len(rows)


def note_members(connection: sa.Connection, run_id: str, members: Iterable[Mapping[str, Any]]) -> None:
    """Note which samples a run listed, in place of what was noted of it before."""
    table = tables.run_members
    columns = [column.name for column in table.columns if column.name != "run_id"]
    rows = [{"run_id": run_id, **{column: member[column] for column in columns}} for member in members]
    connection.execute(sa.delete(table).where(table.c.run_id == run_id))
    writing.upsert(connection, table, rows)


def _rows(class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]], in_cohort: int) -> list[Row]:
    """Return complete rows of members, by sample."""
    names = [column.name for column in tables.members.columns]
    rows: list[Row] = []
    for member in members:
        row = {name: member.get(name) for name in names}
        controls = row["controls"] or {}
        row["control_key"] = row["control_key"] or next((controls[kind] for kind in sorted(controls)), None)
        if row["status"] == "failed" and row["stage"] in OF_A_SAMPLE:
            later = behind(row["stage"])
            row.update({f"{stage}_key": None for stage in later})
            row["controls"] = None if "control" in later else row["controls"]
        reached = [key for stage in reversed(OF_A_SAMPLE) if (key := row[f"{stage}_key"])]
        row.update(
            class_name=class_name,
            recipe=recipe,
            run_id=run_id,
            in_cohort=in_cohort,
            member_key=reached[0] if reached else "",
            first_run_id=row["first_run_id"] or run_id,
        )
        rows.append(row)
    return sorted(rows, key=lambda row: (row["sample_id"], row["member_key"]))


def left_by(connection: sa.Connection, run: Mapping[str, Any]) -> list[Row]:
    """Return the members that a run listed, by sample_id, with what it found of them."""
    member, listed = tables.members, tables.run_members
    mine = (
        sa.select(member, listed.c.verdict_key.label("its_verdict"))
        .join(listed, sa.and_(listed.c.sample_id == member.c.sample_id, listed.c.member_key == member.c.member_key))
        .where(listed.c.run_id == run["run_id"], member.c.class_name == run["class_name"], member.c.recipe == run["recipe"])
        .order_by(member.c.sample_id)
    )
    found = [dict(row) for row in connection.execute(mine).mappings()]
    return [{**row, "verdict_key": row.pop("its_verdict")} for row in found]


def left_a_cohort(connection: sa.Connection, run: Mapping[str, Any]) -> bool:
    """Say whether a run's samples are the present cohort of its class."""
    member = tables.members.c
    its = sa.select(member.sample_id).where(_present(run["class_name"], run["recipe"]), member.run_id == run["run_id"])
    return connection.execute(its.limit(1)).first() is not None


def _present(class_name: str, recipe: str) -> sa.ColumnElement[bool]:
    member = tables.members.c
    return sa.and_(member.class_name == class_name, member.recipe == recipe, member.in_cohort == 1)
