"""What an evaluation of a generator asks for: light to import, hashed into the keys of what it makes.

Enters: nothing. Leaves: ReadoutSpec (networks that read pictures) and EvaluationSpec (how many views, which settings are tried).
"""

from __future__ import annotations

from dataclasses import dataclass

from models.kinds import Spec
from models.world.spec import EVALUATION_SEED, WorldSpec

STAGE = "evaluation"
VERSION = 3
"""Raised whenever the same spec chooses other views, words or pictures."""


@dataclass(frozen=True, kw_only=True)
class ReadoutSpec(Spec):
    """The networks that say what a picture shows, trained on rendered pictures of the world and nothing else."""

    classes: tuple[str, ...] = ()
    """Classes they tell apart; empty means all of models.cad.parametric.TRAINED_CLASSES."""
    side: int = 64
    """Pictures are read at side x side pixels, the square around the object's box and, for the scene, the whole."""
    azimuth_bins: int = 36
    """Bins of the azimuth, for each class its own head: the readout is told the class, as the paper's is."""
    elevation_bins: int = 18
    """Bins of the elevation from -90 to 90 degrees."""
    blur_deg: float = 12.0
    """Width (sigma) of a target around its azimuth; elevation's is two thirds of it."""
    epochs: int = 40
    """Passes over the pictures."""
    learning_rate: float = 3e-3
    """Greatest rate of AdamW, reached after a tenth of the steps and falling to zero along a cosine."""
    batch: int = 64
    """Pictures in a step."""
    seed: int = 0
    """Of weights, order and changes of the pictures."""

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 16:
            raise ValueError(f"readouts take pictures of 32, 48, 64, ... pixels, not {self.side}")
        if self.epochs < 1 or self.batch < 2:
            raise ValueError("a readout needs at least one epoch and two pictures in a step")


def readout_world(classes: tuple[str, ...] = ()) -> WorldSpec:
    """Return the world that readouts learn from: many CAD models seen once, in two appearances, none of the held-out seeds."""
    return WorldSpec(classes=classes, seed=7, cad_seeds=EVALUATION_SEED, appearances=2)


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec(Spec):
    """One evaluation: everything that changes its figures, besides the generator."""

    samples: int = 256
    """Views of held-out CAD models of the trained classes."""
    uncommon: int = 64
    """At least so many views of each uncommon kind: from below or high above, and of one face alone."""
    without_control: int = 128
    """Of the first, so many are also painted with the control switched off."""
    pairs: int = 64
    """Of the first, so many are painted a second time from another seed."""
    untrained: int = 64
    """Views of classes that were never trained."""
    per_cad_model: int = 6
    """Views of each CAD model from a folder."""
    sweep: int = 32
    """Views that each setting of the sweep paints twice; 0 leaves sweep and samplers out."""
    realism: int = 2000
    """Views of held-out CAD models whose pictures are compared with as many of the world's, as sets; the first of them are those
    of `samples`. 0, or no pretrained features installed: not measured."""
    control_scales: tuple[float, ...] = (0.5, 1.0, 1.25, 1.5, 2.0)
    """Control scales that the sweep tries, each with each guidance."""
    guidances: tuple[float, ...] = (1.0, 1.5, 2.0, 4.0)
    """Guidances that the sweep tries."""
    samplers: tuple[tuple[str, int], ...] = (
        ("ddim", 20),
        ("ddim", 12),
        ("ddim", 8),
        ("dpmpp_2m", 12),
        ("dpmpp_2m", 8),
        ("unipc", 12),
        ("unipc", 8),
        ("euler", 12),
    )
    """Samplers (scheduler, steps) whose time and figures are compared; the sweep's views are painted."""

    @classmethod
    def of(cls, samples: int, sweep: int) -> EvaluationSpec:
        """Return an evaluation of another size, its parts in the default's proportions."""
        quarter = max(2, samples // 4)
        return cls(
            samples=samples,
            uncommon=quarter,
            without_control=samples // 2,
            pairs=quarter,
            untrained=quarter,
            sweep=sweep,
            realism=min(8 * samples, cls.realism),
        )

    def __post_init__(self) -> None:
        if self.samples < 8:
            raise ValueError(f"{self.samples} samples say nothing: take at least 8")
        counts = (self.uncommon, self.without_control, self.pairs, self.untrained, self.per_cad_model, self.sweep, self.realism)
        if min(counts) < 0:
            raise ValueError("an evaluation's counts are 0 or more")
