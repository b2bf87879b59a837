"""Rays through voxels, against where trimesh's rays meet the same CAD model."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import trimesh

from models.cad import parametric
from models.cad.voxels import voxelise
from models.control import rays
from tests.control.cast import cast

SIZE = 64


def mesh_of(class_name: str) -> trimesh.Trimesh:
    """Return a parametric CAD model in the canonical frame."""
    mesh = trimesh.load_scene(io.BytesIO(parametric.glb(class_name, 10_001)), file_type="glb", process=False).to_geometry()
    mesh.vertices = np.stack([mesh.vertices[:, 0], -mesh.vertices[:, 2], mesh.vertices[:, 1]], axis=1)
    return mesh


@pytest.mark.parametrize(("azimuth", "elevation"), [(30.0, 25.0), (200.0, -40.0)])
def test_the_first_that_a_ray_meets_is_where_the_surface_is(azimuth: float, elevation: float) -> None:
    mesh = mesh_of("car")
    seen = cast(mesh, azimuth, elevation, size=SIZE)
    grid = voxelise(mesh.triangles, 64)
    met = rays.along(grid.occupied, seen.K, seen.R, seen.t, (SIZE, SIZE), 64)
    inside = seen.mask > 0
    # Where the object is, something is met; cells reach beyond the outline by at most their diagonal.
    assert met.any(axis=2)[inside].mean() > 0.999
    outside = met.any(axis=2) & ~inside
    near = seen.K[0, 0] * np.sqrt(3) / 64 / np.linalg.norm(seen.t) + 1

    reached = cv2.dilate(inside.astype(np.uint8), np.ones((2 * int(np.ceil(near)) + 1,) * 2, np.uint8)) > 0
    assert not (outside & ~reached).any()
    # A cell's diagonal and half a stretch: how far a grid may be off.
    allowed = np.sqrt(3) / 64 + rays.REACH / 64
    off = np.abs(rays.first(met, seen.t) - seen.depth)[inside]
    assert np.median(off) < allowed
    assert (off < allowed).mean() > 0.9


def test_what_lies_behind_is_there_too_and_a_mirrored_camera_sees_it_first() -> None:
    grid = np.zeros((32, 32, 32), bool)
    grid[16, 4, 16] = grid[16, 27, 16] = True  # a cell in front, a cell behind
    front = cast(mesh_of("teapot"), 0.0, 0.0, size=SIZE)
    back = cast(mesh_of("teapot"), 180.0, 0.0, size=SIZE)
    for seen in (front, back):
        met = rays.along(grid, seen.K, seen.R, seen.t, (SIZE, SIZE), 32)
        both = met[met.any(axis=2)].any(axis=0)
        assert both.sum() in (2, 3, 4)
        depth = rays.first(met, seen.t)
        assert depth[depth > 0].min() == pytest.approx(np.linalg.norm(seen.t) - 0.36, abs=0.06)


def test_an_empty_grid_meets_nothing() -> None:
    seen = cast(mesh_of("teapot"), size=SIZE)
    met = rays.along(np.zeros((32, 32, 32), bool), seen.K, seen.R, seen.t, (SIZE, SIZE), 32)
    assert not met.any()
    assert not rays.first(met, seen.t).any()
