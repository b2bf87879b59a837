"""The history of runs: scans that say nothing do not litter it."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.tidy import IDLE, TO_COME, tidy
from tests.flows.conftest import Server

pytestmark = pytest.mark.slow


def made(server: Server, name: str, *states: str) -> str:
    """Make a flow run of the scan that went through some states; return its id."""
    flow = server.post("/flows/", {"name": "scan"})["id"]
    run = server.post("/flow_runs/", {"flow_id": flow, "name": name, "state": {"type": "SCHEDULED"}})["id"]
    for state in states:
        server.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
    return str(run)


def test_of_scans_that_found_nothing_the_last_stays_and_scheduled_ones_have_our_name(server: Server) -> None:
    before = {run["id"] for run in server.post("/flow_runs/filter", {})}
    idle = [made(server, IDLE, "RUNNING", "COMPLETED") for _ in range(3)]
    worked = made(server, "scan: 2 new, 1 class", "RUNNING", "COMPLETED")
    failed = made(server, IDLE, "RUNNING", "FAILED")
    to_come = made(server, "fuzzy-otter")
    overlapped = made(server, "lucky-mole", "CANCELLED")
    stopped = made(server, "scan: 1 class", "RUNNING", "CANCELLED")
    with temporary_settings({PREFECT_API_URL: server.api}):
        assert tidy() == 3
        left = {run["id"]: run["name"] for run in server.post("/flow_runs/filter", {}) if run["id"] not in before}
        assert left.keys() == {worked, failed, to_come, stopped, idle[-1]}
        assert left[to_come] == TO_COME
        assert overlapped not in left
        own = made(server, IDLE, "RUNNING")
        tidy(UUID(own))
        left = {run["id"]: run["name"] for run in server.post("/flow_runs/filter", {}) if run["id"] not in before}
        assert left.keys() == {worked, failed, to_come, stopped, own}
