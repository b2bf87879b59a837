"""The catalog's database: connections, transactions, and the errors a person reads.

Enters: a SQLAlchemy URL. Leaves: a writing transaction that holds the database's one write lock from its first statement on, and
connections that can't write at all. SQLite (WAL) and Postgres behave the same here: one writer at a time, readers never wait.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson
import sqlalchemy as sa
from sqlalchemy import event

from storage.catalog import tables
from storage.folders import NoRoomLeft

WAIT_S = 60.0
"""How long a writer waits for another one."""
AWAY_S = 60.0
"""How long a server that has answered this process before is asked again: it may be starting anew."""
_WRITE_LOCK = 0x3D57
"""Postgres: the advisory lock that makes writers queue as they do on SQLite."""


_LITTLE = 1 << 20
"""Bytes: with less free, the disk counts as full."""


_answered: set[str] = set()
"""Servers that have answered this process."""


class CatalogError(ValueError):
    """Something about the catalog that a person can put right; one line."""


class CatalogMissing(CatalogError):
    """There is no catalog where one was expected."""


class CatalogTooNew(CatalogError):
    """The catalog was written by newer code."""


class CatalogTooOld(CatalogError):
    """The catalog has to be migrated before this code can use it."""


class CatalogLocked(CatalogError):
    """Another process has held the catalog for too long."""


class CatalogFull(CatalogError, NoRoomLeft):
    """There is no room left where the catalog lies."""


class Database:
    """Connections to one catalog."""

    def __init__(self, url: str) -> None:
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise CatalogError(
                f'"{url}" is no database URL; a catalog is sqlite:///folder/catalog.sqlite or postgresql://user@host/name'
            ) from error
        if self.url.drivername == "postgres":
            # How hosts of databases spell it, and older libraries read it.
            self.url = self.url.set(drivername="postgresql")
        self.kind = self.url.get_backend_name()
        if self.kind not in ("sqlite", "postgresql"):
            raise CatalogError(f"a catalog lives in SQLite or Postgres, not in {self.kind}")
        if self.kind == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
            if importlib.util.find_spec("psycopg") is None:
                raise CatalogError('a catalog in Postgres needs its driver: pip install "dst-platform[postgres]"')
        elif sqlite3.sqlite_version_info < (3, 38):
            raise CatalogError(f"this Python's SQLite is {sqlite3.sqlite_version}; the catalog needs 3.38 or newer, or Postgres")
        if self.kind == "sqlite" and (not self.url.database or self.url.database == ":memory:"):
            raise CatalogError("a catalog in memory is seen by nobody else; give a file: sqlite:///folder/catalog.sqlite")

    def __str__(self) -> str:
        # A file's path as it is: escaped it could be neither read nor copied.
        return f"sqlite:///{self._file}" if self.kind == "sqlite" else self.url.render_as_string(hide_password=True)

    # -- connections ---------------------------------------------------------------------------------------------------

    @cached_property
    def writer(self) -> sa.Engine:
        """The engine that may write."""
        if self.kind == "postgresql":
            return sa.create_engine(self.url, pool_pre_ping=True, json_serializer=_json_text)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(
            self.url, poolclass=sa.pool.NullPool, connect_args={"timeout": WAIT_S}, json_serializer=_json_text
        )

        @event.listens_for(engine, "connect")
        def _connected(connection: sqlite3.Connection, _: object) -> None:
            # pysqlite's own transaction control would start deferred transactions: those can't wait for the write lock.
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            # Keys are digests: new rows land all over the indexes, which should be in memory and be written back seldom.
            connection.execute("PRAGMA cache_size = -262144")
            connection.execute("PRAGMA wal_autocheckpoint = 16384")
            connection.execute("PRAGMA foreign_keys = ON")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    @cached_property
    def reader(self) -> sa.Engine:
        """The engine that can't write: SQLite files are opened read-only, Postgres transactions are read-only."""
        if self.kind == "postgresql":
            return sa.create_engine(
                self.url,
                poolclass=sa.pool.NullPool,
                # Compiling a view of many joins takes longer than answering it for one class.
                connect_args={"options": "-c default_transaction_read_only=on -c jit=off"},
                json_deserializer=orjson.loads,
            )
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.NullPool, creator=self.open_read_only)

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        return engine

    def _connected(self, engine: sa.Engine) -> sa.Connection:
        """Return a connection, on which nothing was done yet; a server that answered before is waited for."""
        until = time.monotonic() + AWAY_S
        while True:
            try:
                connection = engine.connect()
            except sa.exc.OperationalError:
                if str(self.url) not in _answered or time.monotonic() > until:
                    raise
                time.sleep(0.5)
            else:
                if self.kind == "postgresql":
                    _answered.add(str(self.url))
                return connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Hold the write lock for one transaction: everything in it becomes visible at once, or nothing does."""
        try:
            with self._connected(self.writer) as connection, connection.begin():
                if self.kind == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_S * 1000:.0f}")
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))
                yield connection
        except sa.exc.DBAPIError as error:
            raise self._explained(error) from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that can't write, in one consistent snapshot. Raises CatalogMissing, CatalogTooNew or ..Old."""
        self.require_schema()
        try:
            with self._connected(self.reader) as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise self._explained(error) from error

    # -- schema --------------------------------------------------------------------------------------------------------

    @cached_property
    def _file(self) -> Path:
        return Path(str(self.url.database)).expanduser().absolute()

    @property
    def exists(self) -> bool:
        """Whether there is a catalog: tables made by a migration."""
        return self.schema is not None

    @property
    def schema(self) -> str | None:
        """The newest migration the catalog has seen; None where there is no catalog."""
        if self.kind == "sqlite" and not (self._file.is_file() and self._file.stat().st_size):
            return None
        try:
            with self._connected(self.reader) as connection:
                if not sa.inspect(connection).has_table("alembic_version"):
                    return None
                return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        except sa.exc.DBAPIError as error:
            raise self._explained(error) from error

    def require_schema(self) -> None:
        """Raise CatalogMissing, CatalogTooNew or CatalogTooOld unless the catalog is of this code's schema."""
        schema = self.schema
        if schema == tables.SCHEMA:
            return
        if schema is None:
            raise CatalogMissing(
                f"there is no catalog at {self} yet; make one with: dst demo, or: dst cad add PATH --class NAME "
                "(or restore a lost one: dst catalog rebuild)"
            )
        self.refuse_newer(schema)
        raise CatalogTooOld(
            f"the catalog at {self} is of the older schema {schema} (this code wants {tables.SCHEMA}); "
            "bring it up to date with: dst cad list"
        )

    def refuse_newer(self, schema: str | None) -> None:
        """Raise CatalogTooNew for a schema this code has never heard of."""
        if schema is not None and schema > tables.SCHEMA:
            raise CatalogTooNew(
                f"the catalog at {self} is of the newer schema {schema}, this code knows up to {tables.SCHEMA}; "
                "update the code or set DST_CATALOG_URL to another catalog"
            )

    # -- reading without the power to write ----------------------------------------------------------------------------

    def open_read_only(self) -> sqlite3.Connection:
        """Open a SQLite catalog so that nothing can be written through the connection, whatever is executed on it."""
        connection = self._open("mode=ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        except sqlite3.OperationalError:
            connection.close()
            # In a folder where nobody may write, WAL's index can't be made; with no log to read either, the file alone is all.
            if os.access(self._file.parent, os.W_OK) or Path(f"{self._file}-wal").exists():
                raise
            connection = self._open("immutable=1")
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_only_reading)
        return connection

    def _open(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._file.as_uri()}?{mode}", uri=True, timeout=WAIT_S, isolation_level=None)

    def _has_no_room(self) -> bool:
        folder = next(path for path in self._file.parents if path.exists())
        return self.kind == "sqlite" and shutil.disk_usage(folder).free < _LITTLE

    def _explained(self, error: sa.exc.DBAPIError) -> Exception:
        text = first_line(error)
        if any(said in text for said in ("database is locked", "database is busy", "due to lock timeout")):
            return CatalogLocked(
                f"another process has been writing the catalog at {self} for over {WAIT_S:.0f} s; wait for it, or end it"
            )
        # SQLite says many things where it finds no room for its log and the log's index.
        if "disk is full" in text or (("disk I/O" in text or "unable to open" in text) and self._has_no_room()):
            return CatalogFull(f"no space left for the catalog at {self}; free some and start again")
        if "disk I/O" in text:
            return CatalogError(f"the catalog at {self} cannot be read or written: {text}")
        if "not a database" in text or "malformed" in text:
            return CatalogError(
                f"{self} is no catalog, or a damaged one ({text}); move it away and restore it with: dst catalog rebuild"
            )
        if "unable to open" in text:
            return CatalogError(f"the catalog at {self} cannot be opened: {text}")
        if self.kind == "postgresql" and isinstance(error, sa.exc.OperationalError):
            return CatalogError(f"the catalog at {self} cannot be reached: {text}")
        return error


def first_line(error: sa.exc.DBAPIError) -> str:
    """Return what the database itself said, on one line."""
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    return lines[0] if lines else type(error.orig).__name__


_READING_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "foreign_key_list",
    "database_list",
    "read_uncommitted",
}
_FORBIDDEN_FUNCTIONS = re.compile(r"load_extension|writefile|edit|fts3_tokenizer", re.IGNORECASE)


def _only_reading(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> Literal[0, 1]:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if _FORBIDDEN_FUNCTIONS.fullmatch(second or "") else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _READING_PRAGMAS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_TRANSACTION and first in ("BEGIN", "ROLLBACK", "COMMIT"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _json_text(value: Any) -> str:
    """Return one spelling of a JSON value, whatever order its names came in: rows made again are the same rows."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
