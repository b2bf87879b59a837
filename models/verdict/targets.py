"""Poses as what a head is to answer: a smooth distribution over bins, round where the angle is round.

Enters: poses in degrees (azimuth, elevation, in-plane). Leaves: (N, heads, bins) targets and which heads have anything to learn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEADS = ("azimuth", "elevation", "inplane")
ROUND = (True, False, True)
"""Whether a head's angle comes round after 360 degrees."""


def centres(head: int, bins: int) -> NDArray[np.float64]:
    """Return the middle of each bin in degrees: over a full turn, or from -90 to 90 for elevation."""
    if ROUND[head]:
        return np.arange(bins) * 360.0 / bins
    return -90.0 + (np.arange(bins) + 0.5) * 180.0 / bins


def targets(poses: NDArray[np.float64], bins: int, blur_deg: float) -> NDArray[np.float64]:
    """Return (N, 3, bins): for each head a distribution around the annotated angle."""
    made = np.empty((len(poses), len(HEADS), bins))
    for head in range(len(HEADS)):
        away = poses[:, head : head + 1] - centres(head, bins)
        if ROUND[head]:
            away = (away + 180.0) % 360.0 - 180.0
        # Elevation spans half a turn, so its bins are half as wide and so is its blur.
        width = max(blur_deg if ROUND[head] else blur_deg / 2, 0.5 * 360.0 / bins * (1.0 if ROUND[head] else 0.5))
        made[:, head] = np.exp(-0.5 * (away / width) ** 2)
    made /= made.sum(axis=2, keepdims=True)
    return made


def varying(poses: NDArray[np.float64], bins: int) -> NDArray[np.bool_]:
    """Return for each head whether its angles differ by more than half a bin; a head without variation has nothing to say."""
    spread = np.empty(len(HEADS))
    for head in range(len(HEADS)):
        away = poses[:, head] - poses[0, head]
        if ROUND[head]:
            away = (away + 180.0) % 360.0 - 180.0
        spread[head] = np.ptp(away) * bins / (360.0 if ROUND[head] else 180.0)
    return spread > 0.5
