"""Meshes out of the store's GLB: their colours as a person sees them, and their extent whatever their shape."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from models.cad.glb import write_glb
from models.cad.source import Material, SourcePart, Texture
from storage.export.mesh import Mesh, read_glb


def _checked() -> Texture:
    picture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [128, 128, 128]]], np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return Texture(data=file.getvalue(), mime="image/png")


def test_colours_are_texture_factor_and_vertex_colour_multiplied_in_linear_light() -> None:
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [1.25, -0.75], [-0.25, 3.75]])
    points = np.random.default_rng(0).random((6, 3))
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    dark = np.full((6, 4), 0.5)
    parts = [
        SourcePart(name="checked", points=points, faces=faces, material=0, uv=uv, colors=None),
        SourcePart(name="painted", points=points, faces=faces, material=1, uv=None, colors=dark),
        SourcePart(name="both", points=points, faces=faces, material=2, uv=uv, colors=dark),
    ]
    materials = [
        Material(name="a", base_color=(1.0, 1.0, 1.0, 1.0), base_texture=_checked()),
        Material(name="b", base_color=(0.5, 1.0, 0.0, 1.0)),
        Material(name="c", base_color=(1.0, 1.0, 1.0, 1.0), base_texture=_checked()),
    ]
    mesh = read_glb(write_glb(parts, materials))
    checked = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [255, 0, 0], [128, 128, 128]]
    assert mesh.colours[:6].tolist() == checked
    # Half of linear light is 188 of 255 in sRGB, a quarter 137.
    assert np.abs(mesh.colours[6:12].astype(int) - [137, 188, 0]).max() <= 1
    halved = np.where(np.array(checked) == 255, 188, np.where(np.array(checked) == 128, 93, 0))
    assert np.abs(mesh.colours[12:] - halved).max() <= 1
    assert mesh.faces.tolist() == [*faces.tolist(), *(faces + 6).tolist(), *(faces + 12).tolist()]
    assert np.allclose(mesh.points[:6], points @ np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]), atol=1e-6)


def test_bytes_that_are_no_mesh_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="not a GLB"):
        read_glb(b"solid cube")


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_diameter_is_right_whatever_the_shape(dimensions: int) -> None:
    points = np.zeros((400, 3))
    points[:, :dimensions] = np.random.default_rng(1).random((400, dimensions))
    mesh = Mesh(points=points, normals=points, colours=np.zeros((400, 3), np.uint8), faces=np.zeros((1, 3), np.int64))
    assert mesh.diameter() == pytest.approx(np.linalg.norm(points[None] - points[:, None], axis=2).max())
