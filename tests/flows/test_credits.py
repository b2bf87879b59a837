"""What a run is credited with: what it made itself, once, in seconds of work; and what is known of one that was broken off.

No server and no renderer: the stages' own functions, as Prefect calls them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import estimate, leftovers, recipes, runs
from flows.commands.diff import diff
from models.image.kinds import GENERATORS
from models.image.protocol import ImageSpec
from storage.catalog.catalog import Catalog
from storage.catalog.verify import verify
from storage.keys import plain
from storage.settings import Settings
from tasks import stages, stopping, waiting, worker
from tasks.catalog import catalog
from tasks.plan import pages
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tasks.shard import Finished, Missing, fill
from tests.flows.test_place import CHEAP, SAMPLES, Plain, PlainSpec, place, planned, rendered

UNCHECKED = {"success": True, "failed": [], "docs": ""}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There is a kind of generator that needs no network, and nobody who would be shown anything."""
    GENERATORS.register(PlainSpec)
    with stopping.flow_run():
        # What an earlier test was told is forgotten.
        pass
    monkeypatch.setattr("tasks.catalog.create_table_artifact", lambda *said, **more: None)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield
    GENERATORS.unregister(PlainSpec)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cohort]:
    """A home with a car and nothing made of it, and what is to be made."""
    home = tmp_path_factory.mktemp("credits") / "home"
    GENERATORS.register(PlainSpec)
    cohort = planned(place(home), 30_000)
    GENERATORS.unregister(PlainSpec)
    return home, cohort


@pytest.fixture
def here(registered: tuple[Path, Cohort], tmp_path: Path) -> Place:
    """A copy of that home."""
    shutil.copytree(registered[0], tmp_path / "here")
    return place(tmp_path / "here", run="first")


@pytest.fixture
def cohort(registered: tuple[Path, Cohort]) -> Cohort:
    return registered[1]


def make(here: Place, cohort: Cohort, *names: str, renders: Any = rendered) -> None:
    """Call the stages' tasks as a run does; all of them, or those that are named."""
    for stage in stages.OF_A_SAMPLE:
        for shard in cohort.shards() if not names or stage.name in names else ():
            if stage.name == "render":
                fill("render", shard, cohort.recipe, here, renders)
            else:
                stage.run().fn(here, shard, cohort.recipe)
    for of_all in stages.OF_A_COHORT:
        for part in of_all.parts(cohort.recipe) if not names or of_all.name in names else ():
            of_all.run().fn(here, cohort, part)


def complete(here: Place, cohort: Cohort, **how: Any) -> str:
    """Make a whole run."""
    with stopping.flow_run(), runs.on_record(here, cohort, len(cohort.samples)) as run:
        make(here, cohort, **how)
        counts = catalog.fn(here, cohort, run.run_id)
        run.finish(counts, UNCHECKED)
    return run.run_id


def same(here: Place) -> bool:
    """Say whether catalog and store say the same, and a catalog made from the store alone as well."""
    assert list(verify(here.catalog, here.store)) == []
    restored = Catalog(f"sqlite:///{here.home / 'restored.sqlite'}", here.store)
    restored.rebuild(here.store.records())
    assert list(verify(restored, here.store)) == []
    (here.home / "restored.sqlite").unlink()
    return True


def test_each_artifact_is_credited_once_to_the_run_that_made_it_and_members_are_of_every_run(here: Place, cohort: Cohort) -> None:
    assert complete(here, cohort) == "first"
    rows = here.catalog
    costs = "select stage, made, seconds from costs order by run_id, stage"
    before = rows.query(costs).values.tolist()
    assert {stage: made for stage, made, _ in before} == {
        "render": 4, "control": 4, "caption": 4, "image": 4, "score": 1, "verdict": 1,
    }  # fmt: skip
    assert complete(replace(here, run="second"), cohort) == "second"
    assert rows.query("select count(*) as n from costs where run_id = 'second'").n[0] == 0
    assert rows.query(costs).values.tolist() == before
    assert {name: n for name, n in rows.run("second")["counts"].items() if name.startswith("new_") and n} == {}
    told = rows.query("select distinct made_by_run, run_id, first_run_id from samples")
    assert told.values.tolist() == [["first", "second", "first"]]
    assert rows.query("select run_id, count(*) as n from run_members group by 1 order by 1").n.tolist() == [SAMPLES, SAMPLES]
    # A larger run makes only what is new; the smaller one's samples stay on record as they were.
    larger = replace(cohort, samples=runs.cohort(here, "car", SAMPLES + 2, cohort.recipe).samples)
    complete(replace(here, run="third"), larger)
    assert rows.query("select made from costs where run_id = 'third' and stage = 'image'").made.tolist() == [2]
    assert rows.query("select made_by_run, count(*) as n from samples where in_cohort = 1 group by 1 order by 1").n.tolist() == [
        4,
        2,
    ]
    assert same(here)


def test_waiting_for_others_is_no_work_and_no_estimate_learns_from_it(
    here: Place, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = worker.turn

    def late(spec: Any, place: Place) -> Any:
        # Captioners take their turn by the same way; these wait for nobody.
        if isinstance(spec, ImageSpec):
            with waiting.counted():
                time.sleep(1.5)
        return turn(spec, place)

    paint, takes = Plain.generate, iter((0.2, 0.6))

    def slowly(self: Plain, *asked: Any) -> Any:
        time.sleep(next(takes))
        return paint(self, *asked)

    monkeypatch.setattr(worker, "turn", late)
    monkeypatch.setattr(Plain, "generate", slowly)
    complete(here, cohort)
    (row,) = here.catalog.rows("select * from costs where stage = 'image'")
    assert (row["made"], row["waited"] >= 1.5, row["seconds"] < 1.4) == (4, True, True), row
    shares = here.catalog.query("select seconds, waited, attempt from artifacts where stage = 'image' order by waited")
    assert shares.waited.tolist()[:3] == [0.0] * 3, "it waited once"
    assert sorted(shares.seconds) == pytest.approx([0.1, 0.1, 0.3, 0.3], abs=0.08), "those of a batch share its seconds"
    run = here.catalog.run("first")
    assert (run["waited"]["image"], run["seconds"]["image"]) == (row["waited"], row["seconds"])
    costs = estimate.costs(here, cohort.recipe)
    wall = estimate.wall_s(run)
    assert sum(costs.seconds[stage] * 4 for stage in costs.seconds) == pytest.approx(wall - row["waited"], abs=0.1)


def test_what_an_attempt_made_before_it_died_is_not_lost_to_the_next(here: Place, cohort: Cohort) -> None:

    def dies(todo: Sequence[Missing]) -> Iterator[Finished]:
        for number, finished in enumerate(rendered(todo)):
            if number == 3:
                raise ConnectionError("away")
            yield finished

    with stopping.flow_run(), runs.on_record(here, cohort, SAMPLES) as run:
        with pytest.raises(ConnectionError):
            make(here, cohort, "render", renders=dies)
        make(here, cohort)
        run.finish(catalog.fn(here, cohort, run.run_id), UNCHECKED)
    assert here.catalog.run("first")["counts"]["new_render"] == 4
    assert here.catalog.query("select count(*) as n from artifacts where made_by = 'first' and stage = 'render'").n[0] == 4


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "stopped", "stopped by Ctrl-C"),
        (RuntimeError("no luck"), "failed", "RuntimeError: no luck"),
    ],
)
def test_what_a_run_that_was_broken_off_had_made_is_in_the_catalog_and_in_a_report(
    here: Place, cohort: Cohort, error: BaseException, status: str, reason: str
) -> None:
    complete(here, replace(cohort, samples=cohort.samples[:1]))
    second = replace(here, run="second")

    def breaks_off() -> None:
        with stopping.flow_run(), runs.on_record(second, cohort, SAMPLES):
            make(second, replace(cohort, samples=cohort.samples[:3]), "render", "control", "caption", "image")
            make(second, cohort, "render")
            raise error

    with pytest.raises(type(error)):
        breaks_off()
    row = here.catalog.run("second")
    assert (row["status"], row["reason"]) == (status, reason)
    assert {name: row["counts"][name] for name in ("asked", "made", "new_render", "new_image")} == {
        "asked": 4, "made": 3, "new_render": 3, "new_image": 2,
    }  # fmt: skip
    assert row["seconds"].keys() == {"render", "control", "caption", "image"}
    samples = here.catalog.query("select sample_id, in_cohort, made_by_run, run_id from samples order by view_index")
    assert samples.in_cohort.tolist() == [1, 0, 0], "the class's cohort is what it was"
    assert samples.made_by_run.tolist() == ["first", "second", "second"]
    assert here.catalog.query("select count(*) as n from run_members where run_id = 'second'").n[0] == 3
    page = pages.report_path(here.home, "second").read_text()
    assert all(sample in page for sample in samples.sample_id)
    assert reason in page
    assert same(here)
    complete(replace(here, run="third"), cohort)
    assert here.catalog.query("select in_cohort from samples").in_cohort.tolist() == [1] * SAMPLES
    assert same(here)


def test_what_a_killed_run_had_made_is_no_difference_and_is_written_by_whoever_buries_it(here: Place, cohort: Cohort) -> None:
    how: dict[str, Any] = {"class_name": "car", "recipe": cohort.recipe.name, "samples": SAMPLES}
    here.catalog.start_run(run_id="first", recipe_specs=plain(cohort.recipe), **how)
    make(here, replace(cohort, samples=cohort.samples[:2]), "render", "control", "caption", "image")
    make(here, cohort, "render")
    left: list[str] = []
    assert list(verify(here.catalog, here.store, unwritten=left.append)) == []
    assert left == ["first"] * 10
    with here.catalog.database.writing() as connection:
        connection.exec_driver_sql("update runs set pid = 4194303")  # nobody's
    leftovers.bury(here)
    row = here.catalog.run("first")
    assert (row["status"], row["reason"], row["counts"]["new_image"]) == ("crashed", "its process was killed", 2)
    assert here.catalog.query("select count(*) as n from run_members").n[0] == 2
    left.clear()
    assert same(here)
    assert list(verify(here.catalog, here.store, unwritten=left.append)) == []
    assert left == []
    leftovers.bury(here)
    assert here.catalog.run("first")["entry"] == row["entry"], "once is enough"
    complete(replace(here, run="second"), cohort)
    assert here.catalog.query("select made_by_run from samples order by 1").made_by_run.tolist() == ["first"] * 2 + ["second"] * 2
    assert same(here)


def test_what_changed_between_two_runs_is_said_field_by_field_and_sample_by_sample(
    here: Place, cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    complete(here, replace(cohort, samples=cohort.samples[:3]))
    changes = {**CHEAP, "caption": {"suffix": "sharp focus"}}
    other = runs.cohort(here, "car", SAMPLES, recipes.resolve("embedded-quick", changes))
    complete(replace(here, run="second"), replace(other, samples=other.samples[1:]))
    settings = Settings(home=here.home, catalog_url="")
    diff(settings, ["car"], "json")
    said = json.loads(capsys.readouterr().out)
    assert [run["run_id"] for run in said["runs"]] == ["first", "second"]
    assert said["recipe"] == [{"field": "caption.suffix", "from": "", "to": "sharp focus"}]
    assert {row["change"]: row["samples"] for row in said["samples"]} == {"other image": 2, "added": 1, "gone": 1}
    assert len(said["captions"]) == 2
    assert all(row["to"].endswith("sharp focus") and not row["from"].endswith("sharp focus") for row in said["captions"])
    (score,) = (row for row in said["scores"] if row["score"] == "fidelity")
    assert None not in score.values()
    made = {row["stage"]: (row["made_from"], row["made_to"]) for row in said["costs"]}
    assert (made["render"], made["image"]) == ((3, 1), (3, 3)), "renders of the first run were there"
    # In words, by the starts of the ids, and the other way round.
    diff(settings, ["sec", "fir"], "text")
    text = capsys.readouterr().out
    assert "captions: 2 are others" in text
    assert "caption.suffix" in text
    diff(settings, ["second"], "json")
    assert json.loads(capsys.readouterr().out) == said
    for names, wrong in ((["nothing"], "no run and no class"), (["first"], "is the first of car"), ([""], "several runs begin")):
        with pytest.raises(ValueError, match=wrong):
            diff(settings, names, "text")
