"""Rules: pure functions from a stored score to pass or fail, each with its threshold and its words.

Enters: one score of N images, NaN where an image was not judged. Leaves: whether each passes, None where it was not judged.
Nothing here looks at a picture, so a threshold is moved without any recomputation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.protocol import RuleSpec


@dataclass(frozen=True, kw_only=True)
class _ThresholdSpec(RuleSpec):
    """A rule that compares each score with one value."""

    threshold: float
    """The last value that passes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold is {self.threshold}; it must be a finite number")


@dataclass(frozen=True, kw_only=True)
class AtMostSpec(_ThresholdSpec):
    """Drop images whose score is above `threshold`."""

    implementation: ClassVar[str] = "models.verdict.rules:Threshold"

    kind: Literal["at_most"] = "at_most"


@dataclass(frozen=True, kw_only=True)
class AtLeastSpec(_ThresholdSpec):
    """Drop images whose score is below `threshold`."""

    implementation: ClassVar[str] = "models.verdict.rules:Threshold"

    kind: Literal["at_least"] = "at_least"


@dataclass(frozen=True, kw_only=True)
class BestShareSpec(RuleSpec):
    """Keep the share of the judged images with the best scores."""

    implementation: ClassVar[str] = "models.verdict.rules:BestShare"

    kind: Literal["best_share"] = "best_share"
    share: float
    """Of the judged images, the share kept: 0.8 drops the worst fifth."""
    best: Literal["lowest", "highest"] = "lowest"
    """Which scores are the best ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; the share that is kept must be above 0 and at most 1")


Decided = tuple[list[bool | None], str, float | None]
"""Whether each image passes, the rule in words, the threshold."""


class Threshold:
    """Passes scores on one side of a threshold."""

    def __init__(self, spec: AtMostSpec | AtLeastSpec) -> None:
        """spec: the score, the threshold and by its kind the side."""
        self.spec = spec

    def decide(self, values: NDArray[np.float64]) -> Decided:
        """Return whether each score is at most or at least the threshold."""
        threshold = float(self.spec.threshold)
        passes = values <= threshold if self.spec.kind == "at_most" else values >= threshold
        limit = f"{self.spec.kind.replace('_', ' ')} {threshold:g}"
        return _passes(passes, values), _in_words(self.spec.score, limit, values), threshold


class BestShare:
    """Passes the best share of the judged images, whatever their scores are."""

    def __init__(self, spec: BestShareSpec) -> None:
        """spec: the score and the share."""
        self.spec = spec

    def decide(self, values: NDArray[np.float64]) -> Decided:
        """Return whether each score is among the best; the threshold is the worst score that could still pass."""
        lowest, judged = self.spec.best == "lowest", values[~np.isnan(values)]
        if not judged.size:
            return _passes(values <= 0, values), _in_words(self.spec.score, "", values), None
        threshold = float(np.quantile(judged, self.spec.share if lowest else 1.0 - self.spec.share))
        limit = f"at {'most' if lowest else 'least'} {threshold:.3f}, the best {self.spec.share:.0%}"
        passes = values <= threshold if lowest else values >= threshold
        return _passes(passes, values), _in_words(self.spec.score, limit, values), threshold


def _passes(passes: NDArray[np.bool_], values: NDArray[np.float64]) -> list[bool | None]:
    return [None if np.isnan(value) else bool(ok) for ok, value in zip(passes, values, strict=True)]


def _in_words(score: str, limit: str, values: NDArray[np.float64]) -> str:
    missing = int(np.isnan(values).sum())
    if missing == len(values):
        return f"{score} not judged"
    return f"{score} {limit} ({missing} of {len(values)} not judged)" if missing else f"{score} {limit}"
