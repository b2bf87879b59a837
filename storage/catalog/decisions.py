"""The room of decisions: filters that somebody named, each over the images that a class's cohort had then.

Enters: what is to be kept, in words and as judges and rules, with the verdict that these came to. Leaves: rows, an entry in the
journal and, for the one that is the default, members whose `verdict_key` is its verdict: so `kept` means it wherever it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain

_AT_ONCE = 400


class Decisions(Room):
    """Named decisions: the present one of each name. Those before it are in the journal."""

    def add_decision(self, row: Mapping[str, Any], image_keys: Sequence[str], by: str) -> Row:
        """Write a decision and return its row; of one name the last counts, and a name that was the default stays it.

        row: class_name, recipe, name, verdict_key, is_default, keep (what was asked, in words), verdict (judges and rules, JSON
        types) and expected (what the rule promises, or None). image_keys: the images that it decides.
        """
        table = tables.decisions
        with self.database.writing() as connection:
            (number,) = writing.numbers(connection)
            was = connection.execute(sa.select(table.c.is_default).where(_is(row))).scalar()
            made: Row = {
                **{column.name: plain(row.get(column.name)) for column in table.columns},
                "is_default": int(bool(row["is_default"] or was)),
                "decided_by": by,
                "decided_at": journal.now(),
                "number": number,
            }
            images = sorted(image_keys)
            _write(connection, made, images)
            # The journal first, as with tags.
            self._note(journal.decision(number, made, images))
        return made

    def decisions(self, class_name: str | None = None, recipe: str | None = None) -> list[Row]:
        """Return the rows of decisions (of one class, under one recipe), the newest first."""
        table = tables.decisions
        statement = sa.select(table)
        for name, value in (("class_name", class_name), ("recipe", recipe)):
            if value is not None:
                statement = statement.where(table.c[name] == value)
        return self._select(statement.order_by(table.c.number.desc()))

    def default_decision(self, class_name: str, recipe: str) -> Row | None:
        """Return the row of the decision that `kept` shows for a class under a recipe; None where it shows the recipe's rules."""
        return next((row for row in self.decisions(class_name, recipe) if row["is_default"]), None)


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the row of a decision as its entry says, with what it means for the members; return how many rows of its own."""
    row, images = journal.decided(record)
    known = connection.execute(sa.select(tables.decisions.c.number).where(_is(row))).scalar()
    if known is None or known <= row["number"] or known_too:
        _write(connection, row, images)
    return 1


def _write(connection: sa.Connection, row: Row, image_keys: Sequence[str]) -> None:
    table, member = tables.decisions, tables.members
    writing.upsert(connection, table, [row])
    if not row["is_default"]:
        return
    beside = sa.and_(table.c.class_name == row["class_name"], table.c.recipe == row["recipe"], table.c.name != row["name"])
    connection.execute(sa.update(table).where(beside).values(is_default=0))
    of_cohort = sa.and_(member.c.class_name == row["class_name"], member.c.recipe == row["recipe"])
    for start in range(0, len(image_keys), _AT_ONCE):
        listed = member.c.image_key.in_(image_keys[start : start + _AT_ONCE])
        connection.execute(sa.update(member).where(of_cohort, listed).values(verdict_key=row["verdict_key"]))


def _is(row: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    table = tables.decisions.c
    return sa.and_(table.class_name == row["class_name"], table.recipe == row["recipe"], table.name == row["name"])
