"""Verdicts say how well an image keeps its edges, and why it is dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("edge_score", sa.Float(), nullable=True))
    op.add_column("verdicts", sa.Column("reason", sa.String(length=64), nullable=True))
