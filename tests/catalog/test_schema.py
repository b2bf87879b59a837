"""Migrations: up from nothing, never down, all or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.artifacts import ArtifactStore
from storage.catalog import prune, tables, views
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError, CatalogTooOld
from storage.catalog.schema import MIGRATIONS, upgrade
from storage.catalog.verify import verify
from tests.catalog import old_home, records


def test_an_empty_database_is_brought_to_the_schema_of_the_tables(catalog: Catalog) -> None:
    with catalog.database.reader.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_migration_is_the_schema_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.SCHEMA]


def test_migrating_again_does_nothing(catalog: Catalog) -> None:
    assert catalog.migrate() is False


def test_every_sql_view_answers_from_its_first_day(catalog: Catalog) -> None:
    for name in views.NAMES:
        assert catalog.query(f"SELECT * FROM {name}").empty


def test_a_view_that_changed_is_made_anew_and_no_row_is_lost(catalog: Catalog) -> None:
    catalog.index(records.records(records.cohort("car", 1, 3)))
    with catalog.database.writing() as connection:
        connection.execute(sa.text("DROP VIEW samples"))
        connection.execute(sa.text("CREATE VIEW samples AS SELECT 1 AS old"))
        connection.execute(sa.text("UPDATE catalog_facts SET value = 'an older text' WHERE name = 'views'"))
    assert catalog.migrate() is True
    assert "azimuth_deg" in catalog.query("SELECT * FROM samples").columns
    assert catalog.query("SELECT count(*) AS n FROM images").n[0] == 3


def test_a_half_made_catalog_is_completed(url: str, catalog: Catalog) -> None:
    with catalog.database.writing() as connection:
        for name in views.NAMES:
            connection.execute(sa.text(f"DROP VIEW {name}"))
        for table in reversed(tables.metadata.sorted_tables):
            table.drop(connection)
        connection.execute(sa.text("DELETE FROM alembic_version"))
    assert Catalog(url).migrate() is True
    assert catalog.classes() == []


@pytest.mark.parametrize("schema", ["0001", "0000"])
def test_tables_of_another_schema_than_the_catalog_claims_are_one_line_and_stay(catalog: Catalog, schema: str) -> None:
    catalog.index(records.records(records.cohort("car", 1, 1)))
    with catalog.database.writing() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{schema}'"))
    with pytest.raises(CatalogError, match=f"not of the schema {schema} it claims .*nothing was changed") as caught:
        catalog.migrate()
    assert "\n" not in str(caught.value)
    with catalog.database.writing() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{tables.SCHEMA}'"))
    assert len(catalog.rows("SELECT * FROM samples")) == 0
    assert len(catalog.rows("SELECT * FROM images")) == 1


@pytest.mark.slow
def test_processes_that_migrate_at_once_all_succeed(url: str, tmp_path: Path) -> None:
    """Of an old catalog, as when several workers of a new version are started: it is brought up to date once, by one."""
    with Catalog(url).database.writing() as connection:
        upgrade(connection, "0003")
    code = f"from storage.catalog.catalog import Catalog; print(Catalog({url!r}).migrate())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(said) == ["False", "False", "True"]
    assert Catalog(url).classes() == []


def _dummy(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, sa.JSON):
        return {"a": [1]}
    return 1 if isinstance(column.type, (sa.Integer, sa.Float)) else "text"


CHANGED = ("alembic_version", "catalog_facts", "edges", "images", "filters", "verdicts", "members", "runs")
"""Tables that migration 0004 changes: its own tests look at them."""
RENAMED = {("cad_models", "name"): "cad_name"}
"""Columns that have another name today."""


@pytest.mark.parametrize("schema", ["0001", "0002", "0003"])
def test_an_old_catalog_goes_up_without_losing_a_row(url: str, schema: str) -> None:
    catalog = Catalog(url)
    with catalog.database.writing() as connection:
        upgrade(connection, schema)
        old = sa.MetaData()
        old.reflect(connection)
        for table in old.sorted_tables:
            if table.name != "alembic_version":
                connection.execute(sa.insert(table).values({column.name: _dummy(column) for column in table.columns}))
        before = {name: connection.execute(sa.text(f"SELECT * FROM {name}")).mappings().all() for name in old.tables}
    with pytest.raises(CatalogTooOld, match=f"older schema {schema}"):
        catalog.query("SELECT 1")
    assert catalog.migrate() is True
    for name, rows in before.items():
        if name not in CHANGED:
            (row,) = catalog.rows(f"SELECT * FROM {name}")
            assert rows == [{column: row[RENAMED.get((name, column), column)] for column in rows[0]}], name


@pytest.fixture
def old(url: str, store: ArtifactStore) -> Catalog:
    """A catalog of schema 0003 with its store, brought up to date."""
    catalog = Catalog(url, store)
    before = old_home.furnish(catalog, store)
    assert all(before[name] for name in before if name != "catalog_facts")
    assert catalog.migrate() is True
    for name, count in before.items():
        now = {"edges": "controls"}.get(name, name)
        if name != "catalog_facts":
            assert catalog.rows(f"SELECT count(*) AS n FROM {now}") == [{"n": count}], name
    return catalog


def test_the_edges_of_an_old_home_are_controls_of_the_kind_of_their_source(old: Catalog) -> None:
    found = old.query(
        "SELECT class_name, control_kind, count(*) AS n, count(control_density) AS drawn, min(control_file) AS file FROM samples "
        "WHERE control_key IS NOT NULL GROUP BY class_name, control_kind ORDER BY class_name"
    )
    assert found.iloc[:, :4].values.tolist() == [["car", "canny", 10, 9], ["mug", "geometry", 6, 5]]
    assert found.file[0].startswith("edge/")
    assert found.file[0].endswith("/edge.png")
    assert old.store is not None
    assert old.store.open_address(found.file[0])
    (member,) = old.rows("SELECT control_key, controls FROM members WHERE class_name = 'mug' ORDER BY sample_id LIMIT 1")
    assert _json(member["controls"]) == {"geometry": member["control_key"]}
    key = old.query("SELECT min(image_key) AS key FROM image_controls").key[0]
    lineage = old.query(f"SELECT * FROM lineage WHERE key = '{key}' ORDER BY depth, upstream_stage")
    assert lineage.upstream_stage.tolist() == ["caption", "control", "render", "cad", "source"]
    assert lineage.upstream_file[1].endswith("/edge.png")
    assert not lineage.upstream_sha256.isna().any()
    assert old.query("SELECT DISTINCT made FROM costs WHERE stage = 'control' ORDER BY 1").made.tolist() == [4, 6, 8]


def test_a_cohort_of_an_old_home_is_known_until_it_is_made_again(old: Catalog) -> None:
    assert old.made_before_0004("car", "embedded")
    assert not old.made_before_0004("car", "other")
    histories = records.cohort("car", 2, 3)
    old.index(records.records(histories))
    run_id = old.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=6)
    old.set_cohort("car", "embedded", run_id, [history.member() for history in histories])
    assert not old.made_before_0004("car", "embedded")


def test_the_scores_of_an_old_home_have_names_and_its_decisions_stay(old: Catalog) -> None:
    frame = old.query("SELECT * FROM samples WHERE class_name = 'car' AND in_cohort = 1 AND status = 'made' ORDER BY image_key")
    assert frame.kept.tolist() == [0, 1, 1, 0, 1, 1]
    assert frame.kcf.tolist() == [4.25, 1.5, 1.5, 4.25, 1.5, 1.5]
    assert frame.kcf_azimuth.tolist() == [score / 2 for score in frame.kcf]
    assert frame.kcf_inplane.isna().all()  # nothing had been learned of it: a 0 was written
    assert frame.fidelity.isna().tolist() == [False, True, False, False, False, False]
    assert frame.kcf_fold.tolist() == [0, 1, 0, 1, 0, 1]
    assert frame.drop_reason[0] == "pose_inconsistent"
    assert frame.rule[0] == "kept: score <= 3 robust standard deviations of its fold; edge score >= 0.25"
    (filter_,) = old.rows("SELECT * FROM filters WHERE verdict_key = :key", key=frame.verdict_key[0])
    assert [filter_[f"{name}_images"] for name in ("kept", "dropped", "unjudged")] == [4, 2, 0]
    rules = [(rule["name"], rule["kind"], rule["score"], rule["threshold"]) for rule in _json(filter_["rules"])]
    assert rules == [("pose", "at_most", "kcf", 3.0), ("control", "at_least", "fidelity", 0.25)]
    judges = _json(filter_["judges"])
    assert (judges["kcf"]["fold_by"], judges["kcf"]["judged"], judges["fidelity"]["judged"]) == ("cad", 6, 5)


def test_what_an_old_home_kept_without_judging_is_not_judged(old: Catalog) -> None:
    frame = old.query("SELECT * FROM samples WHERE class_name = 'mug' AND status = 'made' ORDER BY image_key")
    assert frame.kcf.isna().all()
    # Those whose control was looked for were judged by it; of the second nothing was known.
    assert frame.kept.isna().tolist() == [False, True, False, False]
    assert frame.kept.dropna().tolist() == [1, 1, 1]
    (filter_,) = old.rows("SELECT * FROM filters WHERE class_name = 'mug'")
    assert [filter_[f"{name}_images"] for name in ("kept", "dropped", "unjudged")] == [3, 0, 1]
    assert _json(filter_["judges"])["kcf"]["not_judged"] == "nothing could be learned from 4 images"
    assert old.query("SELECT sum(unjudged) AS n FROM yields WHERE class_name = 'mug'").n[0] == 1


def test_an_old_home_says_the_same_as_its_store_and_a_rebuild_gives_the_same_rows(old: Catalog, store: ArtifactStore) -> None:
    assert list(verify(old, store)) == []
    before = _rows(old)
    old.rebuild(store.records())
    assert _rows(old) == before
    # Only that an image could not be made is nobody's: whoever tries again may find that it can.
    found = prune.plan(old, store, 0.0)
    assert {store.get(item.stage, item.key).record.reason for item in found.unreferenced} == {"no_image"}


def test_of_an_old_home_who_listed_what_is_known_and_who_made_it_in_how_long_only_where_it_was_said(old: Catalog) -> None:
    listed = old.query("SELECT run_id, count(*) AS n, count(image_key) AS made FROM run_members GROUP BY run_id ORDER BY n")
    assert listed[["n", "made"]].values.tolist() == [[7, 4], [9, 6], [11, 8]]
    found = old.query(
        "SELECT count(made_by) AS makers, count(seconds) AS timed, count(*) AS n, count(waited) AS w FROM artifacts"
    )
    assert found.iloc[0].tolist() == [0, 58, 67, 0]
    assert old.query("SELECT count(*) AS n FROM costs WHERE waited IS NULL").n[0] > 0
    names = old.query("SELECT DISTINCT cad_name FROM cad_models WHERE status = 'ok' ORDER BY 1").cad_name.tolist()
    assert names == old.query("SELECT DISTINCT cad_name FROM samples ORDER BY 1").cad_name.tolist()


def _rows(catalog: Catalog) -> dict[str, list[str]]:
    with catalog.database.reading() as connection:
        found = {name: connection.execute(sa.select(table)).mappings().all() for name, table in tables.metadata.tables.items()}
    return {name: sorted(json.dumps(dict(row), sort_keys=True) for row in rows) for name, rows in found.items()}


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def test_the_recipe_of_an_old_run_is_told_in_todays_tables() -> None:
    from flows import recipes
    from storage.catalog.before_0004 import recipe_today
    from storage.keys import plain

    today = plain(recipes.resolve("embedded-quick"))
    judge = {name: value for name, value in today["verdict"]["judges"]["kcf"].items() if name != "kind"}
    limits = {name: rule["threshold"] for name, rule in today["verdict"]["rules"].items()}
    old = {
        "name": "embedded-quick",
        "render": today["render"],
        "edge": {"source": "canny", "low": 100, "high": 200, "aperture": 3, "blur": 0, "background": "black", "outline": True,
                 "jump": 0.02, "crease_deg": 22, "shortest": 0.04},
        "caption": {name: value for name, value in today["caption"].items() if name != "kind"},
        "image": {name: value for name, value in today["image"].items() if name not in ("kind", "control_models")},
        "verdict": {**judge, "rule": "robust_z", "threshold": limits["pose"], "min_edge_score": limits["control"]},
    }  # fmt: skip
    assert recipe_today(old) == today
    assert plain(recipes.recorded(recipe_today(old))) == today
    finished = old | {
        "image": {"model": "render-world", "revision": "1", "resolution": 128, "supersampling": 3, "distractor_share": 0.15}
    }
    assert recipe_today(finished)["image"] == plain(recipes.resolve("render-world"))["image"]
    share = old | {"verdict": {**judge, "rule": "quantile", "threshold": 0.8, "min_edge_score": None}}
    rules = recipes.recorded(recipe_today(share)).verdict.rules
    assert {name: rule.kind for name, rule in rules.items()} == {"pose": "best_share"}
