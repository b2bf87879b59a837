"""What somebody says of pictures who sees them alone, without prompt and edges, against what was asked for.

Enters: a text with a line for each picture of a page, "red car, behind left", and the cases that the pictures were painted for.
Leaves: how many were named rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.caption import vocabulary
from models.evaluation.cases import Case
from models.symmetry import ROUND, azimuth_error

SIDES = {
    "front": 0.0,
    "front left": 45.0,
    "left": 90.0,
    "behind left": 135.0,
    "behind": 180.0,
    "behind right": 225.0,
    "right": 270.0,
    "front right": 315.0,
}
"""What is said of the side that is seen -> the camera's azimuth in degrees."""
NO_SIDE = "-"
"""Said where no side can be told: right of objects that look alike from all sides."""
BESIDE_DEG = 45.0
"""A side that is named may be the next one."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What somebody said of one picture."""

    colour: str
    class_name: str
    side: str


def read(text: str) -> list[Said]:
    """Return what is said in a text: a line a picture, "COLOUR CLASS, SIDE"; empty lines and # are skipped. Raises ValueError."""
    made = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        what, _, side = (part.strip() for part in line.partition(","))
        colour, _, class_name = what.partition(" ")
        if not class_name or side not in {*SIDES, NO_SIDE}:
            raise ValueError(f'line {number}, "{line}", is not COLOUR CLASS, SIDE; sides: {", ".join(SIDES)} or {NO_SIDE}')
        made.append(Said(colour=colour, class_name=class_name, side=side))
    return made


def score(said: Sequence[Said], cases: Sequence[Case]) -> dict[str, int]:
    """Return of how many pictures class, colour and side were named rightly, and of how many all three. Raises ValueError."""
    if len(said) != len(cases):
        raise ValueError(f"{len(said)} pictures are named, {len(cases)} were shown")
    right = {
        "class": [one.class_name == case.class_name for one, case in zip(said, cases, strict=True)],
        "colour": [one.colour == colour_of(case) for one, case in zip(said, cases, strict=True)],
        "side": [_side_is_right(one, case) for one, case in zip(said, cases, strict=True)],
    }
    both = np.array(list(right.values())).all(axis=0)
    return {"pictures": len(cases)} | {name: sum(found) for name, found in right.items()} | {"all": int(both.sum())}


def colour_of(case: Case) -> str:
    """Return the colour that a picture should have: wood is brown without a word for it."""
    return "brown" if case.words["material"] == "wooden" else case.words["colour"]


def asked(case: Case) -> str:
    """Return what should be said of a case's picture."""
    azimuth, elevation, _ = case.pose
    place = (vocabulary.side(azimuth), vocabulary.height(elevation), case.words["scene"])
    return ", ".join([f"{colour_of(case)} {case.class_name}", *filter(None, place)])


def _side_is_right(said: Said, case: Case) -> bool:
    if said.side == NO_SIDE:
        return case.symmetry == ROUND
    away = azimuth_error(np.array([SIDES[said.side]]), np.array([case.pose[0]]), np.array([case.symmetry]))
    return bool(away[0] <= BESIDE_DEG)
