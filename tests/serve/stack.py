"""docker-compose.yml without containers: what docker-compose makes of it, and its own commands with its own settings, natively.

Enters: nothing. Leaves: real Postgres, moto's S3 server, the Prefect server with authentication, forms and pictures, and two
workers on homes of their own, which share nothing but Postgres and S3.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from storage.stages import OF_A_SAMPLE
from tests import postgres
from tests.flows.conftest import ROOT, Home
from tests.serve.conftest import STARTS_WITHIN_S, Platform, end, save_recipe

PLANTED = {
    "PREFECT_AUTH": "dst:planted-server-password",
    "S3_PASSWORD": "planted-store-password",
    "DST_NOTIFY_URL": "http://127.0.0.1:9/planted-webhook-token",
    "HF_TOKEN": "hf_planted-hub-token",
    "OPENAI_API_KEY": "sk-planted-captioner-key",
}
OF_CONTAINERS = ("DST_", "PREFECT_", "AWS_")
QUICK = {"DST_THREADS": "1", "OMP_NUM_THREADS": "1", "DST_BATCH": "4", "DST_WORKERS": "1"}
"""What makes the recipe quick and its bytes those of any other home of the tests."""


def compose(folder: Path, values: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    """Ask docker-compose itself what docker-compose.yml comes to with an env file of these values."""
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    environment = {name: value for name, value in os.environ.items() if name not in values and not name.startswith("DST_")}
    return subprocess.run(
        ["docker-compose", "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(file), *more, "config"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@dataclass
class Service:
    """A service of the compose file on this machine: its command and its environment, with places put in."""

    command: list[str]
    environment: dict[str, str]
    check: list[str]

    @classmethod
    def of(cls, service: dict[str, Any], places: dict[str, str]) -> Service:
        def put(text: str) -> str:
            # At once: a port that was put in may hold the digits of another.
            return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)

        command, check = service["command"], service.get("healthcheck", {}).get("test", ["CMD"])[1:]
        command = shlex.split(command) if isinstance(command, str) else command
        return cls(
            [put(part) for part in command],
            {name: put(str(value)) for name, value in service["environment"].items()},
            [put(part) for part in check],
        )

    def run(self) -> str:
        """Run it to its end; return what it said."""
        done = subprocess.run(self.command, cwd=ROOT, env=clean() | self.environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

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
            end(process, signal.SIGTERM)


def clean() -> dict[str, str]:
    """The environment of a container: nothing of this project's from outside."""
    bin_folder = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_CONTAINERS)}
    return kept | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "DO_NOT_TRACK": "1"}


@dataclass
class InStack(Home):
    """A home of the stack, whose commands have its worker's environment."""

    environment: dict[str, str]
    before: tuple[str, ...] = ()
    """Words before each command."""

    def start(self, *command: str) -> subprocess.Popen[str]:
        arguments = [*self.before, sys.executable, "-m", "flows.cli", *command]
        return subprocess.Popen(arguments, cwd=ROOT, env=self.settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @property
    def settings(self) -> dict[str, str]:
        return self.environment


@dataclass
class Stack:
    """The compose file's services, running."""

    platform: Platform
    """Forms and pictures."""
    homes: list[InStack]
    """Of the workers."""
    workers: list[subprocess.Popen[bytes]]
    database: postgres.Server
    s3: Moto
    logs: list[Path]
    secrets: dict[str, str]

    def said(self) -> str:
        """The ends of all logs."""
        files = [*self.logs, *(file for home in self.homes for file in (home.path / "prefect").glob("*.log"))]
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-3000:]}" for file in files if file.is_file())


@dataclass
class Moto:
    """The S3 server, which keeps its bytes in this process: it can be away for a while."""

    port: int
    server: ThreadedMotoServer = field(init=False)

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def stop(self) -> None:
        self.server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Run the services of the compose file in a folder, each behind what it waits for; end them in turn."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres.running())
        with psycopg.connect(database.url("postgres", "postgres"), autocommit=True) as connection:
            # The image's first user owns the server.
            connection.execute("ALTER ROLE dst SUPERUSER")
            connection.execute("CREATE DATABASE prefect OWNER dst")
        s3 = Moto(free_port())
        s3.start()
        stack.callback(s3.stop)
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{s3.port}/dst", method="PUT")).close()
        secrets = PLANTED | {"POSTGRES_PASSWORD": database.password}
        asked = compose(folder, secrets, "--profile", "gpu")
        assert asked.returncode == 0, asked.stderr
        services = yaml.safe_load(asked.stdout)["services"]
        ui_port, files_port = free_port(), free_port()

        def service(name: str, home: str) -> Service:
            places = {
                "postgres:5432": f"127.0.0.1:{database.port}",
                "server:4200": f"127.0.0.1:{ui_port}",
                "s3:9000": f"127.0.0.1:{s3.port}",
                "4200": str(ui_port),
                "4201": str(files_port),
                "8080": str(free_port()),
                "/data": str(folder / home),
                "/cad": str(folder / "cad"),
                "0.0.0.0": "127.0.0.1",
                "cuda": "cpu",
            }
            return Service.of(services[name], places)

        catalog = service("catalog", "")
        catalog.environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(database.port)}
        upgrade = service("upgrade", "pages")
        upgrade.environment["PREFECT_HOME"] = str(folder / "prefect")
        catalog.run()
        catalog.run()
        assert "schema none -> " in upgrade.run()
        server, files, first, second = (
            service("server", ""),
            service("files", "pages"),
            service("worker", "a"),
            service("gpu", "b"),
        )
        # Which of the two looks for CAD models is no matter here.
        second.command.append("--no-scans")
        planted = {name: value for name, value in PLANTED.items() if name in ("HF_TOKEN", "OPENAI_API_KEY")}
        homes = [InStack(folder / name, "", clean() | each.environment | QUICK) for name, each in (("a", first), ("b", second))]
        for home in (Home(folder / "pages", ""), *homes):
            save_recipe(home)
            save_recipe(home, "twin")
        logs = {name: folder / f"{name}.log" for name in ("server", "files", "a", "b")}
        stack.enter_context(server.running(logs["server"], {"PREFECT_HOME": str(folder / "prefect")} | planted))
        pages = stack.enter_context(files.running(logs["files"], planted))
        workers = [stack.enter_context(each.running(logs[name], QUICK | planted)) for name, each in (("a", first), ("b", second))]
        name, _, password = PLANTED["PREFECT_AUTH"].partition(":")
        platform = Platform(
            Home(folder / "pages", ""),
            pages,
            logs["files"],
            f"http://127.0.0.1:{ui_port}",
            f"http://127.0.0.1:{files_port}",
            ROOT,
            (name, password),
        )
        until = time.monotonic() + STARTS_WITHIN_S
        while "Ctrl-C ends it" not in logs["files"].read_text():
            assert pages.poll() is None, logs["files"].read_text()
            assert time.monotonic() < until, logs["files"].read_text()
            time.sleep(0.5)
        yield Stack(platform, homes, workers, database, s3, [*logs.values(), folder / "prefect"], secrets)


def launched(stack: Stack, **parameters: object) -> str:
    """Launch "generate a class" as the form does; return the flow run."""
    until = time.monotonic() + 120
    while (answer := stack.platform.launch("generate a class", **parameters)).status_code == 409:
        # The form learns of the new class within seconds.
        assert time.monotonic() < until
        time.sleep(0.5)
    return str(answer.raise_for_status().json()["id"])


def digests(stack: Stack) -> dict[str, str]:
    """stage/../key/file -> digest of everything in the bucket that is an artifact's."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "dst", prefix="artifacts", endpoint=f"http://127.0.0.1:{stack.s3.port}", region="us-east-1", access_key_id="dst",
        secret_access_key="any", client_options={"allow_http": True},
    )  # fmt: skip
    names = [item["path"] for page in obstore.list(store) for item in page]
    return {
        name: hashlib.sha256(bytes(obstore.get(store, name).bytes())).hexdigest()
        for name in names
        if name.split("/")[0] in OF_A_SAMPLE and not name.endswith("/record.json")
    }


def auth(stack: Stack) -> dict[str, str]:
    """What a home elsewhere needs to talk to the server."""
    said = stack.homes[0].settings
    return {name: said[name] for name in ("DST_PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
