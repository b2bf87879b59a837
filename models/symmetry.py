"""Errors of poses, for objects that look the same from several sides.

Enters: poses in degrees (docs/conventions.md) and an object's rotational symmetry about +z. Leaves: errors in degrees: of two
poses that show the same picture, the nearer one counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NONE = 1
"""Every turn shows."""
ROUND = 0
"""No turn shows: a plain cup, a ball."""


def check(symmetry: int) -> int:
    """Return `symmetry`: 1 none, n for an object that a turn of 360 / n degrees about +z does not change, 0 for any turn.

    Raises ValueError for anything else.
    """
    if isinstance(symmetry, bool) or int(symmetry) != symmetry or not 0 <= symmetry <= 360:
        raise ValueError(
            f"a rotational symmetry is 1 (none), 2 to 360 (that many times a turn) or 0 (any turn), not {symmetry!r}"
        )
    return int(symmetry)


def azimuth_error(a_deg: ArrayLike, b_deg: ArrayLike, symmetry: ArrayLike = NONE) -> NDArray[np.float64]:
    """Return the angle between azimuths, 0 to 180 / symmetry degrees; 0 where any turn looks alike.

    The arguments are broadcast against each other: one symmetry for all, or one for each.
    """
    times = np.asarray(symmetry)
    for value in np.unique(times).tolist():
        check(value)
    turn = 360.0 / np.maximum(times, 1)
    apart = np.mod(np.asarray(a_deg, np.float64) - np.asarray(b_deg, np.float64), turn)
    return np.asarray(np.where(times == ROUND, 0.0, np.minimum(apart, turn - apart)), np.float64)


def pose_error(a_deg: ArrayLike, b_deg: ArrayLike, symmetry: ArrayLike = NONE) -> NDArray[np.float64]:
    """Return the angle (0 to 180 degrees) of the rotation between poses (..., 3) of azimuth, elevation and in-plane degrees.

    With a symmetry, the least of the angles to all poses that show the same picture. Acc@30 is the share below 30.
    """
    a, b = np.broadcast_arrays(np.asarray(a_deg, np.float64), np.asarray(b_deg, np.float64))
    if a.shape[-1:] != (3,):
        raise ValueError(f"a pose is azimuth, elevation and in-plane angle: (..., 3), not {a.shape}")
    between = np.swapaxes(_rotation(b), -1, -2) @ _rotation(a)
    times = np.broadcast_to(np.asarray(symmetry), a.shape[:-1])
    for value in np.unique(times).tolist():
        check(value)
    # The trace of Rz(t) @ M is M22 + (M00 + M11) cos t + (M01 - M10) sin t: greatest, so the angle least, at t = `best`.
    x, y = between[..., 0, 0] + between[..., 1, 1], between[..., 0, 1] - between[..., 1, 0]
    best = np.arctan2(y, x)
    step = 2 * np.pi / np.maximum(times, 1)
    allowed = np.where(times == ROUND, best, np.round(best / step) * step)
    trace = between[..., 2, 2] + x * np.cos(allowed) + y * np.sin(allowed)
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))), np.float64)


def _rotation(pose: NDArray[np.float64]) -> NDArray[Any]:
    """Return (..., 3, 3) rotations, canonical frame to camera (OpenCV axes)."""
    azimuth, elevation, inplane = (np.radians(pose[..., i]) for i in range(3))
    zero = np.zeros_like(azimuth)
    backward = np.stack([np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), np.sin(elevation)], axis=-1)
    right = np.stack([np.cos(azimuth), np.sin(azimuth), zero], axis=-1)
    level = np.stack([right, np.cross(-backward, right), -backward], axis=-2)
    c, s = np.cos(inplane), np.sin(inplane)
    turn = np.stack([np.stack([c, s, zero], -1), np.stack([-s, c, zero], -1), np.stack([zero, zero, zero + 1.0], -1)], axis=-2)
    return np.asarray(turn @ level, np.float64)
