"""The worker process bounds what a file can do to its reader."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.cad.bad import BadModel
from models.cad.canonical import canonicalise
from models.cad.intake import canonicalise_isolated
from models.cad.spec import CadSpec
from tests.cad import makers


def reason_of(path: Path, **limits: float) -> str:
    with pytest.raises(BadModel) as caught:
        canonicalise_isolated(path, CadSpec(), **limits)  # type: ignore[arg-type]
    assert "\n" not in caught.value.detail
    return caught.value.reason


def grid(path: Path, side: int) -> Path:
    """A bumpy surface of 2 * side * side triangles."""
    x, y = np.meshgrid(np.arange(side + 1), np.arange(side + 1))
    with open(path, "w") as file:
        np.savetxt(file, np.stack([x.ravel(), y.ravel(), np.sin(x * y).ravel()], axis=1), fmt="v %.4f %.4f %.4f")
        first = (np.arange(side)[:, None] * (side + 1) + np.arange(side) + 1).ravel()
        quads = np.stack([first, first + 1, first + side + 2, first + side + 1], axis=1)
        np.savetxt(file, quads, fmt="f %d %d %d %d")
    return path


def test_the_worker_makes_the_same_bytes_and_facts(tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "a ü.obj")
    own, other = canonicalise(path, CadSpec()), canonicalise_isolated(path, CadSpec())
    assert own.glb == other.glb
    assert own.facts == other.facts
    np.testing.assert_array_equal(own.canonical_from_source, other.canonical_from_source)


def test_a_refusal_comes_through_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    assert reason_of(tmp_path / "a.obj") == "no_faces"


def test_a_reader_that_takes_too_long_is_stopped_and_leaves_no_process(tmp_path: Path) -> None:
    path = grid(tmp_path / "a.obj", 500)
    started = time.perf_counter()
    assert reason_of(path, timeout_s=0.5) == "took_too_long"
    assert time.perf_counter() - started < 10
    assert not [p for p in psutil.Process().children(recursive=True) if "models.cad.intake" in " ".join(p.cmdline())]


def test_a_reader_that_needs_too_much_memory_is_stopped(tmp_path: Path) -> None:
    path = grid(tmp_path / "a.obj", 300)
    assert reason_of(path, memory_bytes=230 * 2**20) == "out_of_memory"


def test_specs_names_and_folders_are_light_to_import() -> None:
    code = (
        "import sys, models.cad.spec, models.cad.intake, storage.cad.folder, storage.cad.names, storage.cad.digest\n"
        "print(sorted({'numpy', 'trimesh', 'scipy', 'PIL', 'collada', 'sqlalchemy', 'prefect'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
