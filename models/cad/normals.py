"""Vertex normals, and faces that agree with them.

Enters: welded triangles. Leaves: a normal for each corner, smooth across gentle edges and broken at sharp ones; or, where the
file has normals, which faces are wound against them. Nothing is removed: both sides are drawn anyway, but a face whose normals
contradict its winding would be shaded black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.cad.rows import distinct
from models.cad.source import Floats, Ints

CREASE_DEG = 40.0


def weld(points: Floats, tolerance: float = 1e-6) -> Ints:
    """Return for each point the number of its place; points closer than about `tolerance` share one."""
    rounded = np.round(points / tolerance).astype(np.int64)
    return distinct(rounded)[1]


def face_normals(points: Floats, faces: Ints) -> Floats:
    """Return (M, 3) normals whose length is twice the face's area."""
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    return np.cross(b - a, c - a)


def unit(vectors: Floats) -> Floats:
    """Return the vectors at unit length; those without a length stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def contradicting(points: Floats, faces: Ints, normals: Floats) -> NDArray[np.bool_]:
    """Say for each face whether its vertex normals point to the side its winding calls the back."""
    wound = face_normals(points, faces)
    return np.asarray((wound * normals[faces].sum(axis=1)).sum(axis=1) < 0)


def plausible(points: Floats, faces: Ints, normals: Floats) -> bool:
    """Say whether vertex normals have to do with the faces: smooth shading bends them, it does not lay them into the surface.

    Some exporters write one normal for every corner, or the numbers of another table.
    """
    wound = face_normals(points, faces)
    area = np.linalg.norm(wound, axis=1)
    along = np.abs((unit(wound)[:, None] * normals[faces]).sum(axis=-1)).min(axis=1)
    return bool(area[along < 0.15].sum() <= 0.2 * area.sum())


def edge_pairs(faces: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return (edges' first corner, neighbours' first corner, wound alike) for every two faces that share an edge.

    A corner is 3 * face + number; its edge leads to the next corner of the face. Where more than two faces meet in an edge,
    each is paired with the next.
    """
    start = faces.reshape(-1)
    end = np.roll(faces, -1, axis=1).reshape(-1)
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((high, low))
    same = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    first, second = order[:-1][same], order[1:][same]
    return first, second, start[first] != start[second]


def watertight(faces: Ints) -> bool:
    """Say whether every edge of welded faces is shared by exactly two of them."""
    if len(faces) == 0:
        return False
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    keys = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    return bool((np.unique(keys, return_counts=True)[1] == 2).all())


def corner_normals(points: Floats, faces: Ints, crease_deg: float = CREASE_DEG) -> tuple[Floats, Ints]:
    """Return (3 M, 3) unit normals of the corners, and (3 M,) numbers that corners with the same normal share.

    Corners at one vertex share a normal when a chain of edges gentler than `crease_deg` joins their faces.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    wound = face_normals(points, faces)
    direction = unit(wound)
    first, second, alike = edge_pairs(faces)
    gentle = alike & ((direction[first // 3] * direction[second // 3]).sum(axis=1) > np.cos(np.deg2rad(crease_deg)))
    first, second = first[gentle], second[gentle]
    # The two faces run along the edge in opposite directions: one's start is the other's end.
    a = np.concatenate([first, _next(first)])
    b = np.concatenate([_next(second), second])
    count = faces.size
    groups = connected_components(coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count)), directed=False)[1]
    sums = np.zeros((int(groups.max()) + 1 if count else 0, 3))
    weighted = np.repeat(wound, 3, axis=0) * _angles(points, faces).reshape(-1, 1)
    for axis in range(3):
        sums[:, axis] = np.bincount(groups, weighted[:, axis], minlength=len(sums))
    normals = unit(sums)[groups]
    flat = (normals == 0).all(axis=1)
    normals[flat] = np.repeat(direction, 3, axis=0)[flat]
    normals[(normals == 0).all(axis=1)] = (0.0, 0.0, 1.0)
    return normals, groups.astype(np.int64)


def _next(corners: Ints) -> Ints:
    """Return the corner that follows in the same face."""
    return corners // 3 * 3 + (corners % 3 + 1) % 3


def _angles(points: Floats, faces: Ints) -> Floats:
    corners = points[faces]
    ahead = unit(np.roll(corners, -1, axis=1) - corners)
    back = unit(np.roll(corners, 1, axis=1) - corners)
    return np.asarray(np.arccos(np.clip((ahead * back).sum(axis=-1), -1.0, 1.0)))
