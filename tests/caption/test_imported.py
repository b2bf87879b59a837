"""Captions that others wrote are quoted word for word."""

from __future__ import annotations

import pytest

from models.caption.imported import ImportedSpec
from models.caption.kinds import CAPTIONERS
from models.caption.protocol import Caption, CaptionRefused, CaptionRequest
from models.kinds import BadSpec
from models.sample import SampleId

SPEC = ImportedSpec(origin="3d-dst", revision="r", negative_prompt="blurred")


def quoted(written: str | None) -> Caption:
    sample = SampleId(class_name="car", cad_id="a" * 64, view_index=0)
    request = CaptionRequest(sample=sample, class_name="car", azimuth_deg=0.0, elevation_deg=0.0, written=written, most_tokens=3)
    caption: Caption = CAPTIONERS.load(SPEC).caption(request)
    return caption


def test_a_caption_is_quoted_word_for_word_whatever_the_generator_takes() -> None:
    caption = quoted(" a  car\nby the sea ")
    assert (caption.prompt, caption.negative_prompt) == ("a car by the sea", "blurred")
    assert (caption.captioner, caption.revision, caption.words) == ("imported: 3d-dst", "r", {"class_name": "car"})


@pytest.mark.parametrize(("text", "reason"), [(None, "no_caption"), (" ", "no_caption"), ("x" * 9000, "caption_too_long")])
def test_what_is_no_caption_is_refused_with_a_reason(text: str | None, reason: str) -> None:
    with pytest.raises(CaptionRefused) as caught:
        quoted(text)
    assert caught.value.reason == reason


def test_imported_captions_need_their_origin() -> None:
    with pytest.raises(BadSpec, match=r'need their origin, as in .caption. kind = "imported", origin = "3d-dst"'):
        CAPTIONERS.read({"kind": "imported"}, "caption")
    with pytest.raises(BadSpec, match="no captioner of kind 'poet'; there are: grammar, imported, llm-local, llm-api"):
        CAPTIONERS.read({"kind": "poet"}, "caption")
