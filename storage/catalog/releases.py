"""The room of releases: exported, named, immutable selections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Record
from storage.catalog import journal, tables, writing
from storage.catalog.index import Row
from storage.catalog.room import Room
from storage.keys import plain


class Releases(Room):
    """Releases and the samples they hold."""

    def add_release(
        self,
        *,
        name: str,
        format: str,
        query: str,
        digest: str,
        path: Path | str,
        samples: Sequence[Mapping[str, Any]],
        card: Mapping[str, Any] | None = None,
    ) -> Row:
        """Note a release, once: raises ValueError if there is one of that name. Returns its row.

        query: the condition that chose the samples. digest: over the sorted sample ids and their digests. samples: sample_id,
        image_key, sha256, recipe, render_key and verdict_key each.
        """
        row: Row = {
            "name": name,
            "format": format,
            "created_at": journal.now(),
            "query": query,
            "samples": len(samples),
            "digest": digest,
            "path": str(path),
            "card": plain(card),
        }
        columns = [column.name for column in tables.release_samples.columns]
        listed = sorted(({**{c: sample.get(c) for c in columns}, "name": name} for sample in samples), key=_by_sample)
        with self.database.writing() as connection:
            known = sa.select(tables.releases.c.created_at).where(tables.releases.c.name == name)
            if (since := connection.execute(known).scalar()) is not None:
                raise ValueError(f'there is a release "{name}" since {since[:10]}, and releases never change; give another name')
            writing.upsert(connection, tables.releases, [row])
            writing.upsert(connection, tables.release_samples, listed)
            (number,) = writing.numbers(connection)
        self._note(journal.release(number, row, listed))
        return row

    def add_release_copy(self, name: str, format: str, path: Path | str) -> None:
        """Note a further folder that holds a release, in its card's `copies`; one that is noted already is no news."""
        table = tables.releases
        with self.database.writing() as connection:
            row: Row = dict(connection.execute(sa.select(table).where(table.c.name == name)).mappings().one())
            card = dict(row["card"] or {})
            copy = {"format": format, "path": str(path)}
            places = [(row["format"], row["path"]), *((known["format"], known["path"]) for known in card.get("copies", ()))]
            if (format, str(path)) in places:
                return
            row["card"] = card | {"copies": [*card.get("copies", ()), copy | {"created_at": journal.now()}]}
            writing.upsert(connection, table, [row])
            (number,) = writing.numbers(connection)
        # The samples are in the entry that the release began with.
        self._note(journal.release(number, row, ()))

    def releases(self) -> list[Row]:
        """Return the rows of releases, the oldest first."""
        return self._select(sa.select(tables.releases).order_by(tables.releases.c.created_at))

    def release_samples(self, name: str) -> list[Row]:
        """Return the rows of a release's samples, by sample_id. Raises ValueError if there is no such release."""
        table = tables.release_samples
        names = [row["name"] for row in self.releases()]
        if name not in names:
            raise ValueError(f'no release "{name}"; there are: {", ".join(names) or "none yet"}')
        return self._select(sa.select(table).where(table.c.name == name).order_by(table.c.sample_id, table.c.image_key))


def replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    """Write the rows of a release; return how many those are."""
    samples = journal.released(record)
    writing.upsert(connection, tables.releases, [record.values["row"]])
    writing.upsert(connection, tables.release_samples, samples)
    return 1 + len(samples)


def _by_sample(row: Row) -> tuple[str, str]:
    return row["sample_id"], row["image_key"]
