"""What a picture of the training world promises: its words are true of it, and its edges are its object's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.caption import vocabulary
from models.render.camera import rotation
from models.render.viewpoint import Pose
from models.world import geometry
from models.world.picture import Traced, paint

WORDS = {"material": "painted", "scene": "studio", "light": "studio"}


def _lab(rgb: NDArray[np.floating]) -> NDArray[np.float32]:
    return cv2.cvtColor(np.asarray(rgb, np.float32).reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(-1, 3)


def _named(rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> str:
    """The colour word that most of the object's pixels lie nearest to, under any brightness of the light."""
    names, references = [], []
    for name, colour in vocabulary.COLOURS.items():
        for gain in (1.0,) if name in ("black", "white", "grey") else (0.3, 0.5, 0.8, 1.1):
            linear = np.clip(np.array(colour) * gain, 0, 1)
            names.append(name)
            references.append(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    pixels = _lab(rgb[inside] / 255.0)
    distance = np.linalg.norm((pixels[:, None] - _lab(np.array(references))[None]) * [0.5, 1.0, 1.0], axis=2)
    votes = [names[i] for i in distance.argmin(axis=1)]
    return max(set(votes), key=votes.count)


def test_the_colour_word_is_the_dominating_colour_of_painted_objects_at_noon(views: list[Traced]) -> None:
    right, wrong = 0, []
    chromatic = [name for name in vocabulary.COLOURS if name not in ("black", "white", "grey")]
    for i, view in enumerate(views):
        for j in range(2):
            colour = chromatic[(i + 4 * j) % len(chromatic)]
            made = paint(view, j, {"colour": colour, "material": "painted", "scene": "grass", "light": "noon"})
            named = _named(made.rgb, view.mask)
            right += named == colour
            if named != colour:
                wrong.append((view.placed.class_name, view.placed.cad_seed, colour, named))
    assert right >= 0.9 * 2 * len(views), wrong


def test_captions_say_the_words_and_no_others(views: list[Traced]) -> None:
    for i, view in enumerate(views):
        made = paint(view, i)
        assert len(made.captions) == 3
        said = made.captions[0]
        assert vocabulary.SCENES[made.words["scene"]] in said
        assert vocabulary.LIGHTS[made.words["light"]] in said
        for caption in made.captions:
            assert view.placed.class_name in caption
            others = set(vocabulary.SCENES.values()) - {vocabulary.SCENES[made.words["scene"]]}
            assert not any(phrase in caption for phrase in others)
            colours = set(vocabulary.COLOURS) - {made.words["colour"]}
            rest = caption.replace(vocabulary.SCENES[made.words["scene"]], "").replace(",", "")
            assert not colours & set(rest.split()), caption


def test_asked_for_words_are_the_ones_that_are_shown(views: list[Traced]) -> None:
    made = paint(views[0], 0, {"colour": "green", **WORDS})
    assert {name: made.words[name] for name in ("colour", *WORDS)} == {"colour": "green", **WORDS}


@pytest.mark.parametrize("source", ["edge_canny", "edge_geometry"])
def test_the_outline_of_the_object_is_drawn_within_a_pixel(views: list[Traced], source: str) -> None:
    for view in views:
        drawn = getattr(view, source)
        inner = cv2.erode(view.mask, np.ones((3, 3), np.uint8), borderValue=255)
        outline = (view.mask > 0) & (inner == 0)
        near = cv2.dilate(drawn, np.ones((3, 3), np.uint8)) > 0
        assert (near & outline).sum() >= 0.95 * outline.sum(), view.placed


def test_no_edge_lies_off_the_object(views: list[Traced]) -> None:
    for view in views:
        # Two pixels: a thin part may cover some of a pixel whose centre it does not meet, and its edge is found beside that.
        around = cv2.dilate(view.mask, np.ones((5, 5), np.uint8)) > 0
        assert not view.edge_canny[~around].any()
        assert not view.edge_geometry[~around].any()


def test_light_and_ground_leave_the_object_where_it_is(views: list[Traced]) -> None:
    """Two appearances differ, and the object's pixels differ from the ground's along its outline in both."""
    first, second = paint(views[0], 0), paint(views[0], 1)
    assert not np.array_equal(first.rgb, second.rgb)
    assert first.rgb.shape == (*views[0].mask.shape, 3)


def test_depth_lies_around_the_distance_of_the_camera(views: list[Traced]) -> None:
    for view in views:
        inside = view.depth[view.mask > 0]
        assert abs(float(inside.mean()) - view.pose.distance) < 0.87
        assert not view.depth[view.mask == 0].any()


@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0), (90.0, 20.0, 0.0), (215.0, -40.0, 12.0), (10.0, 90.0, -30.0)])
def test_the_camera_is_the_renderers(pose: tuple[float, float, float]) -> None:
    azimuth, elevation, inplane = pose
    view = Pose(azimuth_deg=azimuth, elevation_deg=elevation, inplane_deg=inplane, distance=2.0)
    ours = geometry.camera(azimuth, elevation, inplane, 2.0, 35 / 32)
    np.testing.assert_allclose(ours.rotation, rotation(view), atol=1e-6)
    np.testing.assert_allclose(ours.centre, -rotation(view).T @ [0, 0, 2.0], atol=1e-6)


def test_rays_and_projection_are_each_others_inverse() -> None:
    view = geometry.camera(30.0, 25.0, 5.0, 1.8, 35 / 32)
    directions = geometry.rays(view, 16)
    at = geometry.project(view, view.centre + 1.7 * directions).reshape(16, 16, 2)
    steps = (np.arange(16) + 0.5) / 16 - 0.5
    np.testing.assert_allclose(at[3, :, 0], steps, atol=1e-5)
    np.testing.assert_allclose(at[:, 5, 1], steps, atol=1e-5)
