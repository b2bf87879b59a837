"""What pictures show against what words say: the bundled readouts, and a tiny CLIP model in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.evaluation.filters import sets
from models.evaluation.filters.spec import FiltersSpec
from models.image.weights import UnknownModel
from models.sample import SampleId
from models.verdict.clip import Clip, ClipSpec
from models.verdict.text import Text, TextSpec, colour_said
from tests.verdict.seen import Seen
from tests.verdict.tiny_clip import saved


@pytest.fixture(scope="module")
def shown() -> list[Seen]:
    """Renders of cars and teapots in colours that their captions say."""
    found = []
    for class_name in ("car", "teapot"):
        for case in sets.views(FiltersSpec(classes=(class_name,), cad_models=3, views=3), class_name):
            found.append(
                Seen(sample=case.sample, picture=case.rgb, annotation={}, caption=case.prompt, rendered={"mask": case.mask})
            )
    return found


def said(one: Seen, **other: Any) -> Seen:
    class_name = other.pop("class_name", one.class_name)
    sample = SampleId(**{**dataclasses.asdict(one.sample), "class_name": class_name})
    return dataclasses.replace(one, sample=sample, **other)


def test_another_class_or_colour_than_is_said_is_less_likely(shown: list[Seen]) -> None:
    judge = Text(TextSpec(), threads=1)
    right = judge.judge(shown)
    assert right.not_judged is None
    other = {"car": "teapot", "teapot": "car"}
    wrong_class = judge.judge([said(one, class_name=other[one.class_name]) for one in shown]).scores
    colours = [colour_said(one.caption) for one in shown]
    swapped = [
        said(one, caption=one.caption.replace(colour, "purple" if colour in ("green", "white", "yellow") else "green"))
        for one, colour in zip(shown, colours, strict=True)
        if colour
    ]
    wrong_colour = judge.judge(swapped).scores
    assert (right.scores["text_class"] > wrong_class["text_class"]).mean() > 0.9
    told = ~np.isnan(right.scores["text_colour"])
    assert (right.scores["text_colour"][told] > wrong_colour["text_colour"]).mean() > 0.85
    for scores in (right.scores, wrong_class):
        assert np.array_equal(scores["text"], np.fmin(scores["text_class"], scores["text_colour"]))
        assert ((scores["text"] >= 0) & (scores["text"] <= 1)).all()


def test_a_class_and_words_that_the_readouts_do_not_know_are_not_judged(shown: list[Seen]) -> None:
    one = shown[0]
    judged = Text(TextSpec(), threads=1).judge(
        [
            said(one, class_name="hydrant", caption="a red hydrant"),
            said(one, class_name="hydrant", caption="a hydrant"),
            said(one, caption="a car"),
            said(one, rendered={}),
        ]
    )
    assert np.isnan(judged.scores["text_class"]).tolist() == [True, True, False, True]
    assert np.isnan(judged.scores["text_colour"]).tolist() == [False, True, True, True]
    assert np.isnan(judged.scores["text"]).tolist() == [False, True, False, True]
    assert judged.not_judged == (
        "1 of 4 images have no render that says where the object is; the readouts do not know the class hydrant, and 1 captions "
        "say no colour"
    )


@pytest.mark.parametrize(
    ("caption", "keywords", "colour"),
    [
        ("a red metallic car on sand", (), "red"),
        ("a car in a white studio", (), None),
        ("a Black car in a white studio", (), "black"),
        ("a red and a blue car", (), None),
        ("a red cross van, white, at night", ("red cross van",), "white"),
        ("a wooden car, well-greyed", (), None),
        ("", (), None),
    ],
)
def test_the_colour_that_is_said_is_the_objects(caption: str, keywords: tuple[str, ...], colour: str | None) -> None:
    assert colour_said(caption, keywords) == colour


def test_an_image_larger_than_its_render_is_read_the_same(shown: list[Seen]) -> None:
    import cv2

    large = np.asarray(cv2.resize(shown[0].picture, (384, 384), interpolation=cv2.INTER_CUBIC), np.uint8)
    scores = Text(TextSpec(), threads=1).judge([shown[0], said(shown[0], picture=large)]).scores
    assert scores["text_class"][1] == pytest.approx(scores["text_class"][0], abs=0.15)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model that has learned nothing, in a folder."""
    return saved(tmp_path_factory.mktemp("clip"))


def test_clip_from_a_folder_reads_pictures_and_captions_of_any_size_and_length(tiny: Path, shown: list[Seen]) -> None:
    spec = ClipSpec(model=str(tiny)).pinned()
    assert spec.revision.startswith("sha256:")
    assert spec.lacking() is None
    wide = said(shown[1], picture=np.tile(shown[1].picture, (1, 2, 1)), caption="a red car " * 40)
    evidence = [shown[0], wide, said(shown[2], caption="")]
    judged = Clip(spec, threads=1).judge(evidence)
    assert np.isnan(judged.scores["clip"]).tolist() == [False, False, True]
    assert not np.isnan(judged.scores["clip_class"]).any()
    assert judged.not_judged == "1 of 3 images have no caption"
    alone = Clip(spec, threads=1).judge(evidence[:1]).scores
    assert alone["clip"][0] == pytest.approx(judged.scores["clip"][0], abs=1e-5)


def test_weights_that_are_missing_are_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lacking = {
        "needs weights": ClipSpec(),
        "there is no such folder": ClipSpec(model=str(tmp_path / "nowhere")),
        "needs its revision as a commit": ClipSpec(model="openai/clip-vit-base-patch32"),
        "HF_HUB_OFFLINE is set": ClipSpec(model="openai/clip-vit-base-patch32", revision="a" * 40),
    }
    for words, spec in lacking.items():
        why = spec.lacking()
        assert why is not None
        assert words in why
        assert "\n" not in why
    assert '[verdict.judges.clip] model = "FOLDER"' in str(lacking["HF_HUB_OFFLINE is set"].lacking())
    with pytest.raises(UnknownModel, match="needs weights"):
        ClipSpec().pinned()
