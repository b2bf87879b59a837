"""Progress: what a stage has done, for whoever watches.

A terminal watches through `listened`; the Prefect UI through a progress artifact of the task run, refreshed every few seconds.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tasks import stopping, worker

log = logging.getLogger("dst")

Listener = Callable[["Bar"], None]
_UI_EVERY_S = 5.0
_UI_AFTER_S = 1.0
"""A stage that is done sooner shows no progress in Prefect: each word to its server costs a run more than such a stage."""


@dataclass
class Bar:
    """How far one stage of one class is."""

    stage: str
    class_name: str
    total: int
    done: int
    started: float = field(default_factory=time.monotonic)
    finished: bool = False
    _at_start: int = 0
    _artifact: UUID | None = None
    _tell_at: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._at_start, self._tell_at = self.done, self.started + _UI_AFTER_S

    @property
    def seconds_to_go(self) -> float | None:
        """Estimate from this stage's own pace; None before anything was done."""
        fresh = self.done - self._at_start
        return (time.monotonic() - self.started) / fresh * (self.total - self.done) if fresh else None

    def advance(self, count: int = 1) -> None:
        """Count what was done. Raises Stopped when the run was told to stop: between two items nothing half-made is lost."""
        stopping.heed()
        with self._lock:
            self.done += count
        self.tell()

    def tell(self) -> None:
        for listener in tuple(worker.listeners):
            listener(self)
        if time.monotonic() > self._tell_at or (self.finished and self._artifact is not None):
            self._tell_at = time.monotonic() + _UI_EVERY_S
            self._tell_prefect()

    def _tell_prefect(self) -> None:
        if "prefect" not in sys.modules:
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact
        from prefect.context import TaskRunContext

        from tasks.faults import AWAY

        if TaskRunContext.get() is None:
            return
        percent = 100.0 * self.done / max(self.total, 1)
        to_go = self.seconds_to_go
        text = f"{self.stage} {self.class_name}: {self.done} of {self.total}" + (f", {to_go:.0f} s to go" if to_go else "")
        try:
            if self._artifact is None:
                created = create_progress_artifact(progress=percent, description=text)
                self._artifact = created if isinstance(created, UUID) else None
            else:
                update_progress_artifact(artifact_id=self._artifact, progress=percent, description=text)
        except AWAY as error:
            # A server that is too busy for a progress bar must not cost the shard.
            log.debug("progress not shown in Prefect: %s", error)


@contextmanager
def listened(listener: Listener) -> Iterator[None]:
    """Call `listener` with the Bar whenever a stage has moved, in this process, while the body runs."""
    worker.listeners.append(listener)
    try:
        yield
    finally:
        worker.listeners.remove(listener)


@contextmanager
def stage(name: str, class_name: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Announce a stage's work over `total` items of which `done` are there already."""
    bar = Bar(stage=name, class_name=class_name, total=total, done=done)
    bar.tell()
    try:
        yield bar
    finally:
        bar.finished = True
        bar.tell()
