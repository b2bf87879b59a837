"""What judges see of an image."""

from __future__ import annotations

import numpy as np

from models.verdict.crop import crop


def test_the_crop_is_square_around_the_box_and_repeats_the_border_outside() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 10:50] = 255
    cut = crop(image, (10, 40, 49, 59), 64, margin=1.0)
    assert cut.shape == (64, 64, 3)
    assert cut[32, 2:62].min() > 250
    assert cut[4].max() == 0
    assert crop(np.full((100, 100, 3), 7, np.uint8), (-50, -50, 20, 20), 32).min() == 7
    assert crop(image, None, 50).shape == (50, 50, 3)
