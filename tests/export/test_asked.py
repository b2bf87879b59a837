"""What a person asks for from the UI, as far as it needs no server (tests/serve/test_served.py launches the forms)."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import asked, releasing
from flows.again import Again
from flows.forms import ALL_CLASSES
from storage.export.selection import DEFAULT_WHERE, SeveralRecipes
from tests.export.conftest import Made

pytestmark = pytest.mark.slow


@pytest.fixture
def shown(made: Made, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The home, and what would be shown in Prefect."""
    monkeypatch.setenv("DST_HOME", str(made.home))
    monkeypatch.setenv("DST_CATALOG_URL", "")
    artifacts: list[dict[str, Any]] = []
    monkeypatch.setattr(asked, "create_markdown_artifact", lambda text, **said: artifacts.append({"text": text, **said}))
    return artifacts


def message(state: Any, kind: str) -> str:
    assert isinstance(state, State)
    assert state.type.value == kind, state
    said = str(state.message)
    assert "\n" not in said
    return said


def test_a_dry_run_shows_the_plan_of_each_class_and_makes_nothing(made: Made, shown: list[dict[str, Any]]) -> None:
    before = sorted((made.home / "artifacts").rglob("*"))
    state = asked.dry_run.fn(["car", "garden chair"], samples=8, recipe="render-world")
    assert message(state, "COMPLETED").startswith("to make what is missing: ")
    (page,) = shown
    assert page["key"] == "dry-run"
    assert "**car**, 8 samples" in page["text"]
    assert "| image | 0 cached, 8 missing |" in page["text"]
    assert '"kind": "finished-render"' in page["text"]
    assert sorted((made.home / "artifacts").rglob("*")) == before


def test_a_dry_run_of_a_generator_from_a_hub_shows_its_licence_and_what_it_downloads(
    made: Made, shown: list[dict[str, Any]]
) -> None:
    asked.dry_run.fn(["car"], samples=8, recipe="sdxl-canny")
    text = shown[-1]["text"]
    assert "licence openrail++: stabilityai/stable-diffusion-xl-base-1.0" in text
    assert "to download: dst models fetch sdxl-canny" in text


@pytest.mark.parametrize(
    ("flow", "said", "line"),
    [
        (asked.dry_run, {"class_names": ["cra"]}, 'no such class "cra" in '),
        (asked.dry_run, {"class_names": ["car"], "recipe": "embeded"}, 'no such recipe "embeded"; did you mean "embedded"?'),
        (asked.preview_class, {"class_name": "car", "steps": 5000}, "steps 5000 is not in 1..1000"),
        (asked.retry, {"class_name": "cra"}, 'no such class "cra" in the catalog; did you mean "car"?'),
        (asked.retry, {"samples": ["car-1"]}, 'no sample "car-1" in the catalog; failed ones: dst sql '),
        (asked.filter_again, {"class_name": "car"}, "that is the filter of small as it is; say a threshold or another change"),
        (
            asked.filter_again,
            {"class_name": "car", "recipe": "mine"},
            'there is no run of "car" under mine; it was made under small',
        ),
        (asked.filter_again, {"class_name": "bus"}, 'no such class "bus"; see: dst cad list'),
        (asked.filter_again, {"class_name": "car", "others": ["rules.pose"]}, "the other changes are no lines of TOML such as: "),
        (
            asked.filter_again,
            {"class_name": "car", "others": ["rules.pos.threshold = 2"]},
            'rules has no "pos"; did you mean "pose"?',
        ),
        (
            asked.filter_again,
            {"class_name": "car", "others": ["rules.pose = false"], "pose_at_most": 2},
            "the rule pose is given a threshold and taken out; say one of the two",
        ),
    ],
)
def test_what_a_person_can_put_right_is_one_line(shown: list[dict[str, Any]], flow: Any, said: dict[str, Any], line: str) -> None:
    assert line in message(flow.fn(**said), "FAILED")


def test_nothing_to_try_again_is_said_and_is_no_failure(shown: list[dict[str, Any]]) -> None:
    state = asked.retry.fn(class_name=ALL_CLASSES)
    assert message(state, "COMPLETED") == "nothing to try again: no failed sample in 2 classes"


def test_what_failed_is_made_under_the_recipe_of_the_last_run_and_a_class_that_fails_stops_no_other(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [Again(class_name=name, run={"samples": 6}, broke_off=True) for name in ("car", "garden chair")]
    asked_for: list[Any] = []

    def generate(*arguments: Any, return_state: bool) -> State[Any]:
        asked_for.append(arguments)
        return Failed(message="no room left") if arguments[0] == "car" else Completed(data={"class_name": arguments[0]})

    monkeypatch.setattr(asked.again, "found", lambda place, which: todo)
    monkeypatch.setattr(asked.again, "set_aside", lambda place, one, which: {"name": "embedded", "overrides": {"name": "small"}})
    monkeypatch.setattr(asked, "generate", generate)
    told = message(asked.retry.fn(), "FAILED")
    assert told == "car: 0 made now, 0 failed again; garden chair: 0 made now, 0 failed again; no room left"
    assert asked_for == [(one.class_name, 6, "embedded", {"name": "small"}) for one in todo]
    todo.pop(0)
    assert message(asked.retry.fn(), "COMPLETED") == "garden chair: 0 made now, 0 failed again"


def test_what_is_not_made_is_not_filtered(shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked.runs, "cohort", lambda *planned: None)
    monkeypatch.setattr(asked.runs, "missing", lambda store, cohort: {"image": 1, "score": 2, "verdict": 1})
    told = message(asked.filter_again.fn("car", control_at_least=-0.5), "FAILED")
    assert told == "not all of car is made under small (1 at image missing): generate it first, then filter"


def test_a_forms_choices_are_a_condition(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert releasing.condition(made.catalog, "", "", "") is None
    assert releasing.condition(made.catalog, "", "", "kept = 0") == "kept = 0"
    assert releasing.condition(made.catalog, "it's", "r", "a or b") == "(a or b) and class_name = 'it''s' and recipe = 'r'"
    assert releasing.condition(made.catalog, "car", "", "") == f"{DEFAULT_WHERE} and class_name = 'car'"
    monkeypatch.setattr(type(made.catalog), "rows", lambda self, sql: [{"recipe": "a", "n": 3}, {"recipe": "b", "n": 2}])
    with pytest.raises(SeveralRecipes, match=r"which recipe\? kept are samples of a \(3\), b \(2\); say one"):
        releasing.condition(made.catalog, "car", "", "")
