"""Judges and rules: what measures the images of a class, and what decides from the measurements.

Enters: the images of a cohort as evidence, and for a judge that is taught, the CAD models of their class. Leaves: from each
judge, named scores for each image; from each rule, whether an image passes. A score that could not be measured is NaN, never 0,
and a rule says None of it. Each kind of judge is a module of this package with a spec and a class, each kind of rule a pair of
classes in models.verdict.rules or in a module of its own; models.verdict.kinds lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Protocol, Self

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

    @property
    def class_name(self) -> str:
        """The class that the image should show."""

    @property
    def caption(self) -> str:
        """The prompt that the generator was given; "" where nobody knows."""

    @property
    def keywords(self) -> tuple[str, ...]:
        """Words about the CAD model."""

    def image(self) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3)."""

    def control(self, kind: str) -> NDArray[np.uint8]:
        """Return one of the controls as it was drawn."""

    def mask(self) -> NDArray[np.uint8] | None:
        """Return where the render shows the object, (H, W) 0 or 255; None where there is no render, as of imported images."""

    def depth(self) -> NDArray[np.float32] | None:
        """Return the render's depth (H, W) along the optical axis in longest sides of the object, 0 where nothing is; or None."""

    def normals(self) -> NDArray[np.uint8] | None:
        """Return the render's normals (H, W, 3) as its picture holds them (models.render.annotation.normal_picture); or None."""


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


class CadSource(Protocol):
    """A CAD model of the class, as readouts are taught by it."""

    @property
    def cad_id(self) -> str:
        """sha256 of its source."""

    @property
    def class_name(self) -> str:
        """Its class."""

    @property
    def symmetry(self) -> int:
        """Its rotational symmetry about its upright axis (models.symmetry)."""

    @property
    def keywords(self) -> tuple[str, ...]:
        """Words about it."""

    def glb(self) -> bytes:
        """Return its canonical GLB."""


class NothingToTeach(ValueError):
    """No CAD model of the class can teach anything: an expected misfortune; one line that says why."""


class Readout(Protocol):
    """A kind of readout at work; it is called with its spec, `device` and `threads`, as a judge is."""

    def teach(self, models: Sequence[CadSource], progress: Progress | None = None) -> bytes:
        """Return what the class's CAD models teach, packed (models.verdict.readout): equal specs and CAD models, equal bytes.

        A CAD model that teaches nothing is left out and named in the facts. Raises NothingToTeach when all are.
        """


@dataclass(frozen=True, kw_only=True)
class ReadoutSpec(KindSpec):
    """What a judge must be taught about a class before it judges, by nothing but CAD models: a field of the judge's spec."""

    version: ClassVar[int]
    """Raised whenever the same spec and CAD models teach something else."""

    def identity(self) -> dict[str, Any]:
        """Return what else decides what is taught."""
        return {}


class Judge(Protocol):
    """A kind of judge at work; it is called with its spec, `device` (`auto`, `cpu`, `cuda`, ...) and `threads`, and one that is
    taught with `readout`, the bytes of what it was taught."""

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Measure the images of one class. What is too little to judge is not judged, and that is no error."""


@dataclass(frozen=True, kw_only=True)
class JudgeSpec(KindSpec):
    """How a judge measures; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and images give other scores."""
    scores: ClassVar[tuple[str, ...]]
    """Names of the scores it gives; `fidelity_*` stands for any name that begins so."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Kinds of judges whose scores it wants to see: it judges behind them, and is called with `scores`, name -> (N,)."""

    def taught_by(self) -> ReadoutSpec | None:
        """Return how its readout is taught by the class's CAD models; None for a judge that needs none."""
        return None

    def pinned(self) -> Self:
        """Return the spec with every revision filled in: the form that is hashed, recorded and obeyed."""
        return self

    def lacking(self) -> str | None:
        """Return, in one line, what is missing on this machine to judge with it and what to do; None where nothing is."""
        return None

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return what else its scores depend on, besides its spec and the images: hashed into their key.

        `symmetry`: that of each CAD model, by cad_id. `controls`: the recipe's, by kind.
        """
        return {}

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return what it saw in an image, as a person reads it who asks why that was dropped.

        `scores`: all of the image's, by name; None where it was not judged. `annotation`: as of Evidence.
        """
        mine = (name for name in sorted(scores) if any(fnmatchcase(name, given) for given in self.scores))
        return ", ".join(f"{name} {value:.3g}" for name in mine if (value := scores[name]) is not None)

    def weighed_most(self, scores: Mapping[str, float | None]) -> str | None:
        """Return the kind of the judge whose scores weighed most in this one's, where it judges by those of others."""
        return None


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

    def expected(self, values: NDArray[np.float64], threshold: float | None) -> dict[str, float] | None:
        """Return what it promises of these scores at this threshold, for a kind that can: precision, recall, lost, left."""
        return None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", self.reason):
            raise ValueError(f"reason {self.reason!r} must be lower-case words joined by underscores, such as pose_inconsistent")
