"""From the scores of several judges to a probability of failure: a calibrated logistic regression that can say why.

Enters: scores of N images by name, NaN where an image was not judged, and Weights, fitted on planted failures of other classes
(models.evaluation.filters.fitting). Leaves: for each image the probability that it has failed and what each judge adds to its log
odds. Each score is standardised twice, by what is usual for sound images anywhere and by what is usual for these images, since a
class may be harder than others as a whole; few images lean on the former. What is suspect only ever adds.

A judge that says nothing of an image counts by an indicator of its own, and the verdict of the others by as much less as they
know less: the odds shrink towards those of any image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BUNDLED = Path(__file__).parents[1] / "weights" / "filters.json"
"""The weights that come with the project."""
LOW, BEND, HIGH = -2.0, 2.0, 6.0
"""Scores count from LOW to HIGH standard deviations, and beyond BEND by a weight of their own."""
LEAN = 20.0
"""What is usual anywhere counts as much as so many of these images."""
PARTS = ("anywhere", "anywhere_beyond", "here", "here_beyond")
"""What is made of each score: standardised by sound images anywhere and by these images, each also beyond BEND."""
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, kw_only=True)
class Read:
    """One score as the ensemble reads it."""

    score: str
    """Its name."""
    judge: str
    """The kind of judge that gives it."""
    high: bool
    """Whether a high one is suspect."""
    middle: float
    """Median of sound images."""
    scale: float
    """Standard deviation of sound images on the side that is suspect, by their middle or by their tail, whichever is wider."""
    weights: tuple[float, ...] = (0.0,) * len(PARTS)
    """Of PARTS, in log odds a standard deviation; none is negative."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A fitted ensemble."""

    reads: tuple[Read, ...]
    """The scores it knows, those of one judge beside each other."""
    bias: float
    """Log odds of an image that is all usual."""
    absent: Mapping[str, float]
    """Judge -> what is added to the log odds where it says nothing."""
    worth: Mapping[str, float]
    """Judge -> how much of the variance of the log odds is its own, in all 1."""
    prior: float
    """The share of failures for which probabilities are calibrated."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """On what it was fitted, by which command, and how well it tells failures of classes it did not see."""

    @property
    def judges(self) -> tuple[str, ...]:
        """The kinds of judges it knows."""
        return tuple(dict.fromkeys(read.judge for read in self.reads))


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """What an ensemble says of N images."""

    probability: Floats
    """(N,) of failure; NaN where no judge said anything."""
    added: Mapping[str, Floats]
    """Judge -> (N,) what it adds to the log odds; NaN where it said nothing."""


def weigh(weights: Weights, scores: Mapping[str, Floats], count: int) -> Weighed:
    """Return what the ensemble makes of the scores of `count` images; names that it does not know are not read."""
    features, there = standardised(weights.reads, scores, count)
    flat = np.array([read.weights for read in weights.reads])
    added = {
        judge: (features[:, mine] * flat[mine]).sum(axis=(1, 2))
        for judge, mine in _by_judge(weights.reads).items()
    }  # fmt: skip
    seen = {judge: np.asarray(there[:, mine].any(axis=1)) for judge, mine in _by_judge(weights.reads).items()}
    say = np.full(count, weights.bias)
    for judge, values in added.items():
        say += np.where(seen[judge], values, weights.absent.get(judge, 0.0))
    sure = confidence(weights.worth, seen, count)
    usual = float(np.log(weights.prior / (1.0 - weights.prior)))
    odds = usual + sure * (say - usual)
    anybody = np.any(list(seen.values()), axis=0) if seen else np.zeros(count, bool)
    return Weighed(
        probability=np.where(anybody, 1.0 / (1.0 + np.exp(-odds)), np.nan),
        added={judge: np.where(seen[judge], sure * values, np.nan) for judge, values in added.items()},
    )


def standardised(reads: Sequence[Read], scores: Mapping[str, Floats], count: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return features (N, scores, PARTS), 0 where there is no score, and whether there is one (N, scores)."""
    features, there = np.zeros((count, len(reads), len(PARTS))), np.zeros((count, len(reads)), bool)
    for place, read in enumerate(reads):
        values = np.asarray(scores.get(read.score, np.full(count, np.nan)), np.float64)
        judged = np.isfinite(values)
        if not judged.any():
            continue
        side = 1.0 if read.high else -1.0
        known = values[judged]
        share = len(known) / (len(known) + LEAN)
        middle = share * float(np.median(known)) + (1.0 - share) * read.middle
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(known - np.median(known))))
        # Images that are all alike make none of the next ones suspect.
        scale = max(float(np.sqrt(share * spread**2 + (1.0 - share) * read.scale**2)), read.scale / 2.0)
        anywhere = np.clip(side * (known - read.middle) / read.scale, LOW, HIGH)
        here = np.clip(side * (known - middle) / scale, LOW, HIGH)
        parts = (anywhere, np.maximum(anywhere - BEND, 0.0), here, np.maximum(here - BEND, 0.0))
        features[judged, place] = np.stack(parts, axis=1)
        there[:, place] = judged
    return features, there


def confidence(worth: Mapping[str, float], seen: Mapping[str, NDArray[np.bool_]], count: int) -> Floats:
    """Return (N,) how much of what the ensemble can know it knows of each image, 0..1."""
    known = np.zeros(count)
    for judge, share in worth.items():
        known += share * seen.get(judge, np.zeros(count, bool))
    return np.sqrt(np.clip(known, 0.0, 1.0))


def load(path: Path = BUNDLED) -> Weights:
    """Return the weights of a file. Raises ValueError, in one line, where there are none or they cannot be read."""
    try:
        told = json.loads(path.read_text())
        reads = tuple(Read(**{**read, "weights": tuple(read["weights"])}) for read in told.pop("reads"))
        return Weights(reads=reads, **told)
    except FileNotFoundError:
        raise ValueError(f"there are no weights of the ensemble at {path}; fit them: dst evaluate ensemble") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no weights of the ensemble ({error}); fit them again: dst evaluate ensemble") from None


def save(weights: Weights, path: Path) -> None:
    """Write weights to a file, the same bytes for the same weights."""
    import dataclasses

    told = dataclasses.asdict(weights)
    path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


def _by_judge(reads: Sequence[Read]) -> dict[str, list[int]]:
    """Return judge -> the places of its scores."""
    places: dict[str, list[int]] = {}
    for place, read in enumerate(reads):
        places.setdefault(read.judge, []).append(place)
    return places
