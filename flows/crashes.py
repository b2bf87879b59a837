"""Crashes: Prefect is told of runs whose process was killed, so that none of them stays "Running" for ever.

Enters: the catalog, which knows the dead by their process or their silence (storage.catalog.liveness). Leaves: their flow runs,
and the flow runs that had started them in the same process, as Crashed. Their work is what the next run or scan finds missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx

from storage.catalog.catalog import Catalog

log = logging.getLogger("dst")

_ANSWERS_WITHIN_S = 3.0

FOR_DAYS = 7
"""How long after its end a crashed run is compared with what Prefect says of it: a server may have been away meanwhile."""


def bury(catalog: Catalog, others: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Mark the dead as crashed, in the catalog and in Prefect; return the flow runs that were set to Crashed.

    others: (flow run, why) of dead processes that the catalog keeps no run of, such as a scan's.
    """
    for row in catalog.bury_the_dead():
        log.warning("%s  run %s: %s; what it left is taken up", row["class_name"], row["run_id"][:8], row["reason"])
    since = (datetime.now(UTC) - timedelta(days=FOR_DAYS)).isoformat()
    return _tell(catalog.crashed_flow_runs(since) | dict(others))


def cancelled(flow_run_id: str) -> bool:
    """Say whether a flow run, or one that had started it, is being cancelled. No, where Prefect does not answer at once."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    if not api.url:
        return False
    login = httpx.BasicAuth(*api.auth_string.get_secret_value().split(":", 1)) if api.auth_string else None
    asked: str | None = flow_run_id
    try:
        # Not by Prefect's client, which asks a server that is being shut down again and again.
        with httpx.Client(base_url=api.url, auth=login, timeout=_ANSWERS_WITHIN_S) as client:
            while asked is not None:
                row = client.get(f"/flow_runs/{asked}").raise_for_status().json()
                if row["state_type"] in ("CANCELLING", "CANCELLED"):
                    return True
                above = row["parent_task_run_id"]
                asked = client.get(f"/task_runs/{above}").raise_for_status().json()["flow_run_id"] if above else None
    except (httpx.HTTPError, ValueError) as error:
        log.debug("whether flow run %s was cancelled is not known: %s", flow_run_id, error)
    return False


def _tell(reasons: dict[str, str]) -> list[str]:
    """Set those of the flow runs that Prefect takes for alive to Crashed, and what had started them in the same process."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    alive = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    told: list[str] = []
    with get_client(sync_client=True) as client:
        while reasons:
            found = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=[UUID(flow_run) for flow_run in reasons]),
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=alive)),
                )
            )
            above: dict[str, str] = {}
            for flow_run in found:
                reason = reasons[str(flow_run.id)]
                client.set_flow_run_state(flow_run.id, Crashed(message=reason), force=True)
                told.append(str(flow_run.id))
                if flow_run.parent_task_run_id is not None and flow_run.deployment_id is None:
                    parent = client.read_task_run(flow_run.parent_task_run_id).flow_run_id
                    if parent is not None:
                        above[str(parent)] = reason
            reasons = above
    return told
