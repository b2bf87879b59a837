"""Outlines: a mask as one polygon, and as the smallest turned rectangle, for formats that know no pixels.

Enters: a mask (H, W). Leaves: points in pixels whose edges, not centres, are integers: a mask of one pixel is a square of side 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

INSET = 1 / 64
"""Pixels that an outline stays inside the edges of the mask. Readers that cut coordinates to whole pixels then fill the mask's
own pixels, and those that do not are off by a sixty-fourth of one."""


def polygon(mask: NDArray[np.uint8]) -> Points:
    """Return the outline of a mask that is not empty, as one ring (N, 2).

    A mask of several parts, or with holes, has several rings; each is joined to the nearest of those before it by a line that is
    walked there and back, as Ultralytics' own converter joins parts, and holes stay holes under the even-odd rule.
    """
    ring, *others = sorted(_rings(mask), key=len, reverse=True)
    near = [_nearest(ring, other) for other in others]
    while others:
        # The nearest first: its line then crosses none of the others.
        i = min(range(len(others)), key=lambda n: near[n].squared)
        joined, by = others.pop(i), near.pop(i)
        here = int((ring == by.here).all(axis=1).argmax())
        around = np.roll(joined, -by.there, axis=0)
        ring = np.concatenate([ring[: here + 1], around, around[:1], ring[here:]])
        near = [min(one, _nearest(joined, other), key=lambda near: near.squared) for one, other in zip(near, others, strict=True)]
    return ring


def rectangle(mask: NDArray[np.uint8]) -> Points:
    """Return the corners (4, 2) of the smallest rectangle around a mask that is not empty and does not leave the picture.

    One side of the smallest lies along the convex hull. Where all of those leave the picture it is the upright one.
    """
    height, width = mask.shape
    hull = cv2.convexHull(_edges(_contours(mask)).astype(np.float32))[:, 0, :].astype(np.float64)
    sides = np.diff(hull, axis=0, append=hull[:1])
    angles = np.concatenate([[0.0], np.arctan2(sides[:, 1], sides[:, 0])])
    best, least = np.empty((4, 2)), np.inf
    for angle in angles:
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        low, high = (hull @ axes.T).min(axis=0), (hull @ axes.T).max(axis=0)
        corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]) @ axes
        inside = corners.min() >= -INSET and (corners <= np.array([width, height]) + INSET).all()
        area = float(np.prod(high - low))
        if inside and area < least:
            best, least = corners, area
    return np.asarray(np.clip(best, 0.0, [width, height]))


def _contours(mask: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Return OpenCV's contours of the mask at twice its size, where each pixel has two columns and rows of its own."""
    doubled = np.kron(mask > 0, np.ones((2, 2))).astype(np.uint8)
    found, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0, :] for contour in found]


def _edges(contours: list[NDArray[np.int32]]) -> Points:
    return np.concatenate([(contour + 1) // 2 for contour in contours]).astype(np.float64)


def _rings(mask: NDArray[np.uint8]) -> list[Points]:
    rings = []
    for contour in _contours(mask):
        # Column 2x of the doubled mask belongs to the left edge of pixel x, 2x + 1 to its right one.
        ring = (contour + 1) // 2 + np.where(contour % 2, -INSET, INSET)
        again = (ring == np.roll(ring, 1, axis=0)).all(axis=1)
        rings.append(ring[~again])
    return rings


@dataclass(frozen=True, kw_only=True)
class _Near:
    """Where two rings are nearest to each other."""

    squared: float
    """The square of the distance."""
    here: Points
    """The first ring's point."""
    there: int
    """Which point of the second ring."""


def _nearest(ring: Points, other: Points) -> _Near:
    apart = ((ring[:, None, :] - other[None, :, :]) ** 2).sum(axis=2)
    here, there = np.unravel_index(int(apart.argmin()), apart.shape)
    return _Near(squared=float(apart[here, there]), here=ring[here], there=int(there))
