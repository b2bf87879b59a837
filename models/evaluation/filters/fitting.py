"""Fitting the ensemble: what each judge's scores are worth, on failures that were planted in classes it will not be judged on.

Enters: for each set of planted failures, the scores of the judges that the ensemble reads, and the truth. Leaves: Weights
(models.verdict.weighing), with figures of each class as judged by what was fitted on the others. Their probabilities are
calibrated on just those: what a set says of itself would promise too much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.filters import judging, sets
from models.evaluation.filters.panel import DOUBTFUL, truth
from models.evaluation.filters.score import SYSTEMATIC, figures
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.painting import Log, Painter
from models.reading.pose import STANDS_NATS
from models.verdict import weighing
from models.verdict.kinds import JUDGES
from models.verdict.weighing import PARTS, Read, Weights
from models.verdict.wish import PRIOR

Floats = NDArray[np.float64]

SCORES: Mapping[str, tuple[tuple[str, bool, float], ...]] = {
    "kcf": (("kcf", True, 0.5),),
    "fidelity": (("fidelity", False, 0.02),),
    "quality": (("quality", False, 0.1),),
    "pose": (("pose", True, 0.25),),
    "shape": (("shape", False, 0.25), ("shape_margin", False, 0.25)),
    "text": (("text", False, 0.05),),
}
"""Kind of judge -> the scores that are read of it, each with whether a high one is suspect, and the least that its standard
deviation is taken for: most sound images have a `quality` of just 1, and one of 0.99 is as sound."""
STANDS = "stands_otherwise"
"""The truth of an image whose CAD model stands otherwise than the others of its class."""
_MASKS = 3
"""So often each image is shown with judges missing, drawn at random."""
_MISSING = 0.3
"""Chance of each judge to be missing there."""
_RIDGE = 6e-3
"""Penalty on squared weights, beside the mean log loss."""
_TAIL, _TAIL_SIGMA = 0.95, 1.645
"""A quantile of sound images, and where it lies among normally distributed ones, in standard deviations."""
_ROUNDS = 3
"""Fits, each with what judges are worth by the one before it."""
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One set of a class, as judges have scored it."""

    class_name: str
    part: str
    """Which of its sets."""
    scores: Mapping[str, Floats]
    """Name -> (N,) of all judges; NaN where an image was not judged."""
    failures: Sequence[str]
    """(N,) what failed: "" for a sound image, DOUBTFUL for one that nobody can say of."""

    @property
    def failed(self) -> NDArray[np.bool_]:
        return np.array([bool(name) for name in self.failures])

    @property
    def told(self) -> NDArray[np.bool_]:
        """Of which images the truth is known."""
        return np.array([name != DOUBTFUL for name in self.failures])


def examples(spec: FiltersSpec, painter: Painter, kept: Path, threads: int = 1, log: Log = print) -> list[Example]:
    """Return the sets of a benchmark as the judges that the ensemble reads score them, but the systematic one.

    In that, whole CAD models stand wrong, those that teach judges among them: it is to be judged, not learned from. kept: folder
    of what was judged and taught before. What was painted before is in the painter's.
    """
    made = []
    for one in sets.build(spec, painter):
        if one.part == SYSTEMATIC:
            continue
        scores: dict[str, Floats] = {}
        for kind in SCORES:
            if kind not in JUDGES.names:
                continue
            judged = judging.judge(JUDGES.of(kind)(), one, kept, painter.device, threads)  # type: ignore[call-arg]
            log(f"{one.name}: {kind}, {judged.seconds + judged.teaching_seconds:.0f} s {judged.not_judged or ''}".rstrip())
            scores |= dict(judged.scores)
        said = [truth(shown, {}) for shown in one.shown]
        example = Example(class_name=one.class_name, part=one.part, scores=scores, failures=said)
        made.append(standing_otherwise(example, [shown.case.sample.cad_id for shown in one.shown]))
    return made


def standing_otherwise(example: Example, cad_ids: Sequence[str]) -> Example:
    """Return a set in which one CAD model stands otherwise than the others, as `pose` says it (models.reading.pose).

    Whoever learned from such a CAD model finds its images right, so nothing else about them is changed.
    """
    if "pose" not in example.scores:
        return example
    chosen = sorted(set(cad_ids))[_SEED]
    wrong = np.array([cad_id == chosen and not name for cad_id, name in zip(cad_ids, example.failures, strict=True)])
    failures = [STANDS if is_wrong else name for name, is_wrong in zip(example.failures, wrong, strict=True)]
    pose = example.scores["pose"] + STANDS_NATS * wrong
    return dataclasses.replace(example, scores={**example.scores, "pose": pose}, failures=failures)


def fit(examples: Sequence[Example], made_with: str) -> Weights:
    """Return the ensemble fitted on sets of at least two classes; deterministic. made_with: the command, for the record."""
    classes = sorted({example.class_name for example in examples})
    if len(classes) < 2:
        raise ValueError("the ensemble is fitted on the planted failures of at least two classes: each is judged by the others")
    held_out = {
        name: [
            (one, _fitted([other for other in examples if other.class_name != name]))
            for one in examples
            if one.class_name == name
        ]
        for name in classes
    }
    odds, failed, kinds, names = [], [], [], []
    for name, pairs in held_out.items():
        for example, weights in pairs:
            probability = weighing.weigh(weights, example.scores, len(example.failures)).probability
            told = example.told & ~np.isnan(probability)
            odds.append(_logit(probability[told]))
            failed.append(example.failed[told])
            kinds += [kind for kind, ok in zip(example.failures, told, strict=True) if ok]
            names += [name] * int(told.sum())
    slope, shift = _calibrated(np.concatenate(odds), np.concatenate(failed), _alike(np.array(kinds)))
    weights = _recalibrated(_fitted(examples), slope, shift)
    usual = _usual()
    probability = _sigmoid(usual + slope * (np.concatenate(odds) - usual) + shift)
    facts = _figures(probability, np.concatenate(failed), np.array(kinds), np.array(names))
    images = sum(len(example.failures) for example in examples)
    about = {"made_with": made_with, "classes": classes, "sets": len(examples), "images": images}
    return dataclasses.replace(weights, facts={**about, "held_out": facts})


def _fitted(examples: Sequence[Example]) -> Weights:
    reads = _reads(examples)
    judges = list(dict.fromkeys(read.judge for read in reads))
    rows = [weighing.standardised(reads, example.scores, len(example.failures)) for example in examples]
    told = np.concatenate([example.told for example in examples])
    features = np.concatenate([found for found, _ in rows])[told]
    there = np.concatenate([seen for _, seen in rows])[told]
    failed = np.concatenate([example.failed for example in examples])[told]
    of = np.array([judges.index(read.judge) for read in reads])
    said = np.stack([there[:, of == place].any(axis=1) for place in range(len(judges))], axis=1)
    masks = np.random.default_rng(_SEED).random((_MASKS, len(failed), len(judges))) >= _MISSING
    seen = np.concatenate([said, *(said & mask for mask in masks)])
    shown = np.concatenate([features] * (1 + _MASKS)) * seen[:, of, None]
    truth = np.tile(failed, 1 + _MASKS)
    # A row without any judge says nothing, and whole rows count as much as all of those with judges missing.
    count = np.repeat([1.0, 1.0 / _MASKS], [len(failed), _MASKS * len(failed)]) * seen.any(axis=1)
    count *= np.tile(_alike(np.concatenate([np.array(example.failures) for example in examples])[told]), 1 + _MASKS)
    worth = dict.fromkeys(judges, 1.0 / len(judges))
    weights = Weights(reads=tuple(reads), bias=_usual(), absent={}, worth=worth, prior=PRIOR)
    for _ in range(_ROUNDS):
        weights = _step(weights, shown, seen, truth, count)
        flat = np.array([read.weights for read in weights.reads])
        added = (features * flat).sum(axis=2)
        spread = {
            judge: float(added[:, of == i].sum(axis=1)[said[:, i]].var()) if said[:, i].any() else 0.0
            for i, judge in enumerate(judges)
        }
        total = sum(spread.values()) or 1.0
        weights = dataclasses.replace(weights, worth={judge: round(value / total, 4) for judge, value in spread.items()})
    return weights


def _step(weights: Weights, shown: Floats, seen: NDArray[np.bool_], truth: NDArray[np.bool_], count: Floats) -> Weights:
    """Return the weights that explain the truth best, with judges worth what they are by `weights`."""
    from scipy.optimize import minimize

    judges, n, absent = weights.judges, len(weights.reads), len(weights.judges)
    sure = weighing.confidence(weights.worth, {judge: seen[:, i] for i, judge in enumerate(judges)}, len(truth))
    usual = _usual()
    # Columns: the log odds of an image that is all usual, what each part of a score adds, what each missing judge adds.
    columns = np.concatenate([np.ones((len(truth), 1)), shown.reshape(len(truth), -1), ~seen], axis=1) * sure[:, None]
    offset = usual * (1.0 - sure)
    weight = count * np.where(truth, PRIOR / (count * truth).sum(), (1.0 - PRIOR) / (count * ~truth).sum())
    signs = np.where(truth, 1.0, -1.0)

    def loss(values: Floats) -> tuple[float, Floats]:
        odds = offset + columns @ values
        wrong = _sigmoid(-signs * odds)
        slope = columns.T @ (-weight * signs * wrong)
        penalty = np.concatenate([[0.0], values[1:]])
        return float(
            (weight * np.logaddexp(0.0, -signs * odds)).sum() + _RIDGE * (penalty**2).sum()
        ), slope + 2 * _RIDGE * penalty

    start = np.concatenate([[usual], np.full(n * len(PARTS), 0.1), np.zeros(absent)])
    bounds = [(None, None), *[(0.0, None)] * (n * len(PARTS)), *[(None, None)] * absent]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
    parts = found[1 : 1 + n * len(PARTS)].reshape(n, len(PARTS))
    return dataclasses.replace(
        weights,
        bias=float(found[0]),
        reads=tuple(
            dataclasses.replace(read, weights=tuple(map(float, mine))) for read, mine in zip(weights.reads, parts, strict=True)
        ),
        absent={judge: float(value) for judge, value in zip(judges, found[1 + n * len(PARTS) :], strict=True)},
    )


def _reads(examples: Sequence[Example]) -> list[Read]:
    """Return the scores that there are, with what is usual for sound images."""
    found = []
    for judge, score, high, least in ((judge, *said) for judge, scores in SCORES.items() for said in scores):
        sound = [example.scores[score][~example.failed] for example in examples if score in example.scores]
        values = np.concatenate(sound) if sound else np.zeros(0)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle)))
        tail = float(np.quantile((values - middle) * (1.0 if high else -1.0), _TAIL))
        scale = max(spread, tail / _TAIL_SIGMA, least)
        found.append(Read(score=score, judge=judge, high=high, middle=round(middle, 5), scale=round(scale, 5)))
    if not found:
        raise ValueError("no judge that the ensemble reads has scored anything")
    return found


def _alike(kinds: NDArray[np.str_]) -> Floats:
    """Return what each image counts, so that every kind of failure counts alike, however often it was planted."""
    names, place, often = np.unique(kinds, return_inverse=True, return_counts=True)
    counted: Floats = np.where(names == "", 1.0, often.sum() / len(names) / often)[place]
    return counted


def _calibrated(odds: Floats, failed: NDArray[np.bool_], count: Floats) -> tuple[float, float]:
    """Return slope and shift that calibrate log odds of images that were not learned from (Platt 1999)."""
    from scipy.optimize import minimize

    usual = _usual()
    weight = count * np.where(failed, PRIOR / (count * failed).sum(), (1.0 - PRIOR) / (count * ~failed).sum())
    signs = np.where(failed, 1.0, -1.0)

    def loss(values: Floats) -> float:
        return float((weight * np.logaddexp(0.0, -signs * (usual + values[0] * (odds - usual) + values[1]))).sum())

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(max(slope, 0.05)), float(shift)


def _recalibrated(weights: Weights, slope: float, shift: float) -> Weights:
    usual = _usual()
    return dataclasses.replace(
        weights,
        bias=round(usual + slope * (weights.bias - usual) + shift, 5),
        absent={judge: round(slope * value, 5) for judge, value in weights.absent.items()},
        reads=tuple(
            dataclasses.replace(read, weights=tuple(round(slope * value, 5) for value in read.weights)) for read in weights.reads
        ),
    )


def _figures(
    probability: Floats, failed: NDArray[np.bool_], kinds: NDArray[np.str_], names: NDArray[np.str_]
) -> dict[str, object]:
    """Return figures over everything, by kind and by class, and how many failures go with which loss of sound images."""

    def rounded(chosen: NDArray[np.bool_]) -> dict[str, float]:
        return {name: round(value, 4) for name, value in figures(probability[chosen], failed[chosen]).items()}

    everything = np.ones(len(failed), bool)
    by_kind = {kind: rounded((kinds == "") | (kinds == kind)) for kind in sorted(set(kinds.tolist()) - {""})}
    calibration = []
    for lost in (0.01, 0.02, 0.05, 0.10, 0.20):
        threshold = float(np.quantile(probability[~failed], 1.0 - lost))
        removed = float((probability[failed] > threshold).mean())
        calibration.append({"lost": lost, "threshold": round(threshold, 4), "removed": round(removed, 4)})
    return {
        "all": rounded(everything),
        "by_kind": by_kind,
        "by_class": {name: rounded(names == name) for name in sorted(set(names.tolist()))},
        "calibration": calibration,
    }


def _usual() -> float:
    return float(np.log(PRIOR / (1.0 - PRIOR)))


def _logit(probability: Floats) -> Floats:
    clipped = np.clip(probability, 1e-9, 1.0 - 1e-9)
    found: Floats = np.log(clipped / (1.0 - clipped))
    return found


def _sigmoid(odds: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-odds))
    return found
