"""One small real class of each kind, made once; and each format's release of all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.export.release import export

ROOT = Path(__file__).resolve().parents[2]
ALL = "in_cohort = 1"


@dataclass
class Made:
    """A home folder with samples in it."""

    home: Path

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.home / "artifacts")

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(f"sqlite:///{self.home / 'catalog.sqlite'}", self.store)

    @cached_property
    def samples(self) -> dict[str, dict[str, Any]]:
        """sample_id -> its row, with the annotation of its view."""
        sql = (
            "SELECT s.*, v.intrinsics, v.rotation, v.translation, v.box3d FROM samples s "
            "JOIN views v ON v.render_key = s.render_key ORDER BY s.class_name, s.sample_id"
        )
        return {row["sample_id"]: row for row in self.catalog.rows(sql)}

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"DST_HOME": str(self.home), "DST_CATALOG_URL": "", "HF_HUB_OFFLINE": "1"}

    def dst(self, *command: str, code: int = 0) -> str:
        """Type a command; return what it printed (both streams)."""
        arguments = [sys.executable, "-m", "flows.cli", *command]
        done = subprocess.run(arguments, cwd=ROOT, env=self.environment, text=True, capture_output=True, timeout=600)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with this home."""
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, text=True, capture_output=True, timeout=600)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("made") / "home"
    command = [sys.executable, "-m", "tests.export.made", str(home)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(home)


@pytest.fixture(scope="session")
def released(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of all samples in a format, written once."""
    folder = tmp_path_factory.mktemp("released")

    def of(format: str) -> Path:
        out = folder / format
        if not out.exists():
            export(made.catalog, made.store, format=format, out=out, name="all-v1", where=ALL)
        return out

    return of
