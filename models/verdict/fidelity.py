"""The judge `fidelity`: did the generator draw what it was told to?

Enters: images and the controls they were made from. Leaves: `fidelity_<kind>`, how well an image obeys each of its controls by
that control's own measure (1 entirely, 0 no better than chance), and `fidelity`, the lowest of them. Each image is judged by
itself, so that there are never too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from models.control.protocol import ControlSpec
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress


@dataclass(frozen=True, kw_only=True)
class FidelitySpec(JudgeSpec):
    """Each control's own measure; there is nothing to set."""

    implementation: ClassVar[str] = "models.verdict.fidelity:Fidelity"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("fidelity", "fidelity_*")

    kind: Literal["fidelity"] = "fidelity"

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return the version of each control's measure."""
        return {"fidelity": {kind: spec.fidelity_version for kind, spec in controls.items()}}

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return which control was lost."""
        values = {name: value for name, value in scores.items() if name.startswith("fidelity_") and value is not None}
        if not values:
            return super().in_words(scores, annotation)
        lost = min(values, key=lambda name: values[name])
        return f"{lost.removeprefix('fidelity_')} is not found again in the image ({max(0.0, values[lost]):.0%} of it)"


class Fidelity:
    """Compares each image with its controls."""

    def __init__(self, spec: FidelitySpec, device: str = "cpu", threads: int | None = None) -> None:
        """device, threads: as every judge is given them; this one works on one core."""

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `fidelity` and `fidelity_<kind>` of each image, NaN where its controls show nothing to find again."""
        from models.control.kinds import CONTROLS

        specs = {kind: spec for one in evidence for kind, spec in one.controls.items()}
        controls = {kind: CONTROLS.load(spec) for kind, spec in sorted(specs.items())}
        found = {kind: np.full(len(evidence), np.nan) for kind in controls}
        for index, one in enumerate(evidence):
            image = one.image()
            for kind in one.controls:
                found[kind][index] = controls[kind].fidelity(image, one.control(kind))
            if progress:
                progress(index + 1, len(evidence))
        lowest = np.fmin.reduce([np.full(len(evidence), np.nan), *found.values()])
        empty = int(np.isnan(lowest).sum())
        why = f"{empty} of {len(evidence)} images have no control that shows anything to be found again"
        return Judgement(
            scores={"fidelity": lowest, **{f"fidelity_{kind}": values for kind, values in found.items()}},
            facts={"words": f"fidelity to the control by its own measure: {', '.join(controls) or 'there is none'}"},
            not_judged=why if empty else None,
        )
