"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore
from tests import postgres as postgres_server

ROOT = Path(__file__).resolve().parents[1]


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
