"""What the bundled readouts make of a picture, as features beside gradient histograms.

Enters: crops of the K-fold filter. Leaves: (N, D) features, the histograms' and those from which the readouts
(models.evaluation.readouts) tell a pose, each brought to the same weight. Histograms of a car's front and of its back are alike;
the readouts learned to tell such apart, on renders of the embedded generator's classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.verdict import ridge

ROOM = 1.3 / 1.2
"""The filter's crops are so much wider than what the readouts look at."""
_BATCH = 64


def describe(images: NDArray[np.uint8], zoom: float) -> NDArray[np.float64]:
    """Return (N, D) features of images (N, S, S, 3)."""
    return np.concatenate([_evened(ridge.describe(images, zoom)), _evened(_read(images, zoom))], axis=1)


def _read(images: NDArray[np.uint8], zoom: float) -> NDArray[np.float64]:
    import torch

    from models.evaluation import readouts, sight

    known = readouts.load()
    side = known.spec.side
    rows = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            cuts = ridge.squares(images[start : start + _BATCH], side, zoom * ROOM)
            grid = known.shape.trunk(sight.tensor(cuts) * 4.0 - 2.0)
            rows.append(known.shape.mix(grid).double().numpy())
    return np.concatenate(rows)


def _evened(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features around 0, of mean squared length 1."""
    apart = features - features.mean(axis=0)
    return np.asarray(apart / np.sqrt(max(float((apart**2).sum(axis=1).mean()), 1e-12)))
