"""An export of one class reads that class alone, and rows stream."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog import views
from storage.catalog.catalog import Catalog
from storage.catalog.query import QueryError
from storage.export import selection
from tests.catalog.records import cohort, records, verdict
from tests.storage.memory import MemoryBlobs


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


def filled(url: str, classes: int, models: int, views: int) -> Catalog:
    store = ArtifactStore(MemoryBlobs())
    catalog = Catalog(url, store)
    catalog.migrate()
    for number in range(classes):
        class_name = f"class {number}"
        made = cohort(class_name, models, views)
        judged = verdict(made, class_name)
        run_id = catalog.start_run(class_name=class_name, recipe="r", recipe_specs={}, samples=models * views)
        catalog.index([*records(made), *judged.put(store)])
        catalog.set_cohort(class_name, "r", run_id, [one.member(judged.key) for one in made])
        catalog.finish_run(run_id, status="complete")
    return catalog


class EverythingThere(ArtifactStore):
    """A store that finds all it is asked for: only the catalog is looked at here."""

    def find(self, stage: str, key: str) -> Any:
        return (stage, key)


@pytest.mark.parametrize("class_name", ["class 1", "class 2"])
def test_one_class_is_found_through_an_index_and_sorted_alone(tmp_path: Path, class_name: str) -> None:
    catalog = filled(f"sqlite:///{tmp_path / 'catalog.sqlite'}", classes=3, models=2, views=2)
    asked: list[str] = []
    original = selection.stream

    def listening(database: Any, sql: str, size: int = 1000) -> Any:
        asked.append(sql)
        return original(database, sql, size)

    selection.stream = listening  # type: ignore[assignment]
    try:
        where = f"class_name = '{class_name}' and in_cohort = 1"
        found = selection.freeze(catalog, EverythingThere(tmp_path), where, tmp_path / "rows.parquet")
    finally:
        selection.stream = original  # type: ignore[assignment]
    assert found.figures.classes == {class_name: 4}
    plan = [row["detail"] for row in catalog.rows("EXPLAIN QUERY PLAN " + asked[0].replace(":", "\\\\:"))]
    scans = [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step]
    assert not scans, plan
    assert any("SEARCH m USING" in step and "class_name=?" in step for step in plan), plan


def test_rows_are_read_back_as_they_were_and_in_order(tmp_path: Path, url: str) -> None:
    catalog = filled(url, classes=2, models=2, views=5)
    found = selection.freeze(catalog, EverythingThere(tmp_path), "kept = 1", tmp_path / "rows.parquet", size=3)
    samples = list(found.samples())
    assert [len(found.piece(number)) for number in found.pieces] == [3, 3, 3, 3, 3, 1]
    assert [one.number for one in samples] == list(range(16))
    assert [(one.class_name, one.name) for one in samples] == sorted((one.class_name, one.name) for one in samples)
    known = {row["sample_id"]: row for row in catalog.rows("select * from samples")}
    for one in samples:
        assert {name: one.row[name] for name in known[one.name] if name in one.row} == {
            name: value for name, value in known[one.name].items() if name in one.row
        }
        assert one.row["scores"] == {name: known[one.name][name] for name in one.row["scores"]}
        assert set(one.row["scores"]) == {name for name in views.SCORES if known[one.name][name] is not None}
        assert one.row["controls"] == {"canny": known[one.name]["control_key"]}
        assert one.row["rotation"] == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    places = [one.place for one in samples if one.cad_id == samples[0].cad_id and one.class_name == samples[0].class_name]
    assert places == list(range(len(places)))


def test_a_condition_that_holds_several_statements_runs_none_of_them(tmp_path: Path, url: str) -> None:
    catalog = filled(url, classes=1, models=1, views=2)
    for trick in (
        "1 = 1); delete from members; select (1",
        "1 = 1)) s; rollback; set session characteristics as transaction read write; delete from members; --",
        "sample_id = (select set_config('default_transaction_read_only', 'off', false))); delete from members; select (1",
    ):
        with pytest.raises(QueryError) as raised:
            selection.freeze(catalog, EverythingThere(tmp_path), trick, tmp_path / "rows.parquet")
        assert len(str(raised.value).splitlines()) == 1
    assert catalog.rows("select count(*) as n from members") == [{"n": 2}]


@pytest.mark.slow
def test_a_row_leaves_next_to_nothing_in_memory(tmp_path: Path) -> None:
    catalog = filled(f"sqlite:///{tmp_path / 'catalog.sqlite'}", classes=1, models=5, views=160)

    def peak(where: str) -> int:
        gc.collect()
        tracemalloc.start()
        found = selection.freeze(catalog, EverythingThere(tmp_path), where, tmp_path / "rows.parquet", size=50)
        assert sum(1 for _ in found.samples()) == found.figures.samples
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # What the tests before hold would put off the collection of cycles, which then count as memory of the rows.
    gc.freeze()
    try:
        peak("view_index = 0")
        half, whole = peak("view_index < 80"), peak("view_index < 160")
    finally:
        gc.unfreeze()
    # A row is 5 kB as Python holds it. What stays of it are numbers for the card's plots.
    assert (whole - half) / 400 < 1000
