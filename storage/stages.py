"""The stages' names, in the order in which a sample goes through them: the one place that spells the list.

Rows, exports and reports need the names; what a stage reads, obeys and runs is the graph's business (tasks/stages.py).
"""

from __future__ import annotations

from typing import Literal, get_args

OfASample = Literal["cad", "render", "control", "caption", "image"]
"""A choice for a command line."""
OF_A_SAMPLE: tuple[str, ...] = get_args(OfASample)
"""Stages with artifacts of single samples, in the order in which a sample can fail."""
OF_A_COHORT = ("readout", "score", "verdict")
"""Stages with artifacts of a whole class: what a judge learns from its CAD models, a judge's scores of all images together, and
what the rules make of them."""
STAGES = OF_A_SAMPLE + OF_A_COHORT

FILE = {
    "cad": "model.glb",
    "render": "rgba.png",
    "control": "control.png",
    "caption": "caption.json",
    "image": "image.png",
    "readout": "readout.safetensors",
    "score": "scores.json",
    "verdict": "verdicts.json",
}
"""The file that a stage is about; an artifact's others are in its record."""


def before(stage: str) -> tuple[str, ...]:
    """Return the stages of a sample that come before `stage`."""
    return OF_A_SAMPLE[: STAGES.index(stage)]


def behind(stage: str) -> tuple[str, ...]:
    """Return the stages of a sample that come behind `stage`."""
    return OF_A_SAMPLE[STAGES.index(stage) + 1 :]
