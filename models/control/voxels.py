"""The control `voxels`: the edge map of a view, and what each of its rays meets in the CAD model's voxel grid.

Enters: a view with its camera and the CAD model's occupied cells. Leaves: (H, W, 1 + STRETCHES [+ 2 x frequencies]) uint8: lines,
then 0 or 255 for each stretch of the pixel's ray from near to far, then the distance of the first that met something, encoded as
in NeRF (Mildenhall et al. 2020, section 5.1). A network reads a ray's occupancies beside its lines (3D-DST's description: an edge
map and a 3D voxel grid, encoded by an MLP and combined with 2D features; no public code has it): what lies behind the first
surface is there, and which of two equal outlines is the near end. The first layer of a stock ControlNet with so many conditioning
channels, followed by its 3 x 3 ones, is such an MLP along each ray that also sees the rays beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control import rays
from models.control.canny import Canny, CannySpec
from models.control.geometry import Geometry, GeometrySpec
from models.control.lines import FIDELITY_VERSION, found_again
from models.control.protocol import PICTURE, ControlSpec, Drawing, View
from models.control.surface import EmptySurface

RAYS = "rays.png"
"""(h, w, 4) uint8: the 32 stretches of a ray as bits, nearest first, at most SIDE a side."""
STRETCHES = 32
"""Parts of a ray; each is 1 / 18 of the longest side long."""
SIDE = 128
"""Rays a side at most: at 512 pixels one for each 4 x 4 of them, a third of a cell of 32."""
NEAR, FAR = 250, 60
"""Levels of the nearest and the farthest stretch in the picture that people see."""

_LINES = {"canny": (Canny, CannySpec), "geometry": (Geometry, GeometrySpec)}


@dataclass(frozen=True, kw_only=True)
class VoxelsSpec(ControlSpec):
    """Lines, and the voxels along each ray."""

    implementation: ClassVar[str] = "models.control.voxels:VoxelRays"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = FIDELITY_VERSION

    kind: Literal["voxels"] = "voxels"
    cells: int = 32
    """Cells a side of the grid."""
    lines: Literal["canny", "geometry", "none"] = "canny"
    """Which lines stand beside the rays."""
    frequencies: int = 0
    """Octaves of the first distance's encoding; 0 leaves it out."""

    def __post_init__(self) -> None:
        if self.cells not in (16, 32, 64, 128):
            raise ValueError(f"voxels cells is {self.cells}; it must be 16, 32, 64 or 128")
        if not 0 <= self.frequencies <= 5:
            raise ValueError(f"voxels frequencies is {self.frequencies}; it must lie between 0 and 5: a ray has 2^5 stretches")

    @property
    def channels(self) -> int:
        """How many channels the control has: the `conditioning_channels` of a ControlNet that reads it."""
        return 1 + STRETCHES + 2 * self.frequencies


class VoxelRays(Drawing):
    """Draws lines and rays."""

    def __init__(self, spec: VoxelsSpec) -> None:
        """spec: which grid, and which lines."""
        self.spec = spec

    def draw(self, view: View) -> NDArray[np.uint8]:
        """Return (H, W, channels). Raises EmptySurface where no ray meets a cell, ValueError where the view lacks an array."""
        bits = self.rays(view)
        lines = np.zeros(view.mask.shape, np.uint8)
        if self.spec.lines != "none":
            kind, spec = _LINES[self.spec.lines]
            lines = kind(spec()).lines(view)  # type: ignore[arg-type]
        return self.around(lines, bits)

    def rays(self, view: View) -> NDArray[np.uint8]:
        """Return (h, w, 4) the rays of a view, as RAYS keeps them; of its pictures only their size is asked. Raises as `draw`."""
        if view.K is None or view.R is None or view.t is None or view.occupied is None:
            raise ValueError('a voxels control needs the camera and the CAD model; use kind = "canny"')
        height, width = view.mask.shape
        step = _step(height, width)
        # The centre of step x step pixels; their centres are at whole numbers.
        fewer = np.array([[1 / step, 0, (1 / step - 1) / 2], [0, 1 / step, (1 / step - 1) / 2], [0, 0, 1]])
        met = rays.along(
            view.occupied(self.spec.cells), fewer @ view.K, view.R, view.t, (height // step, width // step), STRETCHES
        )
        if not met.any():
            raise EmptySurface(f"no ray meets the CAD model's {self.spec.cells} cells a side ({self.spec.kind})")
        return np.packbits(met, axis=2)

    def encode(self, drawn: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        """Return the first stretch that each ray met, nearer is brighter, lines in red; and the rays' bits."""
        lines, met = drawn[..., 0] > 0, drawn[..., 1 : 1 + STRETCHES] > 0
        step = _step(*lines.shape)
        shown = np.where(lines[..., None], np.array([255, 0, 0], np.uint8), _levels(met)[..., None])
        return {PICTURE: shown.astype(np.uint8), RAYS: np.packbits(met[::step, ::step], axis=2)}

    def decode(self, read: Callable[[str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return what `encode` was given."""
        shown = read(PICTURE)
        lines = (shown[..., 0] == 255) & (shown[..., 1] == 0)
        return self.around(lines.astype(np.uint8) * 255, read(RAYS))

    def around(self, lines: NDArray[np.uint8], bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the control of lines (H, W), which are left out where the spec has none, and of `rays`."""
        met = np.unpackbits(bits, axis=2) > 0
        step = lines.shape[0] // met.shape[0]
        near_to_far = [met.astype(np.uint8) * 255]
        if self.spec.frequencies:
            near_to_far.append(_encoded(met, self.spec.frequencies))
        wide = np.concatenate(near_to_far, axis=2).repeat(step, axis=0).repeat(step, axis=1)
        first = np.zeros_like(lines) if self.spec.lines == "none" else lines
        return np.concatenate([first[..., None], wide], axis=2)

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        """Return `pixels` whose ray meets a cell, `density`, their share of the picture, and `stretches` met by a ray of them."""
        met = drawn[..., 1 : 1 + STRETCHES] > 0
        pixels = int(np.count_nonzero(met.any(axis=2)))
        return {
            "pixels": pixels,
            "density": round(pixels / (drawn.shape[0] * drawn.shape[1]), 6),
            "stretches": round(int(met.sum()) / max(pixels, 1), 3),
        }

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        """Return the chance-corrected recall of the lines in `image` (H, W, 3), without lines that of the cells' outline.

        At most 1, NaN where there is neither. Raises ValueError when the two differ in size.
        """
        import cv2

        lines = drawn[..., 0]
        if self.spec.lines == "none":
            there = np.where((drawn[..., 1 : 1 + STRETCHES] > 0).any(axis=2), 255, 0).astype(np.uint8)
            lines = np.asarray(cv2.Canny(there, 100, 200), np.uint8)
        return found_again(image, lines)


def _step(height: int, width: int) -> int:
    """Return the least number of pixels a side that share a ray, so that there are at most SIDE a side and none is cut."""
    at_least = -(-max(height, width) // SIDE)
    return next(step for step in range(at_least, max(height, width) + 1) if height % step == width % step == 0)


def _levels(met: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (H, W): NEAR to FAR by the first stretch that was met, 0 where none was."""
    levels = np.rint(NEAR - met.argmax(axis=2) * (NEAR - FAR) / (STRETCHES - 1))
    return np.where(met.any(axis=2), levels, 0).astype(np.uint8)


def _encoded(met: NDArray[np.bool_], frequencies: int) -> NDArray[np.uint8]:
    """Return (h, w, 2 x frequencies): sine and cosine of pi 2^k x, x from -1 to 1 along the ray, as 0 to 255.

    128, which is 0, where no stretch was met.
    """
    x = 2 * (met.argmax(axis=2) + 0.5) / STRETCHES - 1
    angles = np.pi * x[..., None] * 2.0 ** np.arange(frequencies)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=2)
    return np.where(met.any(axis=2, keepdims=True), np.rint(waves * 127.5 + 127.5), 128).astype(np.uint8)
