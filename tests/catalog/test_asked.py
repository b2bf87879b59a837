"""What flows and tasks ask the catalog: each question has a name, and the same answer on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.catalog.catalog import Catalog
from storage.catalog.cohorts import Decided
from storage.catalog.index import spec_key
from tests.catalog import records
from tests.catalog.records import History


def run(catalog: Catalog, class_name: str, histories: list[History], judges: tuple[str, ...] = ("kcf", "fidelity")) -> str:
    """A run that left these samples behind; returns its run_id."""
    for history in histories:
        catalog.add_cad_model(
            cad_id=history.sample.cad_id, class_name=class_name, source="a.obj", collection="toys", uid=history.sample.cad_id[:6],
            cad_key=history.records["cad"].key,
        )  # fmt: skip
    judged = records.verdict([history for history in histories if history.made], class_name, judges)
    assert catalog.store is not None
    catalog.index([*records.records(histories), *judged.put(catalog.store)])
    run_id = catalog.start_run(class_name=class_name, recipe="embedded", recipe_specs={}, samples=len(histories))
    members = [history.member(judged.key if history.made else None) for history in histories]
    catalog.set_cohort(class_name, "embedded", run_id, members)
    return run_id


@pytest.fixture
def asked(catalog: Catalog) -> Catalog:
    """A class of 10 samples of two CAD models and two that failed, another without a usable CAD model."""
    failed = [records.history("car", 0, 7, fails_at="render"), records.history("car", 1, 7, fails_at="image")]
    run(catalog, "car", [*records.cohort("car", 2, 5), *failed])
    catalog.add_cad_model(cad_id="f" * 64, class_name="mug", source="mug.obj", status="rejected", reason="no_faces")
    return catalog


def test_classes_to_run_have_a_cad_model_that_can_be_rendered(asked: Catalog, url: str) -> None:
    assert asked.classes() == ["car", "mug"]
    assert asked.classes_to_run() == ["car"]
    assert asked.published() == {("car", records.cad_id(number)[:6]) for number in range(2)}


def test_before_there_is_a_catalog_no_class_can_be_run(url: str) -> None:
    assert Catalog(url).classes_to_run() == []


def test_a_sample_is_found_by_its_name_or_its_beginning_with_its_present_image_first(asked: Catalog) -> None:
    sample = str(records.history("car", 0, 0).sample)
    (before,) = asked.members(sample)
    run(asked, "car", records.cohort("car", 2, 5, recipe="other words"))
    now, then = asked.members(sample)
    assert (now["in_cohort"], then["in_cohort"], then["image_key"]) == (1, 0, before["image_key"])
    assert asked.members("car-nobody") == []
    assert asked.class_of_sample(sample) == "car"
    assert asked.class_of_sample("car-nobody") is None
    assert asked.sample_ids(sample[:-2]) == [sample]
    assert asked.sample_ids("car-", limit=3) == sorted(str(h.sample) for h in records.cohort("car", 2, 5))[:3]
    assert {row["image_key"] for row in asked.provenance(sample)} == {now["image_key"], then["image_key"]}


def test_names_with_signs_that_stand_for_others_are_only_names(catalog: Catalog) -> None:
    run(catalog, "a_b", records.cohort("a_b", 1, 1))
    run(catalog, "a%b", records.cohort("a%b", 1, 1))
    run(catalog, "axb", records.cohort("axb", 1, 1))
    for name in ("a_b", "a%b"):
        start = str(records.history(name, 0, 0).sample)[:-2]
        assert [catalog.class_of_sample(sample) for sample in catalog.sample_ids(start)] == [name]


def test_a_cohort_is_counted_by_cad_model_and_outcome_with_the_keys_of_the_first_view(asked: Catalog) -> None:
    found = asked.counted()
    assert set(found) == {("car", "embedded")}
    counts = {(row["cad_id"], row["status"], row["stage"]): row for row in found["car", "embedded"]}
    first = records.history("car", 0, 0)
    made = counts[first.sample.cad_id, "made", None]
    assert (made["samples"], made["first"], made["cad_key"]) == (5, 0, first.records["cad"].key)
    for stage in ("render", "control", "caption", "image"):
        assert made[f"{stage}_key"] == first.records[stage].key
    failed = counts[first.sample.cad_id, "failed", "render"]
    assert (failed["samples"], failed["reason"], failed["render_key"]) == (1, "no_render", None)
    assert asked.counted("car") == found
    assert asked.counted("mug") == {}


def test_what_was_decided_of_a_cohort_is_counted_and_what_was_not_as_well(asked: Catalog) -> None:
    assert asked.decided("car", "embedded") == Decided(kept=8, dropped=2, not_judged=0)
    run(asked, "car", records.cohort("car", 2, 3), judges=())
    assert asked.decided("car", "embedded") == Decided(kept=0, dropped=0, not_judged=6)
    assert asked.decided("car", "other") == Decided()


def test_failed_members_are_those_of_the_present_cohort(asked: Catalog) -> None:
    assert sorted(row["stage"] for row in asked.failed_members("car", "embedded")) == ["image", "render"]
    run(asked, "car", records.cohort("car", 2, 5))
    assert asked.failed_members("car", "embedded") == []


def test_the_mean_size_of_what_was_made_under_a_spec(asked: Catalog) -> None:
    key = spec_key("render", 1, records.SPECS["render"])
    assert asked.mean_bytes("render", key) == 2000.0
    assert asked.mean_bytes("render", key, of_at_most=1) == 2000.0
    assert asked.mean_bytes("image", key) is None


def test_a_render_says_of_which_view_it_is(asked: Catalog) -> None:
    history = records.history("car", 1, 3)
    view = {"class_name": "car", "cad_id": history.sample.cad_id, "view_index": 3}
    assert asked.view_of(history.records["render"].key) == view
    assert asked.view_of("nobody") is None


def test_runs_are_asked_by_kind_by_time_and_by_how_they_ended(catalog: Catalog) -> None:
    def start(kind: str, **more: str) -> str:
        return catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1, kind=kind, **more)

    moment = catalog.run(start("scan"))["started_at"]
    made, crashed = start("generate"), start("generate", flow_run_id="flow")
    assert [row["run_id"] for row in catalog.runs(kind="generate")] == [crashed, made]
    assert [row["run_id"] for row in catalog.runs("car", limit=1, kind="generate")] == [crashed]
    assert catalog.any_run_since("2999")
    for run_id, status in ((made, "complete"), (crashed, "crashed"), (catalog.runs(kind="scan")[0]["run_id"], "complete")):
        catalog.finish_run(run_id, status=status, reason=status)
    assert catalog.any_run_since(moment)
    assert not catalog.any_run_since("2999")
    assert catalog.crashed_flow_runs(moment) == {"flow": "crashed"}
    assert catalog.crashed_flow_runs("2999") == {}


def test_what_others_made_is_asked_by_origin_and_class(catalog: Catalog) -> None:
    image = {"class_name": "car", "path": "1.png", "azimuth_deg": 12.5}
    catalog.add_foreign_images([{"image_id": "a" * 64, "origin": "official", **image}])
    catalog.add_foreign_images([{"image_id": "b" * 64, "origin": "web", **image, "path": "2.png", "azimuth_deg": None}])
    captions = [{"origin": "official", "class_name": "car", "number": n, "prompt": f"car {n}"} for n in (2, 1)]
    catalog.add_foreign_captions([*captions, {"origin": "web", "class_name": "mug", "number": 0, "prompt": "a mug"}])
    assert catalog.foreign_image_paths() == {"a" * 64: "1.png", "b" * 64: "2.png"}
    assert catalog.posed_foreign_images() == [("official", "car")]
    assert [row["prompt"] for row in catalog.foreign_captions("official", "car")] == ["car 1", "car 2"]
    assert catalog.foreign_captions("official", "mug") == []
    assert (catalog.caption_origins("car"), catalog.caption_origins("cat")) == (["official"], [])


QUESTIONS: dict[str, Callable[[Catalog], object]] = {
    "members": lambda catalog: catalog.members("car-1"),
    "sample_ids": lambda catalog: catalog.sample_ids("car-1"),
    "class_of_sample": lambda catalog: catalog.class_of_sample("car-1"),
    "failed_members": lambda catalog: catalog.failed_members("car", "embedded"),
    "decided": lambda catalog: catalog.decided("car", "embedded"),
    "provenance": lambda catalog: catalog.provenance("car-1"),
    "view_of": lambda catalog: catalog.view_of("key"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_one_class_or_sample_reads_no_table_from_end_to_end(sqlite_url: str, question: str) -> None:
    import sqlalchemy as sa

    catalog = Catalog(sqlite_url)
    catalog.migrate()
    asked: list[tuple[str, object]] = []

    @sa.event.listens_for(catalog.database.reader, "before_cursor_execute")
    def _note(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        asked.append((statement, parameters))

    QUESTIONS[question](catalog)
    selects = [(sql, parameters) for sql, parameters in asked if "SELECT" in sql and "alembic" not in sql and "sqlite" not in sql]
    assert selects
    for sql, parameters in selects:
        plan = catalog.database.open_read_only().execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        assert not [line for *_, line in plan if line.startswith("SCAN")], sql
