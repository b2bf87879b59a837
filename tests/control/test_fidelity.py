"""Fidelity of lines: high where the drawing is followed, nothing where lines are met by accident."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.control.canny import Canny, CannySpec
from models.control.protocol import View
from tests.control.cast import cast
from tests.verdict.cars import clutter, mesh_of

CONTROL = Canny(CannySpec())


def pictured(seed: int, azimuth: float, size: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A car before clutter, and the lines it should follow."""
    mesh, colours = mesh_of(seed)
    view = cast(mesh, azimuth, 20.0, 1.6, size, colours)
    behind = clutter(np.random.default_rng(seed), size)
    image = np.where(view.mask[..., None] > 0, view.rgba[..., :3], behind).astype(np.uint8)
    return image, CONTROL.draw(View(rgba=view.rgba, mask=view.mask))


@pytest.mark.parametrize("size", [128, 512])
def test_an_image_that_follows_its_lines_scores_near_one(size: int) -> None:
    assert CONTROL.fidelity(*pictured(0, 40.0, size)) > 0.7


def test_lines_of_another_pose_score_near_nothing() -> None:
    others = [CONTROL.fidelity(pictured(seed, 40.0)[0], pictured(seed, 130.0)[1]) for seed in range(4)]
    assert max(others) < 0.4
    assert np.mean(others) < 0.25


def test_clutter_alone_scores_nothing_however_many_lines_it_has() -> None:
    lines = pictured(0, 40.0)[1]
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    assert abs(CONTROL.fidelity(noise, lines)) < 0.2


def test_a_blurred_image_has_lost_its_edges() -> None:
    image, lines = pictured(0, 40.0)
    assert CONTROL.fidelity(cv2.GaussianBlur(image, (0, 0), 6), lines) < 0.5 * CONTROL.fidelity(image, lines)


def test_an_empty_image_scores_zero_and_an_empty_drawing_is_not_a_number() -> None:
    image, lines = pictured(0, 40.0)
    assert CONTROL.fidelity(np.full_like(image, 90), lines) == 0.0
    assert np.isnan(CONTROL.fidelity(image, np.zeros_like(lines)))


def test_an_image_of_another_size_than_its_lines_is_refused() -> None:
    image, lines = pictured(0, 40.0)
    with pytest.raises(ValueError, match="cannot be compared"):
        CONTROL.fidelity(image[:64], lines)
