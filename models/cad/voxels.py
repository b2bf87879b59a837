"""A CAD model as a grid of cells: which of them hold surface, and which lie inside.

Enters: triangles in the canonical frame (longest side 1, centred). Leaves: two boolean grids. A cell holds surface when a
triangle touches it (separating axes, Akenine-Moller 2001), so that however thin a part is, it is there, one cell thick. A cell
is inside when no way leads to it from outside through cells without surface: that asks for no watertight model, and a hole
narrower than a cell does not let the outside in. What is open, as a cup or a plane, has its inside outside.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grid = NDArray[np.bool_]

_AT_ONCE = 40_000
"""Triangles that are tested together: eight cells each, thirteen axes."""


@dataclass(frozen=True, kw_only=True)
class Voxels:
    """The cube of canonical space from -0.5 to 0.5, in cells; index [x, y, z]."""

    surface: Grid
    """(n, n, n) cells that a triangle touches."""
    inside: Grid
    """(n, n, n) cells that surface shuts off from outside; none of them holds surface."""

    @property
    def cells(self) -> int:
        """Cells a side."""
        return len(self.surface)

    @property
    def occupied(self) -> Grid:
        """(n, n, n) surface or inside."""
        return self.surface | self.inside

    @property
    def thinnest(self) -> float:
        """What is thinner than this looks as thick, in longest sides of the CAD model."""
        return 1.0 / self.cells

    def to_bytes(self) -> bytes:
        """Return both grids as a compressed .npz."""
        file = io.BytesIO()
        np.savez_compressed(file, cells=self.cells, surface=np.packbits(self.surface), inside=np.packbits(self.inside))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Voxels:
        """Return what `to_bytes` wrote."""
        with np.load(io.BytesIO(data)) as file:
            n = int(file["cells"])
            grids = {name: np.unpackbits(file[name], count=n**3).reshape(n, n, n).astype(bool) for name in ("surface", "inside")}
        return cls(**grids)


def voxelise(triangles: Floats, cells: int) -> Voxels:
    """Return the grids of triangles (T, 3, 3) in the canonical frame, with `cells` cells a side."""
    from scipy.ndimage import label

    scaled = (np.asarray(triangles, np.float64) + 0.5) * cells
    surface = np.zeros((cells, cells, cells), bool)
    for some in _pieces(scaled):
        low = np.clip(np.floor(some.min(axis=1)).astype(np.int64), 0, cells - 1)
        high = np.clip(np.floor(some.max(axis=1)).astype(np.int64), 0, cells - 1)
        for step in np.ndindex(2, 2, 2):
            at = low + step
            there = (at <= high).all(axis=1)
            touched = at[there][_touch(some[there], at[there])]
            surface[tuple(touched.T)] = True
    empty, _ = label(np.pad(~surface, 1, constant_values=True))
    return Voxels(surface=surface, inside=~surface & (empty != empty[0, 0, 0])[1:-1, 1:-1, 1:-1])


def _pieces(triangles: Floats) -> list[Floats]:
    """Return the triangles, cut in four until each lies within two cells along each axis."""
    small: list[Floats] = []
    left = triangles
    while len(left):
        size = np.floor(left.max(axis=1)) - np.floor(left.min(axis=1))
        fits = (size <= 1).all(axis=1)
        small += [left[fits][start : start + _AT_ONCE] for start in range(0, int(fits.sum()), _AT_ONCE)]
        a, b, c = np.moveaxis(left[~fits], 1, 0)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        left = np.concatenate([np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return small


def _touch(triangles: Floats, cells: NDArray[np.int64]) -> Grid:
    """Say of each triangle whether it touches its cell: whether no axis separates the two."""
    corners = triangles - (cells + 0.5)[:, None]
    edges = np.roll(corners, -1, axis=1) - corners
    apart = (corners.min(axis=1) > 0.5).any(axis=1) | (corners.max(axis=1) < -0.5).any(axis=1)
    normals = np.cross(edges[:, 0], edges[:, 1])
    across = np.cross(np.eye(3)[None, :, None], edges[:, None]).reshape(-1, 9, 3)
    axes = np.concatenate([normals[:, None], across], axis=1)
    along = np.einsum("tac,tvc->tav", axes, corners)
    reach = 0.5 * np.abs(axes).sum(axis=2)
    apart |= ((along.min(axis=2) > reach) | (along.max(axis=2) < -reach)).any(axis=1)
    return np.asarray(~apart)
