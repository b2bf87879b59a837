"""What work will cost, from this machine's own past runs and from nothing else."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import pytest

from flows import estimate, recipes
from storage.catalog.catalog import Catalog
from storage.keys import plain
from storage.settings import Settings
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe

MISSING = {"render": 100, "control": 100, "caption": 100, "image": 100, "score": 100, "verdict": 100}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path, catalog_url="")
    Catalog(settings.catalog, settings.store).migrate()
    return settings


def past_run(settings: Settings, recipe: Recipe, host: str = "", new: int = 20, waited: Any = {}) -> None:  # noqa: B006
    """Note a run of 60 s that made `new` artifacts of each stage; half of its stages' time went into rendering."""
    catalog = Catalog(settings.catalog, settings.store)
    counts: dict[str, Any] = {"made": 20, **{f"new_{stage}": new for stage in ("render", "control", "caption", "image")}}
    run_id = catalog.start_run(class_name="car", recipe=recipe.name, recipe_specs=plain(recipe), samples=20)
    seconds = {"render": 10.0, "control": 1.0, "caption": 1.0, "image": 7.0, "score": 0.75, "verdict": 0.25}
    counts |= {"new_score": 1, "new_verdict": 1}
    catalog.finish_run(run_id, status="complete", counts=counts, seconds=seconds, waited=waited)
    with catalog.database.writing() as connection:
        times = "started_at = '2026-11-22T10:00:00.000000Z', finished_at = '2026-11-22T10:01:00.000000Z'"
        connection.exec_driver_sql(f"update runs set {times}, host = '{host or platform.node()}' where run_id = '{run_id}'")


def test_without_a_past_run_there_is_no_estimate_and_it_says_how_to_get_one(settings: Settings) -> None:
    costs = estimate.costs(Place.of(settings), recipes.embedded())
    assert (costs.seconds, costs.runs) == ({}, 0)
    said = estimate.in_words(costs, MISSING)
    assert "no past run" in said
    assert "--preview" in said
    assert estimate.in_words(costs, {}) == "nothing to make"


def test_a_past_runs_wall_time_is_shared_out_over_what_it_made(settings: Settings) -> None:
    past_run(settings, recipes.embedded())
    costs = estimate.costs(Place.of(settings), recipes.embedded())
    # 60 s of wall, 20 s of stages: a view costs 60 * 10 / 20 / 20 s.
    assert costs.seconds["render"] == pytest.approx(1.5)
    seconds, unknown = costs.seconds_for(MISSING)
    assert seconds == pytest.approx(5 * 60)
    assert unknown == []
    assert estimate.in_words(costs, MISSING).startswith("about 5 min")


def test_waiting_for_others_and_runs_that_did_not_tell_it_from_work_tell_nothing(settings: Settings) -> None:
    place, recipe = Place.of(settings), recipes.embedded()
    past_run(settings, recipe, waited=None)
    assert estimate.costs(place, recipe).runs == 0
    past_run(settings, recipe, waited={"image": 30.0})
    # 30 of the 60 s were somebody else's.
    assert estimate.costs(place, recipe).seconds_for(MISSING)[0] == pytest.approx(2.5 * 60)


def test_shards_that_wait_at_once_do_not_make_work_cheaper_than_it_was(settings: Settings) -> None:
    past_run(settings, recipes.embedded(), waited={"image": 300.0})
    assert estimate.costs(Place.of(settings), recipes.embedded()).seconds["render"] == pytest.approx(0.5)


def test_other_machines_other_settings_and_resumed_work_tell_nothing(settings: Settings) -> None:
    recipe = recipes.embedded()
    past_run(settings, recipe, host="elsewhere")
    past_run(settings, recipe, new=0)
    assert "render" not in estimate.costs(Place.of(settings), recipe).seconds
    past_run(settings, dataclasses.replace(recipe, render=dataclasses.replace(recipe.render, samples=32)))
    costs = estimate.costs(Place.of(settings), recipe)
    assert costs.seconds_for(MISSING)[1] == ["render"]
    assert "nothing is known here of: render" in estimate.in_words(costs, MISSING)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.6, "60 s"), (130, "2 min"), (5999, "1 h 40 min"), (7300, "2 h 02 min")]
)
def test_lengths_of_time_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert estimate.duration(seconds) == words


def test_bytes_are_said_as_people_say_them() -> None:
    assert [estimate.disk(size) for size in (12, 25_900, 271e6, 3.25e9)] == ["12 bytes", "25.9 kB", "271 MB", "3.25 GB"]
