"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from tests import postgres as postgres_server

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # A name of somebody else's that was pointed at this machine.
    "--host-resolver-rules=MAP rebound.test 127.0.0.1",
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture(scope="session")
def shared_cad_or_none() -> Path | None:
    """The folder of real CAD models that nobody here wrote, where this checkout has one beside it."""
    folder = Path(os.environ.get("DST_SHARED_CAD", ROOT.parent / "shared" / "cad"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server that keeps its bytes in memory, started once."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket of its own, and the environment in which it is found."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")).close()
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """A real Postgres server, started once."""
    try:
        with postgres_server.running() as server:
            yield server
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def postgres_url(postgres: postgres_server.Server) -> Iterator[str]:
    """The URL of an empty database of its own."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium context with a fresh profile, one for a file's tests.

    Not for a whole session: while it is open, playwright's event loop counts as running in this thread, and everything else
    that wants one (`asyncio.run`, Prefect's client) fails or waits for ever.
    """
    from playwright.sync_api import sync_playwright

    assert CHROMIUM.exists(), "this test needs a browser: apt-get install -y chromium"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=str(CHROMIUM),
            args=list(ARGUMENTS),
            viewport={"width": 1280, "height": 900},
        )
        yield context
        context.close()
