"""Plain SQL over everything that was made, without the power to change it.

Enters: one SQL statement from a person. Leaves: a pandas DataFrame. The connection can't write: a SQLite file is opened read-only
with an authorizer that allows reading alone, a Postgres transaction is read-only and takes one prepared statement that names no
function the server itself calls volatile (those reach files, settings and other sessions), so no trick of spelling gets through;
the checks on the first word only make the refusal readable.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage.catalog import tables, views
from storage.catalog.database import CatalogError, Database, first_line

if TYPE_CHECKING:
    import pandas as pd


class QueryError(CatalogError):
    """A statement that is refused or does not run; one line that says why."""


_READING = {"select", "with", "values", "explain"}
_COMMENTS = re.compile(r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/|\()*", re.DOTALL)


def query(database: Database, sql: str) -> pd.DataFrame:
    """Return the rows of one reading statement. Raises QueryError, CatalogMissing, CatalogTooNew or CatalogTooOld."""
    import pandas as pd

    check_first_word(sql)
    with database.reading() as connection:
        try:
            names, rows = _fetch(database, connection, sql)
        except sa.exc.DBAPIError as error:
            raise QueryError(_explained(database, error, sql)) from error
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    frame = pd.DataFrame({i: _series(column) for i, column in enumerate(columns)})
    frame.columns = pd.Index(names)
    return frame


def check_first_word(sql: str) -> None:
    """Raise QueryError for a statement that begins with no word of reading, with what was meant."""
    words = re.match(r"[a-z]+", _COMMENTS.sub("", sql).lower())
    if not words:
        raise QueryError('an empty query; for example: dst sql "SELECT class_name, count(*) FROM samples GROUP BY 1"')
    if words[0] not in _READING:
        if meant := difflib.get_close_matches(words[0], sorted(_READING), n=1, cutoff=0.7):
            raise QueryError(f'no query begins with "{words[0]}"; did you mean {meant[0].upper()}?')
        raise QueryError(f"{words[0].upper()} is refused: dst sql only reads (SELECT ..., WITH ..., VALUES ..., EXPLAIN ...)")


def stream(database: Database, sql: str, size: int = 1000) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a statement as dicts, in lists of at most `size`; see `pieces`."""
    for names, rows in pieces(database, sql, size):
        yield [dict(zip(names, row, strict=True)) for row in rows]


def pieces(database: Database, sql: str, size: int = 1000) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield names and rows of a statement, at most `size` at once, in one consistent snapshot, never all of them at once.

    `sql` is ours. A person's condition may stand in it in parentheses, on lines of its own, once `query` has run a statement with
    the same parentheses: that one was a single reading statement, and so is this one. Raises QueryError as `query` does.
    """
    with database.reading() as connection:
        try:
            if database.kind == "sqlite":
                result = connection.exec_driver_sql(sql)
                names = list(result.keys())
                cursor: Any = result.cursor
                while rows := cursor.fetchmany(size):
                    yield names, rows
                return
            driver: Any = connection.connection.driver_connection
            try:
                with driver.cursor(name="dst_stream") as cursor:
                    cursor.itersize = size
                    cursor.execute(sql)
                    while rows := cursor.fetchmany(size):
                        yield [column.name for column in cursor.description], rows
            except driver_errors() as error:
                raise sa.exc.DBAPIError(sql, None, error) from error
        except sa.exc.DBAPIError as error:
            raise QueryError(_explained(database, error, sql)) from error


def _fetch(database: Database, connection: sa.Connection, sql: str) -> tuple[list[str], list[Any]]:
    # The driver's own cursor: a person's SQL may hold colons and per cents, which are nobody's parameters here.
    if database.kind == "sqlite":
        result = connection.exec_driver_sql(sql)
        return list(result.keys()), list(result.fetchall())
    driver: Any = connection.connection.driver_connection
    try:
        _refuse_side_effects(driver, sql)
        # Prepared, so that the server itself takes a single statement only.
        cursor = driver.execute(sql, prepare=True)
        return [column.name for column in cursor.description or ()], cursor.fetchall() if cursor.description else []
    except driver_errors() as error:
        raise sa.exc.DBAPIError(sql, None, error) from error


def _refuse_side_effects(driver: Any, sql: str) -> None:
    """Raise QueryError if a Postgres statement names a function that does more than compute, in whatever disguise.

    A read-only transaction still lets lo_import, pg_read_file, set_config and their like through. Names are looked for in the
    whole text, strings included, because some functions run a string as SQL.
    """
    if re.search(r"\bU&[\"']", sql, re.IGNORECASE):
        raise QueryError("refused: dst sql takes no U& escapes; write the letters themselves")
    words = {word.lower() for word in re.findall(r"[^\W\d][\w$]*", sql)} - _HARMLESS
    words |= {name.replace('""', '"').lower() for name in re.findall(r'"((?:[^"]|"")+)"', sql)} - _HARMLESS
    asked = "SELECT proname FROM pg_catalog.pg_proc WHERE provolatile = 'v' AND lower(proname) = ANY(%s) LIMIT 1"
    found = driver.execute(asked, [sorted(words)]).fetchone()
    if found is not None:
        raise QueryError(f"refused: dst sql only reads, and {found[0]} does something else")


_HARMLESS = {
    "random", "setseed", "clock_timestamp", "timeofday", "gen_random_uuid", "current_query", "system", "bernoulli",
    "pg_database_size", "pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size",
}  # fmt: skip
"""Functions that Postgres calls volatile because their answer changes, not because they change anything."""


def driver_errors() -> type[Exception]:
    """Return the base of the Postgres driver's errors (imported late: SQLite users don't have to own it)."""
    import psycopg

    return psycopg.Error


def _series(column: Sequence[Any]) -> pd.Series[Any]:
    """Return a column whose values are as they were: with a NULL among them, seeds would else become floats."""
    import pandas as pd

    types = set(map(type, column))
    if Decimal in types:
        column = [float(value) if isinstance(value, Decimal) else value for value in column]
    return pd.Series(list(column), dtype="Int64" if types == {int, type(None)} else None)


_WRITING = re.compile(r"not authorized|readonly database|read-only transaction|query_only|prohibited", re.IGNORECASE)
_SEVERAL = re.compile(r"one statement at a time|multiple commands", re.IGNORECASE)
_NO_TABLE = re.compile(
    r'no such table: (?:main\.)?(\S+)|relation "([^"]+)" does not exist|missing FROM-clause entry for table "([^"]+)"'
)
_NO_COLUMN = re.compile(r'no such column: "?([^\s"]+)|column "?([^\s"]+)"? does not exist')


def _explained(database: Database, error: sa.exc.DBAPIError, sql: str) -> str:
    text = first_line(error)
    if _SEVERAL.search(text):
        return "one statement at a time, please: the query holds several"
    if _WRITING.search(text):
        return f"refused: dst sql only reads, and this statement does something else ({text})"
    if found := _NO_TABLE.search(text):
        name = next(filter(None, found.groups()))
        return f'no such table "{name}"{_meant(name, _tables())}; there are: {", ".join(_tables())}'
    if found := _NO_COLUMN.search(text):
        return _no_column(database, next(filter(None, found.groups())), sql)
    return f"the query does not run: {text}"


def _tables() -> list[str]:
    return [*views.NAMES, *sorted(set(tables.metadata.tables) - {"catalog_facts"})]


def _no_column(database: Database, said: str, sql: str) -> str:
    """Return the line for a column that what is asked does not have: what was meant there, and where one of that name is."""
    name, columns = said.rsplit(".", 1)[-1], _columns(database)
    asked = [table for table in columns if re.search(rf"\b{table}\b", sql, re.IGNORECASE)] or list(columns)
    meant = _meant(name, list(dict.fromkeys(column for table in asked for column in columns[table])))
    # A column of the table that is asked is missing only under another's alias: "it is in" would be no news.
    elsewhere = [table for table in columns if name.lower() in columns[table] and table not in asked]
    there = f"; there is one in {', '.join(elsewhere[:4])}" if elsewhere else ""
    return f'no such column "{said}"{meant}{there}; all of them: dst sql "SELECT * FROM {asked[0]} LIMIT 1"'


def _columns(database: Database) -> dict[str, list[str]]:
    """Return the columns of every view and table that can be asked."""
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        shown = {name: [str(column["name"]) for column in inspector.get_columns(name)] for name in views.NAMES}
    held = {name: [column.name for column in tables.metadata.tables[name].columns] for name in _tables() if name not in shown}
    return shown | held


def unheard_of(database: Database, sql: str) -> list[str]:
    """Return a line for each class or CAD model that a statement compares with and that is in no row, with what was meant.

    Such a statement is sound, and its answer empty: of a slip of the pen nothing else would tell.
    """
    lines = list[str]()
    for column, value in dict.fromkeys((column.lower(), value.replace("''", "'")) for column, value in _COMPARED.findall(sql)):
        names = _named(database, column)
        if value in names:
            continue
        begun = [name for name in names if value and name.startswith(value)] if column == "cad_id" else []
        meant = f"; {len(begun)} begin so: cad_id LIKE '{value}%'" if begun else _meant(value, names)
        thing = "class" if column == "class_name" else "CAD model"
        lines.append(f'no {thing} has the {column} "{value}"{meant or "; see: dst cad list"}')
    return lines


def _named(database: Database, column: str) -> list[str]:
    """Return every name, cad_id or class that rows bear: images of others have classes of their own."""
    if column == "class_name":
        known = [table.c.class_name for table in (tables.classes, tables.members, tables.foreign_images)]
    else:
        known = [tables.cad_models.c.cad_name if column == "cad_name" else tables.cad_models.c.cad_id]
    with database.reading() as connection:
        found = [name for one in known for name in connection.scalars(sa.select(one).distinct())]
    return sorted({str(name) for name in found if name is not None})


_COMPARED = re.compile(r"\b(class_name|cad_name|cad_id)\s*=\s*'((?:[^']|'')*)'", re.IGNORECASE)


def _meant(name: str, known: list[str]) -> str:
    written = name.lower()
    close = difflib.get_close_matches(written, known, n=3, cutoff=0.6)
    close.sort(key=lambda meant: not meant.startswith(written))
    return f"; did you mean {' or '.join(close)}?" if close else ""
