"""Names of runs and folders: what databases and file systems take, however many classes a person names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.evaluate import evaluate, train_readouts
from flows.generate import several
from flows.train import train
from tasks.train import training
from tests.flows.conftest import Server

MANY = [f"class number {number}" for number in range(1000)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["car", "chair"], "embedded 24 of car, chair"),
        (MANY, "embedded 24 of 1000 classes, class number 0, class number 1, class number 2, class number 3 ..."),
    ],
)
def test_a_run_of_several_classes_is_called_after_the_first_ones(server: Server, names: list[str], said: str) -> None:
    @flow(name="names", flow_run_name=several)
    def nothing(class_names: list[str], samples: int, recipe: str) -> None:
        """Make nothing."""

    with temporary_settings({PREFECT_API_URL: server.api}):
        nothing(names, 24, "embedded")
    runs: list[dict[str, Any]] = server.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [said]}}})
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "train from nothing"),
        ({"begin_from": "embedded", "class_names": ["duck", "car"]}, "train from embedded with duck, car"),
        ({"base": "sd@abc"}, "train ControlNet on sd@abc"),
        ({"class_names": MANY}, "train from nothing with class number 0, class number 1, class number 2, class number 3 ..."),
    ],
)
def test_a_training_is_called_after_what_it_begins_with(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("prefect.runtime.flow_run.get_parameters", lambda: asked)
    assert train.flow_run_name() == said


def test_an_evaluation_is_called_after_its_generator() -> None:
    assert evaluate.flow_run_name == "evaluate {model}"
    assert train_readouts.flow_run_name == "train readouts on {shards} shards"


def test_a_training_of_many_classes_has_a_folder_of_its_own(tmp_path: Path) -> None:
    many, others = training(tmp_path, MANY, "").run, training(tmp_path, MANY[:-1], "").run
    many.mkdir(parents=True)
    others.mkdir(parents=True)
    assert training(tmp_path, ["car", "office chair"], "").run == tmp_path / "training" / "car-office_chair" / "run"


def test_no_two_bases_share_checkpoints_or_weights(tmp_path: Path) -> None:
    bases = ["", "maker/model@0123abc", "maker/other@0123abc", "/models/sd15", "maker/model@0123abd"]
    trainings = [training(tmp_path, ["car"], base) for base in bases]
    for folders in ({p.run for p in trainings}, {p.weights for p in trainings}, {p.report for p in trainings}):
        assert len(folders) == len(bases)
    assert len({p.pictures for p in trainings}) == 1


def test_each_control_is_trained_in_a_folder_of_its_own_and_only_on_a_base_that_is_there(tmp_path: Path) -> None:
    runs = {training(tmp_path, [], "embedded", control=control).run.name for control in ("edges", "depth", "edges+voxels")}
    assert runs == {"run-on-embedded", "run-on-embedded-reads-depth", "run-on-embedded-reads-edges_voxels"}
    with pytest.raises(ValueError, match="a ControlNet for depth is trained on a base that is there: give --base embedded"):
        training(tmp_path, [], "", control="depth")
