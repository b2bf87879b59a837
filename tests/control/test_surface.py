"""Depth and normals as controls, against surfaces whose distance and slope are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from models.control.depth import DepthSpec
from models.control.kinds import CONTROLS
from models.control.normals import NormalsSpec
from models.control.protocol import ControlSpec, EmptyControl, View
from models.kinds import BadSpec
from tests.control.cast import Cast, cast


def view_of(seen: Cast) -> View:
    return View(rgba=seen.rgba, mask=seen.mask, depth=seen.depth, normal=seen.normal, K=seen.K)


def draw(seen: Cast, spec: ControlSpec) -> NDArray[np.uint8]:
    drawn: NDArray[np.uint8] = CONTROLS.load(spec).draw(view_of(seen))
    return drawn


@pytest.fixture(scope="module")
def cube() -> Cast:
    return cast(trimesh.creation.box((0.6, 0.6, 0.6)))


@pytest.fixture(scope="module")
def ball() -> Cast:
    return cast(trimesh.creation.icosphere(subdivisions=5, radius=0.4), azimuth_deg=0.0, elevation_deg=0.0, smooth=True)


def test_depth_is_linear_in_inverse_depth_from_the_farthest_point_to_the_nearest(cube: Cast) -> None:
    drawn, inside = draw(cube, DepthSpec()), cube.mask != 0
    assert drawn.shape == cube.mask.shape
    assert (drawn[~inside] == 0).all()
    assert (drawn[inside].min(), drawn[inside].max()) == (64, 255)
    inverse = 1.0 / cube.depth[inside].astype(np.float64)
    nearer = (inverse - inverse.min()) / (inverse.max() - inverse.min())
    assert np.abs(64 + nearer * 191 - drawn[inside]).max() <= 0.501, "levels are rounded, and nothing else"


def test_the_farthest_level_is_the_recipes(cube: Cast) -> None:
    inside = cube.mask != 0
    assert draw(cube, DepthSpec(farthest=0))[inside].min() == 0
    with pytest.raises(BadSpec, match="depth farthest is 255; it is a level below 255"):
        CONTROLS.read({"kind": "depth", "farthest": 255}, "controls.depth")


def test_normals_are_red_on_the_left_green_above_and_blue_towards_the_camera(ball: Cast) -> None:
    drawn, inside = draw(ball, NormalsSpec()).astype(int), ball.mask != 0
    rows, columns = np.nonzero(inside)
    top, bottom = rows.argmin(), rows.argmax()
    left, right = columns.argmin(), columns.argmax()
    middle = drawn[(ball.mask.shape[0] - 1) // 2, (ball.mask.shape[1] - 1) // 2]
    assert np.abs(middle - [128, 128, 255]).max() <= 3, "what faces the camera is blue"
    assert drawn[rows[left], columns[left], 0] > 200 > 60 > drawn[rows[right], columns[right], 0]
    assert drawn[rows[top], columns[top], 1] > 200 > 60 > drawn[rows[bottom], columns[bottom], 1]
    length = np.linalg.norm((drawn[inside] - 127.5) / 127.5, axis=1)
    assert np.abs(length - 1.0).max() < 0.02, "normals have length 1"
    assert (drawn[~inside] == [128, 128, 255]).all()


def test_float_normals_and_bytes_give_the_same_drawing(ball: Cast) -> None:
    exact = (ball.normal.astype(np.float64) - 127.5) / 127.5
    exact[ball.mask == 0] = 0.0
    view = View(rgba=ball.rgba, mask=ball.mask, normal=exact)
    again: NDArray[np.uint8] = CONTROLS.load(NormalsSpec(background="black")).draw(view)
    assert np.abs(again.astype(int) - draw(ball, NormalsSpec(background="black"))).max() <= 1
    assert (again[ball.mask == 0] == 0).all()


@pytest.mark.parametrize("spec", [DepthSpec(), NormalsSpec(), NormalsSpec(background="black")])
def test_facts_count_the_object(cube: Cast, spec: ControlSpec) -> None:
    control = CONTROLS.load(spec)
    facts = control.facts(draw(cube, spec))
    inside = int((cube.mask != 0).sum())
    assert abs(facts["pixels"] - inside) <= 0.01 * inside
    assert facts["density"] == pytest.approx(facts["pixels"] / cube.mask.size, abs=1e-6)


@pytest.mark.parametrize("spec", [DepthSpec(), NormalsSpec()])
def test_an_image_of_the_object_follows_its_surface_and_another_view_does_not(cube: Cast, spec: ControlSpec) -> None:
    control = CONTROLS.load(spec)
    drawn = draw(cube, spec)
    other = cast(trimesh.creation.box((0.6, 0.6, 0.6)), azimuth_deg=70.0, elevation_deg=55.0)
    own, wrong = (control.fidelity(seen.rgba[..., :3], drawn) for seen in (cube, other))
    assert own > 0.8
    assert wrong < own - 0.3
    flat = np.full_like(cube.rgba[..., :3], 90)
    assert control.fidelity(flat, drawn) < 0.05
    with pytest.raises(ValueError, match="cannot be compared"):
        control.fidelity(flat[:64], drawn)


@pytest.mark.parametrize("spec", [DepthSpec(), NormalsSpec()])
def test_a_view_without_the_object_has_no_surface(cube: Cast, spec: ControlSpec) -> None:
    empty = View(rgba=cube.rgba, mask=np.zeros_like(cube.mask), depth=cube.depth * 0, normal=cube.normal)
    with pytest.raises(EmptyControl, match=f"no point of the object in the picture .{spec.kind}.") as caught:
        CONTROLS.load(spec).draw(empty)
    assert caught.value.reason == "empty_surface"


def test_what_a_view_lacks_is_said(cube: Cast) -> None:
    bare = View(rgba=cube.rgba, mask=cube.mask)
    with pytest.raises(ValueError, match="a depth control needs depth"):
        CONTROLS.load(DepthSpec()).draw(bare)
    with pytest.raises(ValueError, match="a normals control needs normals"):
        CONTROLS.load(NormalsSpec()).draw(bare)


def test_a_thing_equally_far_everywhere_is_as_near_as_can_be() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    view = View(rgba=np.zeros((32, 32, 4), np.uint8), mask=mask, depth=np.where(mask > 0, 2.0, 0.0).astype(np.float32))
    drawn: NDArray[np.uint8] = CONTROLS.load(DepthSpec()).draw(view)
    assert (drawn[mask > 0] == 255).all()
