"""What the live pages say is what catalog and store hold, while a run goes on and after it; and `dst status` says the same."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import cli, landing, recipes, retold, runs
from flows import overview as overviews
from flows.commands.status import status
from flows.landing import Landing
from flows.live import Live, person
from flows.overview import overview
from storage.artifacts import Record
from storage.catalog.catalog import Catalog
from storage.keys import digest, plain
from storage.report.feed import PAGE, Wanted
from storage.settings import Settings
from tasks.plan.cohort import Cohort, Planned
from tasks.plan.place import Place

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

SAMPLES = 6


class Class:
    """A class with two CAD models, and a run of it that this process makes."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.store = settings, settings.store
        self.catalog = Catalog(settings.catalog, settings.store)
        self.catalog.migrate()
        for number in range(2):
            self.add(number)
        self.cohort: Cohort = runs.cohort(Place.of(settings), "car", SAMPLES, recipes.resolve("embedded-quick"))
        self.run_id = self.begin()

    def add(self, number: int) -> None:
        cad_id = digest(f"model {number}".encode())
        key = digest(cad_id.encode())
        self.catalog.add_cad_model(cad_id=cad_id, class_name="car", source=f"/models/{number}.glb", cad_key=key)

    def begin(self) -> str:
        recipe = self.cohort.recipe
        return self.catalog.start_run(class_name="car", recipe=recipe.name, recipe_specs=plain(recipe), samples=SAMPLES)

    def paint(self, number: int, outcome: Any = "made") -> Planned:
        """Put one image, and the caption it was painted from, into the store as a run does."""
        planned = self.cohort.samples[number]
        caption = {"prompt": f"a photo of car {number}", "negative_prompt": ""}
        self.store.put(Record(key=planned.key("caption"), stage="caption", version=1, spec={}, inputs={}, values=caption))
        record = Record(
            key=planned.key("image"),
            stage="image",
            version=1,
            spec={},
            inputs={**dataclasses.asdict(planned.sample), "controls": {}, "caption": planned.key("caption")},
            values={"seed": 2**62 + number},
            outcome=outcome,
            reason=None if outcome == "made" else "black_image",
        )
        self.store.put(record, {"image.png": b"a picture"} if outcome == "made" else {})
        return planned

    def catalogued(self, *numbers: int) -> None:
        """Make what was painted the class's cohort, as the end of a run does."""
        members = []
        for number in numbers:
            planned = self.cohort.samples[number]
            self.catalog.index([self.store.get("image", planned.key("image")).record])
            keys = {f"{stage}_key": planned.key(stage) for stage in ("cad", "caption", "image")}
            members.append({**dataclasses.asdict(planned.sample), "sample_id": str(planned.sample), **keys, "status": "made"})
        self.catalog.set_cohort("car", self.cohort.recipe.name, self.run_id, members)


@pytest.fixture
def car(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Class:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(landing, "_REST_AT_LEAST_S", 0.0)
    monkeypatch.setattr(retold, "REST", 0.0)
    return Class(Settings())


def shown(live: Live, wanted: Wanted | None = None, before: Any = None) -> list[dict[str, Any]]:
    return list(live.pictures(wanted or Wanted(), before, ())["pictures"])


def test_pictures_are_shown_as_they_land_and_once_when_the_catalog_has_them(car: Class) -> None:
    live = Live(car.settings)
    assert shown(live) == []
    first = car.paint(0)
    (picture,) = shown(live)
    assert (picture["key"], picture["sample_id"]) == (first.key("image"), str(first.sample))
    assert (picture["class_name"], picture["recipe"], picture["caption"]) == ("car", "embedded-quick", "a photo of car 0")
    assert (picture["seed"], picture["verdict"], picture["scores"]) == (str(2**62), "", {})
    assert [name for name, _ in picture["strip"]] == ["render", "canny"]
    car.paint(1)
    car.paint(2, "failed")
    answer = live.pictures(Wanted(), None, ())
    assert len(answer["pictures"]) == 2
    going = {"class_name": "car", "recipe": "embedded-quick", "status": "running", "made": 2, "samples": SAMPLES}
    assert answer["going"] == [going]
    car.catalogued(0, 1)
    assert {one["key"] for one in shown(live)} == {car.cohort.samples[number].key("image") for number in (0, 1)}
    car.catalog.finish_run(car.run_id, status="complete")
    assert len(shown(live)) == 2
    assert live.pictures(Wanted(), None, ())["going"] == []


def test_what_a_run_that_was_killed_had_made_stays_to_be_seen_until_the_next_has_ended(car: Class) -> None:
    car.paint(0)
    car.catalog.finish_run(car.run_id, status="crashed", reason="its process was killed")
    look = Landing(Place.of(car.settings))
    assert len(look.look()[0]) == 1
    car.run_id = car.begin()
    car.paint(1)
    assert len(look.look()[0]) == 2
    car.catalogued(0, 1)
    car.catalog.finish_run(car.run_id, status="complete")
    assert look.look() == ([], [])


def test_an_image_is_tagged_while_its_run_goes_on_and_keeps_its_tag_in_the_catalog(car: Class) -> None:
    live, key = Live(car.settings), car.paint(0).key("image")
    said = live.tag(key, "bad", "no wheels", "ada")
    assert said == {"tag": "bad", "note": "no wheels", "tagged_by": "ada", "tagged_at": said["tagged_at"]}
    assert [(one["tag"], one["note"], one["tagged_by"]) for one in shown(live)] == [("bad", "no wheels", "ada")]
    assert shown(live, Wanted(tag="untagged")) == []
    car.catalogued(0)
    assert [one["tag"] for one in shown(live, Wanted(tag="bad"))] == ["bad"]
    assert car.catalog.query("select tag from samples").tag.tolist() == ["bad"]


def test_what_is_no_image_cannot_be_tagged(car: Class) -> None:
    failed = car.paint(0, "failed").key("image")
    for key, said in (("f" * 64, "there is no image"), (failed, "could not be made")):
        with pytest.raises(ValueError, match=said):
            Live(car.settings).tag(key, "good", "", "ada")


def test_pages_of_pictures_follow_one_another_without_a_gap_or_a_double(car: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.report.feed.PAGE", 2)
    assert PAGE == 60
    for number in range(5):
        car.paint(number)
    # Three in the catalog, two that have just landed, all of the same second.
    car.catalogued(0, 2, 4)
    live, found, before = Live(car.settings), list[str](), None
    while True:
        answer = live.pictures(Wanted(), before, ())
        found += [one["key"] for one in answer["pictures"]]
        if answer["more"] is None:
            break
        before = (answer["more"][0], answer["more"][1])
    assert len(found) == len(set(found)) == 5
    (one,) = live.pictures(Wanted(), None, [found[3]])["pictures"]
    assert one["key"] == found[3]


def test_a_home_without_a_catalog_has_live_pages_too_and_gets_none_by_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "nowhere"))
    live = Live(Settings())
    assert live.state()["classes"] == ()
    assert shown(live) == []
    assert not (tmp_path / "nowhere").exists()


def test_a_class_is_fresh_or_stale_for_reasons_and_status_prints_the_same(car: Class, capsys: pytest.CaptureFixture[str]) -> None:
    car.paint(0)
    (one,) = overview(car.settings).classes
    assert (one.standing, one.why, one.made, one.samples) == ("running", (), 1, SAMPLES)
    for number in range(1, SAMPLES):
        car.paint(number)
    car.catalogued(*range(SAMPLES))
    car.catalog.finish_run(car.run_id, status="complete", counts={"kept": 4, "dropped": 2})
    (one,) = overview(car.settings).classes
    assert (one.standing, one.why, one.kept_share) == ("fresh", (), pytest.approx(4 / 6))
    car.add(2)
    (one,) = overview(car.settings).classes
    assert (one.standing, one.why) == ("stale", ("1 CAD model is not in its cohort",))
    status(car.settings)
    said = capsys.readouterr().out
    assert "stale: 1 CAD model is not in its cohort" in said
    assert "complete" in said


def test_a_class_that_was_never_run_and_one_whose_run_failed_say_so(car: Class) -> None:
    car.catalog.finish_run(car.run_id, status="failed", reason="StoreFull: no space left")
    car.catalog.add_cad_model(cad_id="c" * 64, class_name="mug", source="/mug.glb", cad_key="d" * 64)
    now = {one.class_name: one for one in overview(car.settings).classes}
    assert now["mug"].standing == "never run"
    assert (now["car"].standing, now["car"].why[-1]) == ("stale", "its last run failed (StoreFull: no space left)")
    assert now["car"].run is not None
    assert now["car"].run.status == "failed"


def test_an_answer_is_told_again_for_a_while(car: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    live, asked = Live(car.settings), list[Settings]()
    monkeypatch.setattr("flows.live.overview", lambda settings: asked.append(settings) or overview(settings))
    assert live.state() is live.state()
    assert len(asked) == 1


def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *command: str) -> tuple[int, str]:
    """Type a command in this process; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["dst", *command])
    code = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_tags_from_a_terminal_are_those_of_the_page(
    car: Class, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def dst(*command: str) -> tuple[int, str]:
        return typed(capsys, monkeypatch, "tag", *command)

    names = [str(car.paint(number).sample) for number in range(4)]
    car.catalogued(*range(4))
    assert dst(names[0], "bad", "--note", "no wheels")[0] == 0
    row = car.catalog.tags()[0]
    assert (row["sample_id"], row["tag"], row["note"], row["tagged_by"]) == (names[0], "bad", "no wheels", person())
    file = tmp_path / "tags.csv"
    file.write_text("\ufeffsample_id,tag,note\n" + "".join(f'{name},Good,"a, b"\n' for name in names[1:]) + f"{names[0]},none,\n")
    assert dst("import", str(file)) == (0, "4 images tagged; what tags say of the rules: dst tag agreement car\n")
    assert car.catalog.tag_counts() == {"good": 3, "bad": 0, "doubtful": 0}
    code, said = dst("list", "car", "--tag", "good")
    assert (code, said.count("a, b")) == (0, 3)
    code, said = dst("agreement", "car")
    assert (code, "from 20 on, with at least 5 of each" in said) == (0, True)


WRONG = {
    "another word": ("sample_id,tag\n{0},fine\n", 'tags.csv, line 2: no tag "fine"; a tag is good, bad, doubtful'),
    "another sample": ("sample_id,tag\n{0},good\ncar-none,good\n", 'tags.csv, line 3: no sample "car-none"'),
    "no column": ("sample,tag\n{0},good\n", "has no column sample_id"),
    "nothing in it": ("sample_id,tag\n", "has no line behind"),
    "a short line": ("sample_id,tag\n{0}\n", 'line 2: no tag ""'),
    "a long note": ("sample_id,tag,note\n{0},good," + "x" * 1001, "line 2: a note has at most 1000"),
}


def test_a_file_of_tags_with_a_wrong_line_is_one_line_and_writes_nothing(
    car: Class, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = str(car.paint(0).sample)
    car.catalogued(0)
    file = tmp_path / "tags.csv"
    for what, (text, words) in WRONG.items():
        file.write_text(text.format(name))
        code, said = typed(capsys, monkeypatch, "tag", "import", str(file))
        assert (code, said.count("\n"), words in said) == (2, 1, True), (what, said)
    assert car.catalog.tags() == []


def test_a_sample_with_an_image_under_each_of_two_recipes_is_asked_about(
    car: Class, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(car.paint(0).sample)
    car.catalogued(0)
    other = recipes.resolve("render-world")
    cohort = runs.cohort(Place.of(car.settings), "car", SAMPLES, other)
    car.catalog.finish_run(car.run_id, status="complete")
    car.cohort = cohort
    car.run_id = car.begin()
    car.paint(0)
    car.catalogued(0)
    code, said = typed(capsys, monkeypatch, "tag", name, "good")
    assert (code, said.count("\n")) == (2, 1)
    assert "under each of the recipes embedded-quick, render-world" in said
    assert typed(capsys, monkeypatch, "tag", name, "good", "--recipe", "embedded-quick")[0] == 0
    assert car.catalog.query("select recipe from samples where tag = 'good'").recipe.tolist() == ["embedded-quick"]


def test_a_report_is_written_anew_when_its_tags_have_come_to_rest(car: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("tasks.plan.pages.write_report", lambda place, run_id: written.append(run_id))
    live, key = Live(car.settings), car.paint(0).key("image")
    car.catalogued(0)
    car.catalog.finish_run(car.run_id, status="complete")
    page = car.settings.root / "reports" / f"{car.run_id}.html"
    page.parent.mkdir(parents=True)
    page.touch()
    live.tag(key, "good", "", "ada")
    assert live.renew_reports() == []
    monkeypatch.setattr("flows.live.SETTLED_S", 0.0)
    assert live.renew_reports() == ["car"]
    assert live.renew_reports() == []
    assert written == [car.run_id]


def test_of_a_schedule_only_its_next_run_is_told_and_what_people_asked_for_is_told_wholly() -> None:
    def row(name: str, deployment: str, auto: bool, state: str = "SCHEDULED") -> dict[str, object]:
        return {"name": name, "deployment_id": deployment, "auto_scheduled": auto, "state_type": state}

    rows = [
        row("scan now", "scan", True, "RUNNING"),
        row("scan next", "scan", True),
        row("car", "generate", False),
        row("bus", "generate", False),
        row("scan after that", "scan", True),
        row("verify next", "verify", True),
        row("verify after that", "verify", True),
    ]
    assert [one["name"] for one in overviews._next_of_each(rows)] == ["scan now", "scan next", "car", "bus", "verify next"]
