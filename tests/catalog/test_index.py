"""Rows from records: complete, once, all or nothing, and again from the store alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.artifacts import ArtifactStore
from storage.catalog import tables
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.catalog.index import Rows
from tests.catalog import records

TABLES = [
    *(table.name for table in Rows.ORDER),
    "quarantine", "releases", "release_samples", "foreign_images", "foreign_captions",
]  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def _python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _snapshot(catalog: Catalog) -> dict[str, list[str]]:
    """Every row of every table, in an order of its own."""
    with catalog.database.reading() as connection:
        found = {name: connection.execute(sa.select(tables.metadata.tables[name])).mappings().all() for name in TABLES}
    return {name: sorted(json.dumps(dict(row), sort_keys=True) for row in rows) for name, rows in found.items()}


def test_decisions_and_scores_are_read_from_the_file_beside_the_verdicts_record(catalog: Catalog, store: ArtifactStore) -> None:
    judged = records.verdict(records.cohort("car", 1, 5), "car")
    catalog.index(judged.put(store))
    found = catalog.query("SELECT kept, reason, count(*) AS n FROM verdicts GROUP BY kept, reason ORDER BY kept")
    assert found.astype(object).where(found.notna(), None).values.tolist() == [[0, "pose_inconsistent", 1], [1, None, 4]]
    named = catalog.query("SELECT name, count(*) AS n, avg(value) AS mean FROM scores GROUP BY name ORDER BY name")
    assert named.name.tolist() == ["fidelity", "kcf", "kcf_azimuth", "kcf_disagreement", "kcf_elevation", "kcf_inplane"]
    assert named.n.tolist() == [5] * 6
    assert named["mean"].round(3).tolist() == [0.9, 1.4, 1.0, 0.1, 0.5, 0.25]
    (row,) = catalog.rows("SELECT kept_images, dropped_images, unjudged_images, rule FROM filters")
    assert tuple(row.values()) == (4, 1, 0, "kcf <= 2; fidelity >= 0.25")
    assert {row["judge"] for row in catalog.rows("SELECT judge FROM verdict_scores")} == {"kcf", "fidelity"}


def test_what_nobody_could_judge_is_null_and_has_no_score(catalog: Catalog, store: ArtifactStore) -> None:
    judged = records.verdict(records.cohort("car", 1, 5), "car", judges=())
    catalog.index(judged.put(store))
    assert catalog.query("SELECT count(*) AS n, count(kept) AS decided FROM verdicts").iloc[0].tolist() == [5, 0]
    assert catalog.rows("SELECT count(*) AS n FROM scores") == [{"n": 0}]
    assert catalog.rows("SELECT unjudged_images AS n FROM filters") == [{"n": 5}]


def test_the_rows_of_a_verdict_are_not_made_without_its_file(catalog: Catalog, url: str, store: ArtifactStore) -> None:
    judged = records.verdict(records.cohort("car", 1, 5), "car")
    with pytest.raises(ValueError, match="index the artifact, not the record"):
        catalog.index([judged.verdict])
    with pytest.raises(ValueError, match=r"are made from its verdicts\.json: a store is needed"):
        Catalog(url).index(judged.put(store))


def test_every_control_of_an_image_is_a_row_with_what_its_kind_says_of_it(catalog: Catalog) -> None:
    history = records.history("car", 0, 0, also=["depth"])
    catalog.index(history.records.values())
    rows = catalog.rows(
        "SELECT i.kind, k.density, k.facts FROM image_controls i JOIN controls k "
        "ON k.control_key = i.control_key AND k.kind = i.kind ORDER BY i.kind"
    )
    found = [(row["kind"], row["density"], _json(row["facts"])) for row in rows]
    assert found == [("canny", 0.05, None), ("depth", 0.5, {"nearest": 0.8})]


def _json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _with_scores(names: dict[str, float]) -> records.Judged:
    """A verdict whose first image was also measured by somebody else's judge."""
    judged = records.verdict(records.cohort("car", 1, 5), "car")
    judged.rows[0]["scores"] |= names
    return judged


def test_a_score_of_a_new_name_is_a_column_of_the_views_from_then_on(catalog: Catalog, store: ArtifactStore) -> None:
    histories = records.cohort("car", 1, 5)
    judged = _with_scores({"fid": 12.5})
    assert "fid" not in catalog.query("SELECT * FROM samples").columns
    catalog.index([*records.records(histories), *judged.put(store)])
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=5)
    catalog.set_cohort("car", "embedded", run_id, [history.member(judged.key) for history in histories])
    for view in ("samples", "provenance"):
        frame = catalog.query(f"SELECT fid, kcf FROM {view} ORDER BY fid")
        assert frame.fid.notna().sum() == 1
        assert frame.fid.max() == 12.5
        assert frame.kcf.notna().all()
    assert "fid" in catalog.query("SELECT * FROM accepted").columns
    assert catalog.migrate() is False


@pytest.mark.parametrize("name", ["seed", "kept", "FID", "fid'; DROP TABLE scores; --", "1st"])
def test_a_score_cannot_take_the_name_of_another_column_or_of_none(catalog: Catalog, store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="a score cannot be called"):
        catalog.index(_with_scores({name: 1.0}).put(store))
    assert catalog.rows("SELECT count(*) AS n FROM scores") == [{"n": 0}]


def test_a_spec_is_stored_once_however_many_artifacts_obey_it(catalog: Catalog) -> None:
    catalog.index(records.records(records.cohort("car", 2, 10)))
    assert catalog.query("SELECT stage, count(*) AS n FROM specs GROUP BY stage").n.tolist() == [1] * 5
    assert catalog.query("SELECT count(*) AS n FROM artifacts WHERE stage = 'image'").n[0] == 20


def test_a_failed_record_that_was_made_later_is_made(catalog: Catalog) -> None:
    catalog.index(records.records([records.history("car", 0, 0, fails_at="render")]))
    assert catalog.query("SELECT status, reason FROM views").iloc[0].tolist() == ["failed", "no_render"]
    catalog.index(records.records([records.history("car", 0, 0)]))
    row = catalog.query("SELECT status, reason, azimuth_deg FROM views").iloc[0]
    assert row.status == "made"
    assert row.isna().tolist() == [False, True, False]


def test_the_largest_seed_comes_back_as_it_was(catalog: Catalog) -> None:
    history = records.history("car", 0, 0)
    history.records["image"].values["seed"] = 2**63 - 1
    catalog.index(history.records.values())
    assert int(catalog.query("SELECT seed FROM images").seed[0]) == 2**63 - 1


def test_names_with_quotes_and_letters_of_every_script_are_only_names(catalog: Catalog) -> None:
    name = "Robert'); DROP TABLE images;-- 茶碗 ☕"
    catalog.index(records.records([records.history(name, 0, 0)]))
    catalog.add_cad_model(cad_id=records.cad_id(0), class_name=name, source=f"{name}.obj", keywords=[name])
    assert catalog.classes() == [name]
    assert catalog.cad_models(name)[0]["keywords"] == [name]
    assert catalog.query("SELECT class_name FROM images").class_name.tolist() == [name]


@pytest.mark.slow
def test_processes_that_index_at_once_all_succeed(catalog: Catalog, url: str) -> None:
    code = """
from storage.catalog.catalog import Catalog
from tests.catalog import records
catalog = Catalog({url!r})
for start in range(4):
    histories = [records.history("car", model, start) for model in range({first}, {first} + 20)]
    catalog.index(records.records(histories))
"""
    # Half of the second one's records are the first one's: they meet on the same rows.
    processes = [_python(code.format(url=url, first=first)) for first in (0, 10)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert catalog.query("SELECT count(*) AS n FROM images").n[0] == 30 * 4


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_half_rows_and_no_lock(catalog: Catalog, url: str) -> None:
    code = f"""
import sys
from storage.catalog.catalog import Catalog
from storage.catalog import artifacts
from tests.catalog import records
artifacts.BATCH = 10
def slowly():
    for i, record in enumerate(records.records(records.cohort("car", 1, 100))):
        if i == 250:
            print("half way", flush=True)
            sys.stdin.read()
        yield record
Catalog({url!r}).index(slowly())
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()
    assert all(not rows for rows in _snapshot(catalog).values())
    catalog.index(records.records(records.cohort("car", 1, 2)))
    assert catalog.query("SELECT count(*) AS n FROM images").n[0] == 2


@pytest.fixture
def lived(url: str, store: ArtifactStore) -> Catalog:
    """A catalog with a history: two classes, a rejected and a renamed CAD model, a cohort that shrank, a failed sample."""
    catalog = Catalog(url, store)
    catalog.migrate()
    for class_name, views in (("car", (3, 2)), ("mug", (2, 4))):
        for keywords in (["old word"], ["new word", "other"]):
            for model in range(2):
                history = records.history(class_name, model, 0)
                catalog.add_cad_model(
                    cad_id=history.sample.cad_id,
                    class_name=class_name,
                    source=f"{class_name}.obj",
                    keywords=keywords,
                    licence="CC0",
                    cad_key=history.records["cad"].key,
                    facts=records.cad_values(),
                )
        for count in views:
            histories = [*records.cohort(class_name, 2, count), records.history(class_name, 0, 9, fails_at="control")]
            verdict = records.verdict([h for h in histories if h.made], class_name)
            catalog.index([*records.put(store, records.records(histories)), *verdict.put(store)])
            run_id = catalog.start_run(class_name=class_name, recipe="embedded", recipe_specs={"a": 1}, samples=len(histories))
            members = [history.member(verdict.key if history.made else None) for history in histories]
            catalog.set_cohort(class_name, "embedded", run_id, members)
            catalog.finish_run(run_id, status="complete", seconds={"render": 1.0}, counts={"made": len(histories) - 1})
    catalog.add_cad_model(
        cad_id="f" * 64, class_name="car", source="bad.obj", status="rejected", reason="no_faces", detail="empty",
        collection="toys4k", uid="car_007", symmetry=2, symmetry_origin="mesh", camera={"distance_factor": 1.5},
        alignment=[[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    )  # fmt: skip
    for name in ("a.obj", "b.obj"):
        catalog.quarantine(name, reason="unreadable", origin="watch", class_name="car", size=12, digest="d" * 64)
    catalog.unquarantine("a.obj")
    released = [{"sample_id": "car-1", "image_key": "a" * 64, "sha256": "b" * 64, "recipe": "embedded"}]
    catalog.add_release(
        name="car-v1", format="coco", query="kept = 1", digest="c" * 64, path="out", samples=released, card={"n": 1}
    )
    image = {"origin": "official", "class_name": "car", "path": "car/1.png", "caption": "a car", "kept": 1}
    catalog.add_foreign_images([{"image_id": str(n) * 64, **image, "azimuth_deg": 30.5 * n, "facts": {"n": n}} for n in range(3)])
    catalog.add_foreign_images([{"image_id": "1" * 64, **image, "azimuth_deg": None}])
    catalog.add_foreign_captions(
        [{"origin": "official", "class_name": "car", "number": n, "prompt": f"car {n}"} for n in range(2)]
    )
    return catalog


def test_a_lost_catalog_comes_back_from_the_store_row_by_row(lived: Catalog, store: ArtifactStore, tmp_path: Path) -> None:
    restored = Catalog(f"sqlite:///{tmp_path / 'restored.sqlite'}", store)
    restored.rebuild(store.records())
    before, after = _snapshot(lived), _snapshot(restored)
    # When a class was first seen is the one thing that is not written down.
    before["classes"], after["classes"] = lived.classes(), restored.classes()
    assert before == after
    assert before["members"]


def test_rebuilding_mends_rows_that_were_tampered_with(lived: Catalog, store: ArtifactStore) -> None:
    before = _snapshot(lived)
    with lived.database.writing() as connection:
        for statement in (
            "UPDATE images SET seed = 0",
            "DELETE FROM views WHERE class_name = 'car'",
            "UPDATE members SET in_cohort = 1 - in_cohort, status = 'made'",
            "UPDATE cad_models SET keywords_text = 'nonsense', status = 'removed'",
            "UPDATE runs SET status = 'failed'",
            "DELETE FROM quarantine",
            "UPDATE releases SET samples = 0",
            "DELETE FROM release_samples",
            "UPDATE foreign_images SET path = 'elsewhere'",
            "DELETE FROM foreign_captions",
            "INSERT INTO verdicts (verdict_key, image_key, kept) VALUES ('x', 'y', 1)",
            "UPDATE scores SET value = 7",
            "DELETE FROM image_controls",
        ):
            connection.exec_driver_sql(statement)
    lived.rebuild(store.records())
    assert _snapshot(lived) == before


def test_rebuilding_twice_gives_the_same_rows(lived: Catalog, store: ArtifactStore) -> None:
    lived.rebuild(store.records())
    before = _snapshot(lived)
    lived.rebuild(store.records())
    assert _snapshot(lived) == before


def test_indexing_the_whole_store_into_a_living_catalog_changes_nothing(lived: Catalog, store: ArtifactStore) -> None:
    before = _snapshot(lived)
    lived.index(store.records())
    assert _snapshot(lived) == before


def test_a_run_that_is_going_on_survives_a_rebuild(lived: Catalog, store: ArtifactStore) -> None:
    run_id = lived.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    lived.rebuild(store.records())
    assert lived.run(run_id)["status"] == "running"


def test_a_full_disk_is_one_line(sqlite_url: str) -> None:
    catalog = Catalog(sqlite_url)
    catalog.migrate()

    def fill() -> None:
        with catalog.database.writing() as connection:
            # SQLite answers a database at its page limit as it does a full disk.
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            connection.exec_driver_sql("CREATE TABLE big AS SELECT randomblob(100000) AS b")

    with pytest.raises(CatalogError, match="no space left for the catalog"):
        fill()
