"""Bringing a catalog to this code's schema: migrations go up, views are made anew.

Enters: a Database, empty, older or current. Leaves: the same rows under the current schema, all in one transaction, so that a
killed migration has changed nothing and two processes that migrate at once wait for each other.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import sqlalchemy as sa

from storage.catalog import tables, views, writing
from storage.catalog.database import CatalogError, Database, first_line

MIGRATIONS = Path(__file__).parent / "migrations"

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps in globals which catalog it is at: two of them in one process take turns."""


def migrate(database: Database, take_up: Callable[[sa.Connection], None] = lambda connection: None) -> bool:
    """Bring the catalog to the current schema; return whether there was anything to do.

    take_up: what is to be done, in the same transaction, behind the migrations that were run. Raises CatalogTooNew, and
    CatalogError for tables that are not of the schema they say they are of.
    """
    if database.schema == tables.SCHEMA:
        with database.reading() as connection:
            if _is_current(connection):
                return False
    with database.writing() as connection:
        schema = _schema(connection)
        if schema == tables.SCHEMA and _is_current(connection):
            # Somebody else has done it, while this one waited for its turn.
            return False
        database.refuse_newer(schema)
        # A view holds on to the columns it names: it goes before they change and comes back after.
        _drop_views(connection)
        if schema != tables.SCHEMA:
            _upgrade(database, connection, schema)
            take_up(connection)
        _make_views(connection)
    return True


def _is_current(connection: sa.Connection) -> bool:
    """Say whether the views of a catalog of today's schema are today's too."""
    return _fact(connection, _VIEWS) == views.digest_of(score_names(connection))


def score_names(connection: sa.Connection) -> list[str]:
    """Return the names of the scores that the views show: those of the usual judges first, then every other one ever indexed."""
    return [*views.SCORES, *json.loads(_fact(connection, _SCORES) or "[]")]


def show_scores(connection: sa.Connection, names: Collection[str]) -> None:
    """See to it that the views have a column for each of these scores. Raises ValueError for a name that no column can have."""
    known = score_names(connection)
    new = sorted(set(names) - set(known))
    if not new:
        return
    inspector = sa.inspect(connection)
    taken = {column["name"] for view in views.WITH_SCORES for column in inspector.get_columns(view)}
    for name in new:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name in taken:
            raise ValueError(f'a score cannot be called "{name}": small letters, digits and _, and no other column of a sample')
    _note_fact(connection, _SCORES, json.dumps(sorted({*known, *new} - set(views.SCORES))))
    _drop_views(connection)
    _make_views(connection)


_VIEWS = "views"
_SCORES = "scores"
"""Facts the catalog keeps of itself: the digest of its views, the names of further scores."""


def _drop_views(connection: sa.Connection) -> None:
    for name in reversed(views.NAMES):
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {name}"))


def _make_views(connection: sa.Connection) -> None:
    names = score_names(connection)
    for name, sql in views.texts(names).items():
        connection.execute(sa.text(f"CREATE VIEW {name} AS {sql}"))
    _note_fact(connection, _VIEWS, views.digest_of(names))


def _upgrade(database: Database, connection: sa.Connection, schema: str | None) -> None:
    from alembic.util import CommandError

    try:
        upgrade(connection)
    except (sa.exc.DBAPIError, CommandError) as error:
        said = first_line(error) if isinstance(error, sa.exc.DBAPIError) else str(error)
        if isinstance(error, sa.exc.DBAPIError) and not _OTHER_TABLES.search(said):
            raise
        raise CatalogError(
            f"the catalog at {database} is not of the schema {schema} it claims ({said}) and cannot be brought to "
            f"{tables.SCHEMA}; nothing was changed: move it away, then: dst catalog rebuild"
        ) from error


_OTHER_TABLES = re.compile(r"already exists|no such|does not exist|duplicate column")


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Run the migrations up to `revision` inside the caller's transaction; views are not touched."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, revision)


def _schema(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _fact(connection: sa.Connection, name: str) -> str | None:
    value: str | None = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == name)).scalar()
    return value


def _note_fact(connection: sa.Connection, name: str, value: str) -> None:
    writing.upsert(connection, tables.facts, [{"name": name, "value": value}])
