"""How a run ends that is told to stop: between two steps, in a state that says so, and nothing of it goes on.

Enters: Ctrl-C, the SIGTERM of a worker or a service, or the button Cancel in the UI. Leaves: the flow run's last state, Cancelled
where a person cancelled it in Prefect, Stopped (of the same type) otherwise. Prefect itself would call both Crashed, and lets the
threads of a run go on until they are done.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, get_type_hints

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, TerminationSignal
from prefect.settings import get_current_settings
from prefect.states import Cancelled

from flows import crashes
from tasks import states, stopping

log = logging.getLogger("dst")

P = ParamSpec("P")
R = TypeVar("R")

CANCELLED = "Cancelled: by a person, in Prefect"
CTRL_C = "Ctrl-C"
ENDED = "its service or its machine ended it"
_LOOK_EVERY_S = 3.0
SIGNS = (stopping.Stopped, KeyboardInterrupt, TerminationSignal, Abort)
"""How it is said to a flow that it is to stop; Abort is what a task run ends with that was (tasks.caching)."""


def stoppable(body: Callable[P, R]) -> Callable[P, R]:
    """Decorate the function of a flow: where it is told to stop, the flow run ends in a state that says so.

    A flow that starts others asks `stopping.heed()` behind each: they have ended in a state of their own.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with stopping.flow_run() as told, _cancel_button(told):
            try:
                return body(*args, **kwargs)
            except SIGNS as sign:
                if isinstance(sign, Abort) and not stopping.asked():
                    raise
                # Prefect takes a state that a flow returns for its own.
                return _last_state(settle(sign))  # type: ignore[return-value]

    # Prefect makes a form of these, and would look for their names in this module.
    run.__annotations__ = get_type_hints(body, include_extras=True)
    run.__signature__ = inspect.signature(body, eval_str=True)  # type: ignore[attr-defined]
    return run


def settle(sign: BaseException) -> str:
    """Tell everything to stop that works for the flow run, wait until it has, and return why, for a person."""
    context = FlowRunContext.get()
    if not stopping.asked():
        stopping.ask(_said(sign, context))
    if context is not None:
        context.task_runner.cancel_all()  # type: ignore[attr-defined]
    return stopping.why()


def _said(sign: BaseException, context: FlowRunContext | None) -> str:
    if isinstance(sign, KeyboardInterrupt):
        return CTRL_C
    if context is not None and context.flow_run is not None and crashes.cancelled(str(context.flow_run.id)):
        return CANCELLED
    return ENDED


def _last_state(why: str) -> State[Any]:
    return Cancelled(message=why.removeprefix("Cancelled: ")) if why == CANCELLED else states.stopped(why)


@contextmanager
def _cancel_button(told: stopping.Told) -> Iterator[None]:
    """While the body runs, tell the flow run to stop when a person cancels it in Prefect.

    A worker sees to the runs that it has started itself, and to no other: not to a class inside a scan, nor to a terminal's.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id or not get_current_settings().api.url:
        yield
        return
    flow_run_id, over = str(context.flow_run.id), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            if crashes.cancelled(flow_run_id):
                told.ask(CANCELLED)
                return

    watch = threading.Thread(target=look, daemon=True, name="sees whether the flow run is cancelled")
    watch.start()
    try:
        yield
    finally:
        over.set()
