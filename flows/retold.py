"""Answers that are told again for a while: looking costs work that runs next door want as well.

Enters: a look that takes time. Leaves: what it found, for any thread; one at a time looks, and rests in proportion to how long
that took.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REST = 9.0
"""Times that a look took: so long its answer is told again. It costs at most a tenth of a core."""


class Retold(Generic[T]):
    """A look that is taken when it is asked for, but seldom enough."""

    def __init__(self, look: Callable[[], T], rest_at_least_s: float) -> None:
        """rest_at_least_s: an answer is told again for so long, however quickly it was found."""
        self._look, self._rest_at_least_s = look, rest_at_least_s
        self._lock = threading.Lock()
        self._found: list[T] = []
        self._next = 0.0

    def __call__(self) -> T:
        """Return what the look finds, or found a moment ago."""
        with self._lock:
            began = time.monotonic()
            if not self._found or began >= self._next:
                self._found = [self._look()]
                took = time.monotonic() - began
                self._next = began + took + max(self._rest_at_least_s, REST * took)
            return self._found[0]
