"""Sets of the benchmark are the same each time, show judges what is annotated, and are judged once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.filters import judging, planted, score, sets
from models.evaluation.filters.sets import FilterSet
from models.verdict.fidelity import FidelitySpec
from models.verdict.kcf_official import KcfOfficialSpec
from models.verdict.protocol import CadSource, Evidence, Judgement, JudgeSpec, ReadoutSpec
from tests.evaluation.conftest import SPEC, Renders


def test_the_same_sets_come_again_and_other_seeds_give_others(filter_sets: list[FilterSet], filters_folder: Path) -> None:
    assert [one.name for one in filter_sets] == ["car 25 %", "car systematic", "chair 25 %", "chair systematic"]
    for one in filter_sets:
        planted_here = [failure for failure in one.failures if failure]
        assert len(planted_here) == (4 if one.part == "systematic" else 3)
    again, other = (sets.build(dataclasses.replace(SPEC, seed=seed), Renders(filters_folder)) for seed in (0, 1))
    assert [judging.digest(one) for one in again] == [judging.digest(one) for one in filter_sets]
    assert [judging.digest(one) for one in other] != [judging.digest(one) for one in filter_sets]


def test_depth_normals_and_mask_are_those_of_the_annotated_pose(filter_sets: list[FilterSet]) -> None:
    for one in filter_sets:
        for image, failure in zip(one.evidence(), one.failures, strict=True):
            seen = image.depth() > 0
            assert seen.shape == image.image().shape[:2]
            assert np.array_equal(image.normals().any(axis=2), seen)
            agree = (seen == (image.shown.case.mask > 0)).mean()
            # A CAD model that stands wrong is annotated as it stands: its renders agree with its images.
            assert agree > 0.995, (one.name, failure)


def test_a_wrong_label_comes_with_the_depth_of_the_wrong_label(filter_sets: list[FilterSet]) -> None:
    one = filter_sets[0]
    turned = planted.plant(("label_off",), [shown for shown in one.shown if not shown.failure], 0.3, 0)
    images = dataclasses.replace(one, shown=tuple(turned)).evidence()
    wrong = [image for image in images if image.shown.failure]
    assert wrong
    for image in wrong:
        assert np.array_equal(image.mask() > 0, image.depth() > 0)
        assert ((image.mask() > 0) != (image.shown.case.mask > 0)).mean() > 0.01


def test_a_judge_is_asked_once_and_what_it_did_not_judge_stays_unknown(filter_sets: list[FilterSet], tmp_path: Path) -> None:
    first = judging.judge(FidelitySpec(), filter_sets[0], tmp_path)
    (kept,) = tmp_path.iterdir()
    told = json.loads(kept.read_text())
    told["scores"]["fidelity"][0] = None
    kept.write_text(json.dumps(told))
    again = judging.judge(FidelitySpec(), filter_sets[0], tmp_path)
    assert np.isnan(again.scores["fidelity"][0])
    assert np.array_equal(again.scores["fidelity"][1:], first.scores["fidelity"][1:])
    assert judging.judge(FidelitySpec(), filter_sets[1], tmp_path).passes == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_passes_through_a_network_are_counted(filter_sets: list[FilterSet]) -> None:
    spec = KcfOfficialSpec(backbone="resnet-small", side=32, folds=2, epochs=2, batch=2)
    # Twelve images in two folds: six taught twice, at three passes each, and six asked.
    assert judging.judge(spec, filter_sets[0]).passes == 2 * (6 * 2 * 3 + 6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamesSpec(ReadoutSpec):
    implementation: ClassVar[str] = "tests.evaluation.test_filter_sets:Names"
    version: ClassVar[int] = 1
    kind: Literal["names"] = "names"


class Names:
    """A readout that has learned which CAD models there are."""

    taught: ClassVar[list[str]] = []

    def __init__(self, spec: NamesSpec, device: str = "cpu", threads: int | None = None) -> None:
        pass

    def teach(self, models: Sequence[CadSource], progress: Any = None) -> bytes:
        self.taught.append(models[0].class_name)
        assert all(model.glb()[:4] == b"glTF" for model in models)
        return ",".join(model.cad_id for model in models).encode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownSpec(JudgeSpec):
    implementation: ClassVar[str] = "tests.evaluation.test_filter_sets:Known"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("known",)
    kind: Literal["known"] = "known"

    def taught_by(self) -> ReadoutSpec:
        return NamesSpec()


class Known:
    def __init__(self, spec: KnownSpec, device: str, threads: int | None, readout: bytes) -> None:
        self.names = readout.decode().split(",")

    def judge(self, evidence: Sequence[Evidence], progress: Any = None) -> Judgement:
        return Judgement(scores={"known": np.array([float(one.sample.cad_id in self.names) for one in evidence])})


def test_a_readout_is_taught_once_by_the_cad_models_as_they_stand(filter_sets: list[FilterSet], tmp_path: Path) -> None:
    Names.taught.clear()
    for one in (
        filter_sets[0],
        dataclasses.replace(filter_sets[0], shown=filter_sets[0].shown[::-1]),
        filter_sets[1],
        filter_sets[0],
    ):
        assert judging.judge(KnownSpec(), one, tmp_path).scores["known"].all()
    # The systematic set's CAD models stand otherwise, so they teach something else.
    assert Names.taught == ["car", "car"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverSpec(JudgeSpec):
    implementation: ClassVar[str] = "tests.evaluation.test_filter_sets:Over"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("over",)
    reads: ClassVar[tuple[str, ...]] = ("fidelity", "no such judge")
    kind: Literal["over"] = "over"


class Over:
    def __init__(self, spec: OverSpec, device: str, threads: int | None, scores: Mapping[str, Any]) -> None:
        self.scores = scores

    def judge(self, evidence: Sequence[Evidence], progress: Any = None) -> Judgement:
        return Judgement(scores={"over": 1.0 - self.scores["fidelity"]})


def test_a_judge_that_reads_others_is_given_what_they_said(filter_sets: list[FilterSet], tmp_path: Path) -> None:
    said = judging.judge(FidelitySpec(), filter_sets[0], tmp_path).scores["fidelity"]
    over = judging.judge(OverSpec(), filter_sets[0], tmp_path).scores["over"]
    assert np.array_equal(over, 1.0 - said, equal_nan=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for ties in (1.0, 4.0):
        failed = rng.random(300) < 0.2
        suspect = np.round((rng.normal(size=300) + failed) * ties) / ties
        found = score.figures(suspect, failed)
        assert found["auroc"] == pytest.approx(roc_auc_score(failed, suspect))
        assert found["average_precision"] == pytest.approx(average_precision_score(failed, suspect))


def test_classes_whose_scores_differ_in_scale_are_put_together() -> None:
    images, suspect = [], []
    for name, scale in (("car", 1.0), ("chair", 100.0)):
        for index in range(50):
            failure = "black" if index >= 45 else ""
            images.append({"set": name, "class": name, "part": "10 %", "viewpoint": "common", "failure": failure})
            suspect.append(scale * index)
    made: Any = score.measure(images, np.array(suspect), draws=20)
    assert made["all"]["auroc"] == 1.0
    assert made["all"]["failures"] == 10
    assert made["by_class"]["chair"]["failures"] == 5
    assert made["by_kind"]["black"]["lost_at_90_removed"] == 0.0


def test_the_program_says_what_the_project_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [
        {
            "set": "a",
            "class": "car",
            "part": "20 %",
            "image": f"{i}.png",
            "viewpoint": "common",
            "failure": "black" if i < 2 else "",
        }
        for i in range(10)
    ]
    truth, scores = tmp_path / "truth.csv", tmp_path / "scores.csv"
    truth.write_text("\n".join([",".join(images[0]), *(",".join(image.values()) for image in images)]) + "\n")
    scores.write_text("set,image,score\na,0.png,9\na,1.png,\n" + "".join(f"a,{i}.png,{i / 10}\n" for i in range(2, 10)))
    score.main(str(truth), str(scores))
    said = json.loads(capsys.readouterr().out)
    suspect = np.array([9.0, np.nan, *(i / 10 for i in range(2, 10))])
    assert said["all"]["auroc"] == score.measure(images, suspect)["all"]["auroc"] == 0.5
    scores.write_text("set,image,score\na,99.png,9\n")
    with pytest.raises(SystemExit, match=r"line 2: no image '99\.png'"):
        score.main(str(truth), str(scores))
