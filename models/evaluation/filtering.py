"""What a filter is worth: how well a score tells images that failed from sound ones.

Enters: a score of N images, which of them failed, and on which side it is suspect. Leaves: figures in 0..1. Images that were not
judged count as kept: that is what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

KEPT = 0.90
"""Share of the sound images that is to be kept where precision is asked for."""
REMOVED = 0.90
"""Share of the failures that is to be removed where the loss of sound images is asked for."""

Figures = dict[str, float]


def figures(suspect: NDArray[np.float64], failed: NDArray[np.bool_]) -> Figures:
    """Return how well `suspect` (N,), high where an image is suspect and NaN where it was not judged, finds the failed ones.

    auroc, average_precision: of the failures, over all thresholds. precision_at_90_kept: share of failures among what is
    dropped by the lowest threshold that keeps 90 % of the sound images. lost_at_90_removed: share of the sound images that is
    dropped by the highest threshold that removes 90 % of the failures. judged: share that has a score. NaN where there are no
    failures or nothing else.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    judged = ~np.isnan(suspect)
    made: Figures = {"judged": float(judged.mean()) if len(judged) else float("nan")}
    names = ("auroc", "average_precision", "precision_at_90_kept", "lost_at_90_removed")
    if failed.all() or not failed.any():
        return made | dict.fromkeys(names, float("nan"))
    # Below everything that was judged: the last to be dropped.
    lowest = np.min(suspect[judged]) - 1.0 if judged.any() else 0.0
    filled = np.where(judged, suspect, lowest)
    good, bad = filled[~failed], filled[failed]
    keeps = np.sort(good)[max(0, int(np.ceil(KEPT * len(good))) - 1)]
    dropped = filled > keeps
    removes = np.sort(bad)[len(bad) - int(np.ceil(REMOVED * len(bad)))]
    values = (
        float(roc_auc_score(failed, filled)),
        float(average_precision_score(failed, filled)),
        float(failed[dropped].mean()) if dropped.any() else float("nan"),
        float((good >= removes).mean()),
    )
    return made | dict(zip(names, values, strict=True))


def by_group(suspect: NDArray[np.float64], failed: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, Figures]:
    """Return the figures of each group of images (their class, their kind of viewpoint) by itself."""
    named = np.array(groups)
    return {name: figures(suspect[named == name], failed[named == name]) for name in sorted(set(groups))}


def against_sound(scores: Mapping[str, NDArray[np.float64]], failures: Sequence[str], kind: str) -> dict[str, Figures]:
    """Return each score's figures for one kind of failure against the sound images alone, whatever else was planted."""
    told = np.array(failures)
    chosen = (told == "") | (told == kind)
    return {name: figures(values[chosen], told[chosen] == kind) for name, values in scores.items()}


def drawn_again(measure: Callable[[NDArray[np.int64]], float], count: int, seed: int, times: int = 200) -> tuple[float, float]:
    """Return the 95 % interval of a figure over bootstrap draws: `measure` gets the indices of each (Efron 1979)."""
    rng = np.random.default_rng(seed)
    found = [measure(rng.integers(0, count, count)) for _ in range(times)]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)
