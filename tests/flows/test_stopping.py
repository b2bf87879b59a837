"""Told to stop: who is meant by it, what it says, and that whoever waits does not wait on."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import runs
from models.cad.intake import canonicalise_isolated
from models.cad.spec import CadSpec
from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from tasks import slots, stopping, waiting
from tasks.plan.failures import GENERATE
from tests.flows.conftest import ROOT, Home, Server


def test_of_two_flow_runs_only_the_one_that_is_told_stops_with_what_it_started() -> None:
    with stopping.flow_run():
        with stopping.flow_run() as told:
            told.ask("a person")
            with stopping.flow_run():
                assert stopping.why() == "a person"
        with stopping.flow_run():
            stopping.heed()
        stopping.ask("Ctrl-C")
        with stopping.flow_run(), pytest.raises(stopping.Stopped, match="Ctrl-C"):
            stopping.heed()
    with stopping.flow_run():
        assert not stopping.asked(), "that was meant for an earlier run of this process"


def test_it_is_said_at_once_and_once_what_happens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="dst"), stopping.flow_run() as told:
        told.ask("Ctrl-C")
        told.ask("its service ended it")
    assert [record.message for record in caplog.records] == ["stopping after this step: Ctrl-C"]


def asked_soon(told: stopping.Told) -> None:
    threading.Timer(0.3, told.ask, ["a person"]).start()


def test_whoever_waits_for_another_shard_of_its_process_stops_within_a_second() -> None:
    with stopping.flow_run() as told:
        taken = threading.Lock()
        with taken:
            asked_soon(told)
            began = time.monotonic()
            with pytest.raises(stopping.Stopped), slots.turn(taken, "gpu:here:cpu"):
                pass
        assert time.monotonic() - began < 1.0
        assert not taken.locked()


def test_a_run_that_waits_for_another_of_its_class_says_so_and_stops_within_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", ArtifactStore(tmp_path / "artifacts"))
    catalog.migrate()
    row: dict[str, Any] = {"class_name": "car", "recipe": "embedded", "recipe_specs": {}, "samples": 8, "kind": GENERATE}
    going = catalog.start_run(**row)
    with caplog.at_level(logging.INFO, logger="dst"), stopping.flow_run() as told:
        asked_soon(told)
        began, waited = time.monotonic(), waiting.seconds()
        with pytest.raises(stopping.Stopped):
            runs._started(catalog, **row)
    assert time.monotonic() - began < 1.5
    assert waiting.seconds() - waited > 0.2
    assert f"car  waits: run {going[:8]} of car" in caplog.text
    assert [run["run_id"] for run in catalog.runs()] == [going]


def test_a_cad_file_that_is_being_read_is_given_up_with_its_reader(tmp_path: Path) -> None:
    slow = tmp_path / "slow.obj"
    slow.write_text("".join(f"v {i} {i % 7} {i % 5}\n" for i in range(400_000)) + "f 1 2 3\n" * 400_000)
    with stopping.flow_run() as told:
        asked_soon(told)
        began = time.monotonic()
        with pytest.raises(stopping.Stopped):
            canonicalise_isolated(slow, CadSpec(), between=stopping.heed)
        assert time.monotonic() - began < 2.0


STUBBORN = """
import time
from flows.commands.terminal import watched
with watched():
    try:
        print("works", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("goes on to the end of its step", flush=True)
        time.sleep(60)
"""


def test_a_second_ctrl_c_ends_a_command_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    for said in ("works", "goes on to the end of its step"):
        assert process.stdout.readline().strip() == said
        process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert told == "dst: stopped at once; start the same command again and it goes on where it was\n"


WAITER = """
import sys
from flows.prefect_env import prepare
from storage.settings import Settings
prepare(Settings())
from prefect import flow, task
from flows.runner import results, threads
from flows.stops import stoppable
from flows.commands.terminal import watched
from tasks import slots, stopping
from tasks.states import ends_when_told

@task(task_run_name="image car/0000")
@ends_when_told
def shard(name):
    with slots.slot(name, of=1):
        print("held", flush=True)

@flow(task_runner=threads(2), flow_run_name="{class_name} {name}")
@stoppable
def one_class(class_name, name):
    return results([shard.submit(name)])

@flow(flow_run_name="scan {name}")
@stoppable
def scan(name):
    for class_name in ("car", "chair"):
        print(class_name, one_class(class_name, name, return_state=True).name, flush=True)
        stopping.heed()

if __name__ == "__main__":
    with watched():
        scan(sys.argv[1])
"""


@pytest.fixture
def taken(server: Server) -> Iterator[str]:
    """The name of a limit whose only slot somebody else has."""
    name = f"renderer:taken-{time.time_ns()}"
    server.post("/v2/concurrency_limits/", {"name": name, "limit": 1})
    # The first moments of a server's life are busy ones.
    time.sleep(2)
    lease = server.post("/v2/concurrency_limits/increment-with-lease", {"names": [name], "slots": 1, "lease_duration": 300})
    yield name
    httpx.post(f"{server.api}/v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease["lease_id"]}, timeout=30)


class Waiter:
    """A process whose flow `scan` starts a flow for each of two classes, whose task run waits for a slot."""

    def __init__(self, home: Home, server: Server, name: str) -> None:
        self.server, self.name = server, name
        home.path.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WAITER, name],
            cwd=ROOT,
            env=home.settings,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def flow_run(self, what: str) -> dict[str, Any]:
        found = self.server.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [f"{what} {self.name}"]}}})
        return dict(found[0]) if found else {"id": None, "state_name": ""}

    def task_run(self, class_name: str) -> dict[str, Any]:
        within = self.flow_run(class_name)["id"]
        found = self.server.task_runs(within) if within else []
        return found[0] if found else {"state_name": ""}

    def until_it_waits(self, class_name: str) -> dict[str, Any]:
        deadline = time.monotonic() + 90
        while (found := self.task_run(class_name))["state_name"] != "AwaitingConcurrencySlot":
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.2)
        return found


@pytest.mark.slow
def test_a_run_that_waits_for_a_slot_says_so_and_stops_in_seconds_the_class_alone_or_the_scan(
    home: Home, server: Server, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiter = Waiter(home, server, taken)
    waits = waiter.until_it_waits("car")
    assert waits["state"]["message"] == f"waits for {taken}"
    # What the button of the UI asks for.
    began, at = time.monotonic(), datetime.now(UTC)
    car = waiter.flow_run("car")["id"]
    server.post(f"/flow_runs/{car}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    waits = waiter.until_it_waits("chair")
    assert time.monotonic() - began < 10
    cancelled = (datetime.fromisoformat(waiter.flow_run("car")["end_time"]) - at).total_seconds()
    state = waiter.flow_run("car")["state"]
    assert (state["type"], state["name"], state["message"]) == ("CANCELLED", "Cancelled", "by a person, in Prefect")
    began = time.monotonic()
    waiter.process.send_signal(signal.SIGINT)
    said, _ = waiter.process.communicate(timeout=60)
    ended = time.monotonic() - began
    assert ended < 10, said
    with capsys.disabled():
        print(f"\n  a run that waits: over {cancelled:.1f} s after Cancel, its process gone {ended:.1f} s after Ctrl-C")
    assert waiter.process.returncode == -signal.SIGINT, "KeyboardInterrupt is left to the command to say"
    assert said.count(f"image car/0000 waits for {taken}") == 2
    assert "stopping after this step: Cancelled: by a person, in Prefect" in said
    assert "car Cancelled" in said
    assert "stopping after this step: Ctrl-C" in said
    assert "chair Stopped" in said
    assert "held" not in said
    for what in ("scan", "chair"):
        state = waiter.flow_run(what)["state"]
        assert (state["type"], state["name"]) == ("CANCELLED", "Stopped"), what
        assert state["message"] == "stopped: Ctrl-C; started again, it goes on where it was"
    assert server.states(waits["id"])[-2:] == ["AwaitingConcurrencySlot", "Stopped"]
