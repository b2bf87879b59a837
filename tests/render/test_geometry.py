"""Renders against geometry: the source file itself, cast with rays, never a second render.

Real Blender, real files in every format. At 512 px a shift of half a pixel already costs a percent of IoU.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from models.cad import parametric
from models.cad.canonical import canonicalise
from models.cad.spec import CadSpec
from models.render.annotation import corners
from models.render.pool import RenderedView, RenderPool
from models.render.spec import RenderSpec, ViewpointSpec
from tests.cad import odd
from tests.render.conftest import views
from tests.render.raycast import cast, iou, source_triangles

pytestmark = pytest.mark.slow

# Views that leave nothing out: below the horizon, rolled, near enough that some cameras must move back.
SPEC = RenderSpec(resolution=512, viewpoint=ViewpointSpec(polar="sphere", polar_range_deg=(0, 180), inplane_range_deg=(-30, 30)))
# What trimesh writes of a whole scene, each into a folder of its own: one file or several.
FORMATS = ("obj", "glb", "gltf", "ply", "stl", "off", "dae")
SHARED = (
    "car/hatchback/hatchback.obj",
    "car/suv/suv.obj",
    "bus/bus/bus.obj",
    "cup/plastic_cup/plastic_cup.dae",
    "cup/coffee_cup/textured-0008192.obj",
    "table/cafe_table/cafe_table.dae",
    "truck/CesiumMilkTruck.glb",
    "duck/Duck.glb",
    "cow/cow.obj",
    "teapot/teapot.obj",
)


def write(scene: trimesh.Scene, kind: str, folder: Path) -> Path:
    """Write a scene in millimetres, off centre, as one of FORMATS."""
    scene = scene.copy()
    scene.apply_transform(trimesh.transformations.scale_and_translate(1000, [300, -70, 20]))
    path = folder / f"model.{kind}"
    if kind == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
            (folder / name).write_bytes(data)
    elif kind in ("ply", "stl", "off", "dae"):
        scene.to_mesh().export(path)
    else:
        scene.export(path)
    return path


def check(source: Path, pool: RenderPool, tmp_path: Path, spec: CadSpec, count: int = 2) -> list[RenderedView]:
    """Render a source file and compare each view with the rays; gives the views."""
    model = canonicalise(source, spec)
    glb = tmp_path / "canonical.glb"
    glb.write_bytes(model.glb)
    triangles = source_triangles(source, np.asarray(model.canonical_from_source))
    rendered = [view for view in pool.render(glb, views(source.name, count), SPEC) if isinstance(view, RenderedView)]
    assert len(rendered) == count
    for view in rendered:
        truth = cast(triangles, view.annotation)
        mask = view.mask > 0
        assert iou(mask, truth > 0) >= 0.99
        both = mask & (truth > 0)
        assert np.median(np.abs(view.depth - truth)[both]) < 0.005
        assert (view.depth[~mask] == 0).all()
        check_boxes(view, triangles, truth)
        check_normals(view)
    return rendered


def check_boxes(view: RenderedView, triangles: np.ndarray, truth: np.ndarray) -> None:
    said = view.annotation
    K, R, t = (np.array(said[name]) for name in "KRt")
    points = triangles.reshape(-1, 3)
    eight = corners(points.min(axis=0), points.max(axis=0)) @ R.T + t
    assert np.abs(np.array(said["box3d"]) - (eight @ K.T)[:, :2] / eight[:, 2:]).max() < 0.5
    assert said["box3d_extents"] == pytest.approx(np.ptp(points, axis=0), abs=1e-3)
    assert max(said["box3d_extents"]) == pytest.approx(1, abs=1e-4)
    # The 2D box is within a pixel of what the rays hit.
    rows, columns = np.nonzero(truth)
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - said["box"]).max() <= 1
    assert said["visible_fraction"] == 1
    assert said["truncated_fraction"] == 0


def check_normals(view: RenderedView) -> None:
    """Normals agree with the depth's own slope where the surface is smooth, and face the camera."""
    K = np.array(view.annotation["K"])
    v, u = np.mgrid[: view.mask.shape[0], : view.mask.shape[1]]
    points = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1) * view.depth[..., None]
    normals = view.normal.astype(np.float32) / 127.5 - 1
    inside = cv2.erode(view.mask, np.ones((5, 5), np.uint8)) > 0
    slope = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    slope /= np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-12)
    slope *= -np.sign((slope * points).sum(-1, keepdims=True))
    assert np.median((slope * normals).sum(-1)[inside]) > 0.95
    assert ((normals * points).sum(-1)[inside] < 0.05).mean() > 0.98


@pytest.mark.parametrize("kind", FORMATS)
def test_the_source_file_cast_with_rays_agrees_with_the_render(kind: str, pool: RenderPool, tmp_path: Path) -> None:
    source = write(parametric.build("car", 1), kind, tmp_path)
    check(source, pool, tmp_path, CadSpec(up="+z", front="-y"))


@pytest.mark.parametrize("name", SHARED)
def test_files_nobody_here_wrote_agree_with_their_renders(
    name: str, shared_cad_or_none: Path | None, pool: RenderPool, tmp_path: Path
) -> None:
    if shared_cad_or_none is None:
        # A checkout without them has parametric shapes of the same classes instead.
        class_name = name.split("/")[0].replace("duck", "teapot").replace("cow", "chair")
        check(write(parametric.build(class_name, 2), "obj", tmp_path), pool, tmp_path, CadSpec(up="+z", front="-y"), 1)
        return
    check(shared_cad_or_none / name, pool, tmp_path, CadSpec(), 1)


def test_glass_is_in_the_mask_and_cut_outs_are_not(pool: RenderPool, tmp_path: Path) -> None:
    small = dataclasses.replace(SPEC, resolution=128, samples=4)

    def view(alpha: int | None, mode: str) -> RenderedView:
        box = odd.Box(odd.leaf(alpha) if alpha is not None else None, alphaMode=mode)
        glb = tmp_path / "box.glb"
        glb.write_bytes(canonicalise(box.glb(tmp_path / "source.glb"), CadSpec()).glb)
        (made,) = pool.render(glb, views("glass", 1), small)
        assert isinstance(made, RenderedView)
        return made

    whole, glass, leaf = view(None, "OPAQUE"), view(77, "BLEND"), view(0, "BLEND")
    assert (glass.mask == whole.mask).all()
    assert glass.annotation["box"] == whole.annotation["box"]
    assert (glass.rgba[..., 3] > 250).sum() == (whole.rgba[..., 3] > 250).sum()
    # Where all sides are cut out one looks through.
    assert 0.3 < (leaf.mask > 0).sum() / (whole.mask > 0).sum() < 0.98


def test_a_cropped_object_says_how_much_of_it_is_seen(pool: RenderPool, tmp_path: Path) -> None:
    near = dataclasses.replace(SPEC, allow_truncation=True, resolution=256, viewpoint=ViewpointSpec(distance=1.0, distance_sd=0))
    glb = tmp_path / "box.glb"
    source = tmp_path / "box.ply"
    trimesh.creation.box(extents=(1, 0.6, 0.5)).export(source)
    glb.write_bytes(canonicalise(source, CadSpec(up="+z", front="-y")).glb)
    triangles = source_triangles(source, np.eye(4))
    for view in pool.render(glb, views("box", 3), near):
        assert isinstance(view, RenderedView)
        said = view.annotation
        assert not said["moved_back"]
        # The same camera with a film eight times as large each way holds what this one crops.
        wide = json.loads(json.dumps(said))
        wide["width"], wide["height"] = 2048, 2048
        wide["K"][0][2] += 896
        wide["K"][1][2] += 896
        whole = cast(triangles, wide) > 0
        assert not whole[0].any()
        assert not whole[:, 0].any()
        assert said["visible_fraction"] == pytest.approx(whole[896:1152, 896:1152].sum() / whole.sum(), abs=0.02)
        assert said["truncated_fraction"] == pytest.approx(1 - said["visible_fraction"])
        assert said["truncated_fraction"] > 0.01


def test_moving_back_keeps_the_direction_and_says_so(pool: RenderPool, tmp_path: Path) -> None:
    near = dataclasses.replace(SPEC, resolution=128, viewpoint=ViewpointSpec(distance=0.75, distance_sd=0))
    glb = tmp_path / "chair.glb"
    glb.write_bytes(parametric.glb("chair", 0))
    for view in pool.render(glb, views("chair", 3), near):
        assert isinstance(view, RenderedView)
        said = view.annotation
        assert said["moved_back"]
        assert said["requested_distance"] == 0.75
        assert said["distance"] > 0.75
        assert said["truncated_fraction"] == 0
        edge = np.concatenate([view.mask[0], view.mask[-1], view.mask[:, 0], view.mask[:, -1]])
        assert not edge.any()
