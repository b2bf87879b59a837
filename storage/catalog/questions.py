"""Views for the questions people ask; docs/catalog.md lists their columns and shows them at work.

Portable SQL only: the same text runs on SQLite and on Postgres. Each view answers for one class from indexes: `class_name` (for
`lineage`, `key`) is a column that the condition reaches through.
"""

from __future__ import annotations

ACCEPTED = """
SELECT
    m.sample_id, m.class_name, m.cad_id, c.name AS cad_name, c.licence, c.symmetry, m.view_index, m.draw_index,
    m.recipe, m.run_id,
    v.azimuth_deg, v.elevation_deg, v.inplane_deg, v.distance,
    v.width, v.height, v.box_x0, v.box_y0, v.box_x1, v.box_y1, v.box3d, v.box3d_extents,
    v.intrinsics, v.rotation, v.translation, v.visible_fraction, v.truncated_fraction,
    t.prompt, i.seed, d.score, d.edge_score, d.threshold,
    'image/' || substr(m.image_key, 1, 2) || '/' || m.image_key || '/image.png' AS file, i.sha256,
    'render/' || substr(m.render_key, 1, 2) || '/' || m.render_key || '/mask.png' AS mask_file,
    m.render_key, m.image_key, m.verdict_key
FROM members m
JOIN views v ON v.render_key = m.render_key
JOIN images i ON i.image_key = m.image_key
JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
LEFT JOIN cad_models c ON c.class_name = m.class_name AND c.cad_id = m.cad_id
LEFT JOIN captions t ON t.caption_key = m.caption_key
WHERE m.in_cohort = 1 AND m.status = 'made' AND d.kept = 1
"""
"""Samples of the present cohorts that the recipe's filter kept, with pose, camera, boxes and files."""

AZIMUTH_BIN = 30
ELEVATION_BIN = 15


def _from(column: str, low: int, high: int, width: int) -> str:
    """Return SQL for the lower end of the bin a value lies in (rounding and modulo differ between databases; this does not)."""
    steps = " ".join(f"WHEN {column} < {end} THEN {end - width}" for end in range(low + width, high, width))
    return f"CASE {steps} ELSE {high - width} END"


COVERAGE = f"""
SELECT
    m.class_name, m.recipe,
    {_from("v.azimuth_deg", 0, 360, AZIMUTH_BIN)} AS azimuth_from_deg,
    {_from("v.elevation_deg", -90, 90, ELEVATION_BIN)} AS elevation_from_deg,
    count(*) AS samples,
    sum(CASE WHEN m.status = 'made' THEN 1 ELSE 0 END) AS made,
    sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS kept,
    CAST(avg(d.kept) AS FLOAT) AS kept_share
FROM members m
JOIN views v ON v.render_key = m.render_key AND v.status = 'made'
LEFT JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
WHERE m.in_cohort = 1
GROUP BY m.class_name, m.recipe, 3, 4
"""
"""How the present cohorts' samples lie over the viewpoints: bins of 30 degrees of azimuth and 15 of elevation."""

YIELDS = """
SELECT
    m.class_name, m.recipe, m.cad_id, max(c.name) AS cad_name, max(c.licence) AS licence, max(c.collection) AS collection,
    count(*) AS samples,
    sum(CASE WHEN m.status = 'made' THEN 1 ELSE 0 END) AS made,
    sum(CASE WHEN m.status = 'failed' THEN 1 ELSE 0 END) AS failed,
    sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS kept,
    sum(CASE WHEN d.kept = 0 THEN 1 ELSE 0 END) AS dropped,
    CAST(sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS FLOAT) / count(*) AS yield
FROM members m
LEFT JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
LEFT JOIN cad_models c ON c.class_name = m.class_name AND c.cad_id = m.cad_id
WHERE m.in_cohort = 1
GROUP BY m.class_name, m.recipe, m.cad_id
"""
"""What each CAD model came to in the present cohorts; yield is the share of its samples that were kept."""

# All parts have the same column types: else Postgres takes no condition into them, and reads everything.
REJECTIONS = """
SELECT CAST(class_name AS VARCHAR) AS class_name, CAST(NULL AS VARCHAR) AS recipe, 'CAD file' AS what, 'intake' AS stage,
    reason, count(*) AS rejected, min(path) AS example
FROM quarantine GROUP BY class_name, reason
UNION ALL
SELECT class_name, NULL, 'CAD model', 'cad', reason, count(*), min(source)
FROM cad_models WHERE status = 'rejected' GROUP BY class_name, reason
UNION ALL
SELECT class_name, recipe, 'sample', stage, reason, count(*), min(sample_id)
FROM members WHERE in_cohort = 1 AND status = 'failed' GROUP BY class_name, recipe, stage, reason
UNION ALL
SELECT m.class_name, m.recipe, 'sample', 'verdict', COALESCE(d.reason, 'score above the threshold'), count(*), min(m.sample_id)
FROM members m JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
WHERE m.in_cohort = 1 AND d.kept = 0 GROUP BY m.class_name, m.recipe, COALESCE(d.reason, 'score above the threshold')
"""
"""Everything that was turned away, counted by reason: files at the door, CAD models, samples that failed, samples dropped."""

_STAGES = ("cad", "render", "edge", "caption", "image", "verdict")

COSTS = f"""
SELECT
    r.run_id, r.class_name, r.recipe, r.started_at, s.stage,
    CAST(r.seconds ->> s.stage AS FLOAT) AS seconds,
    CAST(r.counts ->> ('new_' || s.stage) AS INTEGER) AS made,
    CAST(r.seconds ->> s.stage AS FLOAT) / NULLIF(CAST(r.counts ->> ('new_' || s.stage) AS INTEGER), 0) AS seconds_each,
    r.runtime ->> 'machine' AS machine, r.runtime ->> 'device' AS device
FROM runs r
JOIN ({" UNION ALL ".join(f"SELECT '{stage}' AS stage" for stage in _STAGES)}) s ON r.seconds ->> s.stage IS NOT NULL
"""
"""Seconds of work that each run spent on each stage, and the artifacts it made in them."""

_FILES = {
    "cad": "model.glb",
    "render": "rgba.png",
    "edge": "edge.png",
    "caption": "caption.json",
    "image": "image.png",
    "verdict": "verdicts.json",
}
"""The file that a stage is about; an artifact's others are in its `files`."""

_EDGE = "JOIN edges e ON e.edge_key = i.edge_key"
_VIEW = "JOIN views v ON v.render_key = e.render_key"
_OF_IMAGE = f"images i {_EDGE} {_VIEW}"
_OF_VERDICT = f"verdicts d JOIN images i ON i.image_key = d.image_key {_EDGE} {_VIEW}"
_LINES = (
    ("render", "v.render_key", 1, "cad", "v.cad_key", "views v"),
    ("edge", "e.edge_key", 1, "render", "e.render_key", "edges e"),
    ("edge", "e.edge_key", 2, "cad", "v.cad_key", f"edges e {_VIEW}"),
    ("image", "i.image_key", 1, "edge", "i.edge_key", "images i"),
    ("image", "i.image_key", 1, "caption", "i.caption_key", "images i"),
    ("image", "i.image_key", 2, "render", "e.render_key", f"images i {_EDGE}"),
    ("image", "i.image_key", 3, "cad", "v.cad_key", _OF_IMAGE),
    ("verdict", "d.verdict_key", 1, "image", "d.image_key", "verdicts d"),
    ("verdict", "d.verdict_key", 2, "edge", "i.edge_key", "verdicts d JOIN images i ON i.image_key = d.image_key"),
    ("verdict", "d.verdict_key", 2, "caption", "i.caption_key", "verdicts d JOIN images i ON i.image_key = d.image_key"),
    ("verdict", "d.verdict_key", 3, "render", "v.render_key", _OF_VERDICT),
    ("verdict", "d.verdict_key", 4, "cad", "v.cad_key", _OF_VERDICT),
)
"""(stage, its key, steps up, stage there, key there, the rows that lead there), every step along a primary key."""


def _file(stage: str, key: str) -> str:
    return f"'{stage}/' || substr({key}, 1, 2) || '/' || {key} || '/{_FILES[stage]}'"


def _sha256(name: str) -> str:
    # SQLite reads the dot of a bare name as a step into it, Postgres takes quotes for a part of it.
    return f"""COALESCE(f.files -> '"{name}"' ->> 'sha256', f.files -> '{name}' ->> 'sha256')"""


def _line(stage: str, key: str, depth: int, above: str, key_above: str, rows: str) -> str:
    # Many images of a cohort share a CAD model, a render or an edge map.
    return f"""SELECT{" DISTINCT" if stage == "verdict" else ""} {key} AS key, '{stage}' AS stage, {_file(stage, key)} AS file,
    {depth} AS depth, '{above}' AS upstream_stage, {key_above} AS upstream_key, {_file(above, key_above)} AS upstream_file,
    {_sha256(_FILES[above])} AS upstream_sha256
FROM {rows} JOIN artifacts f ON f.key = {key_above}"""


def _source(stage: str, key: str, depth: int, rows: str) -> str:
    return f"""SELECT{" DISTINCT" if stage == "verdict" else ""} {key} AS key, '{stage}' AS stage, {_file(stage, key)} AS file,
    {depth} AS depth, 'source' AS upstream_stage, f.key AS upstream_key, f.runtime ->> 'source' AS upstream_file,
    f.inputs ->> 'cad_id' AS upstream_sha256
FROM {rows}"""


LINEAGE = "\nUNION ALL\n".join(
    [
        _source("cad", "f.key", 1, "artifacts f WHERE f.stage = 'cad'"),
        _source("render", "v.render_key", 2, "views v JOIN artifacts f ON f.key = v.cad_key"),
        _source("edge", "e.edge_key", 3, f"edges e {_VIEW} JOIN artifacts f ON f.key = v.cad_key"),
        _source("image", "i.image_key", 4, f"{_OF_IMAGE} JOIN artifacts f ON f.key = v.cad_key"),
        _source("verdict", "d.verdict_key", 5, f"{_OF_VERDICT} JOIN artifacts f ON f.key = v.cad_key"),
        *(_line(*line) for line in _LINES),
    ]
)
"""What a file was made from, all the way up: one row for each ancestor of an artifact. The key is the name of a file's folder.

`source` is the file that somebody registered: its upstream_sha256 is the cad_id (over that file and those it refers to).
"""

QUESTIONS = {
    "accepted": ACCEPTED,
    "coverage": COVERAGE,
    "yields": YIELDS,
    "rejections": REJECTIONS,
    "costs": COSTS,
    "lineage": LINEAGE,
}
