"""docker-compose.yml without containers: checked by docker-compose itself, then its own commands with its own settings, natively.

Real Postgres, the Prefect server on it with authentication, `dst serve` as its worker; a class is generated through the API.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from tests import postgres
from tests.flows.conftest import ROOT, Home, add_cars
from tests.serve.conftest import STARTS_WITHIN_S, Platform, save_recipe

pytestmark = pytest.mark.slow

PLANTED = {
    "PREFECT_AUTH": "dst:planted-server-password",
    "DST_NOTIFY_URL": "http://127.0.0.1:9/planted-webhook-token",
    "HF_TOKEN": "hf_planted-hub-token",
    "AWS_SECRET_ACCESS_KEY": "planted-bucket-key",
    "OPENAI_API_KEY": "sk-planted-captioner-key",
}


def compose(folder: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Ask docker-compose itself what docker-compose.yml comes to with an env file of these values."""
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    environment = {name: value for name, value in os.environ.items() if name not in values and not name.startswith("DST_")}
    return subprocess.run(
        ["docker-compose", "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(file), "config"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "PREFECT_AUTH"])
def test_nothing_starts_while_a_password_is_missing_or_empty(tmp_path: Path, missing: str) -> None:
    values = {"POSTGRES_PASSWORD": "a", "PREFECT_AUTH": "dst:b"}
    for given in ({name: value for name, value in values.items() if name != missing}, values | {missing: ""}):
        said = compose(tmp_path, given)
        assert said.returncode != 0
        assert re.search(rf"{missing}.*say .* in \.env", said.stderr), said.stderr


def test_the_example_of_settings_names_what_the_compose_file_reads_and_no_password() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)
    read = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(example) == read
    assert example["POSTGRES_PASSWORD"] == example["PREFECT_AUTH"] == ""


def test_everything_is_pinned_published_on_this_host_only_and_looked_after(tmp_path: Path) -> None:
    said = compose(tmp_path, {"POSTGRES_PASSWORD": "a", "PREFECT_AUTH": "dst:b"})
    assert said.returncode == 0, said.stderr
    services = yaml.safe_load(said.stdout)["services"]
    for name, service in services.items():
        assert re.search(r":\d+\.\d+", service["image"]), name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        if name != "catalog":
            assert service["healthcheck"]["test"], name
    assert re.match(r"FROM python:3\.11\.\d+-slim-bookworm\n", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()))
    libraries = re.search(r"RENDERER_LIBS := (.*)", (ROOT / "Makefile").read_text())
    assert libraries is not None
    assert set(libraries[1].split()) <= set((ROOT / "Dockerfile").read_text().split())


@dataclass
class Service:
    """A service of the compose file on this machine: its command and its environment, with places put in."""

    command: list[str]
    environment: dict[str, str]
    check: list[str]

    @classmethod
    def of(cls, service: dict[str, Any], places: dict[str, str]) -> Service:
        def put(text: str) -> str:
            for before, after in places.items():
                text = text.replace(before, after)
            return text

        command, check = service["command"], service.get("healthcheck", {}).get("test", ["CMD"])[1:]
        command = shlex.split(command) if isinstance(command, str) else command
        return cls(
            [put(part) for part in command],
            {name: put(str(value)) for name, value in service["environment"].items()},
            [put(part) for part in check],
        )

    @contextmanager
    def running(self, log: Path, extra: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until its health check says it is well; end it as a container is ended."""
        environment = clean() | self.environment | extra
        with log.open("wb") as out:
            process = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + STARTS_WITHIN_S
            while subprocess.run(self.check, env=environment, capture_output=True, timeout=30).returncode:
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.5)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(120)


def clean() -> dict[str, str]:
    """The environment of a container: nothing of this project's from outside."""
    bin_folder = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DST_", "PREFECT_"))}
    return kept | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "DO_NOT_TRACK": "1"}


@dataclass
class Stack:
    """The compose file's services, running."""

    platform: Platform
    database: postgres.Server
    logs: list[Path]
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with postgres.running() as database:
        with psycopg.connect(database.url("postgres", "postgres"), autocommit=True) as connection:
            # The image's first user owns the server.
            connection.execute("ALTER ROLE dst SUPERUSER")
            connection.execute("CREATE DATABASE prefect OWNER dst")
        secrets = PLANTED | {"POSTGRES_PASSWORD": database.password}
        asked = compose(folder, secrets)
        assert asked.returncode == 0, asked.stderr
        services = yaml.safe_load(asked.stdout)["services"]
        home = Home(folder / "home", api="")
        ui_port, files_port = free_port(), free_port()
        places = {
            "postgres:5432": f"127.0.0.1:{database.port}",
            "server:4200": f"127.0.0.1:{ui_port}",
            "4200": str(ui_port),
            "4201": str(files_port),
            "/data": str(home.path),
            "0.0.0.0": "127.0.0.1",
        }
        catalog = Service.of(services["catalog"], places)
        catalog.environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(database.port)}
        for _ in range(2):
            subprocess.run(catalog.command, env=clean() | catalog.environment, check=True, timeout=60)
        server, worker = Service.of(services["server"], places), Service.of(services["worker"], places)
        worker.environment["DST_WATCH"] = str(folder / "cad")
        quick = {"DST_THREADS": "1", "OMP_NUM_THREADS": "1", "DST_BATCH": "4"}
        planted = {name: value for name, value in PLANTED.items() if name not in ("PREFECT_AUTH", "DST_NOTIFY_URL")}
        save_recipe(home)
        logs = [folder / "server.log", folder / "worker.log"]
        with server.running(logs[0], {"PREFECT_HOME": str(folder / "prefect")} | planted):
            with worker.running(logs[1], quick | planted) as process:
                # Files are read by whoever knows the password only in a container, which listens to its host.
                platform = Platform(
                    home,
                    process,
                    logs[1],
                    f"http://127.0.0.1:{ui_port}",
                    f"http://127.0.0.1:{files_port}",
                    ROOT,
                    tuple(PLANTED["PREFECT_AUTH"].split(":")),  # type: ignore[arg-type]
                )
                environment = clean() | worker.environment | quick
                platform.home = InStack(home.path, "", environment)
                until = time.monotonic() + STARTS_WITHIN_S
                while "Ctrl-C ends it" not in logs[1].read_text():
                    assert process.poll() is None, logs[1].read_text()
                    assert time.monotonic() < until, logs[1].read_text()
                    time.sleep(0.5)
                yield Stack(platform, database, [*logs, folder / "prefect"], secrets)


@dataclass
class InStack(Home):
    """The home of the stack, whose commands have the worker's environment."""

    environment: dict[str, str]

    @property
    def settings(self) -> dict[str, str]:
        return self.environment


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_the_password_the_server_answers_nothing(stack: Stack) -> None:
    assert httpx.post(f"{stack.platform.ui}/api/flows/filter", json={}, timeout=30).status_code == 401


def test_a_class_is_generated_through_the_api_on_postgres(stack: Stack, tmp_path: Path) -> None:
    platform = stack.platform
    add_cars(platform.home, tmp_path / "cars", count=2)
    until = time.monotonic() + 120
    while platform.launch("generate a class", class_name="car", samples=8, recipe="small").status_code == 409:
        # The form learns of the new class within seconds.
        assert time.monotonic() < until
        time.sleep(1)
    runs = platform.ask("POST", "/flow_runs/filter", json={"flows": {"name": {"any_": ["generate a class"]}}}).json()
    run = platform.wait(runs[0]["id"])
    assert run["state_type"] == "COMPLETED", platform.said()
    with psycopg.connect(stack.database.url("catalog")) as connection:
        made = connection.execute("select count(*), count(image_key) from samples where in_cohort = 1").fetchone()
        status = connection.execute("select status from runs where flow_run_id = %s", [run["id"]]).fetchone()
    assert made == (8, 8)
    assert status == ("complete",)
    link = re.search(r"\[report\]\((\S+)\)", platform.artifacts(run["id"])["car-summary"])
    assert link is not None
    assert httpx.get(link[1], timeout=30).text.startswith("<!")


def test_secrets_are_nowhere(stack: Stack) -> None:
    """Neither in the catalog nor in Prefect's database, nor in any file of the platform, nor in what the API shows."""
    platform = stack.platform
    shown = {
        path: platform.ask("POST", f"/{path}/filter", json={}).raise_for_status().json()
        for path in ("flow_runs", "task_runs", "deployments", "artifacts", "logs", "work_pools", "block_documents")
    }
    assert shown["logs"]
    assert shown["artifacts"]
    texts = {f"API: {name}": json.dumps(rows) for name, rows in shown.items()}
    for database in ("prefect", "catalog"):
        dump = subprocess.run(
            [postgres._programs() / "pg_dump", "--data-only", stack.database.url(database)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert "car" in dump.stdout
        texts[f"database {database}"] = dump.stdout
    files = [file for place in (platform.home.path, *stack.logs) for file in [place, *place.rglob("*")] if file.is_file()]
    assert any("artifacts" in file.parts for file in files)
    assert any(file.name == "worker.log" for file in files)
    for file in files:
        texts[str(file)] = file.read_bytes().decode("latin-1")
    for name, secret in stack.secrets.items():
        for spelling in {secret, secret.split(":")[-1]}:
            assert [place for place, text in texts.items() if spelling in text] == [], name


def test_arguments_of_the_processes_hold_no_secret(stack: Stack) -> None:
    import psutil

    for process in [psutil.Process(stack.platform.process.pid), *stack.platform.family()]:
        arguments = " ".join(process.cmdline())
        assert not [name for name, secret in stack.secrets.items() if secret.split(":")[-1] in arguments]
