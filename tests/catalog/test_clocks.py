"""A clock that goes back between two runs: what is replayed follows from what was done, not from what the clock said."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.artifacts import Artifact, ArtifactStore, Record
from storage.catalog import journal
from storage.catalog.catalog import Catalog
from storage.catalog.verify import verify
from tests.catalog import records
from tests.catalog.test_index import _snapshot


class Clock:
    """What the machine says the time is."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 27, 10, tzinfo=UTC)

    def now(self) -> str:
        self.time += timedelta(milliseconds=1)
        return self.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run(catalog: Catalog, store: ArtifactStore, views: int) -> str:
    """A finished run of a car, registered anew before, with so many views; one more fails."""
    histories = [*records.cohort("car", 1, views), records.history("car", 0, 9, fails_at="control")]
    catalog.add_cad_model(
        cad_id=records.cad_id(0), class_name="car", source="car.obj", keywords=[f"{views} views"],
        cad_key=histories[0].records["cad"].key,
    )  # fmt: skip
    verdict = records.verdict([history for history in histories if history.made], "car")
    catalog.index([*records.put(store, records.records(histories)), *verdict.put(store)])
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=len(histories))
    members = [history.member(verdict.key if history.made else None) for history in histories]
    catalog.set_cohort("car", "embedded", run_id, members)
    catalog.finish_run(run_id, status="complete")
    return run_id


@pytest.fixture
def went_back(catalog: Catalog, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> tuple[Catalog, list[str]]:
    """A catalog with two runs, the second of which began five minutes before the first."""
    clock = Clock()
    monkeypatch.setattr(journal, "now", clock.now)
    catalog.quarantine("a.obj", reason="unreadable", origin="watch")
    runs = [run(catalog, store, 3)]
    clock.time -= timedelta(minutes=5)
    catalog.unquarantine("a.obj")
    runs.append(run(catalog, store, 2))
    return catalog, runs


def restored(store: ArtifactStore, folder: Path, items: list[Artifact | Record]) -> Catalog:
    found = Catalog(f"sqlite:///{folder / 'restored.sqlite'}", store)
    found.rebuild(items)
    return found


def test_a_clock_that_went_back_between_two_runs_changes_nothing(
    went_back: tuple[Catalog, list[str]], store: ArtifactStore, tmp_path: Path
) -> None:
    catalog, (first, second) = went_back
    assert [row["run_id"] for row in catalog.runs()] == [second, first], "the newest first"
    assert list(verify(catalog, store)) == []
    before, after = _snapshot(catalog), _snapshot(restored(store, tmp_path, list(store.records())))
    assert after | {"classes": []} == before | {"classes": []}
    assert catalog.cad_models("car")[0]["keywords"] == ["2 views"]
    catalog.index(store.records())
    assert _snapshot(catalog) == before


def _old(artifact: Artifact) -> Artifact | Record:
    """An entry of the journal as it was written before schema 0005."""
    record = artifact.record
    if record.stage not in journal.JOURNAL:
        return artifact
    inputs = {name: value for name, value in record.inputs.items() if name != "number"}
    row = {name: value for name, value in (record.values.get("row") or {}).items() if name not in ("entry", "number", "waited")}
    if "cad_name" in row:
        row["name"] = row.pop("cad_name")
    values = {name: value for name, value in record.values.items() if name != "unfinished"} | {"row": row or None}
    return dataclasses.replace(record, inputs=inputs, values=values)


def test_entries_without_a_number_come_behind_the_runs_that_they_refer_to(
    went_back: tuple[Catalog, list[str]], store: ArtifactStore, tmp_path: Path
) -> None:
    _, (first, second) = went_back
    found = restored(store, tmp_path, [_old(artifact) for artifact in store.records()])
    rows = found.rows("SELECT run_id, first_run_id, in_cohort, view_index FROM members ORDER BY view_index")
    assert [tuple(row.values()) for row in rows] == [
        (second, first, 1, 0), (second, first, 1, 1), (first, first, 0, 2), (second, first, 1, 9),
    ]  # fmt: skip


def test_a_run_whose_entry_was_lost_costs_nothing_else(
    went_back: tuple[Catalog, list[str]], store: ArtifactStore, tmp_path: Path
) -> None:
    _, (first, second) = went_back
    found = restored(store, tmp_path, [item for item in store.records() if item.record.inputs.get("run_id") != first])
    assert found.query("SELECT DISTINCT run_id, first_run_id FROM members").values.tolist() == [[second, second]]


def test_a_new_catalog_beside_an_old_journal_counts_on(
    went_back: tuple[Catalog, list[str]], store: ArtifactStore, tmp_path: Path
) -> None:
    numbers = [journal.number(item.record) for stage in journal.JOURNAL for item in store.records(stage)]
    assert len(set(numbers)) == len(numbers)
    fresh = Catalog(f"sqlite:///{tmp_path / 'fresh.sqlite'}", store)
    fresh.migrate()
    row = fresh.add_cad_model(cad_id=records.cad_id(0), class_name="car", source="car.obj", keywords=["newest"])
    assert row["entry"] > max(numbers)
