"""Writing rows, inside somebody's transaction: every function here takes a connection and leaves the commit to its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from storage.catalog import journal, tables
from storage.catalog.index import Row


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


def ensure_class(connection: sa.Connection, class_name: str, created_at: str | None = None) -> None:
    """Note that there is a class."""
    row = {"class_name": class_name, "created_at": created_at or journal.now()}
    upsert(connection, tables.classes, [row], keep=("created_at",))


def bit(value: Any) -> int | None:
    """Return a decision as the tables hold it: 1, 0 or NULL."""
    return None if value is None else int(bool(value))
