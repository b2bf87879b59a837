"""Fixtures of the render room: real Blender processes, and parametric CAD models in canonical form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.cad import parametric
from models.render.pool import RenderPool
from models.sample import ViewId


@pytest.fixture(scope="session")
def pool() -> Iterator[RenderPool]:
    """A renderer shared by the tests that leave it as it was."""
    with RenderPool(workers=1) as shared:
        yield shared


@pytest.fixture(scope="session")
def glb(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the canonical GLB of a parametric class."""
    folder = tmp_path_factory.mktemp("glb")

    def of(class_name: str) -> Path:
        path = folder / f"{class_name}.glb"
        if not path.exists():
            path.write_bytes(parametric.glb(class_name, 0))
        return path

    return of


def views(cad: str, n: int, first: int = 0) -> list[ViewId]:
    """Return `n` views of one CAD model."""
    return [ViewId(class_name="thing", cad_id=cad, view_index=first + index) for index in range(n)]
