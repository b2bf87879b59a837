"""From stored scores to kept and dropped: cheap, repeatable, and the only place where a threshold acts.

Enters: consistency scores and edge scores as the catalog holds them. Leaves: who is kept, and for which reason the others
are not. Nothing here looks at a picture, so a threshold is moved without any recomputation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.verdict.spec import EDGES_LOST, POSE_INCONSISTENT, VerdictSpec


def threshold_of(scores: NDArray[np.float64], spec: VerdictSpec) -> float:
    """Return the score above which the spec's rule drops an image."""
    if spec.rule == "quantile":
        return float(np.quantile(scores, spec.threshold))
    return float(spec.threshold)


def decide(
    scores: NDArray[np.float64],
    threshold: float,
    edge_scores: NDArray[np.float64] | None = None,
    min_edge_score: float | None = None,
) -> tuple[NDArray[np.bool_], tuple[str | None, ...]]:
    """Return (kept (N,), reason of each dropped image or None).

    An image is dropped when its score is above `threshold` (pose_inconsistent) or its edge score below `min_edge_score`
    (edges_lost); with both, the first is named. NaN edge scores (no control lines to find) drop nothing.
    """
    inconsistent = np.asarray(scores) > threshold
    lost = np.zeros_like(inconsistent)
    if edge_scores is not None and min_edge_score is not None:
        lost = np.asarray(edge_scores) < min_edge_score
    reasons = tuple(
        POSE_INCONSISTENT if wrong else EDGES_LOST if blurred else None for wrong, blurred in zip(inconsistent, lost, strict=True)
    )
    return ~(inconsistent | lost), reasons


def rule_in_words(spec: VerdictSpec, threshold: float, heard: bool, count: int) -> str:
    """Return the rule as a person reads it in the report."""
    if not heard:
        words = f"pose not judged: nothing could be learned from {count} images"
    elif spec.rule == "quantile":
        words = f"kept: score <= {threshold:.3f}, the best {spec.threshold:.0%}"
    else:
        words = f"kept: score <= {threshold:g} robust standard deviations of its fold"
    return words if spec.min_edge_score is None else f"{words}; edge score >= {spec.min_edge_score:g}"
