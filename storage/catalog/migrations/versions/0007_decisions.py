"""Decisions: named filters over stored scores; and why an image was dropped, in words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("words", sa.Text(), nullable=True))
    op.create_table(
        "decisions",
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("recipe", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("verdict_key", sa.String(length=64), nullable=False),
        sa.Column("is_default", sa.SmallInteger(), nullable=False),
        sa.Column("keep", sa.Text(), nullable=False),
        sa.Column("verdict", _JSON, nullable=False),
        sa.Column("expected", _JSON, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "recipe", "name", name="pk_decisions"),
    )
