"""Line drawings against geometry that is known: where lines must be, and where none may be."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from models.control.canny import CannySpec
from models.control.geometry import GeometrySpec, thin
from models.control.kinds import CONTROLS
from models.control.protocol import ControlSpec, EmptyControl, View
from models.kinds import BadSpec
from tests.control.cast import Cast, cast

CANNY, GEOMETRY = CannySpec(), GeometrySpec()
SIZES = pytest.mark.parametrize("size", [128, 512])


def draw(seen: Cast, spec: ControlSpec) -> NDArray[np.uint8]:
    view = View(rgba=seen.rgba, mask=seen.mask, depth=seen.depth, normal=seen.normal, K=seen.K)
    drawn: NDArray[np.uint8] = CONTROLS.load(spec).draw(view)
    return drawn


@functools.cache
def cube(size: int, **given: object) -> Cast:
    return cast(trimesh.creation.box((0.6, 0.6, 0.6)), size=size, **given)  # type: ignore[arg-type]


@functools.cache
def ball(size: int) -> Cast:
    return cast(trimesh.creation.icosphere(subdivisions=5, radius=0.4), size=size, smooth=True)


def truth(view: Cast, nearest: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The nine edges of the cube that this camera sees, drawn by projecting them."""
    corners = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (-0.3, 0.3) for z in (-0.3, 0.3)])
    hidden = int(((corners - nearest) ** 2).sum(1).argmax())
    at = view.project(corners)
    drawn = np.zeros(view.mask.shape, bool)
    for i in range(8):
        for j in range(i):
            if hidden not in (i, j) and (corners[i] != corners[j]).sum() == 1:
                for share in np.linspace(0, 1, 4 * view.mask.shape[0]):
                    u, v = at[i] * (1 - share) + at[j] * share
                    drawn[round(v), round(u)] = True
    return drawn


def away(drawn: NDArray[np.bool_], from_: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in pixels from each pixel of `drawn` to the nearest of `from_`."""
    distance = cv2.distanceTransform((~from_).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    found: NDArray[np.float64] = distance[drawn]
    return found


@SIZES
def test_geometry_draws_the_nine_visible_edges_of_a_cube_and_nothing_else(size: int) -> None:
    view = cube(size)
    drawn = draw(view, GEOMETRY) > 0
    expected = truth(view, np.array([0.3, -0.3, 0.3]))
    assert away(drawn, expected).max() <= 1.5, "a line stands where the cube has no edge"
    assert (away(drawn, expected) <= 1.0).mean() > 0.97
    assert (away(expected, drawn) <= 1.5).mean() > 0.97, "an edge of the cube is missing"


@SIZES
def test_canny_keeps_the_lines_of_a_cube_within_a_pixel_of_the_truth(size: int) -> None:
    view = cube(size)
    drawn = draw(view, CANNY) > 0
    assert (away(drawn, truth(view, np.array([0.3, -0.3, 0.3]))) <= 1.5).mean() > 0.98


@SIZES
@pytest.mark.parametrize("spec", [CANNY, GEOMETRY], ids=["canny", "geometry"])
def test_a_ball_is_its_outline_only(size: int, spec: ControlSpec) -> None:
    view = ball(size)
    drawn = draw(view, spec) > 0
    centre = view.project(np.zeros((1, 3)))[0]
    v, u = np.nonzero(drawn)
    radius = np.hypot(u - centre[0], v - centre[1])
    limb = size * 35 / 32 * 0.4 / np.sqrt(1.8**2 - 0.4**2)
    assert np.abs(radius - limb).max() <= 1.6
    assert len(np.unique(np.degrees(np.arctan2(v - centre[1], u - centre[0])) // 10)) == 36, "the outline has a gap"


@SIZES
@pytest.mark.parametrize("background", ["black", "grey", "white"])
@pytest.mark.parametrize("shade", [0.0, 0.5, 1.0])
def test_a_thing_of_any_colour_keeps_its_outline_on_any_background(size: int, background: str, shade: float) -> None:
    """The paper lays the render over black, where a black cube has no edges at all."""
    view = cube(size, colour=(shade, shade, shade))
    drawn = draw(view, CannySpec(background=background)) > 0
    outline = cv2.morphologyEx((view.mask > 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    inner = outline & (view.mask > 0)
    assert (away(inner, drawn) <= 1.5).mean() > 0.99


def test_without_outline_canny_is_the_papers_pixel_for_pixel() -> None:
    view = cube(512)
    over_black = (view.rgba[..., :3] * (view.rgba[..., 3:] / 255.0)).round().astype(np.uint8)
    assert np.array_equal(draw(view, CannySpec(outline=False)), cv2.Canny(over_black, 100, 200, apertureSize=3))


@pytest.mark.parametrize("aperture", [5, 7])
def test_wider_kernels_follow_opencvs_own(aperture: int) -> None:
    view = cube(128)
    spec = CannySpec(outline=False, aperture=aperture, low=2000, high=4000)
    expected = cv2.Canny(np.ascontiguousarray(view.rgba[..., :3]), 2000, 4000, apertureSize=aperture)
    assert (draw(view, spec) != expected).mean() < 0.002


def test_a_black_thing_on_nothing_has_no_edges_in_the_papers_way_and_that_is_said() -> None:
    with pytest.raises(EmptyControl, match="no edges") as nothing:
        draw(cube(128, colour=(0.0, 0.0, 0.0)), CannySpec(outline=False))
    assert nothing.value.reason == "empty_edge_map"


@pytest.mark.parametrize("spec", [CANNY, GEOMETRY], ids=["canny", "geometry"])
def test_an_empty_view_raises_empty_edges(spec: ControlSpec) -> None:
    zeros = np.zeros((64, 64), np.uint8)
    colours = np.zeros((64, 64, 4), np.uint8)
    view = View(rgba=colours, mask=zeros, depth=zeros.astype(np.float32), normal=colours[..., :3], K=np.eye(3))
    with pytest.raises(EmptyControl):
        CONTROLS.load(spec).draw(view)


def test_glass_keeps_its_outline_although_the_background_shines_through() -> None:
    view = cube(128)
    glass = view.rgba // np.array([1, 1, 1, 10], np.uint8)
    assert draw(dataclasses.replace(view, rgba=glass), CANNY).any()


@SIZES
def test_lines_from_geometry_are_one_pixel_wide(size: int) -> None:
    drawn = draw(cube(size), GEOMETRY) > 0
    blocks = drawn[:-1, :-1] & drawn[1:, :-1] & drawn[:-1, 1:] & drawn[1:, 1:]
    assert blocks.sum() <= 3, "only corners where lines meet may be two wide"
    assert np.array_equal(thin(drawn), drawn) or (thin(drawn) ^ drawn).sum() <= 4


def test_light_moves_canny_but_not_geometry() -> None:
    lit = [cube(128, light=light) for light in ((0.4, -0.5, 0.8), (-0.9, -0.1, 0.1))]
    canny = [draw(view, CANNY) for view in lit]
    assert np.array_equal(draw(lit[0], GEOMETRY), draw(lit[1], GEOMETRY))
    assert not np.array_equal(canny[0], canny[1])


def test_geometry_draws_what_hides_something_farther_of_the_same_colour_and_normal() -> None:
    """Two parallel plates, one behind the other: no difference in shading or normals, a step in depth only."""
    plates = [trimesh.creation.box((0.9, 0.02, 0.9)), trimesh.creation.box((0.4, 0.02, 0.4)).apply_translation((0, -0.2, 0))]
    view = cast(trimesh.util.concatenate(plates), azimuth_deg=0, elevation_deg=0, size=128)
    corner = view.project(np.array([[0.2, -0.21, 0.2], [-0.2, -0.21, -0.2]]))
    drawn = draw(view, GEOMETRY) > 0
    middle = drawn[60:68, round(corner[1, 0]) - 2 : round(corner[1, 0]) + 3]
    assert middle.any(axis=1).all()


def test_a_steep_plane_is_not_mistaken_for_a_step() -> None:
    """Near the horizon of a big plane, depth changes from pixel to pixel by more than the threshold of a step."""
    view = cast(trimesh.creation.box((1.0, 1.0, 0.01)), azimuth_deg=0, elevation_deg=4, distance=1.2, size=128)
    drawn = draw(view, GeometrySpec(jump=0.005)) > 0
    inside = cv2.erode((view.mask > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inside.sum() > 100
    assert not (drawn & inside).any()


def test_sixteen_bit_depth_and_eight_bit_normals_are_enough() -> None:
    view = cube(512)
    stored = np.round(view.depth * 1e4).astype(np.uint16) * np.float32(1e-4)
    drawn = draw(dataclasses.replace(view, depth=stored), GEOMETRY)
    assert (drawn != draw(view, GEOMETRY)).mean() < 1e-3


def test_geometry_without_depth_says_what_to_do() -> None:
    view = cube(64)
    with pytest.raises(ValueError, match='kind = "canny"'):
        CONTROLS.load(GEOMETRY).draw(View(rgba=view.rgba, mask=view.mask))


def test_facts_count_the_pixels() -> None:
    drawn = np.zeros((10, 20), np.uint8)
    drawn[3, :5] = 255
    for spec in (CANNY, GEOMETRY):
        assert CONTROLS.load(spec).facts(drawn) == {"pixels": 5, "density": 0.025}


def test_the_drawing_of_a_known_view_is_known() -> None:
    """Golden, on integers made here: when one turns red, its spec's `version` has to be raised."""
    v, u = np.mgrid[:64, :64]
    inside = (np.abs(u - 30) < 20) & (np.abs(v - 34) < 14)
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = np.where(u > 30, 180, 40), inside * 255
    depth = np.where(inside, np.where(v > 30, 1.5, 1.6), 0.0).astype(np.float32)
    normal = np.zeros((64, 64, 3), np.uint8)
    normal[inside] = (128, 128, 0)
    mask = inside.astype(np.uint8) * 255
    view = View(rgba=rgba, mask=mask, depth=depth, normal=normal, K=np.eye(3))
    drawn = {spec.kind: CONTROLS.load(spec).draw(view) for spec in (CANNY, GEOMETRY)}
    assert {name: hashlib.sha256(picture.tobytes()).hexdigest()[:12] for name, picture in drawn.items()} == GOLDEN


GOLDEN = {"canny": "dc7f3c20b6d6", "geometry": "9bd5b6b3d6cf"}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"kind": "sobel"}, "no control of kind 'sobel'; there are: canny, geometry"),
        ({"low": 300.0}, "0 < low <= high"),
        ({"aperture": 4}, "3, 5 or 7"),
        ({"background": "pink"}, "no such canny background"),
        ({"kind": "geometry", "jump": 0.0}, "jump"),
        ({"kind": "geometry", "crease_deg": 120.0}, "crease_deg"),
        ({"blur": -1.0}, "blur"),
        ({"kind": "geometry", "shortest": 0.9}, "shortest"),
        ({"kind": "geometry", "low": 50.0}, 'has no field "low"'),
    ],
)
def test_a_wrong_control_spec_says_what_is_wrong(wrong: dict[str, object], line: str) -> None:
    with pytest.raises(BadSpec, match=line):
        CONTROLS.read({"kind": "canny", **wrong}, "controls")


def test_the_kinds_load_without_anything_heavy() -> None:
    heavy = ("cv2", "torch", "scipy", "pydantic", "diffusers")
    script = f"import sys, models.control.kinds; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
