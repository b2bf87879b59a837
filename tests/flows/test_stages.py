"""The graph of stages: one table that plans, runs, previews and reproductions walk, and keys that follow from it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from flows import recipes
from storage import stages as names
from storage.keys import artifact_key, plain
from tasks import stages
from tasks.intake.model import cad_key
from tasks.plan.cohort import CadModel, Cohort, Planned, plan
from tasks.plan.recipe import Recipe
from tests.flows.conftest import ROOT

ALL = (*stages.OF_A_SAMPLE, *stages.OF_A_COHORT)
MODELS = (
    CadModel(cad_id="a" * 64, cad_key="b" * 64, keywords=("small", "red")),
    CadModel(cad_id="c" * 64, cad_key="d" * 64, keywords=(), camera={"distance": 2.5, "strategy": 2, "strength": 1}),
)


def cohort(name: str = "render-world", overrides: Mapping[str, Any] | None = None) -> Cohort:
    """A plan of four samples of two made-up CAD models."""
    return plan("car", recipes.resolve(name, {"name": name} | dict(overrides or {})), MODELS, 4)


def changed(before: Cohort, after: Cohort) -> set[str]:
    """The stages of which any artifact has another key; scores and verdict as if all images were there."""
    of_samples = {name for name in names.OF_A_SAMPLE if before.keys(name) != after.keys(name)}
    then, now = before.judged(before.samples), after.judged(after.samples)
    return of_samples | {stage for stage, part in then.keys() | now.keys() if then.get((stage, part)) != now.get((stage, part))}


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_graph_has_the_stages_that_rows_and_exports_know_in_their_order() -> None:
    assert tuple(stage.name for stage in stages.OF_A_SAMPLE) == names.OF_A_SAMPLE
    assert tuple(stage.name for stage in stages.OF_A_COHORT) == names.OF_A_COHORT
    assert list(stages.BY_NAME) == list(names.OF_A_SAMPLE)
    assert list(stages.OVER_A_COHORT) == list(names.OF_A_COHORT)
    assert set(names.FILE) == set(names.STAGES)


@pytest.mark.parametrize("stage", ALL, ids=lambda stage: stage.name)
def test_a_stage_reads_only_stages_before_it_and_obeys_a_table_of_the_recipe(stage: Any) -> None:
    before = names.STAGES[: names.STAGES.index(stage.name)]
    assert set(stage.reads) <= set(before)
    tables = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    assert stage.obeys in tables or stage.name == "cad", "a CAD model's spec is its own, said when it was registered"


@pytest.mark.parametrize("stage", ALL, ids=lambda stage: stage.name)
def test_a_stages_task_is_a_prefect_task_of_its_name_that_is_told_the_place_first(stage: Any) -> None:
    import inspect

    from prefect import Task

    task = stage.run()
    assert isinstance(task, Task)
    assert task.name == stage.name
    asked = list(inspect.signature(task.fn).parameters)
    assert asked[:3] == (["place", "shard", "recipe"] if stage in stages.OF_A_SAMPLE else ["place", "cohort", "part"])


def test_a_name_says_what_comes_before_and_behind_it() -> None:
    assert names.before("cad") == ()
    assert names.before("caption") == ("cad", "render", "control")
    assert names.behind("caption") == ("image",)
    assert names.before("verdict") == names.OF_A_SAMPLE
    assert names.behind("verdict") == ()


def test_planning_starts_nothing_heavy() -> None:
    code = """
import sys
from flows import recipes
from tasks.plan.cohort import CadModel, plan
plan("car", recipes.resolve("embedded").pinned(), [CadModel(cad_id="a" * 64, cad_key="b" * 64, keywords=())], 100)
print(sorted({"prefect", "torch", "diffusers", "transformers", "bpy", "cv2", "trimesh", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


# -- keys --------------------------------------------------------------------------------------------------------------


BEFORE_THERE_WAS_A_GRAPH = {
    "car-aaaaaaaaaaaa-0000-00": "8b8cbbb8ebd1958091e86bacb9d80e5dba2bcedde72ddd3fc5795013c3b7e1eb",
    "car-cccccccccccc-0000-00": "9a8a6eb4f17a47dea9f1ce22b739b8326d1203bb8f16eb953c5f2cfbbb9e962e",
    "car-aaaaaaaaaaaa-0001-00": "4b73f3634b2b66ce43521fbe48da51249e40ed4a49711c9896aa12682d3c2bda",
    "car-cccccccccccc-0001-00": "dc2a7f9ac28beadde91adf6a4ef71febf326b2045b97c703d7be4c1d34e41ef8",
}
"""Keys of renders under the recipe `embedded`, from when each stage spelled its own."""


def test_renders_and_cad_models_of_old_homes_are_found_under_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.cad.spec import CadSpec

    # The version of the cad stage then: it was raised since, when files that had been read wrongly came to be read rightly.
    monkeypatch.setattr("tasks.intake.model.VERSION", 1)

    # As the recipe framed then.
    planned = cohort("embedded", {"render": {"viewpoint": {"distance_sd": 0.5, "distance_range": [-0.5, 0.8]}}}).samples
    assert {str(one.sample): one.key("render") for one in planned} == BEFORE_THERE_WAS_A_GRAPH
    assert [one.key("cad") for one in planned[:2]] == ["b" * 64, "d" * 64]
    assert cad_key("a" * 64, CadSpec()) == "619a1066cc61e3ad82288fb230cdd7282ac7e092482bb634e15ff2dab36275d8"
    turned = CadSpec(up="+z", front="-y")
    assert cad_key("a" * 64, turned) == "2eb95c23230cb0c1497e05a2c13812820491afcacb59a88341783720c176328e"


@pytest.mark.parametrize(
    ("overrides", "stages_that_change"),
    [
        ({"render": {"samples": 3}}, {"render", "control", "image", "score", "verdict"}),
        # A caption knows where the camera stands, and no pixel.
        ({"render": {"viewpoint": {"distance": 2.0}}}, {"render", "control", "caption", "image", "score", "verdict"}),
        ({"controls": {"canny": {"low": 90}}}, {"control", "image", "score", "verdict"}),
        ({"controls": {"geometry": {}}}, {"control", "image", "score", "verdict"}),
        ({"caption": {"suffix": "sharp"}}, {"caption", "image", "score", "verdict"}),
        ({"image": {"supersampling": 1}}, {"image", "score", "verdict"}),
        ({"verdict": {"judges": {"kcf": {"members": 1}}}}, {"score", "verdict"}),
        ({"verdict": {"rules": {"pose": {"threshold": 2.0}}}}, {"verdict"}),
        ({}, set()),
    ],
)
def test_what_a_recipe_says_elsewhere_changes_the_keys_of_what_rests_on_it_and_no_others(
    overrides: dict[str, Any], stages_that_change: set[str]
) -> None:
    assert changed(cohort(), cohort(overrides=overrides)) == stages_that_change


def test_other_bundled_readouts_change_the_keys_of_what_begins_with_them_or_asks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.evaluation import readouts

    plain, asking = (cohort("embedded", {"verdict": {"judges": {"kcf": {"backbone": name}}}}) for name in ("hog", "hog-read"))
    then = [one.judged(one.samples) for one in (plain, asking)]
    monkeypatch.setattr(readouts, "bundled_digest", lambda: "others")
    now = [one.judged(one.samples) for one in (plain, asking)]
    changed_in = [{part for part in before if before[part] != after[part]} for before, after in zip(then, now, strict=True)]
    behind = {("readout", "pose"), ("readout", "shape"), ("score", "pose"), ("score", "shape"), ("score", "text")}
    assert behind <= changed_in[0]
    assert ("score", "kcf") not in changed_in[0]
    assert ("score", "kcf") in changed_in[1]


def test_a_further_control_leaves_those_there_were_and_an_image_rests_on_all_of_them() -> None:
    one, two = cohort().samples[0], cohort(overrides={"controls": {"geometry": {}}}).samples[0]
    assert list(two.keys["control"]) == ["canny", "geometry"]
    assert two.keys["control"]["canny"] == one.keys["control"]["canny"] == two.key("control")
    recipe = cohort(overrides={"controls": {"geometry": {}}}).recipe
    (image,) = stages.BY_NAME["image"].blueprints(recipe, two).values()
    assert image.inputs["controls"] == two.keys["control"]
    assert image.inputs["caption"] == two.key("caption")
    assert image.key == two.key("image")


def test_a_further_judge_leaves_the_scores_of_the_others_and_a_rule_touches_none() -> None:
    alone = cohort(overrides={"verdict": {"judges": {"kcf": False}, "rules": {"pose": False}}})
    both = cohort()
    then, now = alone.judged(alone.samples), both.judged(both.samples)
    assert set(then) == {("score", "fidelity"), ("verdict", "")}
    assert set(now) == {("score", "fidelity"), ("score", "kcf"), ("verdict", "")}
    assert then["score", "fidelity"] == now["score", "fidelity"]
    assert then["verdict", ""] != now["verdict", ""]
    moved = cohort(overrides={"verdict": {"rules": {"pose": {"threshold": 1.0}}}})
    scores = {key: value for key, value in moved.judged(moved.samples).items() if key[0] == "score"}
    assert scores == {key: value for key, value in now.items() if key[0] == "score"}


@pytest.mark.parametrize("stage", [stage for stage in stages.OF_A_SAMPLE if stage.obeys], ids=lambda stage: stage.name)
def test_a_record_says_what_gives_its_key(stage: stages.Stage) -> None:
    planned: Planned = cohort().samples[1]
    for part, blueprint in stage.blueprints(cohort().recipe, planned).items():
        record = blueprint.record()
        assert record.key == planned.keys[stage.name][part]
        assert artifact_key(record.stage, record.version, record.spec, record.inputs) == record.key
        assert record.spec == plain(blueprint.spec)


def test_a_cohort_of_scores_does_not_depend_on_the_order_of_its_samples() -> None:
    made = cohort()
    assert made.judged(made.samples) == made.judged(made.samples[::-1])
    assert made.judged(made.samples) != made.judged(made.samples[:3])
