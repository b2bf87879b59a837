"""The room of what others made: images and captions of foreign origin, which no artifact of ours stands behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain


class Others(Room):
    """Images and captions that others made."""

    def add_foreign_images(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write images that others made, or change what is known of them; return how many.

        A row: image_id (sha256 of the file), origin, class_name and path, and what is known of cad_uid, caption, azimuth_deg,
        elevation_deg, inplane_deg, distance, kept and facts. Give thousands at once: each call is one entry in the journal.
        """
        return self._add_foreign(tables.foreign_images, [{"added_at": journal.now(), **row} for row in rows])

    def foreign_images(self, origin: str | None = None, class_name: str | None = None) -> list[Row]:
        """Return the rows of images that others made (of one origin, of one class), by class and path."""
        table = tables.foreign_images
        statement = sa.select(table).order_by(table.c.class_name, table.c.path)
        if origin is not None:
            statement = statement.where(table.c.origin == origin)
        if class_name is not None:
            statement = statement.where(table.c.class_name == class_name)
        return self._select(statement)

    def foreign_image_paths(self) -> dict[str, str]:
        """Return image_id -> path of every image that others made."""
        image = tables.foreign_images.c
        return {row["image_id"]: row["path"] for row in self._select(sa.select(image.image_id, image.path))}

    def posed_foreign_images(self) -> list[tuple[str, str]]:
        """Return (origin, class) of which there are images that say from where they were taken, in order."""
        image = tables.foreign_images.c
        found = sa.select(image.origin, image.class_name).where(image.azimuth_deg.is_not(None)).distinct()
        return [(row["origin"], row["class_name"]) for row in self._select(found.order_by(image.origin, image.class_name))]

    def add_foreign_captions(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write captions that others wrote: origin, class_name, number, prompt and, where known, cad_uid; return how many."""
        return self._add_foreign(tables.foreign_captions, rows)

    def foreign_captions(self, origin: str, class_name: str) -> list[Row]:
        """Return the captions of a class from one origin, by number."""
        table = tables.foreign_captions
        of_class = sa.select(table).where(table.c.origin == origin, table.c.class_name == class_name)
        return self._select(of_class.order_by(table.c.number))

    def caption_origins(self, class_name: str) -> list[str]:
        """Return the origins of which there are captions of a class, in order."""
        caption = tables.foreign_captions.c
        found = sa.select(caption.origin).where(caption.class_name == class_name).distinct().order_by(caption.origin)
        return [row["origin"] for row in self._select(found)]

    def _add_foreign(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
        complete = [{column.name: plain(row.get(column.name)) for column in table.columns} for row in rows]
        if not complete:
            return 0
        with self.database.writing() as connection:
            writing.upsert(connection, table, complete)
            (number,) = writing.numbers(connection)
        self._note(journal.foreign(number, table.name, complete))
        return len(complete)


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the rows that an entry lists; return how many."""
    rows = journal.foreign_rows(record)
    writing.upsert(connection, tables.metadata.tables[record.inputs["table"]], rows)
    return len(rows)
