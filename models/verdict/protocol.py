"""Judges and rules: what measures the images of a class, and what decides from the measurements.

Enters: the images of a cohort as evidence. Leaves: from each judge, named scores for each image; from each rule, whether an image
passes. A score that could not be measured is NaN, never 0, and a rule says None of it. Each kind of judge is a module of this
package with a spec and a class, each kind of rule a pair of classes in models.verdict.rules or in a module of its own;
models.verdict.kinds lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec
from models.kinds import KindSpec
from models.sample import SampleId


class Evidence(Protocol):
    """One image as judges see it. Arrays are read when they are asked for, so that a large cohort fits into memory."""

    @property
    def sample(self) -> SampleId:
        """Which image of which view of which CAD model."""

    @property
    def annotation(self) -> Mapping[str, Any]:
        """What the render's record says: azimuth_deg, elevation_deg, inplane_deg, box ([x0, y0, x1, y1] in pixels) and more."""

    @property
    def symmetry(self) -> int:
        """Rotational symmetry of the CAD model about its upright axis (models.symmetry)."""

    @property
    def controls(self) -> Mapping[str, ControlSpec]:
        """Kind -> spec of each control that the image was to obey."""

    def image(self) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3)."""

    def control(self, kind: str) -> NDArray[np.uint8]:
        """Return one of the controls as it was drawn."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge measured of N images, in the order in which they were given."""

    scores: Mapping[str, NDArray[np.float64]]
    """Name -> (N,); NaN where an image was not judged."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else was found out about the set, in JSON types, for record, report and card; `words` says in a line what was done."""
    not_judged: str | None = None
    """Why none or some of the images were not judged, in words; None when all were."""


Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""


class Judge(Protocol):
    """A kind of judge at work; it is called with its spec, `device` (`auto`, `cpu`, `cuda`, ...) and `threads`."""

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Measure the images of one class. What is too little to judge is not judged, and that is no error."""


@dataclass(frozen=True, kw_only=True)
class JudgeSpec(KindSpec):
    """How a judge measures; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and images give other scores."""
    scores: ClassVar[tuple[str, ...]]
    """Names of the scores it gives; `fidelity_*` stands for any name that begins so."""

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return what else its scores depend on, besides its spec and the images: hashed into their key.

        `symmetry`: that of each CAD model, by cad_id. `controls`: the recipe's, by kind.
        """
        return {}


class Rule(Protocol):
    """A kind of rule at work; it is called with its spec. A pure function of stored scores."""

    def decide(self, values: NDArray[np.float64]) -> tuple[list[bool | None], str, float | None]:
        """Return, for a score of N images, whether each passes (None where the score is NaN), the rule in words, and the value
        that separates what passes from what does not (None where there is no such value)."""


@dataclass(frozen=True, kw_only=True)
class RuleSpec(KindSpec):
    """When an image is dropped; each kind adds its own fields."""

    score: str
    """The score it looks at."""
    reason: str
    """What the row of an image that fails says: lower-case words joined by underscores."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", self.reason):
            raise ValueError(f"reason {self.reason!r} must be lower-case words joined by underscores, such as pose_inconsistent")
