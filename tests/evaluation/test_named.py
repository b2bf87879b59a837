"""What somebody says of pictures, held against what was asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.evaluation import named
from models.evaluation.cases import Case
from models.sample import SampleId

PIXELS = np.zeros((8, 8), np.uint8)
CAR = Case(
    sample=SampleId(class_name="car", cad_id="0123456789ab", view_index=0),
    rgb=np.zeros((8, 8, 3), np.uint8),
    edges=PIXELS,
    mask=PIXELS,
    words={"colour": "red", "material": "painted", "scene": "grass", "light": "noon"},
    prompt="a red car on grass",
    pose=(170.0, 10.0, 0.0),
)


def test_a_side_may_be_the_one_beside_it_and_no_further() -> None:
    text = "red car, behind\nred car, behind left  # unsure\n\nred car, left\nblue car, behind\nred bus, behind\nred car, -\n"
    said = named.read(text)
    assert named.score(said, [CAR] * len(said)) == {"pictures": 6, "class": 5, "colour": 5, "side": 4, "all": 2}


def test_no_side_is_right_of_what_looks_alike_from_all_and_either_end_of_what_has_two() -> None:
    ball = dataclasses.replace(CAR, symmetry=0)
    table = dataclasses.replace(CAR, symmetry=2)
    said = named.read("red car, -\nred car, front\nred car, front\nred car, -\n")
    assert named.score(said, [ball, ball, table, table])["side"] == 3


def test_wood_is_brown() -> None:
    wooden = dataclasses.replace(CAR, words=CAR.words | {"material": "wooden"})
    assert named.colour_of(wooden) == "brown"
    assert named.asked(wooden) == "brown car, seen from behind, grass"


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(ValueError, match='line 2, "red car", is not COLOUR CLASS, SIDE'):
        named.read("red car, left\nred car\n")
    with pytest.raises(ValueError, match="1 pictures are named, 2 were shown"):
        named.score(named.read("red car, left"), [CAR, CAR])
