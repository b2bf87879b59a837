"""Cameras: the frame's promises, stated as points that must land somewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.render.camera import Camera, fitting_distance, intrinsics, place, region, rotation
from models.render.spec import RenderSpec, ViewpointSpec
from models.render.viewpoint import Pose, sample_view
from models.sample import ViewId

SPEC = RenderSpec(resolution=512)
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def camera(azimuth: float = 0, elevation: float = 0, inplane: float = 0, distance: float = 3) -> Camera:
    view = Pose(azimuth_deg=azimuth, elevation_deg=elevation, inplane_deg=inplane, distance=distance)
    return place(view, CUBE * 0.1, SPEC)[0]


def pixel(seen_by: Camera, *point: float) -> tuple[float, float]:
    x, y = seen_by.project(np.array([point]))[0]
    return float(x), float(y)


def test_the_focal_length_is_560_px_and_the_centre_255_and_a_half_at_512() -> None:
    assert intrinsics(SPEC).tolist() == [[560, 0, 255.5], [0, 560, 255.5], [0, 0, 1]]


@pytest.mark.parametrize("azimuth", [0, 77, 180, 300])
@pytest.mark.parametrize("elevation", [-90, -30, 0, 45, 90])
def test_the_objects_centre_is_the_images_centre_at_the_views_distance(azimuth: float, elevation: float) -> None:
    seen_by = camera(azimuth, elevation, inplane=20)
    assert pixel(seen_by, 0, 0, 0) == pytest.approx((255.5, 255.5))
    assert seen_by.see(np.zeros((1, 3)))[0, 2] == pytest.approx(3)
    assert np.linalg.det(seen_by.R) == pytest.approx(1)
    assert pytest.approx(np.eye(3)) == seen_by.R @ seen_by.R.T


@pytest.mark.parametrize(
    ("azimuth", "elevation", "centre"),
    [
        (0, 0, (0, -3, 0)),
        (90, 0, (3, 0, 0)),
        (180, 0, (0, 3, 0)),
        (270, 0, (-3, 0, 0)),
        (0, 90, (0, 0, 3)),
        (45, -90, (0, 0, -3)),
    ],
)
def test_azimuth_0_stands_before_the_front_and_90_at_the_objects_left(
    azimuth: float, elevation: float, centre: tuple[float, float, float]
) -> None:
    assert camera(azimuth, elevation).centre == pytest.approx(np.array(centre), abs=1e-12)


def test_seen_from_the_front_the_objects_left_is_right_in_the_image_and_up_is_up() -> None:
    front = camera(0, 10)
    assert pixel(front, 0.2, 0, 0)[0] > 255.5
    assert pixel(front, 0, 0, 0.2)[1] < 255.5


def test_seen_from_above_at_azimuth_0_the_front_is_at_the_bottom() -> None:
    assert pixel(camera(0, 90), 0, -0.2, 0)[1] > 255.5


def test_in_plane_rotation_turns_the_image_counter_clockwise() -> None:
    x, y = pixel(camera(inplane=90), 0.2, 0, 0)
    assert x == pytest.approx(255.5)
    assert y < 255.5
    x, y = pixel(camera(inplane=30), 0, 0, 0.2)
    assert x < 255.5
    assert y < 255.5


@pytest.mark.parametrize("resolution", [64, 128, 512, 1024])
@pytest.mark.parametrize("index", range(8))
def test_a_camera_that_would_crop_the_object_moves_back_just_as_far_as_it_must(resolution: int, index: int) -> None:
    spec = RenderSpec(
        resolution=resolution, margin=0.03, viewpoint=ViewpointSpec(distance=0.7, distance_sd=0, inplane_range_deg=(-40, 40))
    )
    view = sample_view(spec.viewpoint, ViewId(class_name="cube", cad_id="0" * 64, view_index=index))
    seen_by, distance, moved = place(view, CUBE, spec)
    assert moved
    assert distance > view.distance
    pixels = seen_by.project(CUBE)
    border = min(pixels.min(), resolution - 1 - pixels.max())
    assert border == pytest.approx(0.03 * resolution)
    assert pytest.approx(rotation(view)) == seen_by.R
    assert seen_by.t == pytest.approx(np.array([0, 0, distance]))


def test_a_camera_far_enough_away_stays_where_the_view_says() -> None:
    view = Pose(azimuth_deg=20, elevation_deg=30, inplane_deg=0, distance=3)
    assert place(view, CUBE, SPEC)[1:] == (3, False)


def test_a_recipe_that_allows_truncation_never_moves_the_camera() -> None:
    view = Pose(azimuth_deg=20, elevation_deg=30, inplane_deg=0, distance=0.9)
    assert place(view, CUBE, dataclasses.replace(SPEC, allow_truncation=True))[1:] == (0.9, False)


def test_no_point_is_left_behind_the_camera_by_the_fitting_distance() -> None:
    needle = np.array([[0, -0.5, 0], [0, 0.5, 0], [0, 0.5, 1e-6]])
    view = Pose(azimuth_deg=0, elevation_deg=0, inplane_deg=0, distance=0.3)
    assert fitting_distance(needle, rotation(view), SPEC) > 0.5


def test_the_part_of_the_image_that_is_rendered_holds_the_whole_object() -> None:
    view = Pose(azimuth_deg=20, elevation_deg=30, inplane_deg=10, distance=3)
    seen_by = place(view, CUBE, SPEC)[0]
    x0, y0, x1, y1 = region(seen_by, CUBE, border=8)
    pixels = seen_by.project(CUBE)
    assert pixels.min(axis=0) - [x0, y0] == pytest.approx([8.5, 8.5], abs=0.5)
    assert [x1 - 1, y1 - 1] - pixels.max(axis=0) == pytest.approx([8.5, 8.5], abs=0.5)
    # An object around the camera may show anywhere, one outside the image nowhere.
    assert region(seen_by, CUBE * 10) == (0, 0, 512, 512)
    x0, y0, x1, y1 = region(seen_by, CUBE * 0.1 + 10 * seen_by.R[0])
    assert 0 <= x0 < x1 <= 512
    assert 0 <= y0 < y1 <= 512
