"""Controls of any kind instead of edges, a table of scores, and verdicts that can say "not judged".

An edge map becomes a control (its kind is the source of its spec), an image's `edge_key` a row of `image_controls`, a column of
scores rows of `scores`. What was written for want of a judgement (a score of 0, `kept`) is taken back.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from storage.catalog.before_0004 import SCORES, OldVerdict, run_today

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_OLD_SCORES = ("score", "score_azimuth", "score_elevation", "score_inplane", "disagreement", "fold", "edge_score")
"""Columns of the old `verdicts`, in the order of before_0004.SCORES."""


def upgrade() -> None:
    _create()
    _controls()
    _members()
    for name, kind in (("rules", _JSON), ("judges", _JSON), ("unjudged_images", sa.Integer())):
        op.add_column("filters", sa.Column(name, kind, nullable=True))
    _verdicts(op.get_bind())
    with op.batch_alter_table("verdicts") as table:
        for name in (*_OLD_SCORES, "threshold"):
            table.drop_column(name)
    with op.batch_alter_table("filters") as table:
        for name in ("threshold", "folds", "values"):
            table.drop_column(name)
    _runs(op.get_bind())


def _create() -> None:
    op.create_table(
        "controls",
        sa.Column("control_key", sa.String(length=64), nullable=False),
        sa.Column("render_key", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("pixels", sa.BigInteger(), nullable=True),
        sa.Column("density", sa.Float(), nullable=True),
        sa.Column("facts", _JSON, nullable=True),
        sa.Column("spec_key", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("control_key", name="pk_controls"),
    )
    op.create_table(
        "image_controls",
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("control_key", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("image_key", "kind", name="pk_image_controls"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "verdict_scores",
        sa.Column("verdict_key", sa.String(length=64), nullable=False),
        sa.Column("judge", sa.String(length=64), nullable=False),
        sa.Column("score_key", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("verdict_key", "judge", name="pk_verdict_scores"),
    )
    op.create_index("ix_verdict_scores_score_key", "verdict_scores", ["score_key"], unique=False)
    op.create_table(
        "scores",
        sa.Column("verdict_key", sa.String(length=64), nullable=False),
        sa.Column("image_key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("verdict_key", "image_key", "name", name="pk_scores"),
        sqlite_with_rowid=False,
    )


def _controls() -> None:
    op.execute(
        "INSERT INTO controls (control_key, render_key, kind, pixels, density, spec_key, status, reason, detail, created_at) "
        "SELECT e.edge_key, e.render_key, COALESCE(s.spec ->> 'source', 'canny'), e.edge_pixels, e.edge_density, e.spec_key, "
        "e.status, e.reason, e.detail, e.created_at FROM edges e LEFT JOIN specs s ON s.spec_key = e.spec_key"
    )
    op.execute(
        "INSERT INTO image_controls (image_key, kind, control_key) SELECT i.image_key, COALESCE(c.kind, 'canny'), i.edge_key "
        "FROM images i LEFT JOIN controls c ON c.control_key = i.edge_key WHERE i.edge_key IS NOT NULL"
    )
    op.drop_table("edges")
    op.drop_column("images", "edge_key")


def _members() -> None:
    op.execute("ALTER TABLE members RENAME COLUMN edge_key TO control_key")
    op.add_column("members", sa.Column("controls", _JSON, nullable=True))
    mapping = "jsonb_build_object" if op.get_bind().dialect.name == "postgresql" else "json_object"
    kind = "COALESCE((SELECT c.kind FROM controls c WHERE c.control_key = members.control_key), 'canny')"
    op.execute(f"UPDATE members SET controls = {mapping}({kind}, control_key) WHERE control_key IS NOT NULL")


def _verdicts(connection: sa.Connection) -> None:
    found = connection.execute(
        sa.text(
            'SELECT f.verdict_key, f.threshold, f.rule, f."values", s.spec FROM filters f '
            "LEFT JOIN specs s ON s.spec_key = f.spec_key"
        )
    )
    for key, threshold, rule, values, spec in found.all():
        old = OldVerdict(values={**(_parsed(values) or {}), "threshold": threshold, "rule": rule}, spec=_parsed(spec) or {})
        _one_verdict(connection, key, old)
    further = json.dumps(sorted(set(connection.scalars(sa.text("SELECT DISTINCT name FROM scores WHERE name = 'kcf_fold'")))))
    connection.execute(sa.text("INSERT INTO catalog_facts (name, value) VALUES ('scores', :names)"), {"names": further})


def _one_verdict(connection: sa.Connection, key: str, old: OldVerdict) -> None:
    def run(sql: str) -> Any:
        return connection.execute(sa.text(f"{sql} WHERE verdict_key = :key"), {"key": key})

    for column, name in zip(_OLD_SCORES, SCORES.values(), strict=True):
        if name not in old.silent:
            named = f"SELECT verdict_key, image_key, '{name}', value"
            there = f"SELECT verdict_key, image_key, {column} AS value FROM verdicts WHERE {column} IS NOT NULL"
            run(f"INSERT INTO scores (verdict_key, image_key, name, value) {named} FROM ({there}) v")
    if old.not_judged:
        judged_otherwise = "edge_score IS NOT NULL" if old.least_fidelity is not None else "1 = 0"
        run(f"UPDATE verdicts SET kept = CASE WHEN {judged_otherwise} THEN kept END")
    images, with_edges, judged, kept = run("SELECT count(*), count(edge_score), count(kept), sum(kept) FROM verdicts").one()
    changes = {
        "rules": old.rules,
        "judges": old.judges(images, with_edges),
        "kept_images": kept or 0,
        "dropped_images": judged - (kept or 0),
        "unjudged_images": images - judged,
    }
    _update(connection, "filters", "verdict_key", key, changes)


def _runs(connection: sa.Connection) -> None:
    for row in connection.execute(sa.text("SELECT run_id, recipe_specs, seconds, counts FROM runs")).mappings().all():
        said = {name: _parsed(row[name]) for name in ("recipe_specs", "seconds", "counts")}
        _update(connection, "runs", "run_id", row["run_id"], run_today(said))


def _update(connection: sa.Connection, table: str, key: str, value: str, changes: dict[str, Any]) -> None:
    columns = [sa.column(name, _JSON if isinstance(said, (dict, list)) else None) for name, said in changes.items()]
    written = sa.table(table, sa.column(key), *columns)
    connection.execute(sa.update(written).where(written.c[key] == value).values(changes))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
