"""What a camera's rays meet in a grid of voxels, from near to far.

Enters: an occupied grid of the canonical cube and a camera. Leaves: for each pixel a row of yes and no, one for each stretch of
its ray. This is what the method description calls the 3D voxel representation, as seen from a view: a network reads a ray's
occupancies beside the edge map, with what lies behind the first surface, which no depth map has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH = float(np.sqrt(3.0) / 2.0)
"""Half the diagonal of the canonical cube: nothing of a CAD model is farther from the origin."""
_LOOKS = 4
"""Points that are looked up in each stretch: at 32 stretches they stand nearer than the cells of a grid of 64."""


def along(
    occupied: NDArray[np.bool_], K: Floats, R: Floats, t: Floats, size: tuple[int, int], stretches: int
) -> NDArray[np.bool_]:
    """Return (H, W, stretches): whether anything is occupied in each stretch of each pixel's ray.

    occupied: (n, n, n) over -0.5 to 0.5, index [x, y, z]; K, R, t: x_image ~ K (R x + t), pixel centres at whole numbers. The
    stretches share the depth (along the optical axis) from REACH before the origin to REACH behind it.
    """
    height, width = size
    cells = len(occupied)
    pixels = np.stack(np.broadcast_arrays(*np.ogrid[:height, :width], 1.0), axis=2)[..., [1, 0, 2]]
    directions = pixels @ np.linalg.inv(K).T @ R
    depths = np.linalg.norm(t) + REACH * (2 * (np.arange(stretches * _LOOKS) + 0.5) / (stretches * _LOOKS) - 1)
    met = np.zeros((height, width, stretches), bool)
    for index, depth in enumerate(depths):
        at = np.floor((depth * directions - R.T @ t + 0.5) * cells).astype(np.int64)
        there = ((at >= 0) & (at < cells)).all(axis=2)
        x, y, z = np.moveaxis(np.where(there[..., None], at, 0), 2, 0)
        met[..., index // _LOOKS] |= there & occupied[x, y, z]
    return met


def first(met: NDArray[np.bool_], t: Floats) -> Floats:
    """Return (H, W) the depth at the middle of the first stretch that met something; 0 where nothing was met."""
    stretches = met.shape[2]
    middle = np.linalg.norm(t) + REACH * (2 * (np.arange(stretches) + 0.5) / stretches - 1)
    return np.where(met.any(axis=2), middle[met.argmax(axis=2)], 0.0)
