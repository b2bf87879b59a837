"""Killed, failed and invalid runs: marked, taken up, told of."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.conftest import Home, Server, add_cars, kill

pytestmark = pytest.mark.slow


def _flow_run(server: Server, flow_run_id: str) -> dict[str, Any]:
    return dict(httpx.get(f"{server.api}/flow_runs/{flow_run_id}", timeout=30).raise_for_status().json())


def test_a_killed_run_is_crashed_in_the_catalog_and_in_prefect_and_its_work_is_taken_up(
    home: Home, server: Server, tmp_path: Path
) -> None:
    add_cars(home, tmp_path / "cars", count=1)
    overrides = home.overrides({"render": {"samples": 1, "resolution": 64}})
    process = home.start("run", "car", "--samples", "4", "--overrides", overrides)
    deadline = time.monotonic() + 300
    while not list((home.path / "artifacts").glob("control/*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    kill(process.pid)
    process.wait(30)
    (killed,) = home.rows("select run_id, status, flow_run_id, heartbeat_at, pid from runs")
    assert (killed["status"], killed["pid"]) == ("running", process.pid)
    assert killed["heartbeat_at"] is not None
    assert _flow_run(server, killed["flow_run_id"])["state_type"] == "RUNNING"
    made = {path.parent: path.stat().st_mtime_ns for path in (home.path / "artifacts").glob("*/*/*/record.json")}
    assert "of runs that go on or were broken off, and have no row yet" in home.dst("catalog", "verify", "--quick")
    said = home.dst("scan")
    assert "its process was killed" in said
    assert "have no row yet" not in home.dst("catalog", "verify", "--quick")
    crashed = _flow_run(server, killed["flow_run_id"])
    assert (crashed["state_type"], crashed["state"]["message"]) == ("CRASHED", "its process was killed")
    runs = home.rows("select status, reason from runs order by started_at")
    assert [run["status"] for run in runs] == ["crashed", "complete"]
    assert runs[0]["reason"] == "its process was killed"
    assert len(home.rows("select * from samples where in_cohort = 1 and status = 'made'")) == 4
    for folder, written in made.items():
        assert (folder / "record.json").stat().st_mtime_ns == written


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook on a free port, and what it was sent."""
    heard: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=hook.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{hook.server_port}/secret-path", heard
    hook.shutdown()
    thread.join(10)


ENSURE = """
from flows.prefect_env import prepare
from storage.settings import Settings
prepare(Settings())
from flows.automations import ensure
print(ensure(Settings()))
"""

ENDINGS = """
from flows.prefect_env import prepare
from storage.settings import Settings
prepare(Settings())
from prefect import flow
from tasks import events

@flow(flow_run_name="car that fails")
def failing():
    raise ValueError('a "quoted" <reason>')

@flow
def invalid():
    events.run_invalid({"run_id": "abc", "class_name": "car", "recipe": "embedded", "samples": 5, "reason": "edges are empty",
                        "counts": {"made": 5}, "flow_run_url": "http://ui/run"})

failing(return_state=True)
invalid()
"""


def test_failed_and_invalid_runs_are_told_to_a_webhook_and_its_address_to_nobody(
    home: Home, server: Server, receiver: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, heard = receiver
    monkeypatch.setenv("DST_NOTIFY_URL", address)
    for _ in range(2):
        made = home.python("-c", ENSURE)
        assert made.stdout.strip() == "True", made.stderr
    automations = server.post("/automations/filter", {})
    ours = [automation for automation in automations if automation["name"] == "tell of failed and invalid runs"]
    assert len(ours) == 1
    assert "secret-path" not in json.dumps(automations)
    # The server's own evaluation of automations hears of a new one by an event.
    time.sleep(5)
    ran = home.python("-c", ENDINGS)
    assert ran.returncode == 0, ran.stderr
    deadline = time.monotonic() + 120
    while len({message["outcome"] for message in heard}) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    by_outcome = {message["outcome"]: message for message in heard}
    assert set(by_outcome) == {"failed", "invalid"}
    assert by_outcome["failed"]["run"] == "car that fails"
    assert 'a "quoted" <reason>' in by_outcome["failed"]["text"]
    assert by_outcome["invalid"]["text"] == 'Run "car embedded 5" invalid: edges are empty'
    assert by_outcome["invalid"]["url"] == "http://ui/run"
    monkeypatch.setenv("DST_NOTIFY_URL", "")
    assert home.python("-c", ENSURE).stdout.strip() == "False"
    assert not [a for a in server.post("/automations/filter", {}) if a["name"] == "tell of failed and invalid runs"]
