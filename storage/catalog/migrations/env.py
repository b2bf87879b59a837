"""Alembic's entry: runs migrations on the connection that storage.catalog.schema hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from storage.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
