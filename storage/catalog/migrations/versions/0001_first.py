"""The first schema: classes, CAD models, artifacts and their rows, runs, cohorts, checks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec_key", sa.String(length=64), nullable=False),
        sa.Column("inputs", _JSON, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("files", _JSON, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("runtime", _JSON, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_artifacts"),
    )
    op.create_table(
        "captions",
        sa.Column("caption_key", sa.String(length=64), nullable=False),
        sa.Column("class_name", sa.String(length=200), nullable=True),
        sa.Column("cad_id", sa.String(length=64), nullable=True),
        sa.Column("view_index", sa.Integer(), nullable=True),
        sa.Column("draw_index", sa.Integer(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("negative_prompt", sa.Text(), nullable=True),
        sa.Column("colour", sa.Text(), nullable=True),
        sa.Column("material", sa.Text(), nullable=True),
        sa.Column("scene", sa.Text(), nullable=True),
        sa.Column("light", sa.Text(), nullable=True),
        sa.Column("words", _JSON, nullable=True),
        sa.Column("captioner", sa.Text(), nullable=True),
        sa.Column("captioner_revision", sa.Text(), nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("caption_key", name="pk_captions"),
    )
    op.create_table(
        "catalog_facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_catalog_facts"),
    )
    op.create_table(
        "classes",
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("class_name", name="pk_classes"),
    )
    op.create_table(
        "edges",
        sa.Column("edge_key", sa.String(length=64), nullable=False),
        sa.Column("render_key", sa.String(length=64), nullable=True),
        sa.Column("edge_pixels", sa.BigInteger(), nullable=True),
        sa.Column("edge_density", sa.Float(), nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("edge_key", name="pk_edges"),
    )
    op.create_table(
        "filters",
        sa.Column("verdict_key", sa.String(length=64), nullable=False),
        sa.Column("class_name", sa.String(length=200), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("folds", sa.Text(), nullable=True),
        sa.Column("kept_images", sa.Integer(), nullable=True),
        sa.Column("dropped_images", sa.Integer(), nullable=True),
        sa.Column("values", _JSON, nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("verdict_key", name="pk_filters"),
    )
    op.create_table(
        "images",
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("edge_key", sa.String(length=64), nullable=True),
        sa.Column("caption_key", sa.String(length=64), nullable=True),
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("cad_id", sa.String(length=64), nullable=False),
        sa.Column("view_index", sa.Integer(), nullable=False),
        sa.Column("draw_index", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("model_revision", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("values", _JSON, nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("image_key", name="pk_images"),
    )
    op.create_index("ix_images_class_name_cad_id", "images", ["class_name", "cad_id"], unique=False)
    op.create_index("ix_images_sha256", "images", ["sha256"], unique=False)
    op.create_table(
        "specs",
        sa.Column("spec_key", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("spec_key", name="pk_specs"),
    )
    op.create_table(
        "verdicts",
        sa.Column("verdict_key", sa.String(length=64), nullable=False),
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("score_azimuth", sa.Float(), nullable=True),
        sa.Column("score_elevation", sa.Float(), nullable=True),
        sa.Column("score_inplane", sa.Float(), nullable=True),
        sa.Column("disagreement", sa.Float(), nullable=True),
        sa.Column("fold", sa.Integer(), nullable=True),
        sa.Column("kept", sa.SmallInteger(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("verdict_key", "image_key", name="pk_verdicts"),
    )
    op.create_index("ix_verdicts_image_key", "verdicts", ["image_key"], unique=False)
    op.create_table(
        "views",
        sa.Column("render_key", sa.String(length=64), nullable=False),
        sa.Column("cad_key", sa.String(length=64), nullable=True),
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("cad_id", sa.String(length=64), nullable=False),
        sa.Column("view_index", sa.Integer(), nullable=False),
        sa.Column("azimuth_deg", sa.Float(), nullable=True),
        sa.Column("elevation_deg", sa.Float(), nullable=True),
        sa.Column("inplane_deg", sa.Float(), nullable=True),
        sa.Column("distance", sa.Float(), nullable=True),
        sa.Column("requested_distance", sa.Float(), nullable=True),
        sa.Column("moved_back", sa.SmallInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("box_x0", sa.Float(), nullable=True),
        sa.Column("box_y0", sa.Float(), nullable=True),
        sa.Column("box_x1", sa.Float(), nullable=True),
        sa.Column("box_y1", sa.Float(), nullable=True),
        sa.Column("box3d", _JSON, nullable=True),
        sa.Column("box3d_extents", _JSON, nullable=True),
        sa.Column("intrinsics", _JSON, nullable=True),
        sa.Column("rotation", _JSON, nullable=True),
        sa.Column("translation", _JSON, nullable=True),
        sa.Column("visible_fraction", sa.Float(), nullable=True),
        sa.Column("truncated_fraction", sa.Float(), nullable=True),
        sa.Column("depth_scale", sa.Float(), nullable=True),
        sa.Column("light", _JSON, nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("render_key", name="pk_views"),
    )
    op.create_index("ix_views_class_name_cad_id", "views", ["class_name", "cad_id"], unique=False)
    op.create_table(
        "cad_models",
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("cad_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("keywords", _JSON, nullable=False),
        sa.Column("keywords_text", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("up", sa.String(length=8), nullable=False),
        sa.Column("front", sa.String(length=8), nullable=False),
        sa.Column("cad_key", sa.String(length=64), nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("faces", sa.BigInteger(), nullable=True),
        sa.Column("vertices", sa.BigInteger(), nullable=True),
        sa.Column("extents", _JSON, nullable=True),
        sa.Column("watertight", sa.SmallInteger(), nullable=True),
        sa.Column("textured", sa.SmallInteger(), nullable=True),
        sa.Column("facts", _JSON, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("added_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["class_name"], ["classes.class_name"], name="fk_cad_models_class_name"),
        sa.PrimaryKeyConstraint("class_name", "cad_id", name="pk_cad_models"),
    )
    op.create_index("ix_cad_models_cad_id", "cad_models", ["cad_id"], unique=False)
    op.create_index("ix_cad_models_cad_key", "cad_models", ["cad_key"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("recipe_specs", _JSON, nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("flow_run_id", sa.Text(), nullable=True),
        sa.Column("flow_run_url", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.Column("seconds", _JSON, nullable=True),
        sa.Column("counts", _JSON, nullable=True),
        sa.Column("runtime", _JSON, nullable=True),
        sa.Column("docs_path", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["class_name"], ["classes.class_name"], name="fk_runs_class_name"),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_class_name", "runs", ["class_name"], unique=False)
    op.create_table(
        "coverage_checks",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("spec_key", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.String(length=32), nullable=False),
        sa.Column("views", sa.Integer(), nullable=False),
        sa.Column("promise", sa.Text(), nullable=False),
        sa.Column("deviation", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("outside", sa.Integer(), nullable=False),
        sa.Column("repeated", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_coverage_checks_run_id"),
        sa.PrimaryKeyConstraint("run_id", "spec_key", "quantity", name="pk_coverage_checks"),
    )
    op.create_table(
        "file_checks",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("present", sa.SmallInteger(), nullable=False),
        sa.Column("digest_right", sa.SmallInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_file_checks_run_id"),
        sa.PrimaryKeyConstraint("run_id", "key", "file", name="pk_file_checks"),
    )
    op.create_table(
        "members",
        sa.Column("class_name", sa.String(length=200), nullable=False),
        sa.Column("recipe", sa.String(length=200), nullable=False),
        sa.Column("sample_id", sa.String(length=300), nullable=False),
        sa.Column("member_key", sa.String(length=64), nullable=False),
        sa.Column("cad_id", sa.String(length=64), nullable=False),
        sa.Column("view_index", sa.Integer(), nullable=False),
        sa.Column("draw_index", sa.Integer(), nullable=False),
        sa.Column("cad_key", sa.String(length=64), nullable=True),
        sa.Column("render_key", sa.String(length=64), nullable=True),
        sa.Column("edge_key", sa.String(length=64), nullable=True),
        sa.Column("caption_key", sa.String(length=64), nullable=True),
        sa.Column("image_key", sa.String(length=64), nullable=True),
        sa.Column("verdict_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("first_run_id", sa.String(length=64), nullable=False),
        sa.Column("in_cohort", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["first_run_id"], ["runs.run_id"], name="fk_members_first_run_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_members_run_id"),
        sa.PrimaryKeyConstraint("class_name", "recipe", "sample_id", "member_key", name="pk_members"),
    )
    op.create_index("ix_members_image_key", "members", ["image_key"], unique=False)
    op.create_index("ix_members_run_id", "members", ["run_id"], unique=False)
    op.create_index("ix_members_sample_id", "members", ["sample_id"], unique=False)
