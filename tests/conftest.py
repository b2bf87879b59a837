"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture(scope="session")
def shared_cad_or_none() -> Path | None:
    """The folder of real CAD models that nobody here wrote, where this checkout has one beside it."""
    folder = Path(os.environ.get("DST_SHARED_CAD", ROOT.parent / "shared" / "cad"))
    return folder if folder.is_dir() else None
