"""Tasks over shards and cohorts, and Prefect's cache on our own key.

The artifact store is the truth, Prefect's cache the fast path. A task run is served from the cache when it would make the same
artifacts, in the same store, none of which has gone missing since (the store's generation). Prefect's own policies do not do:
DEFAULT never hits across runs, TASK_SOURCE does not see the code a task calls, INPUTS differs between processes for sets. Where
the work is done (the Place) is no part of a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from storage.keys import artifact_key
from tasks.faults import time_can_heal
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tasks.shard import StageReport
from tasks.states import ends_when_told

Decorator = Callable[[Callable[..., StageReport]], Task[..., StageReport]]


@dataclass
class ByArtifactKeys(CachePolicy):
    """Key a task run by the keys of the artifacts it answers for: those of a shard, or one over a whole cohort."""

    stage: str = ""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        place: Place = inputs["place"]
        makes: list[str] = sorted(inputs["shard"].keys(self.stage)) if "shard" in inputs else [self._of_cohort(**inputs)]
        return artifact_key(f"task:{self.stage}", 2, None, {"makes": makes, "store": [place.store.where, place.store.generation]})

    def _of_cohort(self, place: Place, cohort: Cohort, part: str, **others: Any) -> str:
        return cohort.judged(cohort.made(place.store))[self.stage, part]


def shard_task(stage: str, retries: int = 2, first_delay_s: float = 2) -> Decorator:
    """Decorate a function over one shard as the task of a stage: named, cached by artifact keys, retried where time can heal."""
    made = task(
        name=stage,
        task_run_name=stage + " {shard}",
        retries=retries,
        retry_delay_seconds=exponential_backoff(backoff_factor=first_delay_s),
        retry_condition_fn=time_can_heal,
        cache_policy=ByArtifactKeys(stage=stage),
        persist_result=True,
    )
    return lambda body: made(ends_when_told(body))


def cohort_task(stage: str, task_run_name: str) -> Decorator:
    """Decorate a function over a whole cohort as the task of a stage: named, cached by the key of what it makes."""
    made = task(name=stage, task_run_name=task_run_name, cache_policy=ByArtifactKeys(stage=stage), persist_result=True)
    return lambda body: made(ends_when_told(body))
