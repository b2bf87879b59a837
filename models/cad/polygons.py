"""Cuts polygons into triangles.

Enters: points and polygons as corner indices, one after the other, with their sizes. Leaves: (M, 3) faces. Convex polygons
are cut into fans, concave ones by clipping ears, so that no triangle lies outside its polygon. Polygons that are none are left
out with a warning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.cad.bad import BadModel
from models.cad.source import Floats, Ints, SourceModel

MOST_LOST = 0.2
"""A file that loses a larger share of its faces than this is not the object it was made of."""


def sound_polygons(vertices: Ints, sizes: Ints, count: int, model: SourceModel, name: str) -> NDArray[np.bool_]:
    """Say which polygons have three corners or more, each of them one of `count` vertices; the others are a warning.

    Raises BadModel (bad_index) where that loses too many.
    """
    short = sizes < 3
    lost = np.zeros(len(sizes), dtype=np.bool_)
    lost[np.repeat(np.arange(len(sizes)), sizes)[(vertices < 0) | (vertices >= count)]] = True
    lost &= ~short
    if short.any():
        model.warn("short_faces", f"{name}: {int(short.sum())} of {len(sizes)} faces have fewer than three corners; left out")
    if lost.any():
        said = f"{int(lost.sum())} of {len(sizes)} faces refer to a vertex that is not there"
        if lost.mean() > MOST_LOST:
            raise BadModel("bad_index", f"{name}: {said}; export it again")
        model.warn("stray_faces", f"{name}: {said}; left out")
    return np.asarray(~(short | lost))


def triangulate(points: Floats, corners: Ints, sizes: Ints) -> Ints:
    """Return the triangles of all polygons, (M, 3), in the polygons' order."""
    if len(sizes) == 0:
        return np.zeros((0, 3), dtype=np.int64)
    if (sizes == 3).all():
        return np.ascontiguousarray(corners.reshape(-1, 3))
    starts = np.cumsum(sizes) - sizes
    offsets = np.cumsum(sizes - 2) - (sizes - 2)
    faces = np.empty((int((sizes - 2).sum()), 3), dtype=np.int64)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        polygons = corners[starts[chosen][:, None] + np.arange(size)]
        fans = np.stack(
            [np.stack([polygons[:, 0], polygons[:, i], polygons[:, i + 1]], axis=1) for i in range(1, size - 1)], axis=1
        )
        if size > 3:
            for row in np.flatnonzero(_concave(points[polygons])):
                fans[row] = polygons[row][_clip_ears(points[polygons[row]])]
        faces[offsets[chosen][:, None] + np.arange(size - 2)] = fans
    return faces


def _normals(polygons: Floats) -> Floats:
    """Newell's normals of (P, n, 3) polygons, right for concave and slightly bent ones."""
    following = np.roll(polygons, -1, axis=1)
    return np.asarray(np.cross(polygons, following).sum(axis=1))


def _concave(polygons: Floats) -> np.ndarray:
    with np.errstate(all="ignore"):
        centred = polygons - polygons.mean(axis=1, keepdims=True)
        normals = _normals(centred)
        edges = np.roll(centred, -1, axis=1) - centred
        turns = (np.cross(np.roll(edges, 1, axis=1), edges) * normals[:, None]).sum(axis=-1)
        scale = (normals**2).sum(axis=-1, keepdims=True)
        return np.asarray((turns < -1e-6 * scale).any(axis=1))


def _clip_ears(polygon: Floats) -> Ints:
    """Return (n - 2, 3) corner numbers of one polygon."""
    normal = _normals((polygon - polygon.mean(axis=0))[None])[0]
    flat = np.delete(polygon, int(np.argmax(np.abs(normal))), axis=1)
    x, y = flat[:, 0], flat[:, 1]
    area = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
    sign = 1.0 if area >= 0 else -1.0
    left = list(range(len(polygon)))
    ears: list[tuple[int, int, int]] = []

    def turn(a: int, b: int, c: int) -> float:
        return sign * float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))

    while len(left) > 3:
        best = 1
        for i in range(len(left)):
            a, b, c = left[i - 1], left[i], left[(i + 1) % len(left)]
            if turn(a, b, c) <= 0:
                continue
            inside = any(
                turn(a, b, p) >= 0 and turn(b, c, p) >= 0 and turn(c, a, p) >= 0
                for p in left
                if p not in (a, b, c) and not any(np.array_equal(flat[p], flat[q]) for q in (a, b, c))
            )
            if not inside:
                best = i
                break
        a, b, c = left[best - 1], left[best], left[(best + 1) % len(left)]
        ears.append((a, b, c))
        left.pop(best)
    ears.append((left[0], left[1], left[2]))
    return np.array(ears, dtype=np.int64)


def bridged(outline: Floats, holes: list[Floats]) -> Ints:
    """Return the order in which one polygon runs around an outline and, over bridges of no width, its holes.

    Corners are numbered through: the outline's, then each hole's. Raises ValueError where a hole cannot be reached.
    """
    points = np.concatenate([outline, *holes])
    normal = _normals((outline - outline.mean(axis=0))[None])[0]
    flat = np.delete(points, int(np.argmax(np.abs(normal))), axis=1)
    rings = np.split(np.arange(len(points)), np.cumsum([len(outline), *map(len, holes)])[:-1])
    ends = np.concatenate([np.stack([ring, np.roll(ring, -1)], axis=1) for ring in rings])
    order = rings[0]
    for hole in sorted(rings[1:], key=lambda ring: -float(flat[ring, 0].max())):
        ring = hole[::-1] if _signed_area(flat[hole]) * _signed_area(flat[order]) > 0 else hole
        apart = np.linalg.norm(flat[order][:, None] - flat[ring][None], axis=2)
        for pair in np.argsort(apart, axis=None, kind="stable"):
            at, start = (int(value) for value in np.unravel_index(pair, apart.shape))
            if not _crosses(flat[order[at]], flat[ring[start]], flat[ends[:, 0]], flat[ends[:, 1]]):
                break
        else:
            raise ValueError("a hole outside its polygon")
        around = np.roll(ring, -start)
        ends = np.concatenate([ends, [[order[at], ring[start]]]])
        order = np.concatenate([order[: at + 1], around, around[:1], order[at:]])
    return order.astype(np.int64)


def _signed_area(flat: Floats) -> float:
    following = np.roll(flat, -1, axis=0)
    return float((flat[:, 0] * following[:, 1] - following[:, 0] * flat[:, 1]).sum())


def _crosses(a: Floats, b: Floats, starts: Floats, ends: Floats) -> bool:
    """Say whether the open segment a b crosses any of the open segments from `starts` to `ends`."""

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        return np.asarray((q - p)[..., 0] * (r - p)[..., 1] - (q - p)[..., 1] * (r - p)[..., 0])

    apart = side(a, b, starts) * side(a, b, ends) < 0
    return bool((apart & (side(starts, ends, a) * side(starts, ends, b) < 0)).any())
