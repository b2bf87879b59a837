"""A catalog in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.catalog.catalog import Catalog


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


@pytest.fixture
def catalog(url: str) -> Catalog:
    catalog = Catalog(url)
    catalog.migrate()
    return catalog
