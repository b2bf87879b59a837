"""Captions by an instruct model in a folder: a small one of a real class, taught a handful of sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.caption.kinds import CAPTIONERS
from models.caption.llm_local import LlmLocalSpec
from models.caption.protocol import Caption, CaptionRequest, Means
from models.image.weights import UnknownModel
from models.sample import SampleId
from tests.caption.speaking import instruct_model

SENTENCES = [f"a {colour} car {place} {light}" for colour in ("red", "blue", "white", "green")
             for place in ("on grass", "on a road") for light in ("at sunset", "at night", "in fog")]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return instruct_model(tmp_path_factory.mktemp("llm") / "instruct", SENTENCES)


def requests(count: int) -> list[CaptionRequest]:
    samples = [SampleId(class_name="car", cad_id="a" * 64, view_index=index) for index in range(count)]
    return [CaptionRequest(sample=sample, class_name="car", azimuth_deg=0.0, elevation_deg=10.0) for sample in samples]


def written(folder: Path, asked: list[CaptionRequest], batch: int = 4, **changes: object) -> list[Caption]:
    spec = LlmLocalSpec(model=str(folder), dtype="float32", **changes)  # type: ignore[arg-type]
    made = list(CAPTIONERS.load(spec, means=Means(batch=batch)).captions(asked, {}))
    assert all(isinstance(caption, Caption) for caption in made)
    return made


def test_each_sample_has_its_own_draw_and_no_caption_is_written_twice(folder: Path) -> None:
    made = written(folder, requests(8))
    own = [caption for caption in made if caption.captioner.startswith("llm-local: ")]
    assert len(own) >= 6
    assert len({caption.prompt for caption in made}) == 8
    assert {caption.prompt for caption in own} <= set(SENTENCES)
    assert own[0].revision.startswith("sha256:")
    assert own[0].facts["tokens_out"] > 5


def test_a_samples_caption_depends_on_its_seed_and_not_on_its_neighbours(folder: Path) -> None:
    whole, alone = written(folder, requests(4)), written(folder, requests(4)[2:3])
    assert alone[0].prompt == whole[2].prompt
    other = written(folder, requests(4), seed=1)
    assert [caption.prompt for caption in other] != [caption.prompt for caption in whole]


def test_without_temperature_all_answers_are_the_same_and_the_grammar_stands_in(folder: Path) -> None:
    made = written(folder, requests(3), temperature=0.0)
    assert [caption.captioner.split(":")[0] for caption in made] == ["llm-local", "grammar", "grammar"]


def test_a_model_that_is_none_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="there is no such folder, and it is no hub id"):
        LlmLocalSpec(model="no/such/folder").pinned()
    with pytest.raises(UnknownModel, match="needs its revision as a commit of 40 hex digits"):
        LlmLocalSpec(model="someone/instruct").pinned()
    away = LlmLocalSpec(model="someone/instruct", revision="a" * 40).lacking(Means())
    assert away is not None
    assert "dst models fetch someone/instruct@aaaa" in away
    with pytest.raises(ValueError, match=r'need a model, as in .caption. kind = "llm-local", model = "..."'):
        LlmLocalSpec()
    mute = instruct_model(tmp_path / "mute", ["a car"], steps=1, template="")
    with pytest.raises(ValueError, match="has no chat template: it is no instruct model"):
        CAPTIONERS.load(LlmLocalSpec(model=str(mute), dtype="float32"), means=Means())


def test_another_prompt_is_another_spec(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.txt"
    own.write_text("Write captions.\n---\n$data\n---\nNo: $why.\n")
    spec = LlmLocalSpec(model=str(folder), prompt=str(own))
    assert spec.pinned().prompt_digest != replace(spec, prompt="describe").pinned().prompt_digest
    own.write_text("only one part")
    with pytest.raises(ValueError, match="needs three parts"):
        CAPTIONERS.load(LlmLocalSpec(model=str(folder), prompt=str(own), dtype="float32"), means=Means())
    with pytest.raises(ValueError, match=r"no prompt 'poem': name one of ours \(describe\) or a text file"):
        LlmLocalSpec(model=str(folder), prompt="poem").pinned()
