"""`dst filter` and its form: decisions over stored scores, of images that are really there, from terminal and UI alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import asked, deciding
from flows.commands import filter as command
from flows.commands import imports
from storage.catalog.catalog import Catalog
from storage.catalog.verify import verify
from storage.settings import Settings
from tasks.plan.place import Place
from tests.export.conftest import Made
from tests.export.test_asked import message

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own with the same classes: decisions change what `kept` shows."""
    return Path(shutil.copytree(made.home, tmp_path_factory.mktemp("filtered") / "home"))


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("DST_HOME", str(home))
    monkeypatch.setenv("DST_CATALOG_URL", "")
    return Place.of(Settings())


def dst(capsys: pytest.CaptureFixture[str], **said: Any) -> str:
    asked_for = {"keep": None, "judges": (), "name": "", "default": False, "recipe": None, **said}
    command.decide(Settings(), "car", **asked_for)
    return capsys.readouterr().out


def kept(catalog: Catalog) -> list[Any]:
    return [row["kept"] for row in catalog.rows("SELECT kept FROM samples WHERE class_name = 'car' ORDER BY sample_id")]


def test_a_threshold_moves_over_stored_scores_and_only_the_default_decision_is_what_kept_shows(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*given: Any, **more: Any) -> None:
        raise AssertionError("a judge was loaded, although its scores are stored")

    catalog = place.catalog
    monkeypatch.setattr("tasks.score.JUDGES.load", measured)
    assert kept(catalog) == [1] * 6
    told = dst(capsys, keep="best 50% by highest fidelity", name="half")
    assert "3 kept, 3 dropped, 0 not judged" in told
    assert "fidelity: canny is not found again in the image" in told
    assert 'dst filter car --name "half" --default' in told
    assert kept(catalog) == [1] * 6
    dst(capsys, name="half", default=True)
    assert sorted(kept(catalog)) == [0] * 3 + [1] * 3
    words = catalog.rows("SELECT DISTINCT drop_words FROM samples WHERE class_name = 'car' AND kept = 0")
    assert all(row["drop_words"].startswith("fidelity: canny is not found again") for row in words)
    listed = dst(capsys)
    assert "half" in listed
    assert "best 50% by highest fidelity" in listed
    dst(capsys, keep="recipe", default=True)
    assert kept(catalog) == [1] * 6
    assert list(verify(catalog, place.store)) == []


def test_more_judges_measure_images_that_exist_and_decide_nothing_by_themselves(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(place.catalog)
    told = dst(capsys, judges=["quality"])
    assert kept(place.catalog) == before
    assert "is what `kept` shows now" in told
    found = place.catalog.rows("SELECT quality FROM samples WHERE class_name = 'car'")
    assert len(found) == 6
    assert all(0 <= row["quality"] <= 1 for row in found)


def test_what_was_decided_is_decided_again_over_what_a_later_run_leaves_behind(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    dst(capsys, keep="fidelity at least 2", name="none", default=True)
    assert kept(place.catalog) == [0] * 6
    catalog = place.catalog
    run = deciding.judged_run(place, "car", None)
    cohort = deciding.present(place, run)
    own = cohort.verdict_key(cohort.made(place.store))
    members = [{**row, "verdict_key": own} for row in catalog.present_members("car", run["recipe"])]
    catalog.set_cohort("car", run["recipe"], run["run_id"], members)
    assert kept(catalog) == [1] * 6
    made = deciding.after_a_run(place, cohort)
    assert made is not None
    assert made.row["name"] == "none"
    assert kept(catalog) == [0] * 6
    # Made by code that knew other judges, a decision is none any more.
    catalog.add_decision({**made.row, "verdict": {"judges": {"oracle": {"kind": "oracle"}}, "rules": {}}}, [], by="nobody")
    again = deciding.after_a_run(place, cohort)
    assert again is not None
    assert again.row["name"] == "recipe"
    assert kept(catalog) == [1] * 6
    dst(capsys, keep="recipe", default=True)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"keep": "fewer"}, '"fewer" is nothing that can be asked for; ask for "lose 5%"'),
        ({"keep": "kfc at most 3"}, 'asks for the score "kfc", which no judge gives; did you mean "kcf"?'),
        ({"keep": "recipe", "recipe": "mine"}, 'there is no run of "car" under mine; it was made under small'),
        ({"judges": ["clip"]}, 'the judge clip needs weights: [verdict.judges.clip] model = "FOLDER"'),
        ({"judges": ["qualty"]}, "no judge of kind 'qualty'; did you mean \"quality\"?"),
        ({"name": "nobody's", "default": True}, 'car has no decision "nobody\'s"'),
        ({"name": "half"}, "say what is to be kept"),
        ({"default": True}, "say which decision is to be the default"),
    ],
)
def test_what_cannot_be_decided_is_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], said: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        dst(capsys, **said)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_form_leaves_what_the_command_leaves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(asked, "create_markdown_artifact", lambda text, **said: shown.append({"text": text, **said}))
    told = message(asked.filter_class.fn("car", keep="fidelity at least 2", name="from the form"), "COMPLETED")
    assert told.startswith("car, from the form: 0 kept, 6 dropped")
    assert "fidelity: canny is not found again" in shown[0]["text"]
    assert place.catalog.decisions("car")[0]["name"] == "from the form"
    assert message(asked.filter_class.fn("car", keep="less"), "FAILED").startswith('"less" is nothing that can be asked for')


def test_a_wish_is_granted_over_stored_scores_and_what_it_promises_is_stored_with_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    told = dst(capsys, keep="lose 5%", judges=["quality"])
    (row,) = [one for one in place.catalog.decisions("car") if one["name"] == "lose 5%"]
    assert set(row["expected"]) == {"precision", "recall", "lost", "left"}
    assert row["expected"]["lost"] <= 0.05
    assert f"expected: {row['expected']['recall']:.0%} of the failures dropped" in told
    assert "ensemble" in row["verdict"]["judges"]
    scores = place.catalog.rows(
        "SELECT name, count(*) AS n FROM scores WHERE verdict_key = :key GROUP BY 1", key=row["verdict_key"]
    )
    counted = {one["name"]: one["n"] for one in scores}
    assert counted["ensemble"] == counted["ensemble_fidelity"] == counted["ensemble_quality"] == 6
    # Nobody could say anything by kcf: two folds of three images.
    assert "ensemble_kcf" not in counted
    assert list(verify(place.catalog, place.store)) == []


def test_imported_images_are_judged_by_the_same_judges(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    rows = place.catalog.rows("SELECT * FROM samples WHERE class_name = 'car'")
    pose = ("azimuth_deg", "elevation_deg", "inplane_deg")
    taken = [
        {"image_id": row["sha256"], "origin": "them", "class_name": "car", "path": str(place.home / "artifacts" / row["file"])}
        | {name: row[name] for name in pose}
        for row in rows
    ]
    place.catalog.add_foreign_images(taken)
    imports.filter_("them", class_name="car", keep="lose 5%", judges="quality,duplicate")
    assert "kept" in capsys.readouterr().out
    found = place.catalog.foreign_images("them", "car")
    verdicts = [row["facts"]["verdict"] for row in found]
    assert all(one["scores"]["ensemble"] is not None and one["scores"]["quality"] is not None for one in verdicts)
    imports.filter_("them", class_name="car", keep="quality at least 1.1")
    dropped = place.catalog.foreign_images("them", "car")
    assert {row["kept"] for row in dropped} == {0}
    assert all(row["facts"]["verdict"]["words"].startswith("quality: ") for row in dropped)
    with pytest.raises(ValueError, match="imported images have no recipe"):
        imports.filter_("them", class_name="car", keep="recipe")
