"""Tidying: a history of runs that a person can read.

Enters: the Prefect server. Leaves: of the scans that found nothing, the last; none of those that were cancelled because another
was at it; and a name of ours for runs that are scheduled, which Prefect calls by random words. How long all other runs are kept
is DST_HISTORY_DAYS (flows.prefect_env), which Prefect's own server sees to.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

SCAN = "scan"
"""The flow's name."""
TO_COME = "scan for new CAD models"
"""What a scan is called that has not begun, or has not yet seen what there is."""
VERIFY = "verify the catalog"
"""What a run of the flow `verify` is called."""
IDLE = "scan: nothing new"
"""What a scan is called in the end that had nothing to do."""


def tidy(own: UUID | None = None) -> int:
    """Delete the scans that say nothing and name those that are to come; return how many were deleted.

    own: the flow run that asks, an idle scan that has not ended yet: it is the one that stays.
    """
    with get_client(sync_client=True) as client:
        for flow, name in ((SCAN, TO_COME), ("verify", VERIFY)):
            for run in _runs(client, flow, StateType.SCHEDULED):
                if run.name != name:
                    with suppress(ObjectNotFound):
                        client.set_flow_run_name(run.id, name)
        idle = _runs(client, SCAN, StateType.COMPLETED, name=IDLE)
        doomed = idle[1:] if own is None else idle
        doomed += [run for run in _runs(client, SCAN, StateType.CANCELLED) if not run.run_count]
        for run in doomed:
            with suppress(ObjectNotFound):
                client.delete_flow_run(run.id)
    return len(doomed)


def call(flow_run_id: str, name: str) -> None:
    """Give a flow run that is going on another name."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(UUID(flow_run_id), name)


def _runs(client: SyncPrefectClient, flow: str, state: StateType, name: str = "") -> list[FlowRun]:
    """Return runs of a flow in a state, the latest first."""
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
            name=FlowRunFilterName(any_=[name]) if name else None,
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
