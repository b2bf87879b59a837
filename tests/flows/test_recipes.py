"""Recipes: what a person changes of them is laid over what they say, checked, and read back from a run's row as it was."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flows import recipes
from models.caption.imported import ImportedSpec
from models.control.canny import CannySpec
from models.control.geometry import GeometrySpec
from models.image.finished import FinishedRenderSpec
from models.kinds import BadSpec
from models.verdict.rules import AtMostSpec, BestShareSpec
from models.verdict.wish import WishSpec
from storage.keys import canonical_json, plain
from tasks.plan.recipe import Recipe


def resolved(overrides: dict[str, Any], name: str = "embedded-quick") -> Recipe:
    return recipes.resolve(name, overrides)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_one_field_of_a_nested_table_changes_and_all_else_stays() -> None:
    plainly = recipes.embedded_quick()
    changed = resolved(
        {
            "render": {"viewpoint": {"distance": 2.0}},
            "controls": {"canny": {"low": 80.0}},
            "image": {"steps": 8},
            "verdict": {"judges": {"kcf": {"members": 5}}, "rules": {"pose": {"threshold": 2.5}}},
        }
    )
    assert changed.render == dataclasses.replace(
        plainly.render, viewpoint=dataclasses.replace(plainly.render.viewpoint, distance=2.0)
    )
    assert changed.controls == {"canny": CannySpec(low=80.0)}
    assert changed.image == dataclasses.replace(plainly.image, steps=8)  # type: ignore[call-arg]
    assert changed.caption == plainly.caption
    assert plain(changed.verdict.judges["kcf"]) == plain(plainly.verdict.judges["kcf"]) | {"members": 5}
    assert changed.verdict.judges["fidelity"] == plainly.verdict.judges["fidelity"]
    assert plain(changed.verdict.rules["pose"]) == plain(plainly.verdict.rules["pose"]) | {"threshold": 2.5}
    assert changed.verdict.rules["control"] == plainly.verdict.rules["control"]


def test_a_changed_recipe_has_a_name_of_its_own_and_an_unchanged_one_keeps_its_name() -> None:
    assert resolved({"image": {"steps": 8}}).name == "embedded-quick+"
    assert resolved({"image": {"steps": 8}, "name": "mine"}).name == "mine"
    assert resolved({"image": {"steps": recipes.embedded_quick().image.steps}}).name == "embedded-quick"  # type: ignore[attr-defined]
    assert resolved({}) == recipes.embedded_quick()


def test_a_table_of_another_kind_begins_with_that_kinds_defaults() -> None:
    imported = resolved({"caption": {"kind": "imported", "origin": "3d-dst"}})
    assert imported.caption == ImportedSpec(origin="3d-dst")
    finished = resolved({"image": {"kind": "finished-render", "supersampling": 3}})
    assert finished.image == FinishedRenderSpec(resolution=finished.render.resolution, supersampling=3)
    small = resolved({"image": {"kind": "finished-render", "resolution": 64}})
    assert small.image == FinishedRenderSpec(resolution=64)
    rule = {"kind": "best_share", "score": "kcf", "share": 0.8, "reason": "worst_fifth"}
    pose = resolved({"verdict": {"rules": {"pose": rule}}}).verdict.rules["pose"]
    assert pose == BestShareSpec(score="kcf", share=0.8, reason="worst_fifth")
    # The same kind again is no other kind.
    again = resolved({"image": {"kind": "controlnet", "steps": 8}})
    assert again == resolved({"image": {"steps": 8}})


def test_controls_judges_and_rules_are_taken_out_by_false_and_more_of_them_may_be_said() -> None:
    other = resolved({"controls": {"canny": False, "geometry": {"jump": 0.05}}})
    assert other.controls == {"geometry": GeometrySpec(jump=0.05)}
    both = resolved({"controls": {"geometry": {}}}, "render-world")
    assert list(both.controls) == ["canny", "geometry"]
    verdict = resolved({"verdict": {"judges": {"kcf": False}, "rules": {"pose": False}}}).verdict
    assert (list(verdict.judges), list(verdict.rules)) == (["fidelity"], ["control"])
    azimuth = {"kind": "at_most", "score": "kcf_azimuth", "threshold": 2, "reason": "azimuth_inconsistent"}
    rules = resolved({"verdict": {"rules": {"azimuth": azimuth}}}).verdict.rules
    assert list(rules) == ["azimuth", "control", "pose"], "rules are asked in the order of their names"
    assert rules["azimuth"] == AtMostSpec(score="kcf_azimuth", threshold=2.0, reason="azimuth_inconsistent")
    # What is not there can be taken out as well.
    assert resolved({"controls": {"geometry": False}}) == recipes.embedded_quick()


def test_a_whole_number_is_a_number_and_gives_the_same_keys() -> None:
    whole = resolved(
        {"controls": {"canny": {"low": 80}}, "image": {"guidance": 2}, "verdict": {"rules": {"pose": {"threshold": 3}}}}
    )
    point = resolved(
        {"controls": {"canny": {"low": 80.0}}, "image": {"guidance": 2.0}, "verdict": {"rules": {"pose": {"threshold": 3.0}}}}
    )
    assert whole == point
    assert canonical_json(plain(whole)) == canonical_json(plain(point))
    assert isinstance(whole.controls["canny"].low, float)  # type: ignore[attr-defined]


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        # Names.
        ({"control": {}}, 'recipe embedded-quick has no field "control"; did you mean "controls"?'),
        ({"controls": {"canny": {"lo": 80}}}, 'controls.canny has no field "lo"; did you mean "low"?; it has: kind, low'),
        ({"controls": {"cany": {}}}, "embedded-quick.controls.cany: no control of kind 'cany'; did you mean \"canny\"?"),
        ({"image": {"stps": 3}}, 'embedded-quick.image has no field "stps"; did you mean "steps"?'),
        ({"image": {"kind": "finished-rendr"}}, "no generator of kind 'finished-rendr'; did you mean \"finished-render\"?"),
        ({"caption": {"kind": "importd"}}, "no captioner of kind 'importd'; did you mean \"imported\"?"),
        ({"render": {"viewpoint": {"distnce": 2.0}}}, 'render.viewpoint has no field "distnce"; did you mean "distance"?'),
        ({"verdict": {"rule": {}}}, 'embedded-quick.verdict has no field "rule"; did you mean "rules"?'),
        ({"verdict": {"judges": {"kfc": {}}}}, "quick.verdict.judges.kfc: no judge of kind 'kfc'; did you mean \"kcf\"?"),
        ({"verdict": {"judges": {"kcf": {"member": 5}}}}, 'verdict.judges.kcf has no field "member"; did you mean "members"?'),
        ({"verdict": {"rules": {"pose": {"treshold": 2}}}}, 'rules.pose has no field "treshold"; did you mean "threshold"?'),
        ({"verdict": {"rules": {"pose": {"score": "kfc"}}}}, 'the rule pose asks for the score "kfc", which no judge gives; did'),
        # Types.
        ({"controls": {"canny": {"low": "80"}}}, "embedded-quick.controls.canny.low is a number, not '80'"),
        ({"controls": {"canny": {"low": True}}}, "embedded-quick.controls.canny.low is a number, not True"),
        ({"controls": {"canny": {"outline": 1}}}, "embedded-quick.controls.canny.outline is true or false, not 1"),
        ({"controls": {"canny": 80}}, "embedded-quick.controls.canny is a table of fields, not 80"),
        ({"controls": {"geometry": True}}, "embedded-quick.controls.geometry is a table of fields, not True"),
        ({"controls": 3}, "embedded-quick.controls is a table of fields, not 3"),
        ({"controls": False}, "embedded-quick.controls is a table of fields, not False"),
        ({"render": False}, "embedded-quick.render is a table of fields, not False"),
        ({"image": {"steps": 3.5}}, "embedded-quick.image.steps is a whole number, not 3.5"),
        ({"image": {"steps": "8"}}, "embedded-quick.image.steps is a whole number, not '8'"),
        ({"caption": {"suffix": 3}}, "embedded-quick.caption.suffix is a text, not 3"),
        ({"verdict": {"rules": {"pose": 2.5}}}, "embedded-quick.verdict.rules.pose is a table of fields, not 2.5"),
        ({"name": 3}, "its name is a text, not 3"),
        # Values, and what does not go together.
        ({"image": {"steps": 0}}, "steps 0 is not in 1..1000"),
        ({"controls": {"canny": {"low": 300}}}, "canny thresholds must be 0 < low <= high"),
        ({"controls": {"canny": False}}, "has no control; give it one, such as [controls.canny]"),
        ({"controls": {"canny": {"kind": "geometry"}}}, "of kind 'canny' by its name, not 'geometry'; say [controls.geometry]"),
        ({"controls": {"geometry": {}}}, "one ControlNet obeys one control, the recipe has 2 (canny, geometry)"),
        ({"verdict": {"judges": {"kcf": False}}}, 'the rule pose asks for the score "kcf", which no judge gives'),
        ({"verdict": {"judges": {"second": {"kind": "kcf"}}}}, "the judges kcf and second both give the score kcf"),
        ({"verdict": {"rules": {"pos": {"threshold": 2.5}}}}, 'embedded-quick.verdict.rules has no "pos"; did you mean "pose"?'),
        ({"render": {"resolution": 256}}, "renders of 256 pixels, images of 128, but its generator paints on controls"),
        ({"verdict": {"rules": {"pose": {"kind": "best_share"}}}}, "verdict.rules.pose.score is not said, and has no default"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_it(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        resolved(overrides)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(recipes.UnknownRecipe, match='no such recipe "embeded"; did you mean "embedded"'):
        recipes.resolve("embeded")


# -- what was recorded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recorded_recipe_comes_back_as_it_was(name: str) -> None:
    recipe = recipes.resolve(name).pinned() if name != "paper-sd15" else recipes.resolve(name)
    assert recipes.recorded(plain(recipe)) == recipe
    start = recipes.as_overrides(plain(recipe))
    assert recipes.resolve(start["name"], start["overrides"]) == recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"image": {"kind": "finished-render"}, "controls": {"geometry": {}}},
        {"controls": {"geometry": {}, "canny": False}, "caption": {"kind": "imported", "origin": "3d-dst"}},
        {"verdict": {"judges": {"kcf": False}, "rules": {"pose": False}}},
        {"verdict": {"rules": {"pose": {"kind": "best_share", "score": "kcf", "share": 0.8, "reason": "worst_fifth"}}}},
    ],
)
def test_a_recorded_recipe_of_ones_own_is_given_exactly_also_what_it_left_out(changes: dict[str, Any]) -> None:
    own = resolved(changes | {"name": "mine"})
    start = recipes.as_overrides(plain(own))
    assert start["name"] == "embedded"
    assert recipes.resolve(start["name"], json.loads(canonical_json(start["overrides"]))) == own


def _before_controls() -> dict[str, Any]:
    """What runs recorded when a recipe had one edge map and one filter."""
    now = plain(recipes.embedded_quick())
    image = {name: value for name, value in now["image"].items() if name not in ("kind", "control_models")}
    verdict = {"backbone": "auto", "folds": 5, "max_score": 3.0, "min_edge_score": 0.25}
    edge = {"source": "canny", "low": 100, "high": 200}
    return {"name": "old", "render": now["render"], "edge": edge, "caption": now["caption"], "image": image, "verdict": verdict}


@pytest.mark.parametrize("changes", [{}, {"edge": None, "controls": {"canny": {"kind": "canny"}}}])
def test_a_recipe_that_other_code_recorded_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    old = {name: value for name, value in (_before_controls() | changes).items() if value is not None}
    for read in (recipes.recorded, lambda specs: recipes.resolve("embedded", specs)):
        with pytest.raises(BadSpec, match=r"^recipe old") as caught:
            read(old)
        assert "\n" not in str(caught.value)


def test_a_record_that_is_not_whole_says_what_it_lacks() -> None:
    whole = plain(recipes.embedded_quick())
    del whole["controls"], whole["verdict"]
    with pytest.raises(BadSpec, match="recipe embedded-quick is not whole: it lacks controls, verdict"):
        recipes.recorded(whole)


# -- recipes of one's own ----------------------------------------------------------------------------------------------


def test_a_file_in_the_home_folder_is_a_recipe_based_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path))
    (tmp_path / "recipes").mkdir()
    text = 'base = "render-world"\n[controls]\ncanny = false\n[controls.geometry]\njump = 0.05\n'
    (tmp_path / "recipes" / "lines.toml").write_text(text + "[verdict.rules.pose]\nthreshold = 2.5\n")
    recipe = recipes.resolve("lines")
    assert recipe.name == "lines"
    assert recipe.controls == {"geometry": GeometrySpec(jump=0.05)}
    assert recipe.image == recipes.render_world().image
    assert recipe.verdict.rules["pose"] == AtMostSpec(score="kcf", threshold=2.5, reason="pose_inconsistent")
    assert recipes.resolve("lines", {"verdict": {"rules": {"pose": False}}}).name == "lines+"
    assert recipes.names() == [*recipes.RECIPES, "lines"]


def test_the_embedded_generator_is_held_to_how_well_it_obeys_and_others_to_less() -> None:
    limits = {name: recipes.resolve(name).verdict.rules["control"].threshold for name in ("embedded-quick", "paper-sd15")}  # type: ignore[attr-defined]
    assert limits == {"embedded-quick": 0.4, "paper-sd15": 0.25}
    mild = recipes.resolve("embedded-quick", {"verdict": {"rules": {"control": {"threshold": 0.1}}}})
    assert mild.verdict.rules["control"].threshold == 0.1  # type: ignore[attr-defined]


def test_embedded_hears_every_judge_and_decides_by_a_wish_and_quick_learns_nothing_first() -> None:
    embedded, quick = recipes.embedded(), recipes.embedded_quick()
    assert set(embedded.verdict.judges) == {"ensemble", *embedded.verdict.judges["ensemble"].reads}
    assert plain(embedded.verdict.rules) == {"wish": plain(WishSpec(lose=0.05))}
    assert not any(judge.taught_by() for judge in quick.verdict.judges.values())
    assert dataclasses.replace(embedded, name=quick.name, verdict=quick.verdict) == quick
