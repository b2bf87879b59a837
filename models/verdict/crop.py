"""Images as judges of the pose see them: a small square around the object.

Enters: one generated image, or planes of its render, and its annotated 2D box. Leaves: (side, side, C). A box's shape would give
the pose away, so the cut is square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", np.uint8, np.float32)


def crop(image: NDArray[Value], box: Sequence[float] | None, side: int, margin: float = 1.3) -> NDArray[Value]:
    """Return the square around `box` ([x0, y0, x1, y1], pixel centres), or the whole image for None, at side x side pixels.

    What lies outside the image repeats its border.
    """
    import cv2

    height, width = image.shape[:2]
    if box is None:
        x, y, span = (width - 1) / 2, (height - 1) / 2, float(max(width, height))
    else:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        span = margin * (max(box[2] - box[0], box[3] - box[1]) + 1)
    scale = side / span
    blur = 0.5 * (1 / scale - 1)
    if blur > 0.2:  # each output pixel stands for an area, not for a point
        image = cv2.GaussianBlur(image, (0, 0), blur)
    place = np.array([[scale, 0, (side - 1) / 2 - x * scale], [0, scale, (side - 1) / 2 - y * scale]])
    cut: NDArray[Value] = cv2.warpAffine(image, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cut
