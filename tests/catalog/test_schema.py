"""Migrations: up from nothing, never down, all or nothing."""

from __future__ import annotations

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

from storage.catalog import tables, views
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError, CatalogTooOld
from storage.catalog.schema import MIGRATIONS, upgrade
from tests.catalog import records


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
    for name in views.VIEWS:
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
        for name in views.VIEWS:
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
    code = f"from storage.catalog.catalog import Catalog; Catalog({url!r}).migrate()"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert Catalog(url).classes() == []


def _dummy(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, sa.JSON):
        return {"a": [1]}
    return 1 if isinstance(column.type, (sa.Integer, sa.Float)) else "text"


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_an_old_catalog_goes_up_without_losing_a_row(url: str, schema: str) -> None:
    catalog = Catalog(url)
    with catalog.database.writing() as connection:
        upgrade(connection, schema)
        old = sa.MetaData()
        old.reflect(connection)
        for table in (table for table in tables.metadata.sorted_tables if table.name in old.tables):
            there = old.tables[table.name].columns.keys()
            row = {column.name: _dummy(column) for column in table.columns if column.name in there}
            connection.execute(sa.insert(table).values(row))
        before = {name: connection.execute(sa.text(f"SELECT * FROM {name}")).mappings().all() for name in old.tables}
    with pytest.raises(CatalogTooOld, match=f"older schema {schema}"):
        catalog.query("SELECT 1")
    assert catalog.migrate() is True
    for name, rows in before.items():
        if name not in ("alembic_version", "catalog_facts"):
            (row,) = catalog.rows(f"SELECT * FROM {name}")
            assert rows == [{column: row[column] for column in rows[0]}], name
