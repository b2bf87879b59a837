"""The catalog's tables, as SQLAlchemy Core sees them. How they come to exist is the migrations' business.

Rows of artifacts (views, controls, captions, images, verdicts) are keyed by the artifact's key and repeat what its record says;
`members` says which of them make up the samples of a cohort. Decisions are 0 or 1 in integer columns, so that `avg(kept)` is a
share on every database, and NULL where nothing was decided. Times are UTC, ISO 8601 text. Nothing here needs SQLite or Postgres.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.type_api import TypeEngine

SCHEMA = "0008"
"""The newest migration: what this code reads and writes."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _json() -> TypeEngine[Any]:
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _made() -> list[Column[Any]]:
    """Columns that every row of an artifact has."""
    return [
        Column("spec_key", String(64)),
        Column("status", String(16), nullable=False),
        Column("reason", String(64)),
        Column("detail", Text),
        Column("created_at", String(32), nullable=False),
    ]


facts = Table(
    "catalog_facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the catalog says about itself: the names of its scores, the digest of its views, who holds a claim."""

classes = Table(
    "classes",
    metadata,
    Column("class_name", String(200), primary_key=True),
    Column("created_at", String(32), nullable=False),
)

cad_models = Table(
    "cad_models",
    metadata,
    Column("class_name", String(200), ForeignKey("classes.class_name"), primary_key=True),
    Column("cad_id", String(64), primary_key=True),
    Column("cad_name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("keywords", _json(), nullable=False),
    Column("keywords_text", Text, nullable=False),
    Column("licence", Text),
    Column("up", String(8), nullable=False),
    Column("front", String(8), nullable=False),
    Column("cad_key", String(64)),
    Column("spec_key", String(64)),
    Column("faces", BigInteger),
    Column("vertices", BigInteger),
    Column("extents", _json()),
    Column("watertight", SmallInteger),
    Column("textured", SmallInteger),
    Column("facts", _json()),
    Column("status", String(16), nullable=False),
    Column("reason", String(64)),
    Column("detail", Text),
    Column("added_at", String(32), nullable=False),
    Column("collection", Text),
    Column("uid", Text),
    Column("symmetry", Integer),
    Column("symmetry_origin", Text),
    Column("symmetry_detail", Text),
    Column("camera", _json()),
    Column("alignment", _json()),
    Column("orientation", String(16)),
    Column("orientation_why", Text),
    Column("orientation_doubts", _json()),
    Column("entry", BigInteger),
    Index(None, "cad_id"),
    Index(None, "cad_key"),
    Index(None, "collection", "uid"),
)
"""What people registered: status ok, rejected (with a reason) or removed.

symmetry: rotational, about +z: 1 none, n-fold, 0 any angle, NULL not known; symmetry_origin: given, mesh or class. camera: what
its CAD list asks of the camera for this one. alignment: an extra 3x3 rotation into the canonical frame. entry: the number of its
latest entry in the journal (see storage.catalog.journal); NULL where that was written before schema 0005.
"""

quarantine = Table(
    "quarantine",
    metadata,
    Column("path", Text, primary_key=True),
    Column("class_name", Text),
    Column("reason", Text, nullable=False),
    Column("detail", Text),
    Column("digest", Text),
    Column("size", BigInteger),
    Column("modified_at", Text),
    Column("found_at", String(32), nullable=False),
    Column("origin", Text, nullable=False),
)
"""Files that were refused before they had a cad_id; origin: watch, import or add."""

specs = Table(
    "specs",
    metadata,
    Column("spec_key", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec", _json(), nullable=False),
)
"""Each spec once; thousands of artifacts refer to it."""

artifacts = Table(
    "artifacts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec_key", String(64), nullable=False),
    Column("inputs", _json(), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(64)),
    Column("detail", Text),
    Column("files", _json(), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("runtime", _json(), nullable=False),
    Column("path", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("made_by", String(64)),
    Column("attempt", Integer),
    Column("seconds", Float),
    Column("waited", Float),
    Index(None, "made_by"),
)
"""One row for each record in the store; `path` is the folder, relative to the store's root. made_by: the run that made it (also
where it failed), attempt: which try of the run's task. seconds: of work, waited: behind others before that. NULL: not known."""

views = Table(
    "views",
    metadata,
    Column("render_key", String(64), primary_key=True),
    Column("cad_key", String(64)),
    Column("class_name", String(200), nullable=False),
    Column("cad_id", String(64), nullable=False),
    Column("view_index", Integer, nullable=False),
    Column("azimuth_deg", Float),
    Column("elevation_deg", Float),
    Column("inplane_deg", Float),
    Column("distance", Float),
    Column("requested_distance", Float),
    Column("moved_back", SmallInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("box_x0", Float),
    Column("box_y0", Float),
    Column("box_x1", Float),
    Column("box_y1", Float),
    Column("box3d", _json()),
    Column("box3d_extents", _json()),
    Column("intrinsics", _json()),
    Column("rotation", _json()),
    Column("translation", _json()),
    Column("visible_fraction", Float),
    Column("truncated_fraction", Float),
    Column("depth_scale", Float),
    Column("light", _json()),
    *_made(),
    Index(None, "class_name", "cad_id"),
)
"""Renders: one sampled pose of a CAD model each, with its whole annotation."""

controls = Table(
    "controls",
    metadata,
    Column("control_key", String(64), primary_key=True),
    Column("render_key", String(64)),
    Column("kind", String(32), nullable=False),
    Column("pixels", BigInteger),
    Column("density", Float),
    Column("facts", _json()),
    *_made(),
)
"""What a generator must obey, one row for each control of a render. kind: canny, geometry, ... pixels: those that are not
background; density: their share; facts: what else its kind says of it."""

captions = Table(
    "captions",
    metadata,
    Column("caption_key", String(64), primary_key=True),
    Column("class_name", String(200)),
    Column("cad_id", String(64)),
    Column("view_index", Integer),
    Column("draw_index", Integer),
    Column("prompt", Text),
    Column("negative_prompt", Text),
    Column("colour", Text),
    Column("material", Text),
    Column("scene", Text),
    Column("light", Text),
    Column("words", _json()),
    Column("captioner", Text),
    Column("captioner_revision", Text),
    Column("facts", _json()),
    *_made(),
)
"""One prompt a sample. words: what it says, field by field. facts: what a language model took for it (asked, tokens_in,
tokens_out, cost, refused: [{reason, why}]); NULL where none was asked."""

images = Table(
    "images",
    metadata,
    Column("image_key", String(64), primary_key=True),
    Column("caption_key", String(64)),
    Column("class_name", String(200), nullable=False),
    Column("cad_id", String(64), nullable=False),
    Column("view_index", Integer, nullable=False),
    Column("draw_index", Integer, nullable=False),
    Column("seed", BigInteger),
    Column("attempt", Integer),
    Column("model_id", Text),
    Column("model_revision", Text),
    Column("sha256", String(64)),
    Column("values", _json()),
    *_made(),
    Index(None, "class_name", "cad_id"),
    Index(None, "sha256"),
    Index(None, "created_at", "image_key"),
)

image_controls = Table(
    "image_controls",
    metadata,
    Column("image_key", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("control_key", String(64), nullable=False),
    sqlite_with_rowid=False,
)
"""Which controls an image obeys."""

filters = Table(
    "filters",
    metadata,
    Column("verdict_key", String(64), primary_key=True),
    Column("class_name", String(200)),
    Column("rule", Text),
    Column("rules", _json()),
    Column("judges", _json()),
    Column("kept_images", Integer),
    Column("dropped_images", Integer),
    Column("unjudged_images", Integer),
    *_made(),
)
"""One set of rules applied to one cohort; what they decided is in `verdicts`. rule: all of them in words. rules: a list of {name,
kind, score, threshold, reason, words}. judges: name -> what the judge says of its scores, such as why it could not judge."""

verdict_scores = Table(
    "verdict_scores",
    metadata,
    Column("verdict_key", String(64), primary_key=True),
    Column("judge", String(64), primary_key=True),
    Column("score_key", String(64), nullable=False),
    Index(None, "score_key"),
)
"""Which score artifact of each judge a verdict was decided from."""

verdicts = Table(
    "verdicts",
    metadata,
    Column("verdict_key", String(64), primary_key=True),
    Column("image_key", String(64), primary_key=True),
    Column("kept", SmallInteger),
    Column("reason", String(64)),
    Column("words", Text),
    Index(None, "image_key"),
)
"""What the rules decided for each image: kept 1, dropped 0 with the reason, NULL where no rule could judge it. words: of a
dropped one, the judge that weighed most and what it saw; NULL in verdicts of before schema 0007."""

scores = Table(
    "scores",
    metadata,
    Column("verdict_key", String(64), primary_key=True),
    Column("image_key", String(64), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("value", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""What the judges measured: one row for each score of each image. What was not judged has none."""

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("class_name", String(200), ForeignKey("classes.class_name"), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("recipe_specs", _json(), nullable=False),
    Column("samples", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("flow_run_id", Text),
    Column("flow_run_url", Text),
    Column("host", Text),
    Column("pid", Integer),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    Column("seconds", _json()),
    Column("counts", _json()),
    Column("runtime", _json()),
    Column("docs_path", Text),
    Column("heartbeat_at", String(32)),
    Column("parent_run", Text),
    Column("kind", Text, nullable=False, server_default="generate"),
    Column("waited", _json()),
    Column("number", BigInteger),
    Column("entry", BigInteger),
    Index(None, "class_name"),
)
"""One class, one recipe, one flow run: status running, complete, invalid, stopped (told to), failed or crashed.

seconds: stage -> seconds of work on what this run itself made, waited: behind others before that. number: runs in the order in
which they began, entry: of its latest entry in the journal; clocks go back, these do not. NULL, but seconds, before schema 0005.
"""

members = Table(
    "members",
    metadata,
    Column("class_name", String(200), primary_key=True),
    Column("recipe", String(200), primary_key=True),
    Column("sample_id", String(300), primary_key=True),
    Column("member_key", String(64), primary_key=True),
    Column("cad_id", String(64), nullable=False),
    Column("view_index", Integer, nullable=False),
    Column("draw_index", Integer, nullable=False),
    Column("cad_key", String(64)),
    Column("render_key", String(64)),
    Column("control_key", String(64)),
    Column("controls", _json()),
    Column("caption_key", String(64)),
    Column("image_key", String(64)),
    Column("verdict_key", String(64)),
    Column("status", String(16), nullable=False),
    Column("stage", String(16)),
    Column("reason", String(64)),
    Column("detail", Text),
    Column("run_id", String(64), ForeignKey("runs.run_id"), nullable=False),
    Column("first_run_id", String(64), ForeignKey("runs.run_id"), nullable=False),
    Column("in_cohort", SmallInteger, nullable=False),
    Index(None, "run_id"),
    Index(None, "sample_id"),
    Index(None, "image_key"),
)
"""The samples of every cohort, past and present: one row for each sample and image, also where a stage failed.

controls: kind -> key of all its controls; control_key: of the one a strip shows first, or of the one that failed.
"""

run_members = Table(
    "run_members",
    metadata,
    Column("run_id", String(64), ForeignKey("runs.run_id"), primary_key=True),
    Column("sample_id", String(300), primary_key=True),
    Column("member_key", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("stage", String(16)),
    Column("reason", String(64)),
    Column("caption_key", String(64)),
    Column("image_key", String(64)),
    Column("verdict_key", String(64)),
    Index(None, "sample_id"),
)
"""Every run's own samples, as they were when it ended: of a run that did not come to its end, those it had finished.

`members` says what a class consists of, this who listed what. member_key: of its image, or of the artifact that failed.
"""

file_checks = Table(
    "file_checks",
    metadata,
    Column("run_id", String(64), ForeignKey("runs.run_id"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("file", String(200), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("present", SmallInteger, nullable=False),
    Column("digest_right", SmallInteger, nullable=False),
    Column("problem", Text),
)
"""What was found on disk when a run was checked: one row for each file that its samples rest on."""

coverage_checks = Table(
    "coverage_checks",
    metadata,
    Column("run_id", String(64), ForeignKey("runs.run_id"), primary_key=True),
    Column("spec_key", String(64), primary_key=True),
    Column("quantity", String(32), primary_key=True),
    Column("views", Integer, nullable=False),
    Column("promise", Text, nullable=False),
    Column("deviation", Float, nullable=False),
    Column("p_value", Float, nullable=False),
    Column("outside", Integer, nullable=False),
    Column("repeated", Integer, nullable=False),
)
"""How the poses of a run compare with the distribution that its viewpoint strategy promises."""

decisions = Table(
    "decisions",
    metadata,
    Column("class_name", String(200), primary_key=True),
    Column("recipe", String(200), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("verdict_key", String(64), nullable=False),
    Column("is_default", SmallInteger, nullable=False),
    Column("keep", Text, nullable=False),
    Column("verdict", _json(), nullable=False),
    Column("expected", _json()),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", String(32), nullable=False),
    Column("number", BigInteger, nullable=False),
)
"""Filters that somebody named, over the scores of a class's cohort. keep: what was asked, in words. verdict: judges and rules.

is_default: whether its members' verdict_key, and so `kept`, is this one's; where none is, they are the recipe's. expected: what a
wish promises (precision, recall, lost, left). number: of the entry in the journal.
"""

tags = Table(
    "tags",
    metadata,
    Column("image_key", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("sample_id", String(300), nullable=False),
    Column("class_name", String(200), nullable=False),
    Column("tag", String(16)),
    Column("note", Text),
    Column("tagged_by", Text, nullable=False),
    Column("tagged_at", String(32), nullable=False),
)
"""What people said of images: tag good, bad or doubtful, NULL where it was taken away. number: of the entry in the journal; of an
image the highest stands."""

releases = Table(
    "releases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("query", Text, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("card", _json()),
)
"""Exported, named, immutable selections. query: the condition that chose them; digest: over sorted sample ids and digests."""

release_samples = Table(
    "release_samples",
    metadata,
    Column("name", Text, ForeignKey("releases.name"), primary_key=True),
    Column("sample_id", String(300), primary_key=True),
    Column("image_key", String(64), primary_key=True),
    Column("sha256", String(64)),
    Column("recipe", Text),
    Column("render_key", String(64)),
    Column("verdict_key", String(64)),
    Index(None, "image_key"),
)

foreign_images = Table(
    "foreign_images",
    metadata,
    Column("image_id", String(64), primary_key=True),
    Column("origin", Text, nullable=False),
    Column("class_name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("cad_uid", Text),
    Column("caption", Text),
    Column("azimuth_deg", Float),
    Column("elevation_deg", Float),
    Column("inplane_deg", Float),
    Column("distance", Float),
    Column("kept", SmallInteger),
    Column("facts", _json()),
    Column("added_at", String(32), nullable=False),
    Index(None, "origin", "class_name"),
)
"""Images that others made, with what is known of them; image_id is the sha256 of the file."""

foreign_captions = Table(
    "foreign_captions",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("class_name", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("cad_uid", Text),
    Column("prompt", Text, nullable=False),
)
"""Captions that others wrote, in the order in which they were published."""
