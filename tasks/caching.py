"""Tasks over shards, and Prefect's cache on our own key.

The artifact store is the truth, Prefect's cache the fast path. A task run over a shard is served from the cache when it would
make the same artifacts, in the same store, none of which has gone missing since (the store's generation). Prefect's own
policies do not do: DEFAULT never hits across runs, TASK_SOURCE does not see the code a task calls, INPUTS differs between
processes for sets.
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
from storage.settings import Settings
from tasks.cohort import Cohort, Shard
from tasks.faults import time_can_heal
from tasks.shard import ShardReport


@dataclass
class ByArtifactKeys(CachePolicy):
    """Key a task run over a shard by the keys of the artifacts it answers for."""

    stage: str = ""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        shard: Shard = inputs["shard"]
        store = Settings().store
        keys = sorted({planned.key(self.stage) for planned in shard.samples})
        generation = [str(store.root), store.generation]
        return artifact_key(f"task:{self.stage}", 1, None, {"makes": keys, "store": generation})


def shard_task(
    stage: str, retries: int = 2, first_delay_s: float = 2
) -> Callable[[Callable[..., ShardReport]], Task[..., ShardReport]]:
    """Decorate a function over one shard as the task of a stage: named, cached by artifact keys, retried where time can heal."""
    return task(
        name=stage,
        task_run_name=stage + " {shard}",
        retries=retries,
        retry_delay_seconds=exponential_backoff(backoff_factor=first_delay_s),
        retry_condition_fn=time_can_heal,
        cache_policy=ByArtifactKeys(stage=stage),
        persist_result=True,
    )


@dataclass
class ByVerdictKey(CachePolicy):
    """Key the verdicts over a cohort by the images they judge."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        cohort: Cohort = inputs["cohort"]
        store = Settings().store
        generation = [str(store.root), store.generation]
        key = cohort.verdict_key(cohort.made(store))
        return artifact_key("task:verdict", 1, None, {"makes": key, "store": generation})
