"""Who is alive: runs and claims of killed processes, of other machines, and of this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from storage.catalog import journal, liveness, tables
from storage.catalog.catalog import Catalog, RunGoing
from storage.catalog.claims import claimed

SPECS = {"name": "embedded"}


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _said(catalog: Catalog, run_id: str, **changes: Any) -> None:
    with catalog.database.writing() as connection:
        connection.execute(sa.update(tables.runs).where(tables.runs.c.run_id == run_id).values(**changes))


def _start(catalog: Catalog, run_id: str, **said: Any) -> str:
    return catalog.start_run(class_name="car", recipe="embedded", recipe_specs=SPECS, samples=1, run_id=run_id, **said)


def _other(catalog: Catalog, code: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, up to its first line of output."""
    process = subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


HOLDER = """
import time
from storage.catalog.catalog import Catalog
from storage.catalog.claims import claimed
catalog = Catalog({url!r})
catalog.start_run(class_name="car", recipe="embedded", recipe_specs={{}}, samples=1, run_id="theirs")
with claimed(catalog.database, "scan", flow_run_id="x"):
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_killed_process_leaves_a_crashed_run_and_a_free_claim_even_before_it_is_reaped(catalog: Catalog, url: str) -> None:
    process = _other(catalog, HOLDER.format(url=url))
    with claimed(catalog.database, "scan") as claim:
        assert not claim.mine
        assert claim.holder["pid"] == process.pid
    assert catalog.bury_the_dead() == []
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.2)
    (row,) = catalog.bury_the_dead()
    assert (row["run_id"], row["status"], row["reason"]) == ("theirs", "crashed", "its process was killed")
    assert catalog.run("theirs")["finished_at"] is not None
    with claimed(catalog.database, "scan") as claim:
        assert claim.mine
        assert claim.bereaved is not None
        assert claim.bereaved["flow_run_id"] == "x"
    process.wait(30)


def test_a_claim_is_free_again_when_its_holder_is_done(catalog: Catalog) -> None:
    with claimed(catalog.database, "scan") as first:
        with claimed(catalog.database, "scan") as second, claimed(catalog.database, "other") as other:
            assert (first.mine, second.mine, other.mine) == (True, False, True)
    with claimed(catalog.database, "scan") as third:
        assert third.mine
        assert third.bereaved is None


def test_another_machine_is_judged_by_its_heartbeat(catalog: Catalog) -> None:
    for run_id, silence in (("fresh", 60), ("silent", 100)):
        _start(catalog, run_id)
        _said(catalog, run_id, host="elsewhere", pid=1, started_at=_ago(1000), heartbeat_at=_ago(silence))
    assert [row["run_id"] for row in catalog.bury_the_dead()] == ["silent"]
    assert "no sign of life from elsewhere" in catalog.run("silent")["reason"]
    catalog.heartbeat("fresh")
    assert catalog.run("fresh")["status"] == "running"


def test_a_process_with_the_number_of_one_that_was_killed_does_not_keep_its_run_alive(catalog: Catalog) -> None:
    _start(catalog, "old")
    _said(catalog, "old", pid=os.getppid(), started_at=_ago(86_400 * 365 * 20), heartbeat_at=_ago(1000))
    assert [row["run_id"] for row in catalog.bury_the_dead()] == ["old"]


def test_a_run_that_wants_to_be_alone_is_refused_beside_one_that_makes_the_same(catalog: Catalog) -> None:
    _start(catalog, "first", alone=True)
    with pytest.raises(RunGoing, match="run first of car"):
        _start(catalog, "second", alone=True)
    assert _start(catalog, "other kind", kind="preview", alone=True) == "other kind"
    catalog.finish_run("first", status="complete")
    assert _start(catalog, "second", alone=True) == "second"


def test_a_heartbeat_goes_on_while_the_body_runs_and_ends_with_it(catalog: Catalog) -> None:
    _start(catalog, "run")
    before = catalog.run("run")["heartbeat_at"]
    with liveness.beating(lambda: catalog.heartbeat("run"), every_s=0.05):
        while catalog.run("run")["heartbeat_at"] == before:
            time.sleep(0.05)
    last = catalog.run("run")["heartbeat_at"]
    time.sleep(0.3)
    assert catalog.run("run")["heartbeat_at"] == last


def test_two_machines_whose_clocks_are_ten_days_apart_do_not_take_each_other_for_dead(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ahead would bury whoever is at work, and two would make the same; one behind would never bury anybody."""
    there, here = Catalog(postgres_url), Catalog(postgres_url)
    there.migrate()
    monkeypatch.setattr("socket.gethostname", lambda: "there")
    monkeypatch.setattr(journal, "now", lambda: _ago(0))
    _start(there, "theirs", alone=True)
    with claimed(there.database, "scan"):
        for days in (10, -10):
            monkeypatch.setattr("socket.gethostname", lambda: "here")
            monkeypatch.setattr(journal, "now", lambda days=days: _ago(-86_400 * days))
            assert here.bury_the_dead() == []
            with pytest.raises(RunGoing, match="on there"):
                _start(here, "mine", alone=True)
            with claimed(here.database, "scan") as claim:
                assert not claim.mine
    # One that said nothing for long enough, by the one clock, is dead for both.
    with there.database.writing() as connection:
        silent = sa.text("UPDATE runs SET heartbeat_at = :at WHERE run_id = 'theirs'")
        connection.execute(silent, {"at": _ago(100)})
    assert [row["run_id"] for row in here.bury_the_dead()] == ["theirs"]
