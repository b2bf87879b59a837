"""`dst evaluate filter`: sets, judges, report and package, gone on with where it was; and people's tags as the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.commands import evaluate as command
from flows.evaluate_filter import evaluate_filter, rows_asked
from models.evaluation.filters import card, judging
from models.evaluation.filters.spec import FiltersSpec
from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.catalog.tags import Said
from tasks import evaluate_filter as tasks
from tests.catalog.test_upkeep import Made, run
from tests.evaluation.conftest import Renders
from tests.flows.conftest import Server

ASKED: dict[str, Any] = {
    "classes": ["car", "chair"],
    "cad_models": 2,
    "views": 3,
    "rates": [0.34],
    "judges": ["fidelity", "duplicate"],
    "panel": False,
}


@pytest.mark.slow
def test_a_benchmark_that_is_stopped_goes_on_and_is_exported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tasks, "_painter", lambda place: Renders(tasks.folder_of(place)))
    judge, calls = judging.judge, []

    def dies(spec: Any, made: Any, *others: Any) -> Any:
        calls.append((spec.kind, made.name))
        if len(calls) == 3:
            raise ConnectionError("the power is gone")
        return judge(spec, made, *others)

    out, export = tmp_path / "out", tmp_path / "package"
    kept = tmp_path / "home/evaluation/filters/judged"
    with temporary_settings({PREFECT_API_URL: server.api}):
        monkeypatch.setattr(judging, "judge", dies)
        with pytest.raises(ConnectionError):
            evaluate_filter(**ASKED, out=str(out))
        monkeypatch.setattr(judging, "judge", judge)
        before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
        assert before
        figures = evaluate_filter(**ASKED, out=str(out), export=str(export))
    after = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert {name: after[name] for name in before} == before
    assert len(after) == 8
    assert set(figures["rows"]) == {"fidelity", "duplicate"}
    assert figures["package"] == str(export)
    said = (out / "README.md").read_text()
    assert (
        "--class car --class chair --rate 0.34 --cad-models 2 --views 3 --judge 'fidelity' --judge 'duplicate' --no-panel" in said
    )
    assert all((out / name).stat().st_size > 5000 for name in (card.PLOT, card.COSTS))
    assert {"README.md", "score.py", "truth.csv", "figures.json", "sets"} == {path.name for path in export.iterdir()}
    assert json.loads((export / "figures.json").read_text())["rows"] == figures["rows"]


def test_what_is_asked_for_amiss_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"no bundled class 'cars'; there are: car"):
        FiltersSpec(classes=("cars",))
    with pytest.raises(ValueError, match='no filter "fidelty"; did you mean "fidelity"'):
        rows_asked(["fidelty"], False)
    with pytest.raises(ValueError, match="say --tags"):
        command.filter("car")


def test_tags_are_the_truth_of_stored_scores(tmp_path: Path, store: ArtifactStore) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", store)
    catalog.migrate()
    run(Made(catalog, store), "car", 4)
    images = catalog.rows("SELECT sample_id, class_name, image_key, kept FROM samples WHERE file IS NOT NULL ORDER BY 1")
    assert len(images) >= 4
    with pytest.raises(ValueError, match="called images of car good and others bad"):
        tasks.tagged(catalog, "car")
    tags = {row["image_key"]: "good" if row["kept"] else "bad" for row in images}
    catalog.add_tags(
        [
            Said(image_key=row["image_key"], sample_id=row["sample_id"], class_name="car", tag=tags[row["image_key"]])
            for row in images
        ],
        by="ada",
    )
    told = tasks.tagged(catalog, "car")
    assert told["tags"] == {**{tag: list(tags.values()).count(tag) for tag in ("good", "bad")}, "doubtful": 0}
    assert told["rows"]["the rules"]["all"]["auroc"] == 1.0
    assert "| fidelity |" in card.overall(told["rows"])
