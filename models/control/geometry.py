"""The control `geometry`: lines where the surface ends, is hidden by something nearer, or bends sharply.

Enters: mask, depth and normals of a view. Leaves: (H, W) uint8, 0 or 255, lines one pixel wide. Nothing is read from the shaded
picture, so there are no lines of shadows, reflections or textures, and light does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.lines import FIDELITY_VERSION, Lines
from models.control.protocol import ControlSpec, View


@dataclass(frozen=True, kw_only=True)
class GeometrySpec(ControlSpec):
    """Discontinuities of depth and normals."""

    implementation: ClassVar[str] = "models.control.geometry:Geometry"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = FIDELITY_VERSION

    kind: Literal["geometry"] = "geometry"
    jump: float = 0.02
    """A step in depth of more than this, in longest sides and beyond the surface's own slope, is a line."""
    crease_deg: float = 22.0
    """Normals that turn by more than this within two pixels, and faster than around them, make a line."""
    shortest: float = 0.04
    """Lines shorter than this share of the picture's width are specks and are left out."""

    def __post_init__(self) -> None:
        if not 0 < self.jump < 1:
            raise ValueError(f"geometry jump is {self.jump}; it must lie between 0 and 1 longest sides")
        if not 1 <= self.crease_deg <= 90:
            raise ValueError(f"geometry crease_deg is {self.crease_deg}; it must lie between 1 and 90 degrees")
        if not 0 <= self.shortest < 0.5:
            raise ValueError(f"geometry shortest is {self.shortest}; it must be a share of the width below 0.5")


class Geometry(Lines[GeometrySpec]):
    """Draws outlines, occlusions and creases."""

    def lines(self, view: View) -> NDArray[np.uint8]:
        """Return the lines of a view with depth and normals, one pixel wide. Raises ValueError without depth and normals."""
        if view.depth is None or view.normal is None:
            raise ValueError('a geometry control needs depth and normals; render with them or use kind = "canny"')
        depth = view.depth.astype(np.float64)
        mask = (view.mask != 0) & (depth > 0)
        hard = _border(mask) | _occluding(mask, depth, self.spec.jump)
        # Right beside an outline, normals of the other surface or of the limb belong to the same line.
        creases = _creases(mask, depth, _unit(view.normal), self.spec.crease_deg) & ~_grown(hard)
        return _without_specks(thin(thin(hard) | thin(creases)), round(self.spec.shortest * mask.shape[1]))


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the object with a neighbour that is none; the picture's own frame is no outline."""
    padded = np.pad(mask, 1, mode="edge")
    whole = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~whole


def _occluding(mask: NDArray[np.bool_], depth: NDArray[np.float64], jump: float) -> NDArray[np.bool_]:
    """Pixels in front of a neighbour by more than `jump` beyond what the slope on either side explains.

    On a plane 1 / depth is affine in pixel coordinates, so extrapolating it from either side is exact however steep the plane is.
    """
    drawn = np.zeros_like(mask)
    inverse = np.where(mask, 1.0 / np.where(mask, depth, 1.0), 0.0)
    for axis in (0, 1):
        w = np.moveaxis(inverse, axis, 0)
        m = np.moveaxis(mask, axis, 0)
        z = np.moveaxis(depth, axis, 0)
        out = np.moveaxis(drawn, axis, 0)
        before, p, q, after = (w[i : len(w) - 3 + i] for i in range(4))
        seen = m[1:-2] & m[2:-1]
        # Where a surface is one pixel wide there is no slope to extrapolate: its own value stands in.
        from_p = np.where(m[:-3], 2 * p - before, p)
        from_q = np.where(m[3:], 2 * q - after, q)
        depth_of = np.minimum(z[1:-2], z[2:-1])
        step = np.minimum(np.minimum(np.abs(q - from_p), np.abs(p - from_q)), np.abs(q - p)) * depth_of**2
        found = seen & (step > jump)
        out[1:-2] |= found & (p > q)
        out[2:-1] |= found & (q >= p)
    return drawn


def _creases(
    mask: NDArray[np.bool_], depth: NDArray[np.float64], normal: NDArray[np.float64], crease_deg: float
) -> NDArray[np.bool_]:
    """Pixels across which the normal turns by more than `crease_deg`, and more than on the two sides together."""
    drawn = np.zeros_like(mask)
    for axis in (0, 1):
        n = np.moveaxis(normal, axis, 0)
        m = np.moveaxis(mask, axis, 0)
        z = np.moveaxis(depth, axis, 0)
        out = np.moveaxis(drawn, axis, 0)

        def turned(a: int, b: int, n: NDArray[np.float64] = n) -> NDArray[np.float64]:
            last = len(n) - 6
            cos = (n[a : last + a] * n[b : last + b]).sum(-1)
            angle: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cos, -1.0, 1.0)))
            return angle

        seen = np.logical_and.reduce([m[i : len(m) - 6 + i] for i in range(1, 6)])
        across = turned(2, 4)
        around = np.maximum(turned(0, 2), turned(4, 6)) / 2 + np.minimum(turned(1, 2), turned(4, 5))
        near = np.abs(z[2:-4] - z[4:-2]) < 0.1
        out[3:-3] |= seen & near & (across > crease_deg) & (across > 1.5 * around)
    return drawn


def _grown(drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `drawn` with all eight neighbours of each pixel."""
    padded = np.pad(drawn, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def thin(drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return lines one pixel wide, connected as before (Zhang and Suen 1984, with the corners of staircases taken off)."""
    drawn = np.pad(drawn, 1)
    while True:
        before = int(drawn.sum())
        for half in (0, 1):
            n = _neighbours(drawn)
            ring = sum(a.astype(np.int8) for a in n)
            turns = sum((~a & b).astype(np.int8) for a, b in zip(n, n[1:] + n[:1]))
            if half == 0:
                open_side = ~(n[0] & n[2] & n[4]) & ~(n[2] & n[4] & n[6])
            else:
                open_side = ~(n[0] & n[2] & n[6]) & ~(n[0] & n[4] & n[6])
            drawn[1:-1, 1:-1] &= ~((ring >= 2) & (ring <= 6) & (turns == 1) & open_side)
        if int(drawn.sum()) == before:
            break
    # A staircase corner has two neighbours that touch each other diagonally: the line stays whole without it.
    for a, b, off in ((0, 2, 5), (2, 4, 7), (4, 6, 1), (6, 0, 3)):
        n = _neighbours(drawn)
        ring = sum(k.astype(np.int8) for k in n)
        corner = n[a] & n[b] & ~n[off] & ~n[(off + 1) % 8] & ~n[(off - 1) % 8]
        drawn[1:-1, 1:-1] &= ~(corner & (ring <= 3))
    return drawn[1:-1, 1:-1].copy()


def _neighbours(padded: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return the eight neighbours of each inner pixel, clockwise from the one above."""
    offsets = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return [padded[y : y + height, x : x + width] for y, x in offsets]


def _without_specks(drawn: NDArray[np.bool_], shortest: int) -> NDArray[np.uint8]:
    """Return `drawn` as 0 or 255 without connected lines of fewer than `shortest` pixels."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(drawn.astype(np.uint8), connectivity=8)
    long = stats[:, cv2.CC_STAT_AREA] >= shortest
    long[0] = False
    kept: NDArray[np.uint8] = long[labels].astype(np.uint8) * 255
    return kept


def _unit(normal: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return unit normals of a normal picture; zeros where there is none."""
    vectors = normal.astype(np.float64)
    if normal.dtype == np.uint8:
        vectors = np.where(vectors.any(axis=2, keepdims=True), (vectors - 127.5) / 127.5, 0.0)
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.where(length > 0, length, 1.0)
    return unit
