"""Waiting: seconds that a task run spent behind others, apart from those in which it worked.

Enters: bodies that wait. Leaves: the seconds waited so far, for whoever asks in the same context (a task run has one).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_waited: ContextVar[float] = ContextVar("waited", default=0.0)


def seconds() -> float:
    """Return how many seconds were waited so far in this context; what counts is the difference of two answers."""
    return _waited.get()


class Stopwatch:
    """Tells work from waiting, from lap to lap, in the context that made it."""

    def __init__(self) -> None:
        self._since, self._waited = time.monotonic(), seconds()

    def lap(self) -> tuple[float, float]:
        """Return the seconds of work and those of waiting since it was made or last asked."""
        spent, waited = time.monotonic() - self._since, seconds() - self._waited
        self._since, self._waited = self._since + spent, self._waited + waited
        return max(0.0, spent - waited), waited


@contextmanager
def counted() -> Iterator[None]:
    """Count the body's time as waiting."""
    began = time.monotonic()
    try:
        yield
    finally:
        _waited.set(_waited.get() + time.monotonic() - began)
