"""Told to stop: what works ends between two samples or steps, and what waits ends at once.

A flow that is interrupted (Ctrl-C, or the SIGTERM of a cancelled run) waits for the threads of its tasks, and no signal reaches
those; and a class that is cancelled inside a scan has no process of its own that could get one. Enters: that somebody asked, of
all that works in this process or of one flow run. Leaves: Stopped, raised where nothing half-made is lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger("dst")

_LOOK_EVERY_S = 0.2


class Stopped(BaseException):
    """The run was told to stop. No Exception: nothing went wrong that a retry could heal or a record should keep."""


class Told:
    """Whether somebody has asked, and who: empty as long as nobody has."""

    def __init__(self) -> None:
        self.why = ""

    def ask(self, why: str) -> None:
        """Ask whoever heeds this to stop, and say so at once. Asked again, it stays what was asked first."""
        if not self.why:
            self.why = why
            log.warning("stopping after this step: %s", why)


_all = Told()
_elsewhere: dict[str, str] = {}
"""Runs whose shards work here for a flow in another process, and who told them to stop."""
_run: ContextVar[str] = ContextVar("run", default="")
_flow_runs: ContextVar[tuple[Told, ...]] = ContextVar("flow_runs", default=())
"""Those that what works in this context belongs to, the outermost first; a task run has the context of its flow run."""


def ask(why: str) -> None:
    """Tell everything that works in this process to stop. why: who asked, for a person."""
    _all.ask(why)


@contextmanager
def flow_run() -> Iterator[Told]:
    """Let what works in the body be told to stop by itself, with what it starts; yield what tells it.

    The outermost of a process begins anew: what was asked before was meant for an earlier one.
    """
    above = _flow_runs.get()
    if not above:
        _all.why = ""
    told = Told()
    token = _flow_runs.set((*above, told))
    try:
        yield told
    finally:
        _flow_runs.reset(token)


def ask_run(run: str, why: str) -> None:
    """Tell what works in this process for a run to stop; the flow itself is in another process, which says so aloud."""
    _elsewhere[run] = why


def forget_run(run: str) -> None:
    """Let a run work here, again where it was told to stop before."""
    _elsewhere.pop(run, None)


@contextmanager
def of_run(run: str) -> Iterator[None]:
    """Let what works in the body be told to stop as a part of a run, by `ask_run`."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def asked() -> bool:
    """Say whether what works here is to stop."""
    return bool(why())


def why() -> str:
    """Return who asked what works here to stop, "" as long as nobody has."""
    return next((told.why for told in (_all, *_flow_runs.get()) if told.why), _elsewhere.get(_run.get(), ""))


def heed() -> None:
    """Raise Stopped when work is to stop; to be called where nothing half-made is lost."""
    if said := why():
        raise Stopped(said)


def pause(seconds: float) -> None:
    """Wait so long. Raises Stopped as soon as work is to stop."""
    until = time.monotonic() + seconds
    heed()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_EVERY_S))
        heed()
