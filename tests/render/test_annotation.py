"""Annotations: boxes, and that what PNGs hold is what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.kinds import read
from models.render.annotation import DEPTH_SCALE, annotate, box2d, corners, depth_picture, normal_picture
from models.render.camera import place
from models.render.light import sample_light
from models.render.spec import LightSpec, RenderSpec
from models.render.viewpoint import Pose
from models.render.worker import straight_rgba
from models.sample import ViewId
from storage.keys import plain


def test_a_box_is_the_masks_first_and_last_pixels() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:9, 7:21] = 255
    assert box2d(mask) == [7, 4, 20, 8]


def test_corners_run_through_x_first_then_y_then_z() -> None:
    eight = corners(np.array([-1.0, -2, -3]), np.array([1.0, 2, 3]))
    assert eight[0].tolist() == [-1, -2, -3]
    assert eight[1].tolist() == [1, -2, -3]
    assert eight[2].tolist() == [-1, 2, -3]
    assert eight[4].tolist() == [-1, -2, 3]
    assert eight[7].tolist() == [1, 2, 3]


def test_an_annotation_is_json_and_says_where_the_camera_is() -> None:
    pose = Pose(azimuth_deg=30, elevation_deg=10, inplane_deg=0, distance=2)
    bounds = np.array([[-0.5, -0.2, -0.1], [0.5, 0.2, 0.1]])
    spec = RenderSpec(resolution=64)
    camera, distance, moved = place(pose, corners(bounds[0], bounds[1]), spec)
    light = sample_light(LightSpec(), ViewId(class_name="car", cad_id="00" * 32, view_index=0), pose)
    mask = np.full((64, 64), 255, np.uint8)
    said = annotate(
        pose=pose, camera=camera, distance=distance, moved_back=moved, light=light, mask=mask, bounds=bounds, visible=0.75
    )
    assert json.loads(json.dumps(said)) == said
    assert said["truncated_fraction"] == 0.25
    assert said["box3d_extents"] == pytest.approx([1, 0.4, 0.2])
    assert len(said["box3d"]) == 8
    assert -np.array(said["R"]).T @ said["t"] == pytest.approx(
        2 * np.array([np.cos(np.radians(10)) * 0.5, -np.cos(np.radians(10)) * np.cos(np.radians(30)), np.sin(np.radians(10))])
    )


def test_depth_survives_its_16_bits_to_half_a_step() -> None:
    depth = np.linspace(0.5, 6.5, 10000, dtype=np.float32)
    assert np.abs(depth_picture(depth) * DEPTH_SCALE - depth).max() <= DEPTH_SCALE * 0.51
    assert depth_picture(np.array([0, 99], np.float32)).tolist() == [0, 65535]


def test_normals_survive_their_8_bits_to_half_a_degree_and_background_is_black() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 50, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = np.full((50, 50), 255, np.uint8)
    mask[0] = 0
    stored = normal_picture(normals, mask)
    assert not stored[0].any()
    read = stored[1:].astype(np.float32) / 127.5 - 1
    cosine = (read * normals[1:]).sum(-1) / np.linalg.norm(read, axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5


def test_half_covered_pixels_keep_the_objects_colour_and_half_its_alpha() -> None:
    linear = 0.2158605  # 128 of 255 in sRGB
    combined = np.array([[[linear, linear, linear, 1.0], [linear / 2, linear / 2, linear / 2, 0.5], [0, 0, 0, 0]]], np.float32)
    assert straight_rgba(combined).tolist() == [[[128, 128, 128, 255], [128, 128, 128, 128], [0, 0, 0, 0]]]


def test_a_spec_reaches_the_renderer_process_as_it_was() -> None:
    spec = RenderSpec.official(2)
    assert read(RenderSpec, plain(spec), "render") == spec
