"""A served platform: `dst serve` in a process of its own, as a user starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.flows.conftest import DST, Home, add_cars, folder_with_code

STARTS_WITHIN_S = 600
RUNS_WITHIN_S = 900


@dataclass
class Platform:
    """A `dst serve` that is ready."""

    home: Home
    process: subprocess.Popen[bytes]
    log: Path
    ui: str
    files: str
    folder: Path
    """Where it was started."""
    auth: tuple[str, str] | None = None

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the API; a database that is busy is asked again, as Prefect's own client does."""
        for _ in range(20):
            answer = httpx.request(method, f"{self.ui}/api{path}", auth=self.auth, timeout=60, **more)
            if answer.status_code != 503:
                break
            time.sleep(0.5)
        return answer

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("POST", "/deployments/filter", json={}).raise_for_status().json()}

    def launch(self, name: str, /, **parameters: Any) -> httpx.Response:
        """Ask the API for a run, as the form does."""
        deployment = self.deployments()[name]["id"]
        return self.ask("POST", f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters})

    def run(self, flow_run_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/flow_runs/{flow_run_id}").raise_for_status().json())

    def wait(self, flow_run_id: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of the states (by default: at its end) and return it."""
        wanted = states or ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        until = time.monotonic() + RUNS_WITHIN_S
        while (run := self.run(flow_run_id))["state_type"] not in wanted:
            assert time.monotonic() < until, (run["state"], self.said())
            time.sleep(0.5)
        return run

    def artifacts(self, flow_run_id: str) -> dict[str, Any]:
        """key -> data of the artifacts of a run."""
        body = {"artifacts": {"flow_run_id": {"any_": [flow_run_id]}}}
        found = self.ask("POST", "/artifacts/filter", json=body).raise_for_status().json()
        return {row["key"]: row["data"] for row in found if row["key"]}

    def said(self) -> str:
        logs = sorted((self.home.path / "prefect").glob("*.log"))
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in [self.log, *logs])

    def family(self) -> list[psutil.Process]:
        """Everything that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


@contextmanager
def serving(home: Home, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Platform]:
    """Start `dst serve` for a home, in a folder of somebody's own code; wait until it says where it is; end it at the end."""
    home.path.mkdir(parents=True, exist_ok=True)
    folder = folder_with_code(home.path.parent / "work")
    log = home.path.parent / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [DST, "serve", "--files-port", "0", *arguments],
            cwd=folder,
            env=home.settings | (environment or {}),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + STARTS_WITHIN_S
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        said = log.read_text()
        ui, files = re.findall(r"Prefect UI\s+(\S+)\n\s+reports\s+(\S+)/reports/index\.html", said)[0]
        yield Platform(home, process, log, ui, files, folder)
    finally:
        end(process, signal.SIGINT)


def end(process: subprocess.Popen[Any], how: signal.Signals) -> None:
    """Ask a process to end, and kill what is left of its family."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if process.poll() is None:
        process.send_signal(how)
    process.wait(120)
    for survivor in psutil.wait_procs(family, timeout=10)[1]:
        survivor.kill()


def save_recipe(home: Home, name: str = "small") -> str:
    """Save the small recipe in the home folder, under a name that forms then offer; return that."""
    folder = home.path / "recipes"
    folder.mkdir(parents=True, exist_ok=True)
    text = Path(home.overrides()).read_text().replace('name = "small"\n', "")
    (folder / f"{name}.toml").write_text(text)
    return name


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One for all tests of this folder; the last of test_served.py ends it."""
    home = Home(tmp_path_factory.mktemp("served") / "home", api="")
    add_cars(home, home.path.parent / "cars")
    save_recipe(home)
    # The zone that prefect.yaml names, and no weights of others.
    environment = {"DST_TIMEZONE": "UTC", "HF_HUB_OFFLINE": "1", "HF_HOME": str(home.path / "hub")}
    with serving(home, "--port", "0", environment=environment) as platform:
        yield platform
