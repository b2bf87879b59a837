"""The judge `kcf-official`: the published K-fold consistency filter to the letter, as a yardstick.

Enters: the images of one class with their canonical poses. Leaves `kcf_official`: the summed cross-entropy of the annotated
azimuth, elevation and in-plane rotation under a network trained on the other folds; high is suspect (3D-DST section 3.3 and
the official code). What the judge `kcf` does otherwise stays here as it was published: folds are made by image, so that a CAD
model whose images all fail alike has taught the network that judges it; each angle is one of 41 hard bins; images are judged
in training mode, so that a score depends on the images beside it; symmetries are unknown; scores of different folds are taken to
be comparable. With ResNet-50 at 256 pixels it needs a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.network import SHAPES
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

RANGES = ((0.0, 360.0), (-90.0, 90.0), (-180.0, 180.0))
"""Of azimuth, elevation and in-plane rotation, in degrees, each cut into bins."""


@dataclass(frozen=True, kw_only=True)
class KcfOfficialSpec(JudgeSpec):
    """The K-fold consistency filter as published."""

    implementation: ClassVar[str] = "models.verdict.kcf_official:KcfOfficial"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("kcf_official",)

    kind: Literal["kcf-official"] = "kcf-official"
    backbone: str = "resnet-50"
    """The paper's `resnet-50`, from scratch, or `resnet-small`."""
    side: int = 256
    """Images are judged whole, at side x side pixels."""
    folds: int = 5
    """Folds, dealt at random by image."""
    bins: int = 41
    """Bins of each angle."""
    epochs: int = 150
    """Passes over the training folds."""
    learning_rate: float = 0.01
    """Of SGD with momentum 0.9, constant."""
    batch: int = 32
    """Images in a step, and beside each other when they are judged."""
    seed: int = 0
    """Of folds, weights and order."""

    def __post_init__(self) -> None:
        if self.backbone not in SHAPES:
            raise ValueError(f"no such backbone {self.backbone!r}; there are: {', '.join(SHAPES)}")
        limits = {"side": (32, 512), "folds": (2, 50), "bins": (4, 360), "epochs": (1, 1000), "batch": (2, 4096)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"kcf-official {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if not 0 < self.learning_rate < 10:
            raise ValueError(f"kcf-official needs 0 < learning_rate < 10, not {self.learning_rate}")


class KcfOfficial:
    """Trains a network on all folds but one and measures how surprised it is by the annotations of that one."""

    def __init__(self, spec: KcfOfficialSpec, device: str = "cpu", threads: int | None = None) -> None:
        """device: where the network is trained (`auto`, `cpu`, `cuda`, ...); threads: cores for torch, None: its own choice."""
        self.spec, self.device, self.threads = spec, device, threads

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `kcf_official` of each image; fewer images than two for each fold are not judged."""
        import cv2

        from models.verdict.network import surprise_in_training_mode

        spec = self.spec
        order = sorted(range(len(evidence)), key=lambda index: evidence[index].sample)
        scores = np.full(len(order), np.nan)
        if len(order) < 2 * spec.folds:
            why = f"{len(order)} images are too few for {spec.folds} folds of two"
            return Judgement(scores={"kcf_official": scores}, facts={"words": f"KCF as published: {why}"}, not_judged=why)
        size = (spec.side, spec.side)
        images = np.stack([cv2.resize(evidence[index].image(), size, interpolation=cv2.INTER_AREA) for index in order])
        rows = [evidence[index].annotation for index in order]
        poses = np.array([[row["azimuth_deg"], row["elevation_deg"], row["inplane_deg"]] for row in rows], np.float64)
        answers = binned(poses, spec.bins)
        rng = np.random.default_rng(spec.seed)
        fold_of = rng.permutation(len(order)) % spec.folds
        found = np.empty(len(order))
        for fold in range(spec.folds):

            def between(done: int = fold) -> None:
                if progress:
                    progress(done, spec.folds)

            out, known = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
            found[out] = surprise_in_training_mode(
                images[known], answers[known], images[out], answers[out], rng, spec, self.device, self.threads, between
            )
            between(fold + 1)
        scores[order] = found
        words = f"KCF as published: {spec.backbone} at {spec.side} px, {spec.folds} folds by image, {spec.epochs} epochs"
        return Judgement(scores={"kcf_official": scores}, facts={"words": words, "backbone": spec.backbone})


def binned(poses: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return (N, 3) the bin of each angle of poses (N, 3) in degrees."""
    made = np.empty(poses.shape, np.int64)
    for angle, (low, high) in enumerate(RANGES):
        share = (poses[:, angle] - low) / (high - low)
        share = share if angle == 1 else share % 1.0
        made[:, angle] = np.clip((share * bins).astype(np.int64), 0, bins - 1)
    return made
