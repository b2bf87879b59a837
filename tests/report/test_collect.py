"""What the page says is what the catalog and the store hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.images import to_png
from storage.report.collect import collect, select
from storage.report.content import Report, Status
from storage.report.page import render, write, write_index
from tests.catalog import records
from tests.report.made_up import paint, scene
from tests.storage.memory import MemoryBlobs


def finished_run(
    catalog: Catalog,
    store: ArtifactStore,
    class_name: str = "car",
    models: int = 3,
    views: int = 4,
    also: tuple[str, ...] = (),
    judges: tuple[str, ...] = ("kcf", "fidelity"),
) -> str:
    """Make a run with real pictures in the store and rows in the catalog; one sample fails at the image; return its run_id.

    also: further kinds of controls, beside canny. judges: those that could judge.
    """
    histories = [records.history(class_name, model, view, also=also) for view in range(views) for model in range(models)]
    histories[5] = records.history(class_name, 5 % models, 5 // models, fails_at="image", also=also)
    made: list[Any] = []
    for history in histories:
        rng = history.sample.rng("picture")
        values = history.records["render"].values
        painted = paint(rng, values["azimuth_deg"], values["elevation_deg"], 1.9)
        pictures = {
            "render": {"rgba.png": to_png(painted["rgba"])},
            "control": {"control.png": to_png(painted["edges"])},
            **{f"control:{kind}": {"control.png": to_png(painted["rgba"][..., 3] // 2)} for kind in also},
            "image": {"image.png": to_png(scene(rng, painted["rgba"]))},
        }
        for stage, record in history.records.items():
            files = {} if record.outcome == "failed" else pictures.get(stage, {})
            made.append(store.put(dataclasses.replace(record, files={}), files))
    with_image = [history for history in histories if history.records["image"].outcome == "made"]
    verdict = records.verdict(with_image, class_name, judges)
    catalog.index([*made, *verdict.put(store)])
    for number in range(models):
        catalog.add_cad_model(
            cad_id=records.cad_id(number),
            class_name=class_name,
            source=f"/home/somebody/cad/{class_name}/model{number}.obj",
            keywords=("fast",),
            licence="CC0",
            cad_key=histories[number].records["cad"].key,
            facts=records.cad_values(),
        )
    run_id = catalog.start_run(
        class_name=class_name,
        recipe="embedded",
        recipe_specs={"name": "embedded", **records.SPECS},
        samples=len(histories),
        runtime={"code": "abc123+", "machine": "x86_64", "packages": {"torch": "2.13.0"}},
    )
    members = [history.member(verdict.key if history in with_image else None) for history in histories]
    catalog.set_cohort(class_name, "embedded", run_id, members)
    catalog.finish_run(run_id, status="complete", seconds={"render": 3.0, "image": 8.5})
    return run_id


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished run that no test changes."""

    catalog: Catalog
    store: ArtifactStore
    run_id: str
    report: Report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    store = ArtifactStore(folder / "artifacts")
    catalog = Catalog(f"sqlite:///{folder / 'catalog.sqlite'}", store)
    catalog.migrate()
    run_id = finished_run(catalog, store)
    return Finished(catalog, store, run_id, collect(catalog, store, run_id))


@pytest.fixture
def catalog(store: ArtifactStore, tmp_path: Path) -> Catalog:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", store)
    catalog.migrate()
    return catalog


def test_the_report_counts_what_the_catalog_counts(finished: Finished) -> None:
    report = finished.report
    row = finished.catalog.query("SELECT count(*) AS n, sum(kept) AS kept, sum(status = 'failed') AS failed FROM samples").iloc[0]
    assert (report.total, report.count("kept"), report.count("failed")) == (row["n"], row["kept"], row["failed"])
    assert report.asked == 12
    assert report.made == 11
    assert {stage.stage: stage.made for stage in report.stages} == {
        "cad": 3, "render": 12, "control": 12, "caption": 12, "image": 11, "score": 11, "verdict": 11,
    }  # fmt: skip
    image = next(stage for stage in report.stages if stage.stage == "image")
    assert image.reasons == (("no_image", 1),)
    assert image.seconds == 8.5


def test_a_sample_carries_its_pictures_seed_and_annotation(finished: Finished) -> None:
    report = finished.report
    for sample in report.of("kept", "dropped"):
        assert sample.render
        assert sample.complete
        assert [kind for kind, _ in sample.controls] == ["canny"]
        assert sample.scores["fidelity"] == 0.9
        assert sample.annotation is not None
        assert sample.annotation.K == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        assert sample.annotation.box == (10.0, 20.0, 100.0, 90.0)
    seeds = {sample.sample_id: sample.seed for sample in report.of("kept", "dropped")}
    exact = dict(
        finished.catalog.query("SELECT sample_id, CAST(seed AS TEXT) AS seed FROM samples WHERE seed IS NOT NULL").to_numpy()
    )
    assert seeds == {name: int(seed) for name, seed in exact.items()}


def test_dropped_samples_say_why_and_failed_ones_too(finished: Finished) -> None:
    report = finished.report
    assert {(sample.reason, sample.detail) for sample in report.of("dropped")} == {
        ("pose_inconsistent", "kcf: does not look as annotated")
    }
    (failed,) = report.of("failed")
    assert (failed.stage, failed.reason, failed.detail) == ("image", "no_image", "the image could not be made")
    verdict = next(stage for stage in report.stages if stage.stage == "verdict")
    assert verdict.dropped == (("pose_inconsistent", report.count("dropped")),)


def test_cad_models_show_their_yield_and_no_folder_of_the_machine(finished: Finished) -> None:
    report = finished.report
    assert sum(model.kept for model in report.cad_models) == report.count("kept")
    assert sum(model.made + model.failed for model in report.cad_models) == 12
    assert all(model.faces == 120 and model.licence == "CC0" and model.thumbnail for model in report.cad_models)
    assert not any("somebody" in model.source for model in report.cad_models)


def test_a_damaged_picture_is_left_out_and_the_rest_is_shown(catalog: Catalog, store: ArtifactStore) -> None:
    run_id = finished_run(catalog, store, models=2, views=3)
    broken = str(catalog.rows("SELECT file FROM samples WHERE kept = 1")[0]["file"])
    store.blobs.write(broken, store.open_address(broken)[:-1] + b"x")
    report = collect(catalog, store, run_id)
    assert sum(sample.image is None for sample in report.of("kept")) == 1


def test_a_run_whose_samples_a_later_run_took_over_still_has_its_page(catalog: Catalog, store: ArtifactStore) -> None:
    first = finished_run(catalog, store, models=2, views=3)
    second = finished_run(catalog, store, models=2, views=3)
    assert first != second
    assert collect(catalog, store, first).total == collect(catalog, store, second).total == 6


def test_every_control_of_a_sample_is_collected_also_where_there_is_no_image(catalog: Catalog, store: ArtifactStore) -> None:
    report = collect(catalog, store, finished_run(catalog, store, models=2, views=3, also=("depth", "normals")))
    assert {tuple(kind for kind, picture in sample.controls if picture) for sample in report.samples} == {
        ("canny", "depth", "normals")
    }
    assert len(report.of("failed")) == 1


def test_scores_come_by_the_names_that_are_there_and_rules_by_theirs(finished: Finished) -> None:
    report = finished.report
    assert list(report.scores) == ["kcf", "fidelity", "kcf_azimuth", "kcf_disagreement", "kcf_elevation", "kcf_inplane"]
    assert sorted(value for value, _ in report.scores["kcf"]) == [1.0] * 8 + [3.0] * 3
    assert {status for value, status in report.scores["kcf"] if value == 3.0} == {"dropped"}
    assert [(rule.name, rule.score, rule.threshold) for rule in report.rules] == [
        ("pose", "kcf", 2.0),
        ("control", "fidelity", 0.25),
    ]
    assert report.verdict is not None
    assert (report.verdict.kept, report.verdict.dropped, report.verdict.unjudged) == (8, 3, 0)
    assert [(judge.name, judge.judged) for judge in report.verdict.judges] == [("fidelity", 11), ("kcf", 11)]


def test_each_judge_shows_images_on_both_sides_of_its_threshold(finished: Finished) -> None:
    kcf, fidelity = finished.report.judged
    assert (kcf.facts.name, fidelity.facts.name) == ("kcf", "fidelity")
    (shown,) = kcf.scores
    assert ({one.value for one in shown.fails}, {one.value for one in shown.passes}) == ({3.0}, {1.0})
    assert all(one.image and one.image.width <= 112 for one in (*shown.fails, *shown.passes))
    assert kcf.others == ("kcf_azimuth", "kcf_disagreement", "kcf_elevation", "kcf_inplane")
    assert sorted(why for _, _, why in finished.report.drops) == [""] * 8 + ["pose_inconsistent"] * 3
    assert sum(count for low in finished.report.low_yield for _, count in low.reasons) <= 3


def test_named_decisions_are_told_with_what_they_promise(catalog: Catalog, store: ArtifactStore) -> None:
    run_id = finished_run(catalog, store, models=2, views=3)
    (row,) = catalog.rows("SELECT DISTINCT verdict_key FROM members WHERE verdict_key IS NOT NULL")
    asked = {"class_name": "car", "recipe": "embedded", "verdict_key": row["verdict_key"], "keep": "lose 5%", "verdict": {}}
    expected = {"precision": 0.8, "recall": 0.9, "lost": 0.031, "left": None}
    catalog.add_decision({**asked, "name": "mild", "is_default": True, "expected": expected}, [], "somebody")
    catalog.add_decision({**asked, "name": "other", "is_default": False, "expected": None}, [], "somebody")
    other, mild = collect(catalog, store, run_id).decisions
    assert (mild.name, mild.keep, mild.is_default, mild.kept, mild.dropped) == ("mild", "lose 5%", True, 4, 1)
    assert mild.promise == "90% of the failures dropped, 80% of what is dropped failed, 3.1% of the good ones lost"
    assert (other.name, other.is_default, other.promise) == ("other", False, "")
    page = render(collect(catalog, store, run_id))
    assert page.count("shown here") == 1
    assert mild.promise in page


def test_what_no_judge_could_judge_is_neither_kept_nor_dropped_and_says_why(catalog: Catalog, store: ArtifactStore) -> None:
    report = collect(catalog, store, finished_run(catalog, store, models=2, views=3, judges=()))
    assert report.counts == {"unjudged": 5, "failed": 1}
    assert report.scores == {}
    assert report.verdict is not None
    assert report.verdict.why_unjudged.startswith("fidelity: too few")
    assert [(stage.made, stage.unjudged) for stage in report.stages if stage.stage == "verdict"] == [(0, 5)]


def test_a_judge_that_could_not_judge_leaves_the_decision_to_the_others(catalog: Catalog, store: ArtifactStore) -> None:
    report = collect(catalog, store, finished_run(catalog, store, models=2, views=3, judges=("fidelity",)))
    assert report.counts == {"kept": 5, "failed": 1}
    assert list(report.scores) == ["fidelity"]
    assert report.verdict is not None
    assert report.verdict.why_unjudged.startswith("kcf: too few")


def test_a_report_comes_from_bytes_in_memory_as_from_a_folder(tmp_path: Path) -> None:
    store = ArtifactStore(MemoryBlobs())
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", store)
    catalog.migrate()
    report = collect(catalog, store, finished_run(catalog, store, models=2, views=3))
    assert all(sample.complete for sample in report.of("kept", "dropped"))


def test_an_unknown_run_is_one_clear_line(finished: Finished) -> None:
    with pytest.raises(ValueError, match="no run"):
        collect(finished.catalog, finished.store, "o'run")


def test_the_index_makes_up_what_it_lacks_and_reads_nothing_that_was_read(
    catalog: Catalog, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = finished_run(catalog, store, models=2, views=3)
    page = write(collect(catalog, store, run_id), tmp_path / "reports" / "car.html", tmp_path / "index.html")
    first = write_index(catalog, store, {run_id: page}, tmp_path / "index.html").read_text()
    page.with_suffix(".json").write_text("{}")
    assert write_index(catalog, store, {run_id: page}, tmp_path / "index.html").read_text() == first
    monkeypatch.setattr("storage.report.collect.collect", None)
    assert write_index(catalog, store, {run_id: page}, tmp_path / "index.html").read_text() == first


def test_writing_a_page_and_an_index_links_them_both_ways(catalog: Catalog, store: ArtifactStore, tmp_path: Path) -> None:
    runs = {finished_run(catalog, store, name, models=2, views=3): name for name in ("car", "o'clock über")}
    folder, home = tmp_path / "reports", tmp_path / "index.html"
    pages = {run_id: write(collect(catalog, store, run_id), folder / f"{name}.html", home) for run_id, name in runs.items()}
    index = write_index(catalog, store, pages, home).read_text()
    assert 'href="reports/o%27clock%20%C3%BCber.html"' in index
    assert all('href="../index.html"' in page.read_text() for page in pages.values())


def test_a_big_run_shows_every_cad_model_every_side_and_every_verdict() -> None:
    rng = np.random.default_rng(0)
    statuses: list[Status] = ["kept", "dropped", "failed"]
    rows: list[tuple[dict[str, Any], Status]] = [
        (
            {"azimuth_deg": rng.uniform(0, 360), "elevation_deg": rng.uniform(-80, 80), "cad_id": str(rng.integers(5))},
            statuses[int(rng.choice(3, p=[0.9, 0.08, 0.02]))],
        )
        for _ in range(3000)
    ]
    chosen = select(rows, 144)
    assert len(chosen) == len(set(chosen)) == 144
    assert chosen == sorted(chosen)
    states = [rows[i][1] for i in chosen]
    assert states.count("dropped") == states.count("failed") == 48
    assert {rows[i][0]["cad_id"] for i in chosen if rows[i][1] == "kept"} == set("01234")


def test_a_small_run_is_shown_whole() -> None:
    row = {"azimuth_deg": 1.0, "elevation_deg": 2.0, "cad_id": "a"}
    assert select([(row, "kept")] * 10, 10) == list(range(10))
