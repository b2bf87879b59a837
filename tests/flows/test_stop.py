"""Ctrl-C on a terminal reaches every process of a command; a kill reaches one. Neither leaves anything behind, nor hangs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from models.world.spec import WorldSpec
from tests.flows.conftest import ROOT, Home, add_cars, kill
from tests.training.worlds import write_shards

pytestmark = pytest.mark.slow


@pytest.fixture
def alone(tmp_path: Path) -> Home:
    """A home without a standing Prefect server: each command starts its own."""
    return Home(tmp_path / "home", "")


def typed(home: Home, *command: str) -> subprocess.Popen[str]:
    """Type a command on a terminal of its own: its process group is what Ctrl-C reaches."""
    arguments = [sys.executable, "-m", "flows.cli", *command]
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        # What other tests of this process have set for Prefect is not theirs.
        env={name: value for name, value in home.settings.items() if not name.startswith("PREFECT_")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Whatever runs the tests in the background may have Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_this(home: Home) -> list[psutil.Process]:
    """Every process that works for a home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DST_HOME") == str(home.path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def servers(home: Home) -> list[psutil.Process]:
    return [process for process in of_this(home) if "prefect.server.api.server:create_app" in process.cmdline()]


def nobody_left(home: Home) -> bool:
    deadline = time.monotonic() + 30
    while of_this(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not of_this(home)


def prefect_states(home: Home) -> list[str]:
    """Return the states of the flow runs that Prefect's own database in the home knows."""
    with closing(sqlite3.connect(home.path / "prefect" / "prefect.db")) as database:
        return [row[0] for row in database.execute("select state_name from flow_run order by created")]


def test_ctrl_c_ends_a_run_between_two_samples_and_the_same_command_goes_on(alone: Home) -> None:
    add_cars(alone, alone.path / "cars")
    run = ("run", "car", "--samples", "240", "--overrides", alone.overrides())
    process = typed(alone, *run)
    until(lambda: list((alone.path / "artifacts").glob("render/??/*/record.json")), process)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said.strip().endswith("dst: stopped; start the same command again and it goes on where it was")
    assert "stopping after this step: Ctrl-C" in " ".join(said.split())
    assert "Traceback" not in said
    assert "ERROR" not in said
    assert nobody_left(alone)
    assert 0 < len(list((alone.path / "artifacts").glob("render/??/*/record.json"))) < 240
    assert alone.rows("select status, reason from runs") == [{"status": "stopped", "reason": "stopped by Ctrl-C"}]
    # What it had made is written down: nothing is missing in the catalog, and there is a page of it.
    assert "catalog and store say the same" in alone.dst("catalog", "verify", "--quick")
    assert alone.rows("select count(*) as n from artifacts where made_by is not null and stage = 'render'")[0]["n"] > 0
    assert "stopped" in alone.dst("status")
    assert "report of what there is" in said
    assert alone.rows("select count(*) as failed from samples where status = 'failed'") == [{"failed": 0}]
    assert prefect_states(alone) == ["Stopped"]
    # As if it were of last month: the next command's own server takes it out of the history.
    with closing(sqlite3.connect(alone.path / "prefect" / "prefect.db")) as database, database:
        database.execute("update flow_run set end_time = '2020-01-01'")
    made = alone.digests("render")
    alone.dst("run", "car", "--samples", "3", "--overrides", alone.overrides())
    assert made.items() <= alone.digests("render").items()
    assert alone.rows("select status from runs order by started_at desc limit 1") == [{"status": "complete"}]
    assert prefect_states(alone) == ["Completed"]


def test_a_command_that_is_killed_takes_its_own_prefect_server_with_it(alone: Home) -> None:
    add_cars(alone, alone.path / "cars")
    process = typed(alone, "run", "car", "--samples", "240", "--overrides", alone.overrides())
    until(lambda: list((alone.path / "artifacts").glob("render/??/*/record.json")), process)
    assert len(servers(alone)) == 1
    kill(process.pid)
    process.communicate(timeout=60)
    assert nobody_left(alone)


def test_ctrl_c_ends_a_training_behind_a_checkpoint(alone: Home) -> None:
    world = write_shards(alone.path / "training" / "world", shards=1)
    (world / "shard-00000" / "world.json").write_text(json.dumps(WorldSpec().identity(0)))
    process = typed(alone, "train", "--shards", "1", "--full-share", "0", "--autoencoder-minutes", "60", "--sheet-minutes", "0")
    log = alone.path / "training" / "run" / "history.jsonl"
    until(log.is_file, process)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "autoencoder stopped: " in " ".join(said.split())
    assert "Traceback" not in said
    assert nobody_left(alone)
    assert (alone.path / "training" / "run" / "autoencoder.safetensors").is_file()
    assert not (alone.path / "training" / "run" / "base.safetensors").exists()
