"""The 3D visual prompt: line drawings of a render, two ways.

Enters: one view's RGBA, mask, depth, normals and K. Leaves: one (H, W) uint8 map, 0 or 255, lines one pixel wide. Section 3.1 of
the paper draws them with Canny on the render over black, where a dark object loses its outline; `canny` here counts the object's
coverage as one more channel, so the outline is always there. `geometry` reads depth and normals instead: occlusions and creases,
no shadows, no reflections, no light and no denoiser needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAGE = "edge"
VERSION = 1
"""Raised whenever the same spec and render give another map."""

SOURCES = ("canny", "geometry")
BACKGROUNDS = {"black": 0.0, "grey": 127.5, "white": 255.0}


@dataclass(frozen=True, kw_only=True)
class EdgeSpec:
    """How a line drawing is made of a render."""

    source: str = "canny"
    """`canny`: Canny on the shaded render. `geometry`: discontinuities of depth and normals."""
    low: float = 100.0
    """canny: weak threshold, on |dx| + |dy| of 8-bit values under the Sobel kernel (the paper: 100)."""
    high: float = 200.0
    """canny: strong threshold (the paper: 200)."""
    aperture: int = 3
    """canny: size of the Sobel kernel, 3, 5 or 7."""
    blur: float = 0.0
    """canny: sigma in pixels of a Gaussian blur before; 0 for none. About 1 calms busy textures and noisy renders."""
    background: str = "black"
    """canny: what the render is laid over: black, grey or white."""
    outline: bool = True
    """canny: count the object's coverage as a fourth channel, so that the outline is always there. False: as the paper."""
    jump: float = 0.02
    """geometry: a step in depth of more than this, in longest sides and beyond the surface's own slope, is a line."""
    crease_deg: float = 22.0
    """geometry: normals that turn by more than this within two pixels, and faster than around them, make a line."""
    shortest: float = 0.04
    """geometry: lines shorter than this share of the picture's width are specks and are left out."""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"no such edge source {self.source!r}; there are: {', '.join(SOURCES)}")
        if not 0 < self.low <= self.high:
            raise ValueError(f"edge thresholds must be 0 < low <= high, these are {self.low} and {self.high}")
        if self.aperture not in (3, 5, 7):
            raise ValueError(f"edge aperture is {self.aperture}; it must be 3, 5 or 7")
        if not 0 <= self.blur <= 20:
            raise ValueError(f"edge blur is {self.blur} pixels; it must lie between 0 and 20")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"no such edge background {self.background!r}; there are: {', '.join(BACKGROUNDS)}")
        if not 0 < self.jump < 1:
            raise ValueError(f"edge jump is {self.jump}; it must lie between 0 and 1 longest sides")
        if not 1 <= self.crease_deg <= 90:
            raise ValueError(f"edge crease_deg is {self.crease_deg}; it must lie between 1 and 90 degrees")
        if not 0 <= self.shortest < 0.5:
            raise ValueError(f"edge shortest is {self.shortest}; it must be a share of the width below 0.5")


class EmptyEdges(ValueError):
    """A render without any line: an expected misfortune, a row with this reason."""

    reason = "empty_edge_map"


def edges(
    rgba: NDArray[np.uint8],
    mask: NDArray[np.generic],
    depth: NDArray[np.generic] | None,
    normal: NDArray[np.generic] | None,
    K: NDArray[np.float64] | None,
    spec: EdgeSpec,
) -> NDArray[np.uint8]:
    """Return the line drawing of one view, (H, W) uint8, 0 or 255.

    `rgba` (H, W, 4) uint8 straight alpha; `mask` (H, W), non-zero on the object; `depth` (H, W) along the optical axis in longest
    sides, 0 off the object; `normal` (H, W, 3) in the camera's frame, uint8 as n * 127.5 + 127.5 or float; `K` (3, 3). The last
    three are read by `geometry` only. Raises EmptyEdges when nothing is drawn.
    """
    if spec.source == "canny":
        drawn = _canny(rgba, mask, spec)
    else:
        if depth is None or normal is None or K is None:
            raise ValueError("edges from geometry need depth, normals and K; render with them or use source='canny'")
        drawn = _geometry(mask != 0, depth.astype(np.float64), _unit(normal), spec)
    if not drawn.any():
        raise EmptyEdges(f"no edges at all ({spec.source}): is the object in the picture, and lit?")
    return drawn


def facts(drawn: NDArray[np.uint8]) -> dict[str, float]:
    """Return what a row holds of an edge map: edge_pixels and edge_density (edge pixels over all pixels)."""
    pixels = int(np.count_nonzero(drawn))
    return {"edge_pixels": pixels, "edge_density": round(pixels / drawn.size, 6)}


def _canny(rgba: NDArray[np.uint8], mask: NDArray[np.generic], spec: EdgeSpec) -> NDArray[np.uint8]:
    """Canny over colour and, with `outline`, coverage; at each pixel the steepest channel speaks, as in cv2's own."""
    import cv2

    alpha = rgba[..., 3:].astype(np.float32) / 255.0
    laid = rgba[..., :3].astype(np.float32) * alpha + BACKGROUNDS[spec.background] * (1.0 - alpha)
    channels = [laid]
    if spec.outline:
        # Glass lets the background through but is there all the same: inside its mask it covers.
        inside = cv2.erode((mask != 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        channels.append(np.maximum(alpha, inside[..., None]) * 255.0)
    picture = np.concatenate(channels, axis=2)
    if spec.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), spec.blur)
    picture = np.rint(picture).astype(np.uint8)
    # A 7 x 7 kernel overflows 16 bits; cv2.Canny divides gradients and thresholds by 16, and so do we.
    scale = 1 / 16 if spec.aperture == 7 else 1.0
    border = cv2.BORDER_REPLICATE
    dx = cv2.Sobel(picture, cv2.CV_16S, 1, 0, ksize=spec.aperture, scale=scale, borderType=border)
    dy = cv2.Sobel(picture, cv2.CV_16S, 0, 1, ksize=spec.aperture, scale=scale, borderType=border)
    steepest = (np.abs(dx.astype(np.int32)) + np.abs(dy.astype(np.int32))).argmax(axis=2)[..., None]
    dx, dy = (np.ascontiguousarray(np.take_along_axis(d, steepest, axis=2)[..., 0]) for d in (dx, dy))
    drawn: NDArray[np.uint8] = cv2.Canny(dx, dy, spec.low * scale, spec.high * scale)
    return drawn


def _geometry(
    mask: NDArray[np.bool_], depth: NDArray[np.float64], normal: NDArray[np.float64], spec: EdgeSpec
) -> NDArray[np.uint8]:
    """Lines where the surface ends, is hidden by something nearer, or bends sharply."""
    mask = mask & (depth > 0)
    border = _border(mask)
    occluding = _occluding(mask, depth, spec.jump) & ~border
    hard = border | occluding
    # Right beside an outline, normals of the other surface or of the limb belong to the same line.
    creases = _creases(mask, depth, normal, spec) & ~_grown(hard)
    drawn = thin(hard) | thin(creases)
    return _without_specks(thin(drawn), round(spec.shortest * mask.shape[1]))


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
    mask: NDArray[np.bool_], depth: NDArray[np.float64], normal: NDArray[np.float64], spec: EdgeSpec
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
        out[3:-3] |= seen & near & (across > spec.crease_deg) & (across > 1.5 * around)
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
