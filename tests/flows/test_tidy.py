"""The history of runs: scans that say nothing do not litter it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import prefect_env
from flows.tidy import IDLE, TO_COME, tidy
from storage.settings import Settings
from tests.flows.conftest import Server


def test_a_database_that_is_mostly_empty_is_made_smaller_before_a_server_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table kept (data blob)")
        database.execute("insert into kept values (zeroblob(20000000))")
        database.commit()
        database.execute("delete from kept")
        database.commit()
    assert path.stat().st_size > 20_000_000
    prefect_env._try_database(tmp_path)
    assert path.stat().st_size < 100_000


def test_prefect_keeps_runs_as_long_as_a_person_says_and_events_no_longer(tmp_path: Path) -> None:
    asked = prefect_env._history(Settings(home=tmp_path, history_days=0.5))
    assert asked["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs,orphans"
    assert asked["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == "43200"
    assert asked["PREFECT_SERVER_EVENTS_RETENTION_PERIOD"] == "PT43200S"
    assert prefect_env._history(Settings(home=tmp_path))["PREFECT_SERVER_EVENTS_RETENTION_PERIOD"] == "PT86400S"


def made(server: Server, name: str, *states: str) -> str:
    """Make a flow run of the scan that went through some states; return its id."""
    flow = server.post("/flows/", {"name": "scan"})["id"]
    run = server.post("/flow_runs/", {"flow_id": flow, "name": name, "state": {"type": "SCHEDULED"}})["id"]
    for state in states:
        server.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
    return str(run)


@pytest.mark.slow
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
