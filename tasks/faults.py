"""What time can heal, and what it cannot.

A killed renderer, a busy database or a network that was away is tried again; a hopeless mesh or a refused caption is a row with a
reason (see tasks/shard.py); a bug is an exception and ends the run at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectException
from prefect.tasks import Task
from sqlalchemy.exc import OperationalError

from storage.artifacts import DamagedArtifact

log = logging.getLogger("dst")

AWAY = (httpx.HTTPError, PrefectException, OSError)
"""How a Prefect server shows that it is away or too busy. Its answer 503 is an httpx error and no PrefectException."""


def time_can_heal(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Say whether a failed task run is worth another try: Prefect's retry_condition_fn."""
    from models.render.pool import RendererDied

    error = state.result(raise_on_failure=False)
    # The catalog explains a busy database to a person (CatalogError); what it was stands behind that.
    known = (RendererDied, DamagedArtifact, OperationalError, ConnectionError, TimeoutError, httpx.TransportError)
    return isinstance(error, known) or isinstance(getattr(error, "__cause__", None), OperationalError)


@contextmanager
def for_show(what: str) -> Iterator[None]:
    """Put something into Prefect's UI in the body: a server that is away or too busy costs just that, and no work."""
    try:
        yield
    except AWAY as error:
        log.warning("%s not shown in Prefect: %s", what, error)


def artifact_name(class_name: str, what: str) -> str:
    """Return the key of a Prefect artifact of a class: lower-case letters, digits and hyphens, as Prefect asks."""
    return re.sub(r"[^a-z0-9]+", "-", f"{class_name}-{what}".lower()).strip("-")
