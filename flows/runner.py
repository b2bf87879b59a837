"""How a flow runs its tasks: in threads that end soon when the run is interrupted, its stages' on a cluster where one is chosen.

Prefect's own runner waits for them: behind Ctrl-C a training would go on for hours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from storage.stages import STAGES
from tasks import progress, stages, stopping
from tasks.plan.fit import GPU
from tasks.plan.place import Place

if TYPE_CHECKING:
    from flows.cluster import Cluster

_LOOK_EVERY_S = 0.5


class Threads(ThreadPoolTaskRunner[Any]):
    """Prefect's threads, told to stop when what ends the flow is no Exception: what no flow caught, such as SystemExit."""

    _used = False

    def submit(self, *asked: Any, **named: Any) -> Any:
        """Hand out one task run."""
        self._used = True
        return super().submit(*asked, **named)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        # On a worker of a cluster Prefect enters a copy around each shard, and what ends a shard there is no word to the next.
        if self._used and exc_type is not None and not issubclass(exc_type, Exception):
            stopping.ask(exc_type.__name__)
        super().__exit__(exc_type, exc_value, traceback)


class Spread(Threads):
    """Hands the task runs of stages out to a cluster; what belongs to the run itself is done in threads here."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        super().__init__(max_workers=4)
        self._cluster, self._place = cluster, place

    def submit(self, task: Any, parameters: dict[str, Any], wait_for: Any = None, dependencies: Any = None) -> Any:
        """Hand out one task run."""
        if task.name not in STAGES:
            return super().submit(task, parameters, wait_for, dependencies)
        parameters = {**parameters, "place": self._place}
        asked = {"parameters": parameters, "wait_for": wait_for, "dependencies": dependencies}
        future = self._cluster.submit(task, _needs(task.name, parameters), **asked)
        future.add_done_callback(lambda _: self._moved(task.name, parameters))
        return future

    def _moved(self, stage: str, parameters: dict[str, Any]) -> None:
        """Move the stage's bar: the processes that do the work have none over all shards."""
        if "shard" in parameters:
            shard = parameters["shard"]
            progress.moved(self._place.run, stage, shard.class_name, len(shard.keys(stage)))
        else:
            progress.moved(self._place.run, stage, parameters["cohort"].class_name, 100)

    def cancel_all(self) -> None:
        """Tell what works anywhere for this flow to stop, if somebody has asked. Called at every end."""
        if stopping.asked():
            self._cluster.stop(self._place.run, stopping.why())
        super().cancel_all()


def _needs(stage: str, parameters: dict[str, Any]) -> str:
    """Return what a worker must offer for a task run of a stage; captions need the device where a network writes them."""
    if stage == "caption" and parameters["recipe"].caption.uses_device:
        return GPU
    return (stages.BY_NAME.get(stage) or stages.OVER_A_COHORT[stage]).needs


def threads(count: int) -> Any:
    """Return a task runner of so many threads."""
    return Threads(max_workers=count)


def results(futures: Iterable[PrefectFuture[Any]]) -> list[Any]:
    """Wait for task runs and return what they return; the first that failed raises what made it fail.

    They come in the order in which they need each other. Prefect starts nothing behind a task run that failed, and of what it
    did not start it says "Run is in PENDING state": asked first, that would be said in place of the cause. Raises Stopped as
    soon as the flow run is told to stop.
    """
    return [_result(future) for future in futures]


def _result(future: PrefectFuture[Any]) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not done.wait(_LOOK_EVERY_S):
        stopping.heed()
    # One that was told to stop has no result.
    stopping.heed()
    return future.result()
