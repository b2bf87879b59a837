"""Plain SQL, without the power to change anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError, CatalogMissing, CatalogTooNew
from tests.catalog import records


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    histories = records.cohort("car", 2, 2)
    catalog.index(records.records(histories))
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=4)
    catalog.set_cohort("car", "embedded", run_id, [history.member() for history in histories])
    return catalog


WRITES = (
    "DELETE FROM images",
    "UPDATE members SET in_cohort = 0",
    "INSERT INTO classes VALUES ('x', 'y')",
    "DROP TABLE images",
    "CREATE TABLE mine (a)",
    "CREATE TEMP TABLE mine (a)",
    "ATTACH 'other.sqlite' AS other",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA query_only = OFF",
    "VACUUM INTO 'copy.sqlite'",
    "BEGIN IMMEDIATE",
    "REINDEX",
    "WITH x AS (SELECT 1) DELETE FROM images",
    "/* SELECT */ DELETE FROM images",
    "-- SELECT\nDELETE FROM images",
    "SELECT 1; DELETE FROM images",
    "SELECT 1; COMMIT; DELETE FROM images",
    "EXPLAIN SELECT 1; DELETE FROM images",
    "SELECT load_extension('evil')",
    "SELECT * FROM pragma_journal_mode",
)


@pytest.mark.parametrize("sql", WRITES)
def test_a_statement_that_does_more_than_read_is_refused_in_one_line(filled: Catalog, sql: str, tmp_path: Path) -> None:
    files = set(tmp_path.rglob("*"))
    with pytest.raises(CatalogError) as caught:
        filled.query(sql)
    assert "\n" not in str(caught.value)
    assert filled.query("SELECT count(*) AS n FROM images").n[0] == 4
    assert filled.query("SELECT sum(in_cohort) AS n FROM members").n[0] == 4
    assert set(tmp_path.rglob("*")) <= files | {tmp_path / "catalog.sqlite-wal", tmp_path / "catalog.sqlite-shm"}


def test_the_connection_cannot_write_even_without_the_checks_on_the_text(filled: Catalog) -> None:
    if filled.database.kind == "postgresql":
        for sql in ("DELETE FROM images", "CREATE TABLE x (a int)", "SELECT 1 INTO x", "SELECT * FROM images FOR UPDATE"):
            with filled.database.reader.connect() as reader, pytest.raises(sa.exc.InternalError, match="read-only transaction"):
                reader.exec_driver_sql(sql)
        return
    connection = filled.database.open_read_only()
    for sql in ("DELETE FROM images", "ATTACH 'x' AS x", "PRAGMA query_only = OFF", "VACUUM INTO 'copy.sqlite'"):
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|readonly|authorization denied"):
            connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "select 1;",
        "  -- a comment\n SELECT 1",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "VALUES (1)",
        "(SELECT 1)" if sqlite3.sqlite_version_info >= (3, 99) else "SELECT 1 -- the end",
        "EXPLAIN SELECT * FROM samples",
        "SELECT ':colon', '100%'",
    ],
)
def test_whatever_reads_is_answered(filled: Catalog, sql: str) -> None:
    assert len(filled.query(sql)) >= 1


def test_a_misspelt_table_is_answered_with_the_nearest_ones(filled: Catalog) -> None:
    with pytest.raises(CatalogError, match='no such table "sampels"; did you mean samples'):
        filled.query("SELECT * FROM sampels")


def test_a_misspelt_column_is_answered_with_the_nearest_ones(filled: Catalog) -> None:
    with pytest.raises(CatalogError, match='no such column "azimut"; did you mean azimuth_deg'):
        filled.query("SELECT azimut FROM samples")
    with pytest.raises(CatalogError, match=r'no such column "s\.elevation"; did you mean elevation_deg'):
        filled.query("SELECT s.elevation FROM samples s")


def test_a_misspelt_verb_is_answered_with_the_nearest_one(filled: Catalog) -> None:
    with pytest.raises(CatalogError, match="did you mean SELECT"):
        filled.query("SELCT 1")


def test_what_does_not_parse_is_one_line(filled: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"^the query does not run: [^\n]*syntax error[^\n]*$"):
        filled.query("SELECT FROM WHERE")


def test_an_empty_query_is_answered_with_an_example(filled: Catalog) -> None:
    with pytest.raises(CatalogError, match="an empty query; for example"):
        filled.query("  -- nothing\n")


def test_a_missing_catalog_says_how_to_make_one(url: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogMissing, match=r"there is no catalog at .* dst demo"):
        Catalog(url).query("SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_catalog(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").touch()
    with pytest.raises(CatalogMissing):
        Catalog(sqlite_url).query("SELECT 1")


def test_a_file_that_is_no_database_is_named(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(CatalogError, match="is no catalog, or a damaged one"):
        Catalog(sqlite_url).query("SELECT 1")


def test_a_catalog_of_a_newer_schema_is_refused_by_readers_and_writers(filled: Catalog, url: str) -> None:
    with filled.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CatalogTooNew, match="newer schema 9999, this code knows up to"):
        Catalog(url).query("SELECT 1")
    with pytest.raises(CatalogTooNew, match="update the code"):
        Catalog(url).migrate()


@pytest.mark.parametrize("url", ["mysql://host/name", "not a url", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_hold_a_catalog_is_refused(url: str) -> None:
    with pytest.raises(CatalogError):
        Catalog(url)


def test_a_reader_sees_the_last_finished_state_while_a_writer_writes(filled: Catalog) -> None:
    with filled.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM members")
        assert filled.query("SELECT count(*) AS n FROM samples").n[0] == 4


def test_a_closed_catalog_can_be_read_when_nobody_writes(filled: Catalog, tmp_path: Path) -> None:
    for left in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (tmp_path / left).unlink(missing_ok=True)
    assert filled.query("SELECT count(*) AS n FROM samples").n[0] == 4


def test_a_seed_keeps_every_digit_beside_a_sample_without_one(catalog: Catalog) -> None:
    histories = [records.history("car", 0, 0), records.history("car", 0, 1, fails_at="render")]
    histories[0].records["image"].values["seed"] = 2**62 + 1
    catalog.index(records.records(histories))
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=2)
    catalog.set_cohort("car", "embedded", run_id, [history.member() for history in histories])
    frame = catalog.query("SELECT seed FROM samples ORDER BY view_index")
    assert int(frame.seed[0]) == 2**62 + 1
    assert frame.seed.isna().tolist() == [False, True]


def test_an_answer_without_rows_has_its_columns(catalog: Catalog) -> None:
    frame = catalog.query("SELECT sample_id, kept FROM samples")
    assert frame.empty
    assert list(frame.columns) == ["sample_id", "kept"]
