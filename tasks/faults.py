"""What time can heal, and what it cannot.

A killed renderer, a busy database or a network that was away is tried again; a hopeless mesh or a refused caption is a row with a
reason (see tasks/shard.py); a bug is an exception and ends the run at once.
"""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task
from sqlalchemy.exc import OperationalError

from storage.artifacts import DamagedArtifact


def time_can_heal(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Say whether a failed task run is worth another try: Prefect's retry_condition_fn."""
    from models.render.pool import RendererDied

    error = state.result(raise_on_failure=False)
    return isinstance(error, (RendererDied, DamagedArtifact, OperationalError, ConnectionError, TimeoutError))
