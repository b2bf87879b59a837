"""What a benchmark of filters asks for: light to import, hashed into the keys of what it makes.

Enters: nothing. Leaves: FiltersSpec (which classes, how many CAD models, views and failures) and the setting of the generator.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.image.controlnet import ControlNetSpec
from models.kinds import Spec
from models.world.spec import EVALUATION_SEED

STAGE = "filters"
VERSION = 1
"""Raised whenever the same spec makes other sets or other figures."""

CAD_SEED = EVALUATION_SEED + 6000
"""Parametric CAD models of the sets have seeds from here on: no training, panel or evaluation of a generator saw them."""


def setting() -> ControlNetSpec:
    """Return the generator that paints the sets: the embedded one in 8 steps, which its own figures show to be as good as 20."""
    return ControlNetSpec(steps=8)


@dataclass(frozen=True, kw_only=True)
class FiltersSpec(Spec):
    """One benchmark: everything that changes its sets."""

    classes: tuple[str, ...] = ("airplane", "car", "chair")
    """Bundled classes, each judged by itself; an image of another class, planted, is one of the others'."""
    cad_models: int = 12
    """CAD models of each class."""
    views: int = 20
    """Views of each CAD model."""
    rates: tuple[float, ...] = (0.05, 0.10, 0.20)
    """Share of a set's images that fail, a set for each: all kinds of failure in equal parts."""
    systematic: float = 0.20
    """Share of the CAD models that fail alike, half of them by a quarter turn and half by half a turn, in a set of its own."""
    seed: int = 0
    """Which images fail, and how."""

    def __post_init__(self) -> None:
        from models.cad.parametric import CLASSES

        for name in self.classes:
            if name not in CLASSES:
                raise ValueError(f"no bundled class {name!r}; there are: {', '.join(CLASSES)}")
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError("a benchmark needs at least one class, and each of them once")
        if self.cad_models < 1 or self.views < 1:
            raise ValueError("a set needs at least one CAD model and one view of it")
        if not self.rates or not all(0.0 < rate < 1.0 for rate in (*self.rates, self.systematic)):
            raise ValueError(f"shares of failures lie between 0 and 1, not {self.rates} and {self.systematic}")


TAUGHT_BY = FiltersSpec(classes=("boat", "bus", "table"), cad_models=8, views=12, rates=(0.1, 0.2, 0.3), systematic=0.25)
"""The sets that the bundled weights are fitted on: none of their classes is in the benchmark's own. So many failures, since each
kind has to be met."""
