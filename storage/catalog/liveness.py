"""Who is still alive: the process behind a run or a claim, on this machine or on another.

Enters: host, process id, when it began and when it was last heard of. Leaves: alive, or the reason why not. On this machine the
process itself is asked; another machine's is judged by its heartbeat.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psutil

from storage.catalog.database import CatalogError

BEAT_S = 15.0
"""How often one that is alive says so."""
SILENT_S = 90.0
"""Who has said nothing for so long is taken for dead: several beats, and what a busy database may delay one."""
_CLOCKS_S = 60.0
"""By how much the system's clock and a process's own start may disagree."""

log = logging.getLogger("dst")


def death(row: Mapping[str, Any]) -> str | None:
    """Return why the process of a row (host, pid, started_at, heartbeat_at) is taken for dead, or None: it is alive."""
    silence = _age(row["heartbeat_at"] or row["started_at"])
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


def _age(moment: str) -> float:
    return datetime.now(UTC).timestamp() - _moment(moment)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
