"""Judges that need no training: what is no sound picture, and what is another one over again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.verdict.duplicate import Duplicate, DuplicateSpec
from models.verdict.quality import MEASURES, Quality, QualitySpec
from tests.control.cast import cast
from tests.verdict.cars import mesh_of
from tests.verdict.seen import Seen

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def car() -> Picture:
    """A car on a patterned ground."""
    mesh, colours = mesh_of(0)
    shown = cast(mesh, 40.0, 20.0, 1.6, 192, colours)
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(60, 200, (24, 24, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.where(shown.mask[..., None] > 0, shown.rgba[..., :3], ground)


def _blurred(picture: Picture, sigma: float) -> Picture:
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _noisy(picture: Picture, spread: float) -> Picture:
    noise = np.random.default_rng(1).normal(0, 255 * spread, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


BROKEN: dict[str, tuple[str, Callable[[Picture], Picture]]] = {
    "black": ("light", lambda picture: (picture * 0.01).astype(np.uint8)),
    "white": ("light", lambda picture: (255 - (255 - picture) * 0.01).astype(np.uint8)),
    "flat": ("contrast", lambda picture: (118 + picture * 0.03).astype(np.uint8)),
    "blurred": ("blur", lambda picture: _blurred(picture, 6.0)),
    "noise": ("noise", lambda picture: _noisy(picture, 0.3)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_picture_is_marked_by_the_measure_that_shows_it(kind: str, car: Picture) -> None:
    measure, breaking = BROKEN[kind]
    evidence = [Seen.of(picture, (0, 0, 0), index=index) for index, picture in enumerate((car, breaking(car)))]
    scores = Quality(QualitySpec()).judge(evidence).scores
    assert scores["quality"][0] == 1.0
    assert scores["quality"][1] < 0.1
    marks = {name: abs(scores[f"quality_{name}"][1] - scores[f"quality_{name}"][0]) for name in MEASURES}
    assert marks[measure] > 0.15, marks


def test_a_larger_picture_of_the_same_is_no_more_blurred(car: Picture) -> None:
    import cv2

    large = np.asarray(cv2.resize(car, (768, 768), interpolation=cv2.INTER_CUBIC), np.uint8)
    scores = Quality(QualitySpec()).judge([Seen.of(car, (0, 0, 0)), Seen.of(large, (0, 0, 0), index=1)]).scores
    assert scores["quality_blur"][1] == pytest.approx(scores["quality_blur"][0], abs=0.05)


def test_the_noise_that_is_measured_is_the_noise_that_there_is() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    spread = 0.05
    noise = np.random.default_rng(0).normal(0, 255 * spread, (128, 128, 1))
    found = Quality(QualitySpec()).judge([Seen.of(np.clip(grey + noise, 0, 255).astype(np.uint8), (0, 0, 0))])
    assert found.scores["quality_noise"][0] == pytest.approx(spread, rel=0.1)


def test_a_picture_that_comes_again_is_a_duplicate_whatever_its_brightness_and_the_first_is_not(car: Picture) -> None:
    mesh, colours = mesh_of(0)
    other = cast(mesh, 150.0, 20.0, 1.6, 192, colours).rgba[..., :3]
    again = np.clip(_noisy(car, 0.02) * 0.9, 0, 255).astype(np.uint8)
    pictures = [car, np.ascontiguousarray(other), again]
    evidence = [Seen.of(picture, (0, 0, 0), index=index) for index, picture in enumerate(pictures)]
    found = Duplicate(DuplicateSpec()).judge(evidence)
    first, different, duplicate = found.scores["duplicate"]
    assert np.isnan(first)
    assert found.not_judged is not None
    assert different < 0.75
    assert duplicate > 0.95
    # Which of two alike is the first follows from who they are, not from how they came.
    turned = Duplicate(DuplicateSpec()).judge(evidence[::-1]).scores["duplicate"][::-1]
    assert np.array_equal(turned, found.scores["duplicate"], equal_nan=True)


def test_pictures_of_one_colour_are_not_said_to_be_duplicates() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    evidence = [Seen.of(flat, (0, 0, 0), index=index) for index in range(3)]
    found = Duplicate(DuplicateSpec()).judge(evidence)
    assert np.isnan(found.scores["duplicate"]).all()
    assert found.not_judged == "3 of 3 images have nothing before them to be compared with, or no pattern"


def test_a_duplicate_is_found_among_hundreds() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(600)]
    pictures[599] = pictures[3]
    evidence = [Seen.of(picture, (0, 0, 0), index=index) for index, picture in enumerate(pictures)]
    scores = Duplicate(DuplicateSpec()).judge(evidence).scores["duplicate"]
    assert scores[599] == 1.0
    assert np.nanmax(scores[:599]) < 0.8
