"""Claims: what one process at a time does, whichever machine it is on. The unique name in the catalog is the lock.

Enters: a name, such as `scan`. Leaves: whether the claim is ours for as long as the body runs. A claim whose holder was killed is
free again (see storage.catalog.liveness).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.catalog import journal, liveness, tables, writing
from storage.catalog.database import Database


@dataclass(frozen=True, kw_only=True)
class Claim:
    """How an attempt to claim went."""

    mine: bool
    """Whether it succeeded."""
    holder: Mapping[str, Any]
    """Who has it: host, pid, started_at, heartbeat_at and what it said of itself."""
    bereaved: Mapping[str, Any] | None = None
    """The holder before, if it died without letting go."""


@contextmanager
def claimed(database: Database, name: str, **said: Any) -> Iterator[Claim]:
    """Hold a claim, or find out who does, while the body runs. said: what others may know of the holder."""
    key = f"claim:{name}"
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": journal.now(), **said}
    with database.writing() as connection:
        me["heartbeat_at"] = now = liveness.clock(connection)
        holder = _holder(connection, key)
        free = holder is None or liveness.death(holder, now) is not None
        if free:
            _write(connection, key, me)
    if not free:
        assert holder is not None
        yield Claim(mine=False, holder=holder)
        return

    def beat() -> None:
        with database.writing() as connection:
            if _same(_holder(connection, key), me):
                _write(connection, key, me | {"heartbeat_at": liveness.clock(connection)})

    try:
        with liveness.beating(beat):
            yield Claim(mine=True, holder=me, bereaved=holder)
    finally:
        with database.writing() as connection:
            if _same(_holder(connection, key), me):
                connection.execute(sa.delete(tables.facts).where(tables.facts.c.name == key))


def _holder(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    value = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == key)).scalar()
    return json.loads(value) if value is not None else None


def _write(connection: sa.Connection, key: str, holder: Mapping[str, Any]) -> None:
    writing.upsert(connection, tables.facts, [{"name": key, "value": json.dumps(dict(holder), sort_keys=True)}])


def _same(holder: Mapping[str, Any] | None, me: Mapping[str, Any]) -> bool:
    return holder is not None and all(holder[name] == me[name] for name in ("host", "pid", "started_at"))
