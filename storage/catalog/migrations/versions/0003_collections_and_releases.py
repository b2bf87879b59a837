"""CAD models of collections, refused files, runs that are watched, releases, and samples that others made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("cad_models", sa.Column("collection", sa.Text(), nullable=True))
    op.add_column("cad_models", sa.Column("uid", sa.Text(), nullable=True))
    op.add_column("cad_models", sa.Column("symmetry", sa.Integer(), nullable=True))
    op.add_column("cad_models", sa.Column("symmetry_origin", sa.Text(), nullable=True))
    op.add_column("cad_models", sa.Column("camera", _JSON, nullable=True))
    op.add_column("cad_models", sa.Column("alignment", _JSON, nullable=True))
    op.create_index("ix_cad_models_collection_uid", "cad_models", ["collection", "uid"], unique=False)
    op.add_column("runs", sa.Column("heartbeat_at", sa.String(length=32), nullable=True))
    op.add_column("runs", sa.Column("parent_run", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("kind", sa.Text(), server_default="generate", nullable=False))
    op.create_table(
        "quarantine",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("modified_at", sa.Text(), nullable=True),
        sa.Column("found_at", sa.String(length=32), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_quarantine"),
    )
    op.create_table(
        "releases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("card", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_releases"),
    )
    op.create_table(
        "release_samples",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sample_id", sa.String(length=300), nullable=False),
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=True),
        sa.Column("render_key", sa.String(length=64), nullable=True),
        sa.Column("verdict_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["name"], ["releases.name"], name="fk_release_samples_name"),
        sa.PrimaryKeyConstraint("name", "sample_id", "image_key", name="pk_release_samples"),
    )
    op.create_index("ix_release_samples_image_key", "release_samples", ["image_key"], unique=False)
    op.create_table(
        "foreign_images",
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("cad_uid", sa.Text(), nullable=True),
        sa.Column("caption", sa.Text(), nullable=True),
        sa.Column("azimuth_deg", sa.Float(), nullable=True),
        sa.Column("elevation_deg", sa.Float(), nullable=True),
        sa.Column("inplane_deg", sa.Float(), nullable=True),
        sa.Column("distance", sa.Float(), nullable=True),
        sa.Column("kept", sa.SmallInteger(), nullable=True),
        sa.Column("facts", _JSON, nullable=True),
        sa.Column("added_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_foreign_images"),
    )
    op.create_index("ix_foreign_images_origin_class_name", "foreign_images", ["origin", "class_name"], unique=False)
    op.create_table(
        "foreign_captions",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cad_uid", sa.Text(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "class_name", "number", name="pk_foreign_captions"),
    )
