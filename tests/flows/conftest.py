"""A real Prefect server, and runs in processes of their own, as a user starts them."""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows import recipes
from storage.keys import plain
from storage.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]


def small(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return overrides that make the embedded recipe quick: a small generator of the same classes with random weights, 64 px.

    Every stage stays what it is; the pictures are noise, so verdicts say nothing here (see tests/verdict for that), and the
    judges are those that learn nothing from the CAD models first.
    """
    quick: dict[str, Any] = {
        "name": "small",
        "render": {"resolution": 64, "samples": 1},
        "image": {"model": str(_generator()), "resolution": 64, "steps": 2},
        "verdict": _quick_verdict(),
    }
    return _over(quick, changes or {})


def _quick_verdict() -> dict[str, Any]:
    quick = dataclasses.replace(recipes.embedded_quick(), name="small")
    verdict: dict[str, Any] = recipes.as_overrides(plain(quick))["overrides"]["verdict"]
    return verdict


def _over(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with changes laid over it, those of its tables too."""
    both = {
        name: _over(table[name], change) if isinstance(change, Mapping) and isinstance(table.get(name), Mapping) else change
        for name, change in changes.items()
    }
    return {**table, **both}


@cache
def _generator() -> Path:
    from tests.pipelines import random_pipeline

    folder = Path(tempfile.mkdtemp(prefix="dst-tests-")) / "generator"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    return random_pipeline(folder)


DST = Path(sys.executable).with_name("dst")
"""The command as it is installed; `python -m flows.cli` needs this checkout for a working folder."""


def folder_with_code(folder: Path) -> Path:
    """Make a working folder whose owner has code there under the names of this project's packages."""
    names = ("tasks.py", "models.py", "storage.py", "flows/__init__.py")
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import pathlib\npathlib.Path(__file__).with_suffix('.loaded').touch()\n")
    return folder


def loaded(folder: Path) -> list[str]:
    """Return which of that code was loaded."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*.loaded")]


@dataclass
class Server:
    """A Prefect server of the tests' own."""

    api: str

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return httpx.post(f"{self.api}{path}", json=body, timeout=30).raise_for_status().json()

    def task_runs(self, flow_run_id: str) -> list[dict[str, Any]]:
        return list(self.post("/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": [flow_run_id]}}}))

    def states(self, task_run_id: str) -> list[str]:
        """Names of all states that a task run went through, in order."""
        found = (
            httpx.get(f"{self.api}/task_run_states/", params={"task_run_id": task_run_id}, timeout=30).raise_for_status().json()
        )
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]


@dataclass
class Home:
    """A user's home folder and the commands typed there."""

    path: Path
    api: str

    @property
    def settings(self) -> dict[str, str]:
        """The environment its commands run in."""
        return os.environ | {
            "DST_HOME": str(self.path),
            "DST_PREFECT_API_URL": self.api,
            "OMP_NUM_THREADS": "1",
            "DST_THREADS": "1",
            "DST_BATCH": "4",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Type a command and do not wait for it."""
        arguments = [sys.executable, "-m", "flows.cli", *command]
        return subprocess.Popen(arguments, cwd=ROOT, env=self.settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python as this user."""
        return subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.settings, text=True, capture_output=True, timeout=600
        )

    def dst(self, *command: str, code: int = 0) -> str:
        """Type a command; return what it printed (both streams)."""
        process = self.start(*command)
        out, err = process.communicate(timeout=600)
        assert process.returncode == code, f"dst {' '.join(command)} ended with {process.returncode}:\n{out}\n{err}"
        return out + err

    def rows(self, sql: str) -> list[dict[str, Any]]:
        process = self.start("sql", sql, "--format", "json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return list(json.loads(out))

    def overrides(self, changes: dict[str, Any] | None = None) -> str:
        """Write a TOML file with the small recipe and these changes; return its path."""
        path = self.path / "recipe.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(_toml(small(changes))))
        return str(path)

    def digests(self, *stages: str) -> dict[str, str]:
        """stage/key/file -> digest of every artifact's files, read from disk."""
        import hashlib

        root = self.path / "artifacts"
        return {
            str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for stage in stages or STAGES
            for file in sorted(root.glob(f"{stage}/??/*/*"))
            if file.name != "record.json"
        }

    def renderers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """A run's live renderer workers."""
        try:
            children = psutil.Process(process.pid).children(recursive=True)
            return [child for child in children if "models.render.worker" in " ".join(child.cmdline())]
        except psutil.NoSuchProcess:
            return []


def _toml(table: Mapping[str, Any], *names: str) -> Iterator[str]:
    """Yield the lines of a table, those of the tables in it last."""
    inside = [key for key, value in table.items() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    for key, value in table.items():
        if not isinstance(value, Mapping) and key not in inside:
            yield f"{key} = {json.dumps(value)}"
    for key in inside:
        for entry in table[key]:
            yield f"[[{'.'.join([*names, key])}]]"
            yield from _toml(entry, *names, key)
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield f"[{'.'.join([*names, key])}]"
            yield from _toml(value, *names, key)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A standing Prefect server on a free port with a database of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": "",
    }
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    api = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 180
    while True:
        try:
            if httpx.get(f"{api}/health", timeout=2).json() is True:
                break
        except httpx.HTTPError:
            pass
        assert process.poll() is None, (home / "server.log").read_text()[-2000:]
        assert time.monotonic() < deadline, (home / "server.log").read_text()[-2000:]
        time.sleep(0.5)
    yield Server(api)
    process.terminate()
    process.wait(30)


@pytest.fixture
def home(tmp_path: Path, server: Server) -> Home:
    return Home(tmp_path / "home", server.api)


RUN = ("run", "car", "--samples", "12")


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Home:
    """A finished run that nothing happened to."""
    home = Home(tmp_path_factory.mktemp("unbroken"), server.api)
    add_cars(home, home.path / "cars")
    home.dst(*RUN, "--overrides", home.overrides())
    return home


def add_cars(home: Home, folder: Path, count: int = 3, first: int = 30_000) -> None:
    """Write parametric cars as files and register them as a user would."""
    from models.cad import parametric

    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"car-{seed}.glb").write_bytes(parametric.glb("car", seed))
    home.dst("cad", "add", str(folder), "--class", "car", "--keywords", "small car")
