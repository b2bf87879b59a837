"""What the models of the K-fold filter learn to predict: for each angle of a pose, a smooth distribution over bins.

Enters: poses in degrees (azimuth, elevation, in-plane), and how often an object looks the same in one turn about its upright
axis (models.symmetry). Leaves: (N, heads, bins) targets, and which angles vary at all. A head is the part of a model that
predicts one angle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEADS = ("azimuth", "elevation", "inplane")
"""The angles of a pose, in the order of the heads."""
COMES_ROUND = (True, False, True)
"""Whether a head's angle comes round after 360 degrees; the other one ends at -90 and 90."""
AZIMUTH = HEADS.index("azimuth")
"""The head that a symmetry about the upright axis concerns."""
LEAST_PROBABILITY = 0.003
"""No bin is predicted to be less likely than about this, so that one surprise weighs at most -log(0.003) nats."""


def centres(head: int, bins: int) -> NDArray[np.float64]:
    """Return the middle of each bin in degrees: over a full turn, or from -90 to 90 for elevation."""
    if COMES_ROUND[head]:
        return np.arange(bins) * 360.0 / bins
    return -90.0 + (np.arange(bins) + 0.5) * 180.0 / bins


def targets(
    poses: NDArray[np.float64], bins: int, blur_deg: float, symmetry: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return (N, 3, bins): for each head a distribution around the annotated angle.

    symmetry (N,): where it is n, the n azimuths that show the same picture share the distribution; where it is 0, all do.
    """
    made = np.empty((len(poses), len(HEADS), bins))
    for head in range(len(HEADS)):
        away = poses[:, head : head + 1] - centres(head, bins)
        if COMES_ROUND[head]:
            away = (away + 180.0) % 360.0 - 180.0
        # Elevation spans half a turn, so its bins are half as wide and so is its blur.
        width = max(blur_deg if COMES_ROUND[head] else blur_deg / 2, 0.5 * 360.0 / bins * (1.0 if COMES_ROUND[head] else 0.5))
        made[:, head] = np.exp(-0.5 * (away / width) ** 2)
        if head == AZIMUTH and symmetry is not None:
            for times in np.unique(symmetry[symmetry != 1]).tolist():
                rows = symmetry == times
                turns = np.arange(times) * 360.0 / max(times, 1)
                all_away = (away[rows][..., None] + turns + 180.0) % 360.0 - 180.0
                made[rows, head] = np.exp(-0.5 * (all_away / width) ** 2).sum(axis=2) if times else 1.0
    made /= made.sum(axis=2, keepdims=True)
    return made


def alike(probabilities: NDArray[np.float64], symmetry: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (N, bins) predicted distributions over azimuth, averaged over the azimuths that show the same picture.

    A turn of 360 / n degrees need not be a whole number of bins: what falls between two goes to both in proportion.
    """
    bins = probabilities.shape[1]
    evened = probabilities.copy()
    for times in np.unique(symmetry[symmetry != 1]).tolist():
        rows = symmetry == times
        if times == 0:
            evened[rows] = probabilities[rows].mean(axis=1, keepdims=True)
            continue
        total = np.zeros_like(probabilities[rows])
        for turn in range(times):
            whole, part = divmod(turn * bins / times, 1.0)
            rolled = np.roll(probabilities[rows], int(whole), axis=1)
            total += (1.0 - part) * rolled + part * np.roll(rolled, 1, axis=1)
        evened[rows] = total / times
    return evened


def varying(poses: NDArray[np.float64], bins: int, symmetry: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return for each head whether its angles differ by more than half a bin; where they do not, there is nothing to learn.

    Azimuths of objects that look the same from all sides do not differ.
    """
    spread = np.empty(len(HEADS))
    for head in range(len(HEADS)):
        away = poses[:, head] - poses[0, head]
        if COMES_ROUND[head]:
            away = (away + 180.0) % 360.0 - 180.0
        spread[head] = np.ptp(away) * bins / (360.0 if COMES_ROUND[head] else 180.0)
    if symmetry is not None and (symmetry == 0).all():
        spread[AZIMUTH] = 0.0
    return spread > 0.5
