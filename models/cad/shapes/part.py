"""What a bundled CAD model consists of: named parts, each with its own surface, and the words that describe it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.cad.shapes.solid import Solid
from models.caption.vocabulary import COLOURS

Colour = tuple[float, float, float]

GLASS: Colour = (0.03, 0.04, 0.05)
TYRE: Colour = (0.015, 0.015, 0.015)
TRIM: Colour = (0.03, 0.03, 0.032)
CHROME: Colour = (0.62, 0.63, 0.65)
LAMP: Colour = (0.92, 0.92, 0.85)
TAIL: Colour = (0.60, 0.01, 0.01)
PLATE: Colour = (0.80, 0.80, 0.72)
WOODS: tuple[Colour, ...] = ((0.42, 0.24, 0.10), (0.25, 0.12, 0.05), (0.55, 0.37, 0.19), (0.12, 0.06, 0.03))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A named piece with one surface."""

    name: str
    """`body`, `wheel_fl`, ...; unique within a model."""
    solid: Solid
    """Its closed surfaces, canonical axes, any unit."""
    colour: Colour
    """Linear RGB base colour in [0, 1]."""
    metallic: float = 0.0
    """0 for a dielectric, 1 for a metal."""
    roughness: float = 0.5
    """0 mirror-like, 1 dull."""


class Assembly:
    """Parts in the order of their making."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def add(self, name: str, solid: Solid, colour: Colour, metallic: float = 0.0, roughness: float = 0.4) -> None:
        self.parts.append(Part(name=name, solid=solid, colour=colour, metallic=metallic, roughness=roughness))


@dataclass(frozen=True, kw_only=True)
class Model:
    """One CAD model."""

    parts: tuple[Part, ...]
    """At least two."""
    keywords: tuple[str, ...]
    """Words for it beside its class, the most telling first."""
    symmetry: int = 1
    """Rotational symmetry about +z: 1 none, n for one that a turn of 360 / n degrees does not change, 0 for any turn."""


def paint(rng: np.random.Generator) -> Colour:
    """Draw one of the colours that captions name."""
    return COLOURS[list(COLOURS)[int(rng.integers(len(COLOURS)))]]


def wood(rng: np.random.Generator) -> Colour:
    return WOODS[int(rng.integers(len(WOODS)))]


def pick(rng: np.random.Generator, *choices: str) -> str:
    """Draw one word."""
    return choices[int(rng.integers(len(choices)))]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))
