"""What controls have in common that say something of every point of the surface: how they are counted and followed.

Enters: one drawing (H, W) or (H, W, 3) and one image. Leaves: the drawing's facts; and its fidelity: the share of the drawing's
own steps (outlines, occlusions, creases) found again in the image as lines, beyond chance. An image has no depth to compare
with; where a surface ends or bends it has a line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.control.lines import FIDELITY_VERSION as LINES_VERSION
from models.control.lines import found_again
from models.control.protocol import ControlSpec, Drawing, EmptyControl, View

S = TypeVar("S", bound=ControlSpec)

FIDELITY_VERSION = LINES_VERSION
"""Raised whenever `Surface.fidelity` says something else of the same image and drawing."""
LOW, HIGH = 20, 60
"""Canny's thresholds on a drawing: it has no noise, and a step of a twelfth of its range is one."""


class EmptySurface(EmptyControl):
    """A view without a point of the object."""

    reason: ClassVar[str] = "empty_surface"


class Surface(Drawing, ABC, Generic[S]):
    """A control with a value at each pixel of the object; a kind says which."""

    def __init__(self, spec: S) -> None:
        """spec: how values become levels."""
        self.spec = spec

    @abstractmethod
    def levels(self, view: View, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the control of a view whose object is `inside`. Raises ValueError where the view lacks an array."""

    @property
    @abstractmethod
    def background(self) -> NDArray[np.uint8]:
        """The level, or the three, of what is no object."""

    def draw(self, view: View) -> NDArray[np.uint8]:
        """Return the control of a view. Raises EmptySurface, or ValueError where the view lacks an array."""
        inside = np.asarray(view.mask != 0)
        if view.depth is not None:
            inside &= view.depth > 0
        if not inside.any():
            raise EmptySurface(f"no point of the object in the picture ({self.spec.kind})")
        return self.levels(view, inside)

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        """Return `pixels` of the object and `density`, their share of the picture."""
        other = drawn != self.background
        pixels = int(np.count_nonzero(other.any(axis=2) if drawn.ndim == 3 else other))
        return {"pixels": pixels, "density": round(pixels / (drawn.shape[0] * drawn.shape[1]), 6)}

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        """Return the chance-corrected recall of the drawing's steps in `image` (H, W, 3), at most 1; NaN where it has none.

        Raises ValueError when the two differ in size.
        """
        import cv2

        return found_again(image, np.asarray(cv2.Canny(drawn, LOW, HIGH), np.uint8))
