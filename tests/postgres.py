"""A real Postgres server for the tests: Debian's own, on a free port, run by an ordinary user, gone with the process.

Enters: nothing. Leaves: a Server that makes empty databases. Postgres refuses to run as root, so root starts it as `postgres`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

MISSING = "Postgres is not installed, and the catalog is tested on it: sudo apt-get install -y postgresql (make test does so)"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server."""

    port: int
    """On 127.0.0.1."""
    password: str
    """Of both roles: `postgres`, a superuser, and `dst`, which can do no more than own its databases."""
    pid: int
    """Of its first process."""
    stop: Callable[[], None] = lambda: None
    """Stop it, whoever is connected."""
    start: Callable[[], None] = lambda: None
    """Start it again, on the same port with the same data."""

    def url(self, database: str, role: str = "dst") -> str:
        """Return the URL of a database, as a catalog (and Prefect, with another driver) takes it."""
        return f"postgresql://{role}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; return its name."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER dst").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def running(where: Path | None = None, shared_buffers: str = "64MB") -> Iterator[Server]:
    """Start a server with an empty data folder (in `where`); stop it and remove the folder at the end. Raises RuntimeError."""
    programs = _programs()
    root = os.getuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="dst-postgres-", dir=where))
    password = secrets.token_hex(16)
    password_file = folder / "password"
    password_file.write_text(password)
    if root:
        for path in (folder, password_file):
            shutil.chown(path, "postgres", "postgres")
    data = folder / "data"
    try:
        _run(
            [
                programs / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password_file}",
                "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
            ],
            root,
        )  # fmt: skip
        with open(folder / "log", "wb") as log:
            port, process = _start(programs / "postgres", data, folder, log.fileno(), root, password, shared_buffers)
        running = [process]

        def stop() -> None:
            # A fast shutdown: SIGTERM would wait until every client has gone.
            running[-1].send_signal(signal.SIGINT)
            running[-1].wait(timeout=120)

        def start() -> None:
            with open(folder / "log", "ab") as log:
                again = _start(programs / "postgres", data, folder, log.fileno(), root, password, shared_buffers, port)
            running.append(again[1])

        try:
            server = Server(port=port, password=password, pid=process.pid, stop=stop, start=start)
            with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE ROLE dst LOGIN PASSWORD {}").format(sql.Literal(password)))
            yield server
        finally:
            if running[-1].poll() is None:
                stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Return the folder of the newest Postgres on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    if elsewhere := shutil.which("initdb"):
        return Path(elsewhere).resolve().parent
    raise RuntimeError(MISSING)


def _start(
    program: Path, data: Path, folder: Path, log: int, root: bool, password: str, shared_buffers: str, on: int = 0
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start the server on a free port, another one if somebody took it in the meantime; or `on` a port."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = on or probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "synchronous_commit": "off",
            "full_page_writes": "off", "max_connections": "200", "shared_buffers": shared_buffers,
        }  # fmt: skip
        command = [program, "-D", data, "-p", str(port), *(part for pair in settings.items() for part in ("-c", "=".join(pair)))]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **_as_postgres(root))
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(
                    Server(port=port, password=password, pid=process.pid).url("postgres", "postgres"), connect_timeout=5
                ).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return port, process
        process.kill()
        process.wait()
    raise RuntimeError(f"Postgres does not start: {(folder / 'log').read_text()[-2000:]}")


def _run(command: list[object], root: bool) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd="/", timeout=300, **_as_postgres(root)
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")


def _as_postgres(root: bool) -> dict[str, object]:
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
