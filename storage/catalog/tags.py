"""The room of tags: what people say of images, who said it and when.

Enters: an image's key with good, bad, doubtful, or None for a tag that is taken away. Leaves: rows, an entry in the journal, and
the tag that stands: the last one that was given. A tag belongs to an image, not to a sample's name: made otherwise, or under
another seed, a sample has another image, which nobody has looked at yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room

GOOD, BAD, DOUBTFUL = "good", "bad", "doubtful"
TAGS = (GOOD, BAD, DOUBTFUL)
"""good: it should be kept. bad: it should be dropped. doubtful: neither, and no truth for filters."""
LONGEST_NOTE = 1000
"""Characters of a note."""

_AT_ONCE = 400


@dataclass(frozen=True, kw_only=True)
class Said:
    """What somebody says of an image."""

    image_key: str
    """The image."""
    sample_id: str
    """The sample that it is an image of."""
    class_name: str
    """Its class."""
    tag: str | None
    """One of TAGS; None takes the tag away."""
    note: str | None = None
    """A line about it."""

    def __post_init__(self) -> None:
        if self.tag not in (None, *TAGS):
            raise ValueError(f'no tag "{self.tag}"; a tag is {GOOD}, {BAD} or {DOUBTFUL}')
        if self.note and len(self.note) > LONGEST_NOTE:
            raise ValueError(f"a note has at most {LONGEST_NOTE} characters, this one has {len(self.note)}")


class Tags(Room):
    """Tags of images, the present one and all before it."""

    def add_tags(self, said: Iterable[Said], by: str) -> list[Row]:
        """Write what `by` says of images, as one entry of the journal; return the rows. Of one image the last word counts."""
        table, at = tables.tags, journal.now()
        latest = list({one.image_key: one for one in said}.values())
        if not latest:
            return []
        with self.database.writing() as connection:
            (number,) = writing.numbers(connection)
            rows: list[Row] = [
                {
                    "image_key": one.image_key,
                    "number": number,
                    "sample_id": one.sample_id,
                    "class_name": one.class_name,
                    "tag": one.tag,
                    "note": one.note or None,
                    "tagged_by": by,
                    "tagged_at": at,
                }
                for one in sorted(latest, key=lambda one: one.image_key)
            ]
            writing.upsert(connection, table, rows)
            # The journal first: what it has and the catalog lost comes back with a rebuild, the other way round nothing would.
            self._note(journal.tags(number, rows))
        return rows

    def tags_of(self, image_keys: Collection[str]) -> dict[str, Row]:
        """Return image_key -> the row of its tag, for the images that have one."""
        table, found = tables.tags, {}
        wanted = sorted(set(image_keys))
        for start in range(0, len(wanted), _AT_ONCE):
            listed = table.c.image_key.in_(wanted[start : start + _AT_ONCE])
            for row in self._select(sa.select(table).where(listed, standing(table), table.c.tag.is_not(None))):
                found[row["image_key"]] = row
        return found

    def tag_history(self, image_key: str) -> list[Row]:
        """Return all that was ever said of an image, the oldest first."""
        table = tables.tags
        return self._select(sa.select(table).where(table.c.image_key == image_key).order_by(table.c.number))

    def tags(self, class_name: str | None = None, tag: str | None = None, limit: int | None = None) -> list[Row]:
        """Return the rows of tags that stand (of one class, of one kind), the newest first."""
        table = tables.tags
        statement = sa.select(table).where(standing(table), table.c.tag.is_not(None))
        for name, value in (("class_name", class_name), ("tag", tag)):
            if value is not None:
                statement = statement.where(table.c[name] == value)
        return self._select(statement.order_by(table.c.tagged_at.desc(), table.c.image_key).limit(limit))

    def tag_counts(self, class_name: str | None = None) -> dict[str, int]:
        """Return tag -> images (of one class) that have it."""
        table = tables.tags
        counted = sa.select(table.c.tag, sa.func.count().label("n")).where(standing(table), table.c.tag.is_not(None))
        if class_name is not None:
            counted = counted.where(table.c.class_name == class_name)
        counts = {row["tag"]: int(row["n"]) for row in self._select(counted.group_by(table.c.tag))}
        return {tag: counts.get(tag, 0) for tag in TAGS}


def standing(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a row of tags is the last word on its image."""
    later = tables.tags.alias("later")
    last = sa.select(sa.func.max(later.c.number)).where(later.c.image_key == table.c.image_key).scalar_subquery()
    return sa.and_(table.c.number == last)


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the rows of tags that an entry lists; return how many."""
    rows = journal.tagged(record)
    writing.upsert(connection, tables.tags, rows)
    return len(rows)
