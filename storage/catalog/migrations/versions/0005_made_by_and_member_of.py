"""Who made an artifact in how many seconds, which run listed which sample, and entries of the journal that are numbered.

A CAD model's name is called `cad_name` here too, as in every view. Of what was made before, the seconds are known where the
record says them, and the samples of a run where the table of members does; the journal in the store knows more of the latter, and
is read behind this (see storage.catalog.artifacts).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.execute("ALTER TABLE cad_models RENAME COLUMN name TO cad_name")
    for column, of_type in (
        ("symmetry_detail", sa.Text()),
        ("orientation", sa.String(length=16)),
        ("orientation_why", sa.Text()),
        ("orientation_doubts", _JSON),
    ):
        op.add_column("cad_models", sa.Column(column, of_type, nullable=True))
    # As before_0005.cad_model_today tells it of the journal's rows.
    op.execute(
        "UPDATE cad_models SET orientation = CASE WHEN up = 'auto' AND front = 'auto' "
        "OR collection IS NOT NULL AND alignment IS NULL THEN 'assumed' ELSE 'set' END"
    )
    op.add_column("cad_models", sa.Column("entry", sa.BigInteger(), nullable=True))
    for name, kind in (
        ("made_by", sa.String(length=64)),
        ("attempt", sa.Integer()),
        ("seconds", sa.Float()),
        ("waited", sa.Float()),
    ):
        op.add_column("artifacts", sa.Column(name, kind, nullable=True))
    op.create_index("ix_artifacts_made_by", "artifacts", ["made_by"], unique=False)
    op.execute("UPDATE artifacts SET seconds = CAST(runtime ->> 'seconds' AS FLOAT)")
    op.add_column("runs", sa.Column("waited", _JSON, nullable=True))
    for name in ("number", "entry"):
        op.add_column("runs", sa.Column(name, sa.BigInteger(), nullable=True))
    _run_members()


def _run_members() -> None:
    op.create_table(
        "run_members",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("sample_id", sa.String(length=300), nullable=False),
        sa.Column("member_key", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("caption_key", sa.String(length=64), nullable=True),
        sa.Column("image_key", sa.String(length=64), nullable=True),
        sa.Column("verdict_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_run_members_run_id"),
        sa.PrimaryKeyConstraint("run_id", "sample_id", name="pk_run_members"),
    )
    op.create_index("ix_run_members_sample_id", "run_members", ["sample_id"], unique=False)
    columns = "sample_id, member_key, status, stage, reason, caption_key, image_key"
    named = f"INSERT INTO run_members (run_id, {columns}, verdict_key)"
    # Of two images of one sample that the last run listed, the present one is its own.
    op.execute(
        f"{named} SELECT run_id, {columns}, verdict_key FROM members m WHERE in_cohort = 1 OR NOT EXISTS "
        "(SELECT 1 FROM members n WHERE n.run_id = m.run_id AND n.sample_id = m.sample_id AND n.member_key <> m.member_key)"
    )
    # What the first run that listed it thought of it is not known.
    op.execute(
        f"{named} SELECT first_run_id, {columns}, NULL FROM members m WHERE first_run_id <> run_id AND NOT EXISTS "
        "(SELECT 1 FROM members n WHERE n.first_run_id = m.first_run_id AND n.run_id <> n.first_run_id "
        "AND n.sample_id = m.sample_id AND n.member_key <> m.member_key) AND NOT EXISTS "
        "(SELECT 1 FROM run_members r WHERE r.run_id = m.first_run_id AND r.sample_id = m.sample_id)"
    )
