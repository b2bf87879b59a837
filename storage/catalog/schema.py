"""Bringing a catalog to this code's schema: migrations go up, views are made anew.

Enters: a Database, empty, older or current. Leaves: the same rows under the current schema, all in one transaction, so that a
killed migration has changed nothing and two processes that migrate at once wait for each other.
"""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from storage.catalog import tables, views
from storage.catalog.database import CatalogError, Database, first_line

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> bool:
    """Bring the catalog to the current schema; return whether there was anything to do.

    Raises CatalogTooNew, and CatalogError for tables that are not of the schema they say they are of.
    """
    if database.schema == tables.SCHEMA and _views_digest(database) == views.DIGEST:
        return False
    with database.writing() as connection:
        schema = _schema(connection)
        database.refuse_newer(schema)
        # A view holds on to the columns it names: it goes before they change and comes back after.
        for name in reversed(views.VIEWS):
            connection.execute(sa.text(f"DROP VIEW IF EXISTS {name}"))
        if schema != tables.SCHEMA:
            _upgrade(database, connection, schema)
        for name, sql in views.VIEWS.items():
            connection.execute(sa.text(f"CREATE VIEW {name} AS {sql}"))
        connection.execute(sa.delete(tables.facts).where(tables.facts.c.name == "views"))
        connection.execute(sa.insert(tables.facts).values(name="views", value=views.DIGEST))
    return True


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
    command.upgrade(config, revision)


def _schema(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _views_digest(database: Database) -> str | None:
    with database.reading() as connection:
        value: str | None = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == "views")).scalar()
    return value
