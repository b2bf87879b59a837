"""Progress: what a stage has done, for whoever watches.

A terminal watches through `listened`; the Prefect UI through a progress artifact, refreshed every few seconds. The shards of a
stage that work in one process for one flow run move one bar together, over all samples of the class.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tasks import stopping, worker

log = logging.getLogger("dst")

Listener = Callable[["Bar"], None]
_UI_EVERY_S = 10.0
"""Each word is an event in Prefect's database, of some 5 KB."""
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
    _being_made: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)
    """(maker, batch) -> items and the share of their work that is done; a maker's oldest batch first."""
    _paced_from: tuple[float, float] | None = None
    _artifact: UUID | None = None
    _tell_at: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tell_at = self.started + _UI_AFTER_S

    def begin(self, done: int) -> None:
        """Take in a shard of which so much is there already; less than nothing: one that failed and comes again."""
        with self._lock:
            self.done += done
            if self._paced_from is not None:
                # What was there already says nothing of the pace.
                at, amount = self._paced_from
                self._paced_from = (at, amount + done)

    @property
    def seconds_to_go(self) -> float | None:
        """Estimate from this stage's own pace since it first told of work, so that neither waiting for a turn nor loading a model
        counts; None before it told of more."""
        if self._paced_from is None:
            return None
        at, before = self._paced_from
        fresh = self._amount - before
        return (time.monotonic() - at) / fresh * (self.total - self._amount) if fresh > 0 else None

    @property
    def in_words(self) -> str:
        """How far it is, with what is being made together and how far that is."""
        under_way = self.under_way
        return f"{self.done} of {self.total}" + (f" ({under_way})" if under_way else "")

    @property
    def under_way(self) -> str:
        """What is being made together and how far that is; empty where nothing is."""
        with self._lock:
            being_made = list(self._being_made.values())
        count = sum(count for count, _ in being_made)
        share = sum(count * share for count, share in being_made) / count if count else 0.0
        return f"{count} under way, {100 * share:.0f} % of their steps" if count else ""

    @property
    def _amount(self) -> float:
        """Items done, with the shares of those that are being made."""
        # A copy: one thread may begin the next batch while another counts.
        return self.done + sum(count * share for count, share in list(self._being_made.values()))

    def underway(self, maker: int, batch: int, count: int, share: float) -> None:
        """Take in that a maker is at so many items together, of whose work this share is done.

        batch: tells those that are painted from those before, which are painted and not yet written.
        """
        with self._lock:
            self._being_made[maker, batch] = (count, share)
            self._pace()
        self.tell()

    def take_in(self, count: int) -> None:
        """Count what another process has done."""
        with self._lock:
            self._pace()
            self.done += count
            self.finished = self.done >= self.total
        self.tell()

    def leave(self, maker: int) -> None:
        """Take in that a maker is at nothing any more."""
        with self._lock:
            for of_maker in [one for one in self._being_made if one[0] == maker]:
                del self._being_made[of_maker]

    def _pace(self) -> None:
        if self._paced_from is None:
            self._paced_from = (time.monotonic(), self._amount)

    def advance(self, count: int = 1, maker: int = 0) -> None:
        """Count what was done. Raises Stopped when the run was told to stop: between two items nothing half-made is lost.

        maker: whose items under way they were.
        """
        stopping.heed()
        with self._lock:
            self.done += count
            oldest = next((one for one in self._being_made if one[0] == maker), None)
            if oldest is not None:
                left, share = self._being_made[oldest]
                if left > count:
                    self._being_made[oldest] = (left - count, share)
                else:
                    del self._being_made[oldest]
            self._pace()
        self.tell()

    def tell(self) -> None:
        for listener in tuple(worker.listeners):
            listener(self)
        with self._lock:
            due = time.monotonic() > self._tell_at or (self.finished and self._artifact is not None)
            self._tell_at = time.monotonic() + _UI_EVERY_S if due else self._tell_at
        if due:
            self._tell_prefect()

    def _tell_prefect(self) -> None:
        if "prefect" not in sys.modules:
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact
        from prefect.context import TaskRunContext

        from tasks.faults import AWAY

        if TaskRunContext.get() is None:
            return
        percent = 100.0 * min(self._amount / max(self.total, 1), 1.0)
        to_go = self.seconds_to_go
        text = f"{self.stage} {self.class_name}: {self.in_words}" + (f", {to_go:.0f} s to go" if to_go else "")
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


@dataclass
class Part:
    """One shard's share of a bar."""

    bar: Bar
    total: int
    done: int

    def advance(self, count: int = 1) -> None:
        """Count what was done; see Bar.advance."""
        self.bar.advance(count, id(self))
        self.done += count


_part: ContextVar[Part | None] = ContextVar("part", default=None)


def underway(count: int, share: float, batch: int = 0) -> None:
    """Say that so many items of this context's shard are being made together, and which share of their work is done.

    batch: another number where the last ones are not yet written.
    """
    if (part := _part.get()) is not None:
        part.bar.underway(id(part), batch, count, share)


_bars: dict[tuple[str, str, str], Bar] = {}
"""(flow run, stage, class) -> the bar that its shards move together."""
_joining = threading.Lock()


@contextmanager
def whole(flow_run_id: str, class_name: str, totals: Mapping[str, int]) -> Iterator[None]:
    """While the body runs, show each of these stages of a flow run as one bar, over all shards: stage -> its items in all."""
    keys = {(flow_run_id, stage, class_name): total for stage, total in totals.items()}
    with _joining:
        _bars.update({key: Bar(stage=key[1], class_name=class_name, total=total, done=0) for key, total in keys.items()})
    try:
        yield
    finally:
        with _joining:
            for key in keys:
                _bars.pop(key, None)


def moved(flow_run_id: str, name: str, class_name: str, count: int) -> None:
    """Count what another process has done of a stage that this one shows as a whole; nothing where it shows none."""
    with _joining:
        bar = _bars.get((flow_run_id, name, class_name))
    if bar is None:
        return
    bar.take_in(count)


@contextmanager
def stage(name: str, class_name: str, total: int, done: int = 0) -> Iterator[Part]:
    """Announce work over `total` items of a stage, of which `done` are there already: a shard's, or all that there are."""
    key = (_flow_run_id(), name, class_name)
    with _joining:
        bar = _bars.get(key)
    part = Part(bar=bar or Bar(stage=name, class_name=class_name, total=total, done=done), total=total, done=done)
    if bar is not None:
        bar.begin(done)
    part.bar.tell()
    token = _part.set(part)
    try:
        yield part
    except Exception:
        # It is tried again, and begins with what is there by then.
        if bar is not None:
            bar.begin(-part.done)
        raise
    finally:
        _part.reset(token)
        part.bar.leave(id(part))
        part.bar.finished = part.bar.done >= part.bar.total or bar is None
        part.bar.tell()


def _flow_run_id() -> str:
    if "prefect" not in sys.modules:
        return ""
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return "" if context is None else str(context.task_run.flow_run_id)
