"""The judge `ensemble`: how likely has an image failed, by all that the other judges say of it?

Enters: the scores of the judges it reads, as far as the recipe has them. Leaves: `ensemble`, a calibrated probability of failure,
and `ensemble_<judge>`, what each judge adds to its log odds. It looks at no image itself, and judges behind the others.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec
from models.verdict import weighing
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

READS = ("kcf", "fidelity", "quality", "pose", "shape", "text")
"""Kinds of judges it reads. Not `duplicate`: an image that is twice there may be right both times, and planted failures that are
other images of the set would teach that twice is wrong."""


@functools.lru_cache(maxsize=1)
def _digest() -> str:
    try:
        return hashlib.sha256(weighing.BUNDLED.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return ""


@dataclass(frozen=True, kw_only=True)
class EnsembleSpec(JudgeSpec):
    """The weights that come with the project (models/weights/filters.json); there is nothing to set."""

    implementation: ClassVar[str] = "models.verdict.ensemble:Ensemble"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("ensemble", "ensemble_*")
    reads: ClassVar[tuple[str, ...]] = READS

    kind: Literal["ensemble"] = "ensemble"

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return which weights these are."""
        return {"weights": _digest()}

    def lacking(self) -> str | None:
        """Return what is wrong with the file of weights, in one line; None where it can be read."""
        try:
            weighing.load()
        except ValueError as error:
            return str(error)
        return None

    def weighed_most(self, scores: Mapping[str, float | None]) -> str | None:
        """Return the judge that added most to the log odds of failure."""
        added = {name.removeprefix("ensemble_"): value for name, value in scores.items() if name.startswith("ensemble_")}
        heard = {judge: value for judge, value in added.items() if value is not None}
        return max(heard, key=lambda judge: heard[judge]) if heard else None

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return the probability."""
        value = scores.get("ensemble")
        return super().in_words(scores, annotation) if value is None else f"failed with a probability of {value:.0%}"


class Ensemble:
    """Weighs what other judges say."""

    def __init__(
        self,
        spec: EnsembleSpec,
        device: str = "cpu",
        threads: int | None = None,
        scores: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        """scores: name -> (N,) of the other judges, in the order of the images; device, threads: as every judge is given them."""
        self.scores = scores or {}

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return the probability of failure of each image, and what each judge adds."""
        weights, count = weighing.load(), len(evidence)
        weighed = weighing.weigh(weights, self.scores, count)
        heard = {judge: int((~np.isnan(values)).sum()) for judge, values in weighed.added.items()}
        silent = [judge for judge in weights.judges if not heard[judge]]
        unsaid = int(np.isnan(weighed.probability).sum())
        if progress:
            progress(1, 1)
        read = ", ".join(judge for judge in weights.judges if heard[judge]) or "no judge"
        without = f"; less sure without {', '.join(silent)}" if silent and len(silent) < len(weights.judges) else ""
        return Judgement(
            scores={"ensemble": weighed.probability}
            | {f"ensemble_{judge}": values for judge, values in weighed.added.items() if heard[judge]},
            facts={"words": f"probability of failure from {read}{without}", "heard": heard, "weights": _digest()},
            not_judged=f"no judge that it reads said anything of {unsaid} of {count} images" if unsaid else None,
        )
