"""The judge `kcf`, the K-fold consistency filter: do models that never saw an image's CAD model see the annotated pose in it?

Enters: the images of one class, their canonical poses, their CAD models. Leaves: scores for each; high is suspect. Section 3.3 of
the paper. Unlike in the official code, folds are made by CAD model, not by image; predictions are made without gradients and with
fixed statistics, so that no image's score depends on its batch; angles that do not vary, or of which nothing can be learned, are
left out; a pose that is rare among the training images is no reason to suspect an image; scores are standardised within each
fold; and what is too little to judge is not judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec
from models.symmetry import ROUND, check
from models.verdict import read, ridge
from models.verdict.crop import crop
from models.verdict.folds import Folds, deal
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress
from models.verdict.standardise import Standardised, fold_shift, standardise
from models.verdict.targets import AZIMUTH, HEADS, LEAST_PROBABILITY, alike, targets, varying

BACKBONES = ("auto", "hog", "hog-read", "resnet-small", "resnet-50")
LIGHT = {"hog": ridge.describe, "hog-read": read.describe}
"""Backbones that are solved in closed form -> what describes their images."""


@dataclass(frozen=True, kw_only=True)
class KcfSpec(JudgeSpec):
    """The K-fold consistency filter."""

    implementation: ClassVar[str] = "models.verdict.kcf:Kcf"
    version: ClassVar[int] = 3
    scores: ClassVar[tuple[str, ...]] = ("kcf", *(f"kcf_{head}" for head in HEADS), "kcf_disagreement", "kcf_fold")

    kind: Literal["kcf"] = "kcf"
    backbone: str = "auto"
    """`hog`: gradient histograms with kernel ridge heads, seconds on one core. `hog-read`: the same, with what the bundled
    readouts see beside the histograms: in classes that they know far better at front against back, in others the same.
    `resnet-small`: a small ResNet from scratch; wants thousands of images and a GPU. `resnet-50`: the paper's. `auto`: hog-read
    up to `hog_limit` images, resnet-small beyond."""
    hog_limit: int = 20000
    """auto: more images than this are judged by resnet-small."""
    folds: int = 5
    """At most so many folds; fewer when there are fewer CAD models (the paper: 5)."""
    members: int = 3
    """Models trained for each fold; their mean judges, their spread is recorded as disagreement."""
    bins: int = 41
    """Bins of each head (the paper: 41)."""
    blur_deg: float = 12.0
    """Width (sigma) of a target around its angle: neighbouring bins are not wrong, only less right."""
    side: int = 96
    """Images are judged at side x side pixels, cut out around the annotated box (the paper: 256, whole)."""
    margin: float = 1.3
    """The cut is square, this many times the longer side of the box."""
    mirror: bool = False
    """Also learn from mirrored images with azimuth -> -azimuth and in-plane -> -in-plane. Right only for classes whose CAD models
    are mirror images of themselves in x: cars, not cups with a handle on one side."""
    epochs: int = 40
    """resnet: passes over the training folds (the paper: 150)."""
    learning_rate: float = 0.01
    """resnet: of SGD with momentum 0.9, falling to zero along a cosine (the paper: 0.01)."""
    batch: int = 32
    """resnet: images in a step."""
    seed: int = 0
    """Of the members' own generators; nothing global is seeded."""

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"no such backbone {self.backbone!r}; there are: {', '.join(BACKBONES)}")
        limits = {
            "folds": (2, 50),
            "members": (1, 50),
            "bins": (4, 360),
            "side": (32, 512),
            "epochs": (1, 1000),
            "batch": (2, 4096),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"kcf {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if not 0 < self.blur_deg <= 90 or not 1 <= self.margin <= 4 or not 0 < self.learning_rate < 10:
            raise ValueError("kcf needs 0 < blur_deg <= 90, 1 <= margin <= 4 and 0 < learning_rate < 10")

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return which CAD models have which symmetry, as an image's key does not say so, and which readouts are asked."""
        from models.evaluation import readouts

        symmetric = {cad_id: times for cad_id, times in symmetry.items() if times != 1}
        asked = {"readouts": readouts.bundled_digest()} if self.backbone in ("auto", "hog-read") else {}
        return ({"symmetry": symmetric} if symmetric else {}) | asked

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return which angle the models that learned from the other CAD models do not see."""
        values = {head: value for head in HEADS if (value := scores.get(f"kcf_{head}")) is not None}
        if not values:
            return super().in_words(scores, annotation)
        off = max(values, key=lambda head: values[head])
        said = {"azimuth": "another azimuth", "elevation": "another elevation", "inplane": "another turn in the image plane"}
        return f"models that learned from the other CAD models see {said[off]} ({scores.get('kcf') or 0.0:.1f} above the usual)"

    def backbone_for(self, count: int) -> str:
        """Return the backbone that judges a set of `count` images."""
        if self.backbone != "auto":
            return self.backbone
        return "hog-read" if count <= self.hog_limit else "resnet-small"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The images of a class, and what they are said to show."""

    images: NDArray[np.uint8]
    """(N, S, S, 3), best the crops of models.verdict.crop."""
    poses: NDArray[np.float64]
    """(N, 3) canonical degrees: azimuth, elevation, in-plane."""
    cad_ids: Sequence[str]
    """N names of CAD models."""
    symmetry: NDArray[np.int64]
    """(N,) of each image's CAD model about its upright axis (models.symmetry): azimuths that show the same picture count as one,
    and where all do, azimuth is not judged."""

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, S, S, 3) uint8, these are {self.images.shape} of {self.images.dtype}")
        if self.poses.shape != (count, 3) or len(self.cad_ids) != count or len(self.symmetry) != count:
            raise ValueError(f"{count} images need {count} poses of 3 angles, CAD models and symmetries each")
        if not np.isfinite(self.poses).all():
            raise ValueError("poses must be finite numbers")
        for times in np.unique(self.symmetry).tolist():
            check(times)

    def canonical_order(self) -> NDArray[np.int64]:
        """Return an order that depends on what the images are, not on how they came."""
        names = [
            (cad_id, tuple(pose.tolist()), hashlib.sha256(image.tobytes()).hexdigest())
            for cad_id, pose, image in zip(self.cad_ids, self.poses, self.images, strict=True)
        ]
        return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)

    def ordered(self, order: NDArray[np.int64]) -> Labelled:
        """Return the images in another order."""
        cad_ids = [self.cad_ids[i] for i in order]
        return Labelled(images=self.images[order], poses=self.poses[order], cad_ids=cad_ids, symmetry=self.symmetry[order])


class Kcf:
    """Trains models on all folds but one, lets them predict the poses of that one, and measures how far they are off."""

    def __init__(self, spec: KcfSpec, device: str = "cpu", threads: int | None = None) -> None:
        """device: where networks are trained (`auto`, `cpu`, `cuda`, ...); threads: cores for torch, None: its own choice."""
        self.spec = spec
        self.device = device
        self.threads = threads

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return the scores of the images of one class, as `measure` does."""
        spec, cuts, poses = self.spec, [], []
        # One picture at a time: those of a large cohort together would not fit into memory.
        for one in evidence:
            annotation = one.annotation
            cuts.append(crop(one.image(), annotation.get("box"), spec.side, spec.margin))
            poses.append([annotation["azimuth_deg"], annotation["elevation_deg"], annotation["inplane_deg"]])
        labelled = Labelled(
            images=np.array(cuts, np.uint8).reshape(-1, spec.side, spec.side, 3),
            poses=np.array(poses, np.float64).reshape(-1, 3),
            cad_ids=[one.sample.cad_id for one in evidence],
            symmetry=np.array([one.symmetry for one in evidence], np.int64),
        )
        return self.measure(labelled, progress)

    def measure(self, labelled: Labelled, progress: Progress | None = None) -> Judgement:
        """Return `kcf` (robust standard deviations above the fold's median), the same for each head, `kcf_disagreement` (standard
        deviation of the score among the members) and `kcf_fold`, which held the image out.

        Scores do not depend on the order of the input. `progress(done, total)` is called after each trained model, and between
        the steps of one.
        """
        order = labelled.canonical_order()
        labelled = labelled.ordered(order)
        folds = deal(labelled.cad_ids, labelled.poses, self.spec.folds)
        varies = varying(labelled.poses, self.spec.bins, labelled.symmetry) if len(order) else np.zeros(len(HEADS), bool)
        found = None
        if folds.judged.any() and varies.any():
            found = self._standardised(labelled, folds, varies, progress)
        scores = {name: np.full(len(order), np.nan) for name in self.spec.scores}
        if found is not None:
            rows = order[folds.judged]
            scores["kcf"][rows] = found.score
            for head, name in enumerate(HEADS):
                scores[f"kcf_{name}"][rows] = found.heads[:, head]
            scores["kcf_disagreement"][rows] = found.disagreement
            scores["kcf_fold"][rows] = np.where(np.isnan(found.score), np.nan, folds.of_image[folds.judged])
        not_judged = _why_not(folds, varies, found)
        return Judgement(scores=scores, facts=self._facts(labelled, folds, found, not_judged), not_judged=not_judged)

    def _standardised(
        self, labelled: Labelled, folds: Folds, varies: NDArray[np.bool_], progress: Progress | None
    ) -> Standardised:
        """Return the scores of the images in judged folds."""
        answers = targets(labelled.poses, self.spec.bins, self.spec.blur_deg, labelled.symmetry)
        members, prior = self._held_out(labelled, answers, folds, progress)
        rows = folds.judged
        turn_shows = labelled.symmetry[rows] != ROUND
        return standardise(answers[rows], members[:, rows], prior[rows], folds.of_image[rows], varies, turn_shows)

    def _held_out(
        self, labelled: Labelled, answers: NDArray[np.float64], folds: Folds, progress: Progress | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what models that never saw an image's fold predict of it, (members, N, heads, bins), and what the poses of their
        training images alone let expect, (N, heads, bins); ones for images in folds that are not judged."""
        spec, images, known_answers, fold_of = self.spec, labelled.images, answers, folds.of_image
        members = np.ones((spec.members, *answers.shape))
        prior = np.ones_like(answers)
        if spec.mirror:
            mirrored = labelled.poses * np.array([-1.0, 1.0, -1.0])
            images = np.concatenate([images, images[:, :, ::-1]])
            known_answers = np.concatenate([answers, targets(mirrored, spec.bins, spec.blur_deg, labelled.symmetry)])
            fold_of = np.tile(fold_of, 2)
        backbone = spec.backbone_for(len(answers))
        judged = np.unique(folds.of_image[folds.judged]).tolist()
        for member in range(spec.members):
            zoom = ridge.ZOOMS[member % len(ridge.ZOOMS)]
            described = LIGHT[backbone](images, zoom) if backbone in LIGHT else np.empty(0)
            for step, held in enumerate(judged):
                done = member * len(judged) + step

                def between(done: int = done) -> None:
                    if progress:
                        progress(done, spec.members * len(judged))

                rng = np.random.default_rng([spec.seed, member, held])
                out, known = np.flatnonzero(folds.of_image == held), np.flatnonzero(fold_of != held)
                if backbone in LIGHT:
                    predicted = ridge.predict(described[known], known_answers[known], described[out], rng)
                else:
                    predicted = self._by_network(images[known], known_answers[known], images[out], rng, backbone, between)
                expected = np.maximum(known_answers[known].mean(axis=0), LEAST_PROBABILITY)
                # Models that learned from objects without a symmetry may tell apart what this one's pictures cannot.
                predicted[:, AZIMUTH] = alike(predicted[:, AZIMUTH], labelled.symmetry[out])
                members[member, out], prior[out] = predicted, expected
                prior[out, AZIMUTH] = alike(prior[out, AZIMUTH], labelled.symmetry[out])
                between(done + 1)
        return members, prior / prior.sum(axis=2, keepdims=True)

    def _by_network(
        self,
        known: NDArray[np.uint8],
        answers: NDArray[np.float64],
        asked: NDArray[np.uint8],
        rng: np.random.Generator,
        backbone: str,
        between: Callable[[], None],
    ) -> NDArray[np.float64]:
        from models.verdict import network

        return network.predict(known, answers, asked, rng, self.spec, backbone, self.device, self.threads, between)

    def _facts(self, labelled: Labelled, folds: Folds, found: Standardised | None, not_judged: str | None) -> dict[str, Any]:
        """Return what record, report and card say of the whole set.

        `shift` of a fold: how much more its images speak against their poses than all images do, in robust standard deviations
        of the median. Above about 2, a CAD model of this fold contradicts the others as a whole (its alignment, or its images):
        scores, which are standardised within folds, cannot show that.
        """
        names, told = np.array(labelled.cad_ids), []
        judged_folds = folds.of_image[folds.judged]
        for fold in np.unique(folds.of_image).tolist():
            inside = folds.of_image == fold
            judged = found is not None and bool((judged_folds == fold).any())
            shift = round(fold_shift(found.against, judged_folds == fold), 3) if found is not None and judged else None
            cad_models = len(set(names[inside].tolist()))
            told.append({"images": int(inside.sum()), "cad_models": cad_models, "judged": judged, "shift": shift})
        weights = np.zeros(len(HEADS)) if found is None else found.weights
        none = found is None or not weights.any()
        return {
            "words": f"K-fold consistency filter: {f'not judged, {not_judged}' if none else folds.words}",
            "backbone": self.spec.backbone_for(len(names)),
            "fold_by": folds.by,
            "folds": told,
            "head_weights": {head: round(float(weights[h]), 4) for h, head in enumerate(HEADS)},
        }


def _why_not(folds: Folds, varies: NDArray[np.bool_], found: Standardised | None) -> str | None:
    """Return why images were not judged, in words; None when all were."""
    if found is None:
        return folds.too_small if not folds.judged.any() else "all images have the same pose"
    if not found.weights.any():
        return f"nothing could be learned from {len(folds.of_image)} images"
    by_azimuth_only = int(np.isnan(found.score).sum())
    same = f"{by_azimuth_only} images show objects that look the same from all sides, and only azimuth could be learned"
    return "; ".join(words for words in (folds.too_small, same if by_azimuth_only else None) if words) or None
