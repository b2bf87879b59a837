"""Writing rows, inside somebody's transaction: every function here takes a connection and leaves the commit to its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from storage.catalog import journal, tables
from storage.catalog.index import Row

_NUMBERED = "numbered"
"""The fact that says which number was given last."""


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], keep: Sequence[str] = ()) -> None:
    """Insert rows or, where their key is there, replace them (all but the columns of `keep`)."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table)
    key = [column.name for column in table.primary_key]
    changing = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in (*key, *keep)}
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_=changing)
        if changing
        else statement.on_conflict_do_nothing(index_elements=key),
        list(rows),
    )


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows; where their key is there, what is there stays."""
    upsert(connection, table, rows, keep=[column.name for column in table.columns])


def ensure_class(connection: sa.Connection, class_name: str, created_at: str | None = None) -> None:
    """Note that there is a class."""
    row = {"class_name": class_name, "created_at": created_at or journal.now()}
    upsert(connection, tables.classes, [row], keep=("created_at",))


def numbers(connection: sa.Connection, count: int = 1) -> range:
    """Return the next numbers for runs and for entries of the journal, each of them given once in a catalog's life."""
    last = int(connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == _NUMBERED)).scalar() or 0)
    count_from(connection, last + count)
    return range(last + 1, last + count + 1)


def count_from(connection: sa.Connection, number: int) -> None:
    """See to it that numbers up to this one are not given (again)."""
    last = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == _NUMBERED)).scalar()
    if last is None or int(last) < number:
        upsert(connection, tables.facts, [{"name": _NUMBERED, "value": str(number)}])


def counts(connection: sa.Connection) -> bool:
    """Say whether the catalog has begun to give numbers."""
    return connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == _NUMBERED)).scalar() is not None


def bit(value: Any) -> int | None:
    """Return a decision as the tables hold it: 1, 0 or NULL."""
    return None if value is None else int(bool(value))
