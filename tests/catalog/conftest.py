"""A catalog in a temporary folder, and one on a real Postgres server: every test runs on both."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """For what only a file can do: be missing, be empty, be cut in half."""
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; asks for the server only where it is needed."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def catalog(url: str, store: ArtifactStore) -> Catalog:
    catalog = Catalog(url, store)
    catalog.migrate()
    return catalog
