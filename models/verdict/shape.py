"""Did the generator draw what it was told to? The share of control lines found again in the image, beyond chance.

Enters: one generated image and the edge map it was made from. Leaves: one number: 1 when each control line is there, 0 when no
more are than lines would be met by accident (a busy background meets many), below 0 when the image avoids them. The paper has no
such measure; it needs no cohort, and unlike the K-fold filter it catches what is lost in all images alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Longer side, in pixels, at which lines are compared; smaller images are compared as they are."""
REACH = 2
"""A control line is found where the image has a line of its direction within so many pixels."""
LOW, HIGH = 30, 60
"""Canny's thresholds on the image: low, because soft lines count; clutter is answered by direction and by chance."""
DIRECTIONS = 8
"""Directions of lines are told apart in so many bins over half a turn, neighbours counting as equal."""
SHIFTS = tuple((dx * far, dy * far) for far in (10, 16) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0))
"""Where else the control lines are laid to learn what chance finds in this very image."""


def edge_score(image: NDArray[np.uint8], edges: NDArray[np.uint8]) -> float:
    """Return the chance-corrected recall of `edges` (H, W), 0 or 255, in `image` (H, W, 3) uint8, at most 1.

    NaN when there are no control lines. Raises ValueError when the two differ in shape.
    """
    import cv2

    if image.shape[:2] != edges.shape[:2]:
        raise ValueError(f"an image of {image.shape[:2]} cannot be compared with an edge map of {edges.shape[:2]}")
    scale = SIDE / max(edges.shape)
    if scale < 1:
        size = (round(edges.shape[1] * scale), round(edges.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        edges = cv2.resize(edges, size, interpolation=cv2.INTER_AREA)
    lines = edges > 0
    if not lines.any():
        return float("nan")
    found = _found(image)
    wanted = _direction_of_lines(lines)
    rows, columns = np.nonzero(lines)
    bins = wanted[rows, columns]
    hit = float(found[bins, rows, columns].mean())
    chances = []
    for dx, dy in SHIFTS:
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < lines.shape[0]) & (x >= 0) & (x < lines.shape[1])
        if inside.any():
            chances.append(float(found[bins[inside], y[inside], x[inside]].mean()))
    chance = float(np.mean(chances)) if chances else 0.0
    # Where nearly everything is met by accident, finding the lines says nothing: the divisor keeps that from looking like much.
    return (hit - chance) / max(1.0 - chance, 0.05)


def _found(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (directions, H, W): whether a line of the image with that direction is within reach."""
    import cv2

    lines = cv2.Canny(image, LOW, HIGH) > 0
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    steepest = (dx**2 + dy**2).argmax(axis=2)[..., None]
    dx, dy = (np.take_along_axis(d, steepest, axis=2)[..., 0] for d in (dx, dy))
    direction = (np.arctan2(dy, dx) % np.pi) / np.pi * DIRECTIONS
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
    layers = []
    for middle in np.arange(DIRECTIONS) + 0.5:
        away = np.abs((direction - middle + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2)
        layers.append(cv2.dilate((lines & (away <= 1.0)).astype(np.uint8), reach) > 0)
    return np.stack(layers)


def _direction_of_lines(lines: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (H, W) the bin of the gradient's direction across the drawn lines, from their structure tensor."""
    import cv2

    soft = cv2.GaussianBlur(lines.astype(np.float32), (0, 0), 1.5)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    xx, xy, yy = (cv2.GaussianBlur(product, (0, 0), 2.0) for product in (dx * dx, dx * dy, dy * dy))
    angle = (0.5 * np.arctan2(2 * xy, xx - yy)) % np.pi
    bins: NDArray[np.int64] = np.minimum((angle / np.pi * DIRECTIONS).astype(np.int64), DIRECTIONS - 1)
    return bins
