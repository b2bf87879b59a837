"""A copy of the catalog in Parquet: for questions about everything at once, for DuckDB, pandas and whatever else reads Parquet.

Enters: a catalog, a folder. Leaves: one Parquet file for each flat view and table, and `copy.json`, which says when it was made
and of what. The folder appears whole or not at all. Columns that hold JSON stay behind: they are asked for sample by sample.

    samples coverage yields rejections costs cad_models runs run_members quarantine releases release_samples foreign_images
    foreign_captions tags decisions
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage.catalog import journal, schema, tables
from storage.catalog.database import Database
from storage.catalog.query import QueryError, check_first_word, pieces

if TYPE_CHECKING:
    import pandas as pd

ABOUT = "copy.json"
_VIEWS = ("samples", "coverage", "yields", "rejections", "costs")
_TABLES = (
    "cad_models", "runs", "run_members", "quarantine", "releases", "release_samples", "foreign_images", "foreign_captions",
    "tags", "decisions",
)  # fmt: skip
_INTEGERS = {"made", "failed", "kept", "dropped", "unjudged", "rejected", "azimuth_from_deg", "elevation_from_deg"}
_FLOATS = {"control_density", "kept_share", "yield", "seconds", "seconds_each", "waited"}
_ACCEPTED = "CREATE VIEW accepted AS SELECT * FROM samples WHERE in_cohort = 1 AND status = 'made' AND kept = 1"
_ROWS = 50_000
"""Rows of a row group."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a copy says of itself."""

    made_at: str
    """UTC, ISO 8601: the moment of the snapshot it shows."""
    catalog: str
    """Of which catalog."""
    schema: str
    """Of which schema."""
    rows: dict[str, int]
    """Rows by file."""

    @property
    def age_s(self) -> float:
        """Seconds since it was made."""
        import calendar

        made = calendar.timegm(time.strptime(self.made_at[:19], "%Y-%m-%dT%H:%M:%S"))
        return max(0.0, time.time() - made)

    @property
    def age(self) -> str:
        """How old it is, for a person."""
        for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
            if self.age_s >= size:
                count = int(self.age_s // size)
                return f"{count} {word}{'s' if count > 1 else ''}"
        return "less than a minute"


def write(database: Database, folder: Path, tell: Callable[[str, int], None] = lambda name, rows: None) -> About:
    """Copy the catalog into `folder`, in place of an older copy there. tell(name, rows so far) is called along the way."""
    folder = folder.expanduser().absolute()
    database.require_schema()
    if folder.exists() and not (folder / ABOUT).exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else than a copy of a catalog; name another folder with --out")
    for left in folder.parent.glob(f".{folder.name}.*"):
        # What a killed copy left behind.
        if not Path("/proc", left.name.removeprefix(f".{folder.name}.").split(".")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    made_at = journal.now()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        rows = {}
        for name, columns in _contents(database).items():
            rows[name] = _write_one(database, name, columns, temporary / f"{name}.parquet", tell)
        about = About(made_at=made_at, catalog=str(database), schema=tables.SCHEMA, rows=rows)
        (temporary / ABOUT).write_text(json.dumps(about.__dict__, indent=1) + "\n")
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return about


def about(folder: Path) -> About:
    """Return what a copy says of itself. Raises QueryError if there is none, or one of another schema."""
    try:
        said = About(**json.loads((folder / ABOUT).read_text()))
    except FileNotFoundError:
        raise QueryError(f"there is no copy of the catalog in {folder}; make one with: dst catalog copy") from None
    except (ValueError, TypeError) as error:
        raise QueryError(f"{folder / ABOUT} cannot be read ({error}); make the copy again with: dst catalog copy") from None
    if said.schema != tables.SCHEMA:
        raise QueryError(
            f"the copy in {folder} is of schema {said.schema}, this code knows {tables.SCHEMA}; renew it with: dst catalog copy"
        )
    return said


def query(folder: Path, sql: str) -> pd.DataFrame:
    """Return the rows of one reading statement over a copy, answered by DuckDB. Raises QueryError for everything else.

    The connection knows the files of the copy and no others, and can change nothing: its database is in memory, and of statements
    only those that DuckDB itself calls SELECT or EXPLAIN are run.
    """
    about(folder)
    check_first_word(sql)
    try:
        import duckdb
    except ModuleNotFoundError:
        raise QueryError('the copy is read with DuckDB: pip install "dst-platform[duckdb]"') from None
    connection = duckdb.connect(":memory:")
    try:
        for path in sorted(folder.glob("*.parquet")):
            connection.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM read_parquet('{_quoted(path)}')")
        connection.execute(_ACCEPTED)
        connection.execute(f"SET allowed_directories = ['{_quoted(folder)}']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError("one statement at a time, please: the query holds several")
        if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise QueryError(f"refused: dst sql only reads, and this statement does something else ({statements[0].type.name})")
        frame: pd.DataFrame = connection.execute(statements[0]).df()
        return frame
    except duckdb.Error as error:
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise QueryError(f"the query does not run on the copy: {text}") from None
    finally:
        connection.close()


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("'", "''")


def _contents(database: Database) -> dict[str, list[tuple[str, str]]]:
    """Return what is copied: name -> columns, each with the kind of its values."""
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        shown = {name: [column["name"] for column in inspector.get_columns(name)] for name in _VIEWS}
        scores = set(schema.score_names(connection))
    flat = {
        name: [column.name for column in tables.metadata.tables[name].columns if not isinstance(column.type, sa.JSON)]
        for name in _TABLES
    }
    return {
        name: [(column, "float" if column in scores else _kind(column)) for column in columns]
        for name, columns in (*shown.items(), *flat.items())
    }


def _write_one(
    database: Database, name: str, columns: list[tuple[str, str]], path: Path, tell: Callable[[str, int], None]
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    types = {"integer": pa.int64(), "float": pa.float64(), "text": pa.string()}
    fields = pa.schema([(column, types[kind]) for column, kind in columns])
    listed = ", ".join(f'"{column}"' for column, _ in columns)
    written = 0
    with parquet.ParquetWriter(path, fields, compression="zstd") as writer:
        for _, rows in pieces(database, f'SELECT {listed} FROM "{name}"', _ROWS):
            arrays = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), fields, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=fields))
            written += len(rows)
            tell(name, written)
    return written


def _kind(column: str) -> str:
    if column in _FLOATS:
        return "float"
    if column in _INTEGERS:
        return "integer"
    column_type = _TYPES.get(column)
    return "float" if isinstance(column_type, sa.Float) else "integer" if isinstance(column_type, sa.Integer) else "text"


_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {
    column.name: column.type for table in tables.metadata.tables.values() for column in table.columns
}
"""A column of one name is of one type wherever it occurs."""
