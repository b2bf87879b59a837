"""What Prefect shows of a task run or a flow run while it goes on: that it waits and for what, and that it was stopped.

Prefect has no word for a task run that waits in its middle, so its state is told in the way its own engine tells it, and the
engine goes on from there.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Abort
from prefect.states import Cancelled, Running
from prefect.utilities.engine import emit_task_run_state_change_event

from tasks import stopping
from tasks.faults import AWAY

log = logging.getLogger("dst")

P = ParamSpec("P")
R = TypeVar("R")

WAITING = "AwaitingConcurrencySlot"
"""Prefect's own name for whoever waits for a slot; its UI knows its colour."""
STOPPED = "Stopped"
"""The state's name of what was told to stop and goes on where it was when it is started again; its type is Cancelled."""


def waits(what: str) -> None:
    """Show that the task run, or outside of one the flow run, waits for something."""
    if TaskRunContext.get() is not None:
        _of_task_run(State(type=StateType.SCHEDULED, name=WAITING, message=f"waits for {what}"))
    else:
        _of_flow_run(State(type=StateType.RUNNING, name=WAITING, message=f"waits for {what}"))


def goes_on(message: str) -> None:
    """Show that it works again."""
    if TaskRunContext.get() is not None:
        _of_task_run(Running(message=message))
    else:
        _of_flow_run(Running(message=message))


def stopped(why: str) -> State[Any]:
    """Return the last state of what was told to stop."""
    return Cancelled(name=STOPPED, message=f"stopped: {why}; started again, it goes on where it was")


def ends_when_told(body: Callable[P, R]) -> Callable[P, R]:
    """Decorate the function of a task: told to stop, its task run ends as Stopped and nothing behind it starts."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        context = TaskRunContext.get()
        try:
            with stopping.of_run("" if context is None else str(context.task_run.flow_run_id)):
                stopping.heed()
                return body(*args, **kwargs)
        except stopping.Stopped as told:
            if TaskRunContext.get() is None:
                raise
            _of_task_run(stopped(str(told)))
            # What Prefect's engine lets through without a state and a log entry of its own.
            raise Abort(str(told)) from told

    return run


def _of_task_run(state: State[Any]) -> None:
    context = TaskRunContext.get()
    if context is None:
        return
    task_run = context.task_run
    before = task_run.state
    state.state_details.task_run_id, state.state_details.flow_run_id = task_run.id, task_run.flow_run_id
    task_run.state, task_run.state_id, task_run.state_type, task_run.state_name = state, state.id, state.type, state.name
    emit_task_run_state_change_event(task_run=task_run, initial_state=before, validated_state=state)


def _of_flow_run(state: State[Any]) -> None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(context.flow_run.id, state, force=True)
    except AWAY as error:
        log.debug("not shown in Prefect: %s", error)
