"""How a flow runs its tasks: in threads that end soon when the run is interrupted.

Prefect's own runner waits for them: behind Ctrl-C a training would go on for hours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Self

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import stopping

_lock = threading.Lock()
_open = 0


class Threads(ThreadPoolTaskRunner[Any]):
    """Prefect's threads, told to stop when what ends the flow is no Exception: Ctrl-C, or SIGTERM."""

    def __enter__(self) -> Self:
        global _open
        with _lock:
            if not _open:
                stopping.forget()
            _open += 1
        return super().__enter__()

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        global _open
        if exc_type is not None and not issubclass(exc_type, Exception):
            stopping.ask()
        try:
            super().__exit__(exc_type, exc_value, traceback)
        finally:
            with _lock:
                _open -= 1


def threads(count: int) -> Any:
    """Return a task runner of so many threads."""
    return Threads(max_workers=count)


def results(futures: Iterable[PrefectFuture[Any]]) -> list[Any]:
    """Wait for task runs and return what they return; the first that failed raises what made it fail.

    They come in the order in which they need each other. Prefect starts nothing behind a task run that failed, and of what it
    did not start it says "Run is in PENDING state": asked first, that would be said in place of the cause.
    """
    return [future.result() for future in futures]
