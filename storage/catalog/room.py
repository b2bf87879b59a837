"""What all rooms of the catalog stand on: its database, and the store that keeps its journal.

A room is one subject of the catalog (CAD models, runs, cohorts, releases, ...): its rows, its questions, and how its entries in
the journal become rows again. `Catalog` is all rooms behind one door.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from storage.artifacts import ArtifactStore, Record
from storage.catalog.database import Database
from storage.catalog.index import Row


class Room:
    """The catalog at a SQLAlchemy URL (SQLite file or Postgres). `store`: where its journal is kept; None keeps none."""

    def __init__(self, url: str, store: ArtifactStore | None = None) -> None:
        self.database = Database(url)
        self.store = store

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """Return the rows of our own SQL (`:name` parameters), as dicts."""
        return self._select(sa.text(sql).bindparams(**parameters))

    def _select(self, statement: sa.Executable) -> list[Row]:
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _note(self, *entries: Record) -> None:
        """Keep entries of the journal, where there is a store to keep them in."""
        if self.store is not None:
            for entry in entries:
                self.store.put(entry)
