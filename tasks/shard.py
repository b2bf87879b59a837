"""One task run over one shard: make what is missing, keep what is there, count what cannot be made.

Enters: the artifacts a stage answers for. Leaves: a ShardReport of plain JSON, never pixels.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypedDict

from storage.artifacts import ArtifactStore, Record
from tasks import progress
from tasks.cohort import STAGES, Planned, Shard, failure

log = logging.getLogger("dst")

_TOLD = 3
"""Failures of a shard that the log names one by one; all of them are rows."""

Finished = tuple[Record, dict[str, bytes]]
"""What a stage hands over for one artifact: its record and its files."""


class ShardReport(TypedDict):
    """What became of a shard at one stage."""

    stage: str
    shard: str
    made: int
    """Artifacts made by this task run."""
    kept: int
    """Artifacts that were there before."""
    failed: dict[str, int]
    """reason -> how many can't be made."""
    blocked: int
    """Samples that an earlier stage failed."""
    seconds: float


def fill(stage: str, shard: Shard, store: ArtifactStore, make: Callable[[Sequence[Planned]], Iterable[Finished]]) -> ShardReport:
    """Make the shard's missing artifacts of a stage, one store write each, as soon as each is finished.

    `make` gets one sample for each missing artifact and yields what it finished, in any order. A run that is killed in the middle
    has lost only what was not yet yielded.
    """
    started = time.monotonic()
    wanted = {planned.key(stage): planned for planned in shard.samples}
    before = STAGES[: STAGES.index(stage)]
    failed: Counter[str] = Counter()
    todo: list[Planned] = []
    kept = blocked = 0
    for key, planned in wanted.items():
        there = store.find(stage, key)
        if there is None and store.folder(stage, key).exists():
            store.set_aside(stage, key)
            log.warning("%s %s: damaged artifact %s set aside, it is made again", stage, shard, key[:12])
        if there is not None:
            kept += there.record.outcome == "made"
            if there.record.outcome == "failed":
                failed[str(there.record.reason)] += 1
        elif failure(store, planned, before) is not None:
            blocked += 1
        else:
            todo.append(planned)
    made = 0
    with progress.stage(stage, shard.class_name, len(wanted), done=len(wanted) - len(todo)) as bar:
        if todo:
            for record, files in make(todo):
                artifact = store.put(named(record, wanted[record.key]), files)
                if artifact.record.outcome == "failed":
                    failed[str(artifact.record.reason)] += 1
                    if failed.total() <= _TOLD:
                        log.warning("%-7s %s  failed: %s: %s", stage, shard, artifact.record.reason, artifact.record.detail)
                else:
                    made += 1
                bar.advance()
    seconds = time.monotonic() - started
    log.info("%-7s %s  %d made  %d kept from before  %d failed  %.1f s", stage, shard, made, kept, sum(failed.values()), seconds)
    return ShardReport(
        stage=stage, shard=str(shard), made=made, kept=kept, failed=dict(failed), blocked=blocked, seconds=round(seconds, 3)
    )


def caused_by(error: Exception) -> dict[str, str]:
    """Return what the record of an expected misfortune says of the error behind it."""
    return {"error": type(error).__name__}


def named(record: Record, planned: Planned) -> Record:
    """Return a failed record that names its cause: the error's class, the sample, and the command that repeats just that one."""
    if record.outcome != "failed":
        return record
    repeat = f"dst reproduce {planned.sample}"
    cause = ": ".join(str(part) for part in (record.values.get("error"), record.detail) if part)
    values = {**record.values, "sample": str(planned.sample), "repeat": repeat}
    return replace(record, detail=f"{cause} [{planned.sample}; to repeat it: {repeat}]", values=values)
