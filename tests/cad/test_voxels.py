"""Voxels: against points that trimesh samples on the surface, against shapes whose volume is known, and with holes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh

from models.cad import parametric
from models.cad.voxels import Voxels, voxelise


def triangles(class_name: str, seed: int = 10_001) -> np.ndarray:
    """Return the triangles of a parametric CAD model in the canonical frame."""
    mesh = trimesh.load_scene(io.BytesIO(parametric.glb(class_name, seed)), file_type="glb", process=False).to_geometry()
    x, y, z = np.moveaxis(mesh.triangles, 2, 0)
    return np.stack([x, -z, y], axis=2)


@pytest.mark.parametrize("class_name", ["car", "chair", "teapot", "airplane"])
@pytest.mark.parametrize("cells", [32, 64])
def test_every_point_of_the_surface_lies_in_a_cell_that_holds_surface_and_hardly_a_cell_has_none(
    class_name: str, cells: int
) -> None:
    corners = triangles(class_name)
    made = voxelise(corners, cells)
    mesh = trimesh.Trimesh(**trimesh.triangles.to_kwargs(corners))
    points, _ = trimesh.sample.sample_surface(mesh, 200_000, seed=0)
    sampled = np.zeros_like(made.surface)
    sampled[tuple(np.clip(np.floor((points + 0.5) * cells).astype(int), 0, cells - 1).T)] = True
    assert not (sampled & ~made.surface).any()
    # What a triangle only grazes hardly holds a point.
    assert (made.surface & ~sampled).sum() < 0.08 * made.surface.sum()


def ball(radius: float) -> np.ndarray:
    mesh = trimesh.creation.icosphere(4, radius)
    return np.asarray(mesh.triangles)


def test_the_inside_of_a_ball_has_its_volume() -> None:
    made = voxelise(ball(0.4), 64)
    centres = (np.moveaxis(np.indices((64, 64, 64)), 0, 3) + 0.5) / 64 - 0.5
    inside = np.linalg.norm(centres, axis=3) < 0.4
    assert not (made.inside & ~inside).any()
    assert (made.occupied & inside).sum() == inside.sum()
    # A cell of the surface is inside by half, as a rule.
    volume = (made.inside.sum() + made.surface.sum() / 2) * made.thinnest**3
    assert volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.02)


def test_a_narrow_hole_lets_nothing_in_and_a_wide_one_does() -> None:
    whole = ball(0.4)
    narrow, wide = whole[1:], whole[whole.mean(axis=1)[:, 2] < 0.3]
    assert voxelise(narrow, 16).inside.sum() == voxelise(whole, 16).inside.sum() > 0
    assert voxelise(wide, 16).inside.sum() == 0


def test_a_part_thinner_than_a_cell_is_there_one_cell_thick() -> None:
    leg = trimesh.creation.box((0.001, 0.001, 0.8), trimesh.transformations.translation_matrix((0.11, 0.11, 0.0)))
    made = voxelise(np.asarray(leg.triangles), 32)
    columns = made.surface.any(axis=2)
    assert columns.sum() == 1
    assert made.surface.sum() == pytest.approx(0.8 * 32, abs=2)
    assert made.inside.sum() == 0


def test_a_plane_has_no_inside_and_a_million_slivers_end() -> None:
    plane = np.array([[[-0.5, -0.5, 0.01], [0.5, -0.5, 0.01], [0.5, 0.5, 0.01]]])
    made = voxelise(plane, 32)
    assert made.surface.any(axis=2).sum() == pytest.approx(32 * 32 / 2, rel=0.1)
    assert made.inside.sum() == 0
    rng = np.random.default_rng(0)
    slivers = np.repeat(rng.uniform(-0.45, 0.45, (100_000, 1, 3)), 3, axis=1) + rng.normal(0, 1e-6, (100_000, 3, 3))
    assert voxelise(slivers, 32).surface.sum() > 25_000


def test_grids_are_read_back_as_they_were() -> None:
    made = voxelise(ball(0.3), 32)
    again = Voxels.from_bytes(made.to_bytes())
    assert np.array_equal(again.surface, made.surface)
    assert np.array_equal(again.inside, made.inside)
