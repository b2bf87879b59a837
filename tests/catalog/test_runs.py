"""Runs and the cohorts they leave behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa

from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from tests.catalog import records

SPECS = {"name": "embedded", "render": {"resolution": 128}}


def _finished(catalog: Catalog, views: int, status: str = "complete") -> str:
    histories = records.cohort("car", 1, views)
    catalog.index(records.records(histories))
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs=SPECS, samples=views)
    catalog.set_cohort("car", "embedded", run_id, [history.member() for history in histories])
    catalog.finish_run(run_id, status=status, seconds={"render": 1.5}, counts={"made": views})
    return run_id


def _images(views: int) -> dict[str, str | None]:
    return {str(history.sample): history.records["image"].key for history in records.cohort("car", 1, views)}


def test_a_finished_run_says_how_it_went(catalog: Catalog) -> None:
    row = catalog.run(_finished(catalog, 2))
    assert (row["status"], row["seconds"], row["counts"]) == ("complete", {"render": 1.5}, {"made": 2})
    assert row["started_at"] < row["finished_at"]
    assert row["recipe_specs"] == SPECS


def test_a_complete_run_is_found_by_the_cohort_it_left_behind(catalog: Catalog) -> None:
    run_id = _finished(catalog, 3)
    assert catalog.complete_run("car", "embedded", SPECS, _images(3)) == run_id


@pytest.mark.parametrize("views", [2, 4])
def test_another_number_of_samples_is_another_cohort(catalog: Catalog, views: int) -> None:
    _finished(catalog, 3)
    assert catalog.complete_run("car", "embedded", SPECS, _images(views)) is None


def test_a_changed_recipe_under_the_same_name_is_not_complete(catalog: Catalog) -> None:
    _finished(catalog, 3)
    assert catalog.complete_run("car", "embedded", {**SPECS, "name": "other"}, _images(3)) is None


def test_an_invalid_run_is_not_complete(catalog: Catalog) -> None:
    _finished(catalog, 3, status="invalid")
    assert catalog.complete_run("car", "embedded", SPECS, _images(3)) is None


def test_nothing_is_complete_before_there_is_a_catalog(url: str) -> None:
    assert Catalog(url).complete_run("car", "embedded", SPECS, _images(1)) is None


def test_keys_behind_a_failed_stage_are_not_kept(catalog: Catalog) -> None:
    failed = records.history("car", 0, 0, fails_at="render")
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    catalog.index(records.records([failed]))
    catalog.set_cohort("car", "embedded", run_id, [{**failed.member(), "controls": {"canny": "e" * 64}, "caption_key": "c" * 64}])
    row = catalog.query("SELECT render_key, control_key, caption_key FROM samples").iloc[0]
    assert row.render_key == failed.records["render"].key
    assert row.isna().tolist() == [False, True, True]


def test_a_run_whose_process_was_killed_becomes_crashed(catalog: Catalog, url: str) -> None:
    code = f"""
import os, signal
from storage.catalog.catalog import Catalog
Catalog({url!r}).start_run(run_id="killed", class_name="car", recipe="embedded", recipe_specs={{}}, samples=1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert catalog.run("killed")["status"] == "running"
    catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    assert catalog.run("killed")["status"] == "crashed"


def test_an_unknown_run_is_named(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match='no run "nothing" in the catalog'):
        catalog.finish_run("nothing", status="complete")


def test_a_run_cannot_end_in_a_made_up_status(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="a run is running, complete, invalid, stopped, failed, crashed, not splendid"):
        catalog.finish_run(_finished(catalog, 1), status="splendid")


def test_a_cohort_of_a_run_that_was_never_started_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        catalog.set_cohort("car", "embedded", "nobody", [records.history("car", 0, 0).member()])


def test_a_server_that_starts_anew_is_waited_for_and_one_that_never_answered_is_not(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(postgres_url)
    catalog.migrate()
    tries, connect = [], sa.Engine.connect

    def away(engine: sa.Engine) -> sa.Connection:
        tries.append(engine)
        if len(tries) < 3:
            raise sa.exc.OperationalError("select 1", {}, ConnectionRefusedError("the database system is starting up"))
        return connect(engine)

    monkeypatch.setattr(sa.Engine, "connect", away)
    _finished(catalog, 1)
    assert len(tries) > 3
    tries.clear()
    with pytest.raises(CatalogError, match="cannot be reached"):
        Catalog("postgresql://nobody@127.0.0.1:1/other").runs()
    assert len(tries) == 1
