"""The room of files that were refused before they had a cad_id."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room

ORIGINS = ("watch", "import", "add")


class Quarantine(Room):
    """Files that nobody could use."""

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
        if origin not in ORIGINS:
            raise ValueError(f"a file is refused by {', '.join(ORIGINS)}, not by {origin}")
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
            (number,) = writing.numbers(connection)
        self._note(journal.quarantine(number, str(path), row))
        return row

    def unquarantine(self, path: Path | str) -> bool:
        """Forget that a file was refused; return whether it was."""
        table = tables.quarantine
        with self.database.writing() as connection:
            gone = connection.execute(sa.delete(table).where(table.c.path == str(path))).rowcount
            (number,) = writing.numbers(connection)
        if gone:
            self._note(journal.quarantine(number, str(path), None))
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


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the row of a refused file, or remove it where it is refused no longer; return how many rows were written."""
    row, table = record.values["row"], tables.quarantine
    if row is not None:
        writing.upsert(connection, table, [row])
        return 1
    connection.execute(sa.delete(table).where(table.c.path == record.inputs["path"]))
    return 0
