"""One task run over one shard: make what is missing, keep what is there, count what cannot be made.

Enters: the artifacts a stage answers for. Leaves: a StageReport of plain JSON, never pixels. Each artifact's record says which
run made it, at which try of its task, in how many seconds of work and of waiting before that: what a run is credited with is
counted from there, so that neither a cached task run nor a try that was broken off counts wrongly.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from storage.artifacts import Record
from storage.keys import plain
from storage.stages import before
from tasks import progress, stages, waiting
from tasks.plan.cohort import Cohort, Planned, Shard, failure
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe

log = logging.getLogger("dst")

_TOLD = 3
"""Failures of a shard that the log names one by one; all of them are rows."""

Finished = tuple[Record, dict[str, bytes]]
"""What a stage hands over for one artifact: its record and its files."""


class StageReport(TypedDict):
    """What became of a shard, or of a whole cohort, at one stage."""

    stage: str
    shard: str
    made: int
    """Artifacts made by this task run."""
    kept: int
    """Artifacts that were there before."""
    failed: dict[str, int]
    """reason -> how many can't be made."""
    blocked: int
    """Artifacts that an earlier stage's failure leaves unmade."""
    seconds: float
    """Of work."""
    waited: float
    """Seconds behind others."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An artifact that a task has to make."""

    recipe: Recipe
    """What is obeyed."""
    planned: Planned
    """The sample that it is made for; others may share it."""
    stage: str
    """The stage that makes it."""
    part: str
    """Which of the sample's artifacts of the stage: the kind of a control, "" of a single one."""
    key: str
    """The key that it was planned under."""

    @property
    def spec(self) -> Any:
        """The spec that it obeys."""
        return stages.BY_NAME[self.stage].specs(self.recipe, self.planned)[self.part]

    def record(self, **found: Any) -> Record:
        """Return its record with what was found out while making it."""
        blueprint = stages.BY_NAME[self.stage].blueprints(self.recipe, self.planned)[self.part]
        return blueprint.record(self.key, **found)

    def failed(self, reason: str, detail: str, error: str, **found: Any) -> Finished:
        """Return the record of an expected misfortune; `error`: the class of what is behind it."""
        return self.record(outcome="failed", reason=reason, detail=detail, values={"error": error}, **found), {}


def fill(
    stage: str,
    shard: Shard,
    recipe: Recipe,
    place: Place,
    make: Callable[[Sequence[Missing]], Generator[Finished]],
) -> StageReport:
    """Make the shard's missing artifacts of a stage, one store write each, as soon as each is finished.

    `make` gets the missing artifacts and yields what it finished, in any order. A run that is killed in the middle has lost only
    what was not yet yielded. The seconds of work on an artifact are what its record's runtime says, so that what was made
    together can share them out, or else those since the one before.
    """
    store, whole = place.store, waiting.Stopwatch()
    wanted = {
        key: Missing(recipe=recipe, planned=planned, stage=stage, part=part, key=key)
        for planned in shard.samples
        for part, key in planned.keys[stage].items()
    }
    failed: Counter[str] = Counter()
    todo: list[Missing] = []
    kept = blocked = 0
    for key, missing in wanted.items():
        there = store.find(stage, key)
        if there is None and store.is_damaged(stage, key):
            store.set_aside(stage, key)
            log.warning("%s %s: damaged artifact %s set aside, it is made again", stage, shard, key[:12])
        if there is not None:
            kept += there.record.outcome == "made"
            if there.record.outcome == "failed":
                failed[str(there.record.reason)] += 1
        elif failure(store, missing.planned, before(stage)) is not None:
            blocked += 1
        else:
            todo.append(missing)
    made = 0
    with progress.stage(stage, shard.class_name, len(wanted), done=len(wanted) - len(todo)) as bar:
        if todo:
            clock = waiting.Stopwatch()
            # Closed as soon as anything goes wrong: what it holds, such as the device, is not held any longer.
            with closing(make(todo)) as finished:
                for record, files in finished:
                    artifact = store.put(_credited(_named(record, wanted[record.key].planned), place, clock), files)
                    if artifact.record.outcome == "failed":
                        failed[str(artifact.record.reason)] += 1
                        if failed.total() <= _TOLD:
                            log.warning("%-7s %s  failed: %s: %s", stage, shard, artifact.record.reason, artifact.record.detail)
                    else:
                        made += 1
                    bar.advance()
    worked, waited = whole.lap()
    log.info(
        "%-7s %s  %d made  %d kept from before  %d failed  %.1f s%s",
        *(stage, shard, made, kept, sum(failed.values()), worked),
        f", waited {waited:.1f} s" if waited >= 1 else "",
    )
    return StageReport(
        stage=stage, shard=str(shard), made=made, kept=kept, failed=dict(failed), blocked=blocked,
        seconds=round(worked, 3), waited=round(waited, 3),
    )  # fmt: skip


def fill_cohort(
    stage: str,
    part: str,
    cohort: Cohort,
    place: Place,
    make: Callable[[Sequence[Planned], stages.Blueprint], Finished],
) -> StageReport:
    """Make one artifact of a cohort as a whole, unless it is there; one of images without any image has nothing to be made of.

    `make` gets the samples that have an image, where the stage looks at images, and what determines the artifact.
    """
    store, clock = place.store, waiting.Stopwatch()
    report = StageReport(stage=stage, shard=cohort.class_name, made=0, kept=0, failed={}, blocked=0, seconds=0.0, waited=0.0)
    of = stages.OVER_A_COHORT[stage]
    images = cohort.made(store) if of.of_images else []
    if images or not of.of_images:
        blueprint = of.blueprints(cohort, images)[part]
        if (there := store.find(stage, blueprint.key)) is None:
            record, files = make(images, blueprint)
            there = store.put(_credited(record, place, clock), files)
            runtime = there.record.runtime
            report |= {"made": 1, "seconds": runtime["seconds"], "waited": runtime["waited"]}
        else:
            report["kept"] = 1
        if there.record.outcome == "failed":
            report |= {"made": 0, "kept": 0, "failed": {str(there.record.reason): 1}}
    else:
        report["failed"] = {"no_images": 1}
    return report


def _credited(record: Record, place: Place, clock: waiting.Stopwatch) -> Record:
    """Return a record that says who made it and what it took, since the clock was last asked."""
    from prefect.context import TaskRunContext

    worked, waited = clock.lap()
    credit: dict[str, Any] = {"seconds": round(worked, 3), **record.runtime, "waited": round(waited, 3)}
    if place.run:
        credit["run"] = place.run
    if (context := TaskRunContext.get()) is not None:
        credit["task_attempt"] = context.task_run.run_count
    return replace(record, runtime=credit)


def _named(record: Record, planned: Planned) -> Record:
    """Return a failed record that names its cause: the error's class, the sample, and the command that repeats just that one."""
    if record.outcome != "failed":
        return record
    repeat = f"dst reproduce {planned.sample}"
    cause = ": ".join(str(part) for part in (record.values.get("error"), record.detail) if part)
    values = plain({**record.values, "sample": str(planned.sample), "repeat": repeat})
    return replace(record, detail=f"{cause} [{planned.sample}; to repeat it: {repeat}]", values=values)
