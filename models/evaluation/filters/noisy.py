"""Two methods against noisy labels as rows of the benchmark: what general tools make of a pose that is wrong.

Enters: the images of one class with their annotated azimuths. Leaves: a score each, high where the label is suspect. The label
is the sector of the annotated azimuth; both see the same gradient histograms as the judge `kcf`. Confident learning (Northcutt et
al. 2021) looks at out-of-fold probabilities, each class against a threshold of its own; the area under the margin (Pleiss et al.
2020) at how an image's label fares against the others while a classifier is trained on all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict import ridge
from models.verdict.crop import crop
from models.verdict.folds import deal
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

Floats = NDArray[np.float64]

SIDE = 96
"""Pixels of the square around the object."""


@dataclass(frozen=True, kw_only=True)
class ConfidentSpec(JudgeSpec):
    """Confident learning: by how much the likeliest other label exceeds its threshold, less by how much the given one does."""

    implementation: ClassVar[str] = "models.evaluation.filters.noisy:Confident"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("confident",)

    kind: Literal["confident-learning"] = "confident-learning"
    sectors: int = 8
    """Labels: sectors of the azimuth."""
    folds: int = 5
    """Folds, by CAD model."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class MarginSpec(JudgeSpec):
    """Area under the margin: the mean over the epochs of the label's logit less the greatest other one, turned round."""

    implementation: ClassVar[str] = "models.evaluation.filters.noisy:Margin"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("margin",)

    kind: Literal["area-under-margin"] = "area-under-margin"
    sectors: int = 8
    """Labels: sectors of the azimuth."""
    epochs: int = 60
    """Passes of a softmax regression over the images."""
    learning_rate: float = 1.0
    batch: int = 32
    seed: int = 0


class Confident:
    """Ranks labels by confident learning."""

    def __init__(self, spec: ConfidentSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec = spec

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `confident` of each image whose CAD model has sides; others, and those of folds too small, are not judged."""
        spec, scores = self.spec, np.full(len(evidence), np.nan)
        rows, labels, described = _labelled(evidence, spec.sectors)
        poses = np.array([[one.annotation["azimuth_deg"], one.annotation["elevation_deg"], 0.0] for one in evidence])
        folds = deal([evidence[row].sample.cad_id for row in rows], poses[rows].reshape(-1, 3), spec.folds)
        if not folds.judged.any():
            return Judgement(scores={"confident": scores}, not_judged=folds.too_small or "no image shows a side")
        probabilities = np.full((len(rows), spec.sectors), np.nan)
        wanted = np.eye(spec.sectors)[labels][:, None]
        for fold in np.unique(folds.of_image[folds.judged]).tolist():
            out, known = folds.of_image == fold, folds.of_image != fold
            rng = np.random.default_rng([spec.seed, fold])
            probabilities[out] = ridge.predict(described[known], wanted[known], described[out], rng)[:, 0]
        scores[rows] = confident(probabilities, labels)
        return Judgement(scores={"confident": scores})


def confident(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return (N,) how much more than its given label each image looks like another one; NaN where it has no probabilities."""
    known = ~np.isnan(probabilities).any(axis=1)
    own = probabilities[np.arange(len(labels)), labels]
    classes = range(probabilities.shape[1])
    # A class is claimed from the mean confidence on of the images that are labelled with it.
    least = np.array([own[known & (labels == j)].mean() if (known & (labels == j)).any() else 1.0 for j in classes])
    above = probabilities - least
    given = above[np.arange(len(labels)), labels].copy()
    above[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(above.max(axis=1) - given, np.float64)


class Margin:
    """Ranks labels by the area under the margin."""

    def __init__(self, spec: MarginSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec = spec

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `margin` of each image whose CAD model has sides."""
        scores = np.full(len(evidence), np.nan)
        rows, labels, described = _labelled(evidence, self.spec.sectors)
        if len(np.unique(labels)) < 2:
            return Judgement(scores={"margin": scores}, not_judged="all images show the same side")
        scores[rows] = -area_under_margin(described, labels, self.spec)
        return Judgement(scores={"margin": scores})


def area_under_margin(described: Floats, labels: NDArray[np.int64], spec: MarginSpec) -> Floats:
    """Return (N,) the mean over the epochs of each image's margin, as it is met in training."""
    rng = np.random.default_rng(spec.seed)
    inputs = described - described.mean(axis=0)
    inputs /= np.linalg.norm(inputs, axis=1).mean() or 1.0
    weights, bias = np.zeros((inputs.shape[1], spec.sectors)), np.zeros(spec.sectors)
    total = np.zeros(len(labels))
    for _ in range(spec.epochs):
        order = rng.permutation(len(labels))
        for start in range(0, len(order), spec.batch):
            some = order[start : start + spec.batch]
            logits = inputs[some] @ weights + bias
            given = logits[np.arange(len(some)), labels[some]]
            others = logits.copy()
            others[np.arange(len(some)), labels[some]] = -np.inf
            total[some] += given - others.max(axis=1)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope = odds / odds.sum(axis=1, keepdims=True)
            slope[np.arange(len(some)), labels[some]] -= 1.0
            weights -= spec.learning_rate * inputs[some].T @ slope / len(some)
            bias -= spec.learning_rate * slope.mean(axis=0)
    return np.asarray(total / spec.epochs, np.float64)


def _labelled(evidence: Sequence[Evidence], sectors: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return which images have sides at all, the sector of each, and its gradient histograms."""
    rows = np.array([index for index, one in enumerate(evidence) if one.symmetry != 0], np.int64)
    labels, cuts = np.empty(len(rows), np.int64), np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    for place, row in enumerate(rows.tolist()):
        one = evidence[row]
        annotation = one.annotation
        # Sides that look alike are one label.
        turn = 360.0 / one.symmetry
        labels[place] = int((annotation["azimuth_deg"] % turn) / 360.0 * sectors + 0.5) % sectors
        cuts[place] = crop(one.image(), annotation.get("box"), SIDE)
    return rows, labels, ridge.describe(cuts, 1.0) if len(rows) else np.empty((0, 1))
