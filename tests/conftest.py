"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
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


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium context with a fresh profile; one for all tests, since playwright runs one event loop a process."""
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
