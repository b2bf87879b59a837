"""What a recipe says wrongly of a kind is one line that names the field, and what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from models.caption.kinds import CAPTIONERS
from models.image.kinds import GENERATORS
from models.kinds import BadSpec, Kinds, read
from models.render.spec import RenderSpec


@pytest.mark.parametrize(
    ("door", "said", "line"),
    [
        (GENERATORS, {"kind": "controlnet", "stepz": 3}, r'image has no field "stepz"; did you mean "steps"\?; it has: kind'),
        (GENERATORS, {"kind": "finished-render", "steps": 3}, 'image has no field "steps"'),
        (GENERATORS, {"kind": "controlnet", "steps": "3"}, "image.steps is a whole number, not '3'"),
        (GENERATORS, {"kind": "controlnet", "steps": 0}, "steps 0 is not in 1..1000"),
        (GENERATORS, {"kind": "controlnt"}, r"image: no generator of kind 'controlnt'; did you mean \"controlnet\"\?"),
        (
            GENERATORS,
            {"kind": "controlnet", "control_models": [{"control": "canny", "model": "x", "sclae": 2}]},
            r'image.control_models.0 has no field "sclae"; did you mean "scale"\?',
        ),
        (CAPTIONERS, {"kind": "grammar", "scenes": ["moon"]}, "caption scenes has no word 'moon'"),
    ],
)
def test_a_wrong_spec_is_one_line(door: Kinds[Any], said: dict[str, Any], line: str) -> None:
    with pytest.raises(BadSpec, match=line) as caught:
        door.read(said, "image")
    assert "\n" not in str(caught.value)


def test_a_field_of_a_spec_within_a_spec_is_named_with_its_table() -> None:
    with pytest.raises(BadSpec, match=r'render.viewpoint has no field "distanc"; did you mean "distance"\?'):
        read(RenderSpec, {"viewpoint": {"distanc": 1.0}}, "render")
