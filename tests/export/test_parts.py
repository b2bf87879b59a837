"""What formats are made of: masks as run lengths, meshes, pictures at another size than their render, symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from pycocotools import mask as rle

from models.cad import parametric
from storage.artifacts import Artifact, Record
from storage.export.bop import _symmetry
from storage.export.coco import compressed, run_lengths
from storage.export.mesh import Mesh, off, ply, read_glb
from storage.export.rows import ReleaseSample, SamplePictures
from storage.images import to_png


@pytest.mark.parametrize("fill", ["empty", "full", "first pixel", "noise", "wide runs"])
def test_run_lengths_are_those_of_pycocotools(fill: str) -> None:
    rng = np.random.default_rng(1)
    mask = {
        "empty": np.zeros((37, 23), np.uint8),
        "full": np.full((37, 23), 255, np.uint8),
        "first pixel": np.pad(np.full((1, 1), 255, np.uint8), ((0, 36), (0, 22))),
        "noise": (rng.random((37, 23)) > 0.5).astype(np.uint8) * 255,
        "wide runs": np.repeat((rng.random((700, 2)) > 0.5).astype(np.uint8) * 255, 400, axis=1),
    }[fill]
    theirs = rle.encode(np.asfortranarray((mask > 0).astype(np.uint8)))
    assert compressed(run_lengths(mask)) == theirs["counts"].decode()
    assert theirs["size"] == list(mask.shape)


@pytest.mark.parametrize("class_name", ["car", "chair"])
def test_a_mesh_is_the_canonical_model_in_its_own_frame(class_name: str) -> None:
    import io

    data = parametric.glb(class_name, 30_000)
    mesh = read_glb(data)
    theirs = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
    x, y, z = np.asarray(theirs.vertices).T
    assert np.allclose(np.sort(mesh.points, axis=0), np.sort(np.stack([x, -z, y], axis=1), axis=0), atol=1e-6)
    assert len(mesh.faces) == len(theirs.faces)
    assert np.ptp(mesh.points, axis=0).max() == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0, abs=1e-3)
    assert mesh.diameter() == pytest.approx(
        np.linalg.norm(mesh.points[None, ::5] - mesh.points[::5, None], axis=2).max(), rel=0.03
    )
    for kind, text, scale in (("ply", ply(mesh, 1000.0), 1000.0), ("off", off(mesh), 1.0)):
        read = trimesh.load(io.BytesIO(text), file_type=kind, process=False)
        assert np.allclose(np.asarray(read.vertices) / scale, mesh.points, atol=1e-5)
        assert np.array_equal(np.asarray(read.faces), mesh.faces)


def test_a_flat_mesh_has_a_diameter() -> None:
    grid = np.array([[x, y, 0.0] for x in np.linspace(-0.5, 0.5, 12) for y in np.linspace(-0.25, 0.25, 12)])
    flat = Mesh(points=grid, normals=grid, colours=np.zeros((144, 3), np.uint8), faces=np.zeros((1, 3), np.int64))
    assert flat.diameter() == pytest.approx(np.hypot(1.0, 0.5))


def test_an_image_of_another_size_than_its_render_keeps_its_geometry(tmp_path: object) -> None:
    """Twice the size: each pixel of the render becomes two by two, and what falls on its centre falls between theirs."""
    K = np.array([[70.0, 0.0, 31.5], [0.0, 70.0, 31.5], [0.0, 0.0, 1.0]])
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 10:50] = 255
    depth = np.where(mask > 0, 15_000, 0).astype(np.uint16)
    row = {
        "width": 64, "height": 64, "intrinsics": K.tolist(), "rotation": np.eye(3).tolist(), "translation": [0.0, 0.0, 1.5],
        "box3d": [[10.0, 20.0]] * 8, "depth_scale": 1e-4,
    }  # fmt: skip
    record = Record(key="0" * 64, stage="render", version=1, spec={}, inputs={})
    shown = SamplePictures(
        sample=ReleaseSample(number=0, place=0, name="one", row=row),
        image=b"",
        width=128,
        height=128,
        render=Artifact(record),
        render_files={"mask.png": to_png(mask), "depth.png": to_png(depth)},
    )
    assert shown.box == (20, 40, 99, 59)
    assert shown.mask.shape == shown.depth.shape == (128, 128)
    assert set(np.unique(shown.depth)) == {0, 15_000}
    point = np.array([0.1, -0.2, 1.5])
    before, after = K @ point / 1.5, shown.K @ point / 1.5
    assert after[:2] == pytest.approx((before[:2] + 0.5) * 2 - 0.5)
    assert shown.K[:2, 2].tolist() == [63.5, 63.5]
    assert shown.box3d[0] == [20.5, 40.5]


@pytest.mark.parametrize(("fold", "turns"), [(None, 0), (1, 0), (2, 1), (4, 3)])
def test_a_fold_is_its_rotations_about_the_upright_axis(fold: int | None, turns: int) -> None:
    said = _symmetry(fold)
    found = [np.reshape(matrix, (4, 4)) for matrix in said.get("symmetries_discrete", ())]
    assert len(found) == turns
    for matrix in found:
        assert np.allclose(matrix @ [0, 0, 1, 0], [0, 0, 1, 0])
        assert np.allclose(np.linalg.matrix_power(matrix, fold or 1), np.eye(4), atol=1e-12)


def test_any_angle_is_a_continuous_symmetry() -> None:
    assert _symmetry(0) == {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]}
