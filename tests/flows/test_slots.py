"""Slots of a machine's resources: shared between processes, given back by the dead, never in the way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.flows.conftest import ROOT, Home, Server, kill

pytestmark = pytest.mark.slow

HOLDER = """
import sys, time
from flows.prefect_env import prepare
from storage.settings import Settings
prepare(Settings())
from prefect import flow, task
from tasks import slots

@task(task_run_name="shard of {name}")
def shard(name, count, seconds):
    for _ in range(count):
        began = time.monotonic()
        with slots.slot(name, of=1):
            print("held", time.monotonic() - began, flush=True)
            time.sleep(seconds)
        print("let go", time.monotonic() - began - seconds, flush=True)

@flow
def holding(name, count, seconds):
    shard(name, count, seconds)

holding(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
"""


def _holder(home: Home, name: str, count: int = 1, seconds: float = 0.0) -> subprocess.Popen[str]:
    home.path.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-c", HOLDER, name, str(count), str(seconds)]
    return subprocess.Popen(arguments, cwd=ROOT, env=home.settings, text=True, stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def _active(server: Server, name: str) -> int:
    return int(httpx.get(f"{server.api}/v2/concurrency_limits/{name}", timeout=30).raise_for_status().json()["active_slots"])


def test_a_slot_is_waited_for_and_one_of_a_killed_process_is_free_again(home: Home, server: Server) -> None:
    first = _holder(home, "renderer:killed", seconds=600)
    assert _line(first)[0] == "held"
    assert _active(server, "renderer:killed") == 1
    second = _holder(home, "renderer:killed")
    time.sleep(5)
    assert second.poll() is None
    kill(first.pid)
    first.wait(30)
    assert _line(second)[0] == "held"
    assert second.wait(120) == 0
    assert _active(server, "renderer:killed") == 0
    found = server.post("/task_runs/filter", {"task_runs": {"name": {"any_": ["shard of renderer:killed"]}}})
    waited = next(run for run in found if run["state_type"] == "COMPLETED")
    states = server.states(waited["id"])
    assert states == ["Pending", "Running", "AwaitingConcurrencySlot", "Running", "Completed"]


def test_a_slot_that_nobody_else_wants_costs_next_to_nothing(
    home: Home, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = _holder(home, "renderer:free", count=10).communicate(timeout=300)
    costs = sorted(float(line.split()[-1]) for line in out.splitlines() if line.startswith("let go"))
    assert len(costs) == 10
    with capsys.disabled():
        print(f"\n  a slot held and let go: median {costs[5]:.3f} s, most {costs[-1]:.3f} s")


def test_without_a_server_that_knows_limits_the_work_goes_on(tmp_path: Path) -> None:
    from tasks import slots

    with slots.slot("renderer:nowhere", of=1):
        done = True
    assert done
