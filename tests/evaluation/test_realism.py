"""Realism: distances of sets whose answer is known, and pictures that are worse the further they are from the world."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation import card, realism


def _normal(count: int, mean: float, spread: float, seed: int) -> realism.Features:
    return np.random.default_rng(seed).normal(mean, spread, (count, 4)).astype(np.float32)


def test_the_frechet_distance_is_that_of_normal_distributions() -> None:
    # Of two isotropic ones in d dimensions: d (m1 - m2)^2 + d (s1 - s2)^2.
    assert realism.frechet(_normal(50_000, 0.0, 1.0, 0), _normal(50_000, 3.0, 2.0, 1)) == pytest.approx(4 * 9 + 4, rel=0.02)
    same = _normal(500, 1.0, 1.0, 2)
    assert realism.frechet(same, same) == pytest.approx(0.0, abs=1e-3)


def test_precision_and_recall_tell_what_is_false_from_what_is_missing() -> None:
    world = np.concatenate([_normal(300, 0.0, 0.1, 0), _normal(300, 10.0, 0.1, 1)])
    half = realism.figures(_normal(300, 0.0, 0.1, 2), world)
    assert half["precision"] > 0.9
    assert 0.4 < half["recall"] < 0.6
    false = realism.figures(np.concatenate([_normal(300, 0.0, 0.1, 2), _normal(300, 5.0, 0.1, 3)]), world)
    assert 0.4 < false["precision"] < 0.6


def test_blurred_pictures_are_further_from_pictures_than_others_of_their_kind() -> None:
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("efficientnet_lite_pytorch")
    rng = np.random.default_rng(0)

    def picture() -> np.ndarray:
        made = np.full((64, 64, 3), rng.integers(60, 200, 3), np.uint8)
        for _ in range(3):
            (x, y), colour = rng.integers(8, 56, 2).tolist(), rng.integers(0, 255, 3).tolist()
            cv2.rectangle(made, (x, y), (x + 20, y + 12), colour, -1)
        return made

    first, second = ([picture() for _ in range(48)] for _ in range(2))
    seen = realism.features_of(first)
    others = realism.frechet(realism.features_of(second), seen)
    blurred = realism.frechet(realism.features_of([cv2.GaussianBlur(p, (0, 0), 3) for p in second]), seen)
    assert blurred > 1.3 * others


def test_the_card_shows_realism_beside_what_can_be_reached() -> None:
    row = {"frechet": 12.345, "precision": 0.5, "recall": 0.25}
    table = card._realism({"views": 2000, "world": row, "on": row}, None)
    assert "| the world, other CAD models | 12.3 | 0.50 | 0.25 |" in table
    assert "autoencoder" not in table
