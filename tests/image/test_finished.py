"""Finished renders as a generator: one protocol with the others, and no picture of which the annotation would not be true."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.cad import parametric
from models.image.finished import FinishedRenderSpec
from models.image.kinds import GENERATORS
from models.image.protocol import ImageRequest
from models.sample import SampleId
from models.world.finished import finish
from models.world.glb import load
from tests.world.test_finished import ANNOTATION

SPEC = FinishedRenderSpec(resolution=96)
TEAPOT, CUP = parametric.glb("teapot", 10_001), parametric.glb("cup", 10_001)


def _request(class_name: str, view: int, glb: bytes) -> ImageRequest:
    sample = SampleId(class_name=class_name, cad_id=class_name[0] * 64, view_index=view)
    mask = finish(load(glb), sample, ANNOTATION, {}, SPEC.world()).mask
    return ImageRequest(sample=sample, annotation=ANNOTATION, mask=lambda: mask, cad=lambda: glb)


def test_a_picture_whose_object_is_not_where_its_render_says_is_a_failure_with_that_name() -> None:
    good = _request("teapot", 0, TEAPOT)
    assert good.mask is not None
    elsewhere = np.roll(good.mask(), 9, axis=1)
    moved = dataclasses.replace(good, mask=lambda: elsewhere)
    first, second = GENERATORS.load(SPEC, device="cpu", threads=1, batch=4).generate([good, moved])
    assert (first.reason, first.seed, first.attempt) == (None, good.sample.seed("look"), 0)
    assert first.rgb is not None
    assert (second.reason, second.rgb) == ("outline_differs", None)


def test_an_image_is_the_same_in_any_company_and_each_cad_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    monkeypatch.setattr("models.world.glb.load", lambda glb: (loaded.append(len(glb)), load(glb))[1])
    asked = [_request("teapot", 0, TEAPOT), _request("cup", 0, CUP), _request("teapot", 1, TEAPOT)]
    told: list[tuple[int, int]] = []
    together = GENERATORS.load(SPEC, device="cpu", threads=1, batch=4).generate(asked, lambda *done: told.append(done))
    assert [image.sample for image in together] == [request.sample for request in asked]
    assert sorted(loaded) == sorted([len(TEAPOT), len(CUP)])
    assert told == [(1, 3), (2, 3), (3, 3)]
    alone = GENERATORS.load(SPEC, device="cpu", threads=1, batch=4).generate(asked[1:2])[0]
    assert np.array_equal(alone.rgb, together[1].rgb)


def test_a_request_without_its_cad_model_is_named() -> None:
    request = dataclasses.replace(_request("teapot", 0, TEAPOT), cad=None)
    with pytest.raises(ValueError, match=f"{request.sample}: a finished render takes"):
        GENERATORS.load(SPEC, device="cpu", threads=1, batch=4).generate([request])
