"""The K-fold consistency filter: does an image look like its own annotation to models that never saw its CAD model?

Enters: the images of one class, their canonical poses, their CAD models. Leaves: a score for each, high is suspect, and the
decision of the spec's rule. Section 3.3 of the paper; unlike the official code: folds by CAD model, not by image; predictions
without gradients and with fixed statistics, so that no image's score depends on its batch; heads that do not vary or from which
nothing can be learned are left out; scores are standardised within each fold; the decision is made, recorded and movable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.symmetry import ROUND, check
from models.verdict import decide
from models.verdict.folds import deal
from models.verdict.spec import VerdictSpec
from models.verdict.targets import AZIMUTH, HEADS, alike, targets, varying

FEWEST = 8
"""Fewer images than this teach nobody anything: all are kept and the rule says why."""
LEAST_SKILL = 0.1
"""A head that explains less than this share of what there is to explain (held-out, against the prior) is not heard."""
SURE_SKILL = 0.3
"""Judges that know less than this must be the surer: their scores shrink in proportion, so that tiny sets lose no good images."""
SCALE_FLOOR = 0.25
"""Cross-entropies closer than this many nats are alike, however narrow the rest of the fold is."""
POOLED = 10.0
"""A fold's own scale counts by its images against this many images' worth of the scale of all folds."""


@dataclass(frozen=True, kw_only=True)
class FoldFacts:
    """One fold as it was judged."""

    images: int
    """Held-out images."""
    cad_models: int
    """CAD models they come from."""
    shift: float
    """Median weighted cross-entropy less that of all images, in robust standard deviations: above about 2, a CAD model of this
    fold contradicts the others as a whole (its alignment, or its images), which standardised scores cannot show."""


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What the filter says of N images, in the order they were given."""

    scores: NDArray[np.float64]
    """(N,) robust standard deviations above the fold's median; high is suspect."""
    head_scores: NDArray[np.float64]
    """(N, 3) the same for each head (azimuth, elevation, in-plane); 0 for heads that are not heard."""
    cross_entropy: NDArray[np.float64]
    """(N, 3) nats of the held-out ensemble against the image's own annotation, less the target's own entropy."""
    head_weights: NDArray[np.float64]
    """(3,) what each head is worth: its held-out skill between 0 and 1, 0 when it is not heard."""
    disagreement: NDArray[np.float64]
    """(N,) standard deviation of the score among the ensemble's members."""
    fold: NDArray[np.int64]
    """(N,) the fold that held the image out."""
    fold_by: str
    """`cad`, or `view` when there was a single CAD model."""
    folds: tuple[FoldFacts, ...]
    """Facts of each fold."""
    edge_scores: NDArray[np.float64] | None
    """(N,) chance-corrected share of control lines found in the image, when given."""
    kept: NDArray[np.bool_]
    """(N,) the decision."""
    reasons: tuple[str | None, ...]
    """Why each image was dropped; None for kept ones."""
    threshold: float
    """Scores above are dropped."""
    rule: str
    """The rule in words."""
    backbone: str
    """What judged."""

    def rows(self) -> list[dict[str, Any]]:
        """Return one mapping of JSON types for each image, for verdicts.json and the catalog."""
        measured = np.full(len(self.scores), np.nan) if self.edge_scores is None else self.edge_scores
        edge = [None if np.isnan(value) else round(float(value), 4) for value in measured]
        return [
            {
                "score": round(float(self.scores[i]), 4),
                **{f"{head}_score": round(float(self.head_scores[i, h]), 4) for h, head in enumerate(HEADS)},
                **{f"{head}_loss": round(float(self.cross_entropy[i, h]), 4) for h, head in enumerate(HEADS)},
                "disagreement": round(float(self.disagreement[i]), 4),
                "edge_score": edge[i],
                "fold": int(self.fold[i]),
                "kept": bool(self.kept[i]),
                "reason": self.reasons[i],
            }
            for i in range(len(self.scores))
        ]

    def summary(self) -> dict[str, Any]:
        """Return the facts of the whole set for the artifact's record."""
        return {
            "threshold": self.threshold,
            "rule": self.rule,
            "backbone": self.backbone,
            "fold_by": self.fold_by,
            "folds": [{"images": f.images, "cad_models": f.cad_models, "shift": round(f.shift, 3)} for f in self.folds],
            "head_weights": {head: round(float(self.head_weights[h]), 4) for h, head in enumerate(HEADS)},
            "kept": int(self.kept.sum()),
            "dropped": int((~self.kept).sum()),
            "reasons": {reason: self.reasons.count(reason) for reason in sorted({r for r in self.reasons if r})},
        }


def score(
    images: NDArray[np.uint8],
    poses: NDArray[np.float64],
    cad_ids: Sequence[str],
    spec: VerdictSpec,
    progress: Callable[[int, int], None] | None = None,
    edge_scores: NDArray[np.float64] | None = None,
    symmetry: NDArray[np.int64] | None = None,
) -> Verdicts:
    """Judge the images of one class.

    `images` (N, S, S, 3) uint8, best the crops of models.verdict.crop at `spec.side`; `poses` (N, 3) canonical degrees (azimuth,
    elevation, in-plane); `cad_ids` N names; `edge_scores` (N,) from models.verdict.shape; `symmetry` (N,) of each image's CAD
    model about its upright axis (models.symmetry; None: nothing has any): azimuths that show the same picture are one answer, and
    where all do, azimuth is not judged. `progress(done, total)` is called after each trained model. Scores do not depend on the
    order of the input. Raises ValueError when the inputs do not fit together.
    """
    images, poses = np.asarray(images), np.asarray(poses, np.float64)
    count = len(images)
    if count == 0:
        raise ValueError("there are no images to judge")
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be (N, S, S, 3) uint8, these are {images.shape} of {images.dtype}")
    if poses.shape != (count, 3) or len(cad_ids) != count or (edge_scores is not None and len(edge_scores) != count):
        raise ValueError(f"{count} images need {count} poses of 3 angles, CAD models and edge scores each")
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite numbers")
    if symmetry is not None:
        if len(symmetry) != count:
            raise ValueError(f"{count} images need {count} symmetries, not {len(symmetry)}")
        symmetry = None if (np.asarray(symmetry) == 1).all() else np.asarray([check(int(folds)) for folds in symmetry], np.int64)

    order = _canonical_order(images, poses, cad_ids)
    back = np.argsort(order)
    poses_in, ids_in = poses[order], [cad_ids[i] for i in order]
    folds_in = None if symmetry is None else symmetry[order]
    fold, by = deal(ids_in, poses_in, spec.folds)
    live = varying(poses_in, spec.bins, folds_in)
    answers = targets(poses_in, spec.bins, spec.blur_deg, folds_in)
    backbone = resolve(spec, count)
    if count < FEWEST or fold.max() == 0 or not live.any():
        nothing, silent = np.zeros((count, len(HEADS))), np.zeros(len(HEADS))
        score_in, head_in, loss, weights, disagreement = nothing[:, 0], nothing, nothing, silent, nothing[:, 0]
    else:
        members, prior = _held_out(images[order], answers, poses_in, fold, spec, backbone, progress, folds_in)
        # Where azimuth means nothing, no image is compared with others by it.
        heard = None if folds_in is None else folds_in != ROUND
        own = (answers * np.log(np.maximum(answers, 1e-12))).sum(axis=2)
        loss = own - (answers * np.log(members.mean(axis=0))).sum(axis=2)
        chance = own - (answers * np.log(prior)).sum(axis=2)
        skill = 1.0 - _median(loss, heard) / np.maximum(_median(chance, heard), 1e-9)
        weights = np.where(live & (skill >= LEAST_SKILL), np.clip(skill, 0.0, 1.0), 0.0)
        middle, scale = _spread(loss, fold, heard)
        if heard is not None:
            middle[~heard, AZIMUTH] = loss[~heard, AZIMUTH]
        head_in = np.where(weights > 0, (loss - middle) / scale, 0.0)
        each = own - (answers * np.log(members)).sum(axis=3)
        if heard is not None:
            each[:, ~heard, AZIMUTH] = loss[~heard, AZIMUTH]
        voice = weights / (float(np.linalg.norm(weights)) or 1.0) * min(1.0, float(weights.max()) / SURE_SKILL)
        score_in = head_in @ voice
        disagreement = (((each - middle) / scale) @ voice).std(axis=0)

    scores = score_in[back]
    threshold = decide.threshold_of(scores, spec)
    kept, reasons = decide.decide(scores, threshold, edge_scores, spec.min_edge_score)
    return Verdicts(
        scores=scores,
        head_scores=head_in[back],
        cross_entropy=loss[back],
        head_weights=weights,
        disagreement=disagreement[back],
        fold=fold[back],
        fold_by=by,
        folds=_facts(loss @ weights, fold, ids_in),
        edge_scores=edge_scores,
        kept=kept,
        reasons=reasons,
        threshold=threshold,
        rule=decide.rule_in_words(spec, threshold, heard=bool(weights.any()), count=count),
        backbone=backbone,
    )


def resolve(spec: VerdictSpec, count: int) -> str:
    """Return the backbone that judges a set of `count` images."""
    if spec.backbone != "auto":
        return spec.backbone
    return "hog" if count <= spec.hog_limit else "resnet-small"


def _canonical_order(images: NDArray[np.uint8], poses: NDArray[np.float64], cad_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return an order that depends on what the images are, not on how they came."""
    names = [
        (cad_id, tuple(pose.tolist()), hashlib.sha256(image.tobytes()).hexdigest())
        for cad_id, pose, image in zip(cad_ids, poses, images, strict=True)
    ]
    return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)


def _held_out(
    images: NDArray[np.uint8],
    answers: NDArray[np.float64],
    poses: NDArray[np.float64],
    fold: NDArray[np.int64],
    spec: VerdictSpec,
    backbone: str,
    progress: Callable[[int, int], None] | None,
    symmetry: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (members, N, heads, bins) held-out probabilities, and (N, heads, bins) what the training folds' poses alone say."""
    from models.verdict import ridge

    count = int(fold.max()) + 1
    members = np.empty((spec.members, *answers.shape))
    prior = np.empty_like(answers)
    if spec.mirror:
        turned = targets(poses * np.array([-1.0, 1.0, -1.0]), spec.bins, spec.blur_deg, symmetry)
        images = np.concatenate([images, images[:, :, ::-1]])
        answers_known = np.concatenate([answers, turned])
    else:
        answers_known = answers
    fold_known = np.tile(fold, len(images) // len(fold))
    for member in range(spec.members):
        described = ridge.describe(images, ridge.ZOOMS[member % len(ridge.ZOOMS)]) if backbone == "hog" else np.empty(0)
        for held in range(count):
            rng = np.random.default_rng([spec.seed, member, held])
            out, known = np.flatnonzero(fold == held), np.flatnonzero(fold_known != held)
            if backbone == "hog":
                said = ridge.predict(described[known], answers_known[known], described[out], rng)
            else:
                from models.verdict import network

                said = network.predict(images[known], answers_known[known], images[out], rng, spec, backbone)
            members[member, out] = said
            prior[out] = np.maximum(answers_known[known].mean(axis=0), ridge.FLOOR)
            if symmetry is not None:
                # Whoever learned from models without a symmetry may tell apart what this one's pictures cannot.
                members[member, out, AZIMUTH] = alike(members[member, out, AZIMUTH], symmetry[out])
                prior[out, AZIMUTH] = alike(prior[out, AZIMUTH], symmetry[out])
            if progress:
                progress(member * count + held + 1, spec.members * count)
    return members, prior / prior.sum(axis=2, keepdims=True)


def _median(values: NDArray[np.float64], heard: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return the median of each head (heads,), of azimuth over the images `heard` in it; 0 where there are none."""
    middle: NDArray[np.float64] = np.median(values, axis=0) if len(values) else np.zeros(values.shape[1])
    if heard is not None:
        middle[AZIMUTH] = np.median(values[heard, AZIMUTH]) if heard.any() else 0.0
    return middle


def _spread(
    loss: NDArray[np.float64], fold: NDArray[np.int64], heard: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each image and head, its fold's median and robust scale; small folds lean on the scale of all."""
    middle, squared = np.empty_like(loss), np.empty_like(loss)
    for held in np.unique(fold):
        inside = fold == held
        middle[inside] = _median(loss[inside], None if heard is None else heard[inside])
    away = np.abs(loss - middle)
    pooled = 1.4826 * _median(away, heard)
    for held in np.unique(fold):
        inside = fold == held
        own, n = 1.4826 * _median(away[inside], None if heard is None else heard[inside]), int(inside.sum())
        squared[inside] = (n * own**2 + POOLED * pooled**2) / (n + POOLED)
    return middle, np.maximum(np.sqrt(squared), SCALE_FLOOR)


def _facts(loss: NDArray[np.float64], fold: NDArray[np.int64], cad_ids: Sequence[str]) -> tuple[FoldFacts, ...]:
    names = np.array(cad_ids)
    scale = max(1.4826 * float(np.median(np.abs(loss - np.median(loss)))), SCALE_FLOOR)
    return tuple(
        FoldFacts(
            images=int((fold == held).sum()),
            cad_models=len(set(names[fold == held].tolist())),
            shift=float(np.median(loss[fold == held]) - np.median(loss)) / scale,
        )
        for held in range(int(fold.max()) + 1)
    )
