"""The edge score: high where the drawing is followed, nothing where lines are met by accident."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.edge import EdgeSpec, edges
from models.verdict.crop import crop
from models.verdict.shape import edge_score
from tests.edge.cast import Cast, cast
from tests.verdict.cars import clutter, mesh_of


def pictured(seed: int, azimuth: float, size: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A car before clutter, and the lines it should follow."""
    mesh, colours = mesh_of(seed)
    view: Cast = cast(mesh, azimuth, 20.0, 1.6, size, colours)
    behind = clutter(np.random.default_rng(seed), size)
    image = np.where(view.mask[..., None] > 0, view.rgba[..., :3], behind).astype(np.uint8)
    return image, edges(view.rgba, view.mask, view.depth, view.normal, view.K, EdgeSpec())


@pytest.mark.parametrize("size", [128, 512])
def test_an_image_that_follows_its_lines_scores_near_one(size: int) -> None:
    assert edge_score(*pictured(0, 40.0, size)) > 0.7


def test_lines_of_another_pose_score_near_nothing() -> None:
    others = [edge_score(pictured(seed, 40.0)[0], pictured(seed, 130.0)[1]) for seed in range(4)]
    assert max(others) < 0.4
    assert np.mean(others) < 0.25


def test_clutter_alone_scores_nothing_however_many_lines_it_has() -> None:
    lines = pictured(0, 40.0)[1]
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    assert abs(edge_score(noise, lines)) < 0.2


def test_a_blurred_image_has_lost_its_edges() -> None:
    image, lines = pictured(0, 40.0)
    assert edge_score(cv2.GaussianBlur(image, (0, 0), 6), lines) < 0.5 * edge_score(image, lines)


def test_an_empty_image_scores_zero_and_an_empty_drawing_is_not_a_number() -> None:
    image, lines = pictured(0, 40.0)
    assert edge_score(np.full_like(image, 90), lines) == 0.0
    assert np.isnan(edge_score(image, np.zeros_like(lines)))


def test_an_image_of_another_size_than_its_lines_is_refused() -> None:
    image, lines = pictured(0, 40.0)
    with pytest.raises(ValueError, match="cannot be compared"):
        edge_score(image[:64], lines)


def test_the_crop_is_square_around_the_box_and_repeats_the_border_outside() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 10:50] = 255
    cut = crop(image, (10, 40, 49, 59), 64, margin=1.0)
    assert cut.shape == (64, 64, 3)
    assert cut[32, 2:62].min() > 250
    assert cut[4].max() == 0
    assert crop(np.full((100, 100, 3), 7, np.uint8), (-50, -50, 20, 20), 32).min() == 7
    assert crop(image, None, 50).shape == (50, 50, 3)
