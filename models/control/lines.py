"""What controls made of lines have in common: how they are counted, and how well an image follows them.

Enters: one drawing, 0 or 255, and one image. Leaves: the drawing's facts; and its fidelity, the share of its lines found again in
the image, beyond chance: 1 when each line is there, 0 when no more are than would be met by accident (a busy background meets
many), below 0 when the image avoids them. The paper has no such measure. It needs no other images, and unlike the K-fold filter
it catches what is lost in all images alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec, Drawing, EmptyControl, View

S = TypeVar("S", bound=ControlSpec)

FIDELITY_VERSION = 1
"""Raised whenever `Lines.fidelity` says something else of the same image and drawing."""
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


class EmptyLines(EmptyControl):
    """A view without a single line."""

    reason: ClassVar[str] = "empty_edge_map"


class Lines(Drawing, ABC, Generic[S]):
    """A control made of lines, 0 or 255 in one channel; a kind says which lines."""

    def __init__(self, spec: S) -> None:
        """spec: which lines are drawn."""
        self.spec = spec

    @abstractmethod
    def lines(self, view: View) -> NDArray[np.uint8]:
        """Return the lines of a view, (H, W), 0 or 255; none at all is no error here."""

    def draw(self, view: View) -> NDArray[np.uint8]:
        """Return the lines of a view, (H, W), 0 or 255. Raises EmptyLines, or ValueError where the view lacks an array."""
        drawn = self.lines(view)
        if not drawn.any():
            raise EmptyLines(f"no edges at all ({self.spec.kind}): is the object in the picture, and lit?")
        return drawn

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        """Return `pixels` on lines and `density`, their share of the picture."""
        pixels = int(np.count_nonzero(drawn))
        return {"pixels": pixels, "density": round(pixels / drawn.size, 6)}

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        """Return the chance-corrected recall of the lines `drawn` (H, W) in `image` (H, W, 3), at most 1.

        NaN when there are no lines. Raises ValueError when the two differ in size.
        """
        return found_again(image, drawn)


def found_again(image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
    """Return the chance-corrected recall of the lines `drawn` (H, W) in `image` (H, W, 3), at most 1.

    NaN when there are no lines. Raises ValueError when the two differ in size.
    """
    import cv2

    if image.shape[:2] != drawn.shape[:2]:
        raise ValueError(f"an image of {image.shape[:2]} cannot be compared with a drawing of {drawn.shape[:2]}")
    scale = SIDE / max(drawn.shape)
    if scale < 1:
        size = (round(drawn.shape[1] * scale), round(drawn.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    lines = drawn > 0
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
    # Where nearly everything is met by accident, finding the lines means little: the divisor's floor keeps that small.
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
