"""What the verdict stage obeys: how images are judged against their own annotations and when they are dropped."""

from __future__ import annotations

from dataclasses import dataclass

STAGE = "verdict"
VERSION = 1
"""Raised whenever the same spec and images give other scores."""

BACKBONES = ("auto", "hog", "resnet-small", "resnet-50")
RULES = ("robust_z", "quantile")

POSE_INCONSISTENT = "pose_inconsistent"
"""Reason: held-out models that learned from the other CAD models do not see the annotated pose in this image."""
EDGES_LOST = "edges_lost"
"""Reason: the lines that the generator was told to draw are not in the image."""


@dataclass(frozen=True, kw_only=True)
class VerdictSpec:
    """The K-fold consistency filter and the edge check beside it.

    `threshold`, `rule` and `min_edge_score` only decide; they can be moved later over stored scores, see models.verdict.decide.
    """

    backbone: str = "auto"
    """`hog`: gradient histograms with kernel ridge heads, seconds on one core. `resnet-small`: a small ResNet from scratch; wants
    thousands of images and a GPU. `resnet-50`: the paper's. `auto`: hog up to `hog_limit` images, resnet-small beyond."""
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
    rule: str = "robust_z"
    """`robust_z`: drop scores above `threshold`, in robust standard deviations of the fold. `quantile`: keep the best share,
    which is `threshold`."""
    threshold: float = 3.0
    """robust_z: 3 drops about one good image in twenty. quantile: 0.8 keeps the best four fifths."""
    min_edge_score: float | None = 0.25
    """Images whose edge score (models.verdict.shape; 1 = all control lines found, 0 = as many as chance) is below are dropped as
    well; None: edge scores are stored and drop nothing."""

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"no such backbone {self.backbone!r}; there are: {', '.join(BACKBONES)}")
        if self.rule not in RULES:
            raise ValueError(f"no such verdict rule {self.rule!r}; there are: {', '.join(RULES)}")
        if self.rule == "quantile" and not 0 < self.threshold <= 1:
            raise ValueError(f"with rule quantile the threshold is the share kept, above 0 and at most 1; it is {self.threshold}")
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
                raise ValueError(f"verdict {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if not 0 < self.blur_deg <= 90 or not 1 <= self.margin <= 4 or not 0 < self.learning_rate < 10:
            raise ValueError("verdict needs 0 < blur_deg <= 90, 1 <= margin <= 4 and 0 < learning_rate < 10")
        if self.min_edge_score is not None and not -1 <= self.min_edge_score <= 1:
            raise ValueError(f"min_edge_score is {self.min_edge_score}; it must lie between -1 and 1, or be None")
