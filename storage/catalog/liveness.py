"""Who is still alive: the process behind a run or a claim, on this machine or on another.

Enters: host, process id, when it began and when it was last heard of. Leaves: alive, or the reason why not. On this machine the
process itself is asked; another machine's is judged by its heartbeat. When that was is said by the catalog's server, where it
has one: machines' clocks may be days apart, and one that is ahead would take everybody else for dead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import psutil
import sqlalchemy as sa

from storage.catalog import journal
from storage.catalog.database import CatalogError

BEAT_S = 15.0
"""How often one that is alive says so."""
SILENT_S = 90.0
"""Who has said nothing for so long is taken for dead: several beats, and what a busy database may delay one."""
_CLOCKS_S = 60.0
"""By how much the system's clock and a process's own start may disagree."""

_AS_TEXT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

log = logging.getLogger("dst")


def clock(connection: sa.Connection) -> str:
    """Return the time that everybody who writes to a catalog agrees on, UTC, ISO 8601."""
    if connection.dialect.name == "postgresql":
        # Of now, not of the transaction's beginning: it may have waited for its turn.
        said = sa.func.to_char(sa.func.timezone("UTC", sa.func.clock_timestamp()), _AS_TEXT)
        return str(connection.execute(sa.select(said)).scalar_one())
    return journal.now()


def death(row: Mapping[str, Any], now: str) -> str | None:
    """Return why the process of a row (host, pid, started_at, heartbeat_at) is taken for dead, or None: it is alive.

    now: by the clock that said the heartbeat.
    """
    silence = seconds_since(row["heartbeat_at"] or row["started_at"], now)
    if row["host"] != socket.gethostname():
        return f"no sign of life from {row['host']} for {silence:.0f} s" if silence > SILENT_S else None
    if row["pid"] == os.getpid():
        return "given up by its process" if silence > SILENT_S else None
    try:
        process = psutil.Process(row["pid"])
        another = silence > SILENT_S and process.create_time() > _moment(row["started_at"]) + _CLOCKS_S
        return "its process was killed" if another or process.status() == psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return "its process was killed"
    except psutil.AccessDenied:
        return None


@contextlib.contextmanager
def beating(beat: Callable[[], None], every_s: float = BEAT_S) -> Iterator[None]:
    """Call `beat` every few seconds, in a thread, while the body runs. A catalog that is too busy for one gets the next."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every_s):
            try:
                beat()
            except CatalogError as error:
                log.debug("no heartbeat: %s", error)

    thread = threading.Thread(target=go_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(every_s)


def seconds_since(moment: str, now: str) -> float:
    """Return the seconds between two moments of one clock."""
    return _moment(now) - _moment(moment)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
