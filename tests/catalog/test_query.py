"""Plain SQL, without the power to change anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.catalog import database, tables
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError, CatalogLocked, CatalogMissing, CatalogTooNew
from storage.catalog.query import unheard_of
from tests.catalog import records
from tests.postgres import Server


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


def test_a_column_of_another_table_is_not_proposed_as_itself(filled: Catalog) -> None:
    with pytest.raises(CatalogError) as raised:
        filled.query("SELECT caption FROM samples")
    assert 'no such column "caption"; did you mean captioner' in str(raised.value)
    assert "did you mean caption or" not in str(raised.value)
    assert "; there is one in foreign_images" in str(raised.value)


def test_a_class_or_cad_model_that_nobody_has_heard_of_is_hinted_at(filled: Catalog) -> None:
    cad_id = records.cad_id(0)
    filled.add_cad_model(cad_id=cad_id, class_name="car", source="beetle.obj", keywords=["fast"])
    asked = "SELECT count(*) FROM samples s WHERE class_name = '{}' AND s.cad_name='{}' AND cad_id = '{}'"
    assert unheard_of(filled.database, asked.format("car", "beetle", cad_id)) == []
    assert unheard_of(filled.database, asked.format("cra", "beatle", cad_id[:12])) == [
        'no class has the class_name "cra"; did you mean car?',
        'no CAD model has the cad_name "beatle"; did you mean beetle?',
        f"no CAD model has the cad_id \"{cad_id[:12]}\"; 1 begin so: cad_id LIKE '{cad_id[:12]}%'",
    ]


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


SIDE_EFFECTS = (
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT PG_READ_FILE('/etc/hostname')",
    "SELECT \"pg_read_file\"('/etc/hostname')",
    "SELECT pg_catalog.pg_ls_dir('/')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_creat(-1)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('role', 'postgres', true), query_to_xml('DELETE FROM images', true, true, '')",
    "SELECT * FROM query_to_xml('SELECT lo_' || 'creat(-1)', true, true, '')",
    'SELECT U&"lo\\005Fcreat"(-1)',
    "SELECT ts_stat('SELECT lo_creat(-1)')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_sleep(60)",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_advisory_lock(1)",
    "COPY images TO '/tmp/stolen'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "WITH gone AS (DELETE FROM members RETURNING 1) SELECT count(*) FROM gone",
    "EXPLAIN ANALYZE DELETE FROM members",
    "SELECT * INTO mine FROM images",
    "SELECT * FROM images FOR UPDATE",
    "SELECT 1; SELECT 2",
    "DO $$ BEGIN DELETE FROM members; END $$",
    "SET transaction_read_only = off",
    "RESET ROLE",
    "LISTEN a",
    "PREPARE x AS DELETE FROM members",
    "CREATE TEMP TABLE mine (a int)",
)


@pytest.mark.slow
def test_on_postgres_even_a_superuser_can_only_read(postgres: Server) -> None:
    name = postgres.new_database()
    catalog = Catalog(postgres.url(name, "postgres"))
    catalog.migrate()
    histories = records.cohort("car", 1, 3)
    catalog.index(records.records(histories))
    for sql in SIDE_EFFECTS:
        with pytest.raises(CatalogError, match=r"refused|only reads|one statement|no query begins") as caught:
            catalog.query(sql)
        assert "\n" not in str(caught.value)
    assert catalog.query("SELECT count(*) AS n FROM images").n[0] == 3
    assert catalog.query("SELECT count(*) AS n FROM pg_largeobject_metadata").n[0] == 0
    assert len(catalog.query("SELECT random(), now(), clock_timestamp(), gen_random_uuid()")) == 1
    postgres.drop_database(name)


@pytest.mark.slow
def test_no_column_or_view_of_ours_bears_the_name_of_a_refused_function(postgres: Server) -> None:
    name = postgres.new_database()
    catalog = Catalog(postgres.url(name))
    catalog.migrate()
    for view in ("samples", "accepted", "coverage", "yields", "rejections", "costs", "lineage", "provenance"):
        listed = ", ".join(catalog.query(f"SELECT * FROM {view}").columns)
        assert catalog.query(f"SELECT {listed} FROM {view}").empty
    for table in tables.metadata.tables.values():
        listed = ", ".join(f'"{column.name}"' for column in table.columns)
        catalog.query(f"SELECT {listed} FROM {table.name}")
    postgres.drop_database(name)


def test_a_catalog_that_another_process_holds_is_one_line(filled: Catalog, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.2)
    with filled.database.writing():
        with pytest.raises(CatalogLocked, match=r"^another process has been writing the catalog at .*; wait for it, or end it$"):
            Catalog(url).start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(CatalogError, match=r"^the catalog at postgresql.*@127\.0\.0\.1:1/dst cannot be reached: [^\n]+$"):
        Catalog("postgresql://dst:secret@127.0.0.1:1/dst").query("SELECT 1")


def test_a_password_is_never_shown() -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog("postgresql://dst:secret@127.0.0.1:1/dst").query("SELECT 1")
    assert "secret" not in str(caught.value)
