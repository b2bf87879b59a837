"""Told to stop: what works ends between two samples or steps, instead of at the end of its shard or stage.

A flow that is interrupted (Ctrl-C, or the SIGTERM of a cancelled run) waits for the threads of its tasks, and no signal reaches
those. Enters: that somebody asked. Leaves: Stopped, raised where nothing half-made is lost.
"""

from __future__ import annotations

import threading

_asked = threading.Event()


class Stopped(BaseException):
    """The run was told to stop. No Exception: nothing went wrong that a retry could heal or a record should keep."""


def ask() -> None:
    """Tell everything that works in this process to stop."""
    _asked.set()


def forget() -> None:
    """Let work go on: what was asked was meant for an earlier run in this process."""
    _asked.clear()


def asked() -> bool:
    """Say whether work is to stop."""
    return _asked.is_set()


def heed() -> None:
    """Raise Stopped when work is to stop; to be called where nothing half-made is lost."""
    if _asked.is_set():
        raise Stopped("told to stop")
