"""How a flow runs its tasks: in threads that end soon when the run is interrupted.

Prefect's own runner waits for them: behind Ctrl-C a training would go on for hours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import stopping

_LOOK_EVERY_S = 0.5


class Threads(ThreadPoolTaskRunner[Any]):
    """Prefect's threads, told to stop when what ends the flow is no Exception: what no flow caught, such as SystemExit."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_type is not None and not issubclass(exc_type, Exception):
            stopping.ask(exc_type.__name__)
        super().__exit__(exc_type, exc_value, traceback)


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
