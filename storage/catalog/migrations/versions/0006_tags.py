"""Tags: what people say of images; and images in the order in which they landed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tags",
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sample_id", sa.String(length=300), nullable=False),
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("tag", sa.String(length=16), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("tagged_by", sa.Text(), nullable=False),
        sa.Column("tagged_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("image_key", "number", name="pk_tags"),
    )
    op.create_index("ix_images_created_at_image_key", "images", ["created_at", "image_key"], unique=False)
