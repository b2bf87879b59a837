"""The control `canny`: lines of the shaded render, as in the paper.

Enters: colours, coverage and mask of a view. Leaves: (H, W) uint8, 0 or 255. The paper's lines are Canny on the render over
black, where a dark object loses its outline; here the object's coverage counts as one more channel, so that the outline is always
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.lines import FIDELITY_VERSION, Lines
from models.control.protocol import ControlSpec, View

BACKGROUNDS = {"black": 0.0, "grey": 127.5, "white": 255.0}


@dataclass(frozen=True, kw_only=True)
class CannySpec(ControlSpec):
    """Canny on the shaded render."""

    implementation: ClassVar[str] = "models.control.canny:Canny"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = FIDELITY_VERSION

    kind: Literal["canny"] = "canny"
    low: float = 100.0
    """Weak threshold, on |dx| + |dy| of 8-bit values under the Sobel kernel (the paper: 100)."""
    high: float = 200.0
    """Strong threshold (the paper: 200)."""
    aperture: int = 3
    """Size of the Sobel kernel, 3, 5 or 7."""
    blur: float = 0.0
    """Sigma in pixels of a Gaussian blur before; 0 for none. About 1 calms busy textures and noisy renders."""
    background: str = "black"
    """What the render is laid over: black, grey or white."""
    outline: bool = True
    """Count the object's coverage as a fourth channel, so that the outline is always there. False: as the paper."""

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"canny thresholds must be 0 < low <= high, these are {self.low} and {self.high}")
        if self.aperture not in (3, 5, 7):
            raise ValueError(f"canny aperture is {self.aperture}; it must be 3, 5 or 7")
        if not 0 <= self.blur <= 20:
            raise ValueError(f"canny blur is {self.blur} pixels; it must lie between 0 and 20")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"no such canny background {self.background!r}; there are: {', '.join(BACKGROUNDS)}")


class Canny(Lines[CannySpec]):
    """Draws lines with Canny's detector."""

    def lines(self, view: View) -> NDArray[np.uint8]:
        """Return the lines of colour and, with `outline`, coverage; at each pixel the steepest channel decides, as in cv2."""
        import cv2

        spec = self.spec
        picture = self._laid_over_background(view)
        # A 7 x 7 kernel overflows 16 bits; cv2.Canny divides gradients and thresholds by 16, and so do we.
        scale = 1 / 16 if spec.aperture == 7 else 1.0
        border = cv2.BORDER_REPLICATE
        dx = cv2.Sobel(picture, cv2.CV_16S, 1, 0, ksize=spec.aperture, scale=scale, borderType=border)
        dy = cv2.Sobel(picture, cv2.CV_16S, 0, 1, ksize=spec.aperture, scale=scale, borderType=border)
        steepest = (np.abs(dx.astype(np.int32)) + np.abs(dy.astype(np.int32))).argmax(axis=2)[..., None]
        dx, dy = (np.ascontiguousarray(np.take_along_axis(d, steepest, axis=2)[..., 0]) for d in (dx, dy))
        drawn: NDArray[np.uint8] = cv2.Canny(dx, dy, spec.low * scale, spec.high * scale)
        return drawn

    def _laid_over_background(self, view: View) -> NDArray[np.uint8]:
        """Return (H, W, 3) colours or, with `outline`, (H, W, 4) colours and coverage."""
        import cv2

        alpha = view.rgba[..., 3:].astype(np.float32) / 255.0
        laid = view.rgba[..., :3].astype(np.float32) * alpha + BACKGROUNDS[self.spec.background] * (1.0 - alpha)
        channels = [laid]
        if self.spec.outline:
            # Glass lets the background through but is there all the same: inside its mask it covers.
            inside = cv2.erode((view.mask != 0).astype(np.uint8), np.ones((3, 3), np.uint8))
            channels.append(np.maximum(alpha, inside[..., None]) * 255.0)
        picture = np.concatenate(channels, axis=2)
        if self.spec.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.spec.blur)
        rounded: NDArray[np.uint8] = np.rint(picture).astype(np.uint8)
        return rounded
