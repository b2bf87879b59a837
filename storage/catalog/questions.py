"""Views for the questions people ask; docs/catalog.md lists their columns and shows them at work.

Portable SQL only: the same text runs on SQLite and on Postgres. Each view answers for one class from indexes: `class_name` (for
`lineage`, `key`) is a column that the condition reaches through.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.catalog.joins import CONTROL_FILE, TAG_COLUMNS, file_of, score_columns
from storage.stages import FILE, STAGES


def accepted(scores: Sequence[str]) -> str:
    """Samples of the present cohorts that the recipe's rules kept, with pose, camera, boxes and files."""
    return f"""
SELECT
    m.sample_id, m.class_name, m.cad_id, c.cad_name, c.licence, c.symmetry, m.view_index, m.draw_index,
    m.recipe, m.run_id,
    v.azimuth_deg, v.elevation_deg, v.inplane_deg, v.distance,
    v.width, v.height, v.box_x0, v.box_y0, v.box_x1, v.box_y1, v.box3d, v.box3d_extents,
    v.intrinsics, v.rotation, v.translation, v.visible_fraction, v.truncated_fraction,
    k.kind AS control_kind, k.density AS control_density, k.spec_key AS control_spec, t.prompt, i.seed,
    {score_columns(scores)},
    {TAG_COLUMNS},
    {file_of("image", "m.image_key")} AS file, i.sha256,
    {file_of("render", "m.render_key", "mask.png")} AS mask_file, {CONTROL_FILE} AS control_file,
    m.render_key, m.control_key, m.image_key, m.verdict_key
FROM members m
JOIN views v ON v.render_key = m.render_key
JOIN images i ON i.image_key = m.image_key
JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
LEFT JOIN cad_models c ON c.class_name = m.class_name AND c.cad_id = m.cad_id
LEFT JOIN controls k ON k.control_key = m.control_key
LEFT JOIN captions t ON t.caption_key = m.caption_key
WHERE m.in_cohort = 1 AND m.status = 'made' AND d.kept = 1
"""


AZIMUTH_BIN = 30
ELEVATION_BIN = 15


def _from(column: str, low: int, high: int, width: int) -> str:
    """Return SQL for the lower end of the bin a value lies in (rounding and modulo differ between databases; this does not)."""
    steps = " ".join(f"WHEN {column} < {end} THEN {end - width}" for end in range(low + width, high, width))
    return f"CASE {steps} ELSE {high - width} END"


_UNJUDGED = "sum(CASE WHEN m.status = 'made' AND d.kept IS NULL THEN 1 ELSE 0 END)"

COVERAGE = f"""
SELECT
    m.class_name, m.recipe,
    {_from("v.azimuth_deg", 0, 360, AZIMUTH_BIN)} AS azimuth_from_deg,
    {_from("v.elevation_deg", -90, 90, ELEVATION_BIN)} AS elevation_from_deg,
    count(*) AS samples,
    sum(CASE WHEN m.status = 'made' THEN 1 ELSE 0 END) AS made,
    sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS kept,
    {_UNJUDGED} AS unjudged,
    CAST(avg(d.kept) AS FLOAT) AS kept_share
FROM members m
JOIN views v ON v.render_key = m.render_key AND v.status = 'made'
LEFT JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
WHERE m.in_cohort = 1
GROUP BY m.class_name, m.recipe, 3, 4
"""
"""How the present cohorts' samples lie over the viewpoints: bins of 30 degrees of azimuth and 15 of elevation."""

YIELDS = f"""
SELECT
    m.class_name, m.recipe, m.cad_id, max(c.cad_name) AS cad_name, max(c.licence) AS licence, max(c.collection) AS collection,
    count(*) AS samples,
    sum(CASE WHEN m.status = 'made' THEN 1 ELSE 0 END) AS made,
    sum(CASE WHEN m.status = 'failed' THEN 1 ELSE 0 END) AS failed,
    sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS kept,
    sum(CASE WHEN d.kept = 0 THEN 1 ELSE 0 END) AS dropped,
    {_UNJUDGED} AS unjudged,
    CASE WHEN count(d.kept) > 0 OR {_UNJUDGED} = 0
         THEN CAST(sum(CASE WHEN d.kept = 1 THEN 1 ELSE 0 END) AS FLOAT) / (count(*) - {_UNJUDGED}) END AS yield
FROM members m
LEFT JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
LEFT JOIN cad_models c ON c.class_name = m.class_name AND c.cad_id = m.cad_id
WHERE m.in_cohort = 1
GROUP BY m.class_name, m.recipe, m.cad_id
"""
"""What each CAD model came to in the present cohorts; yield: the share of its samples that was kept, but those nobody judged."""

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
SELECT m.class_name, m.recipe, 'sample', 'verdict', COALESCE(d.reason, 'not said'), count(*), min(m.sample_id)
FROM members m JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
WHERE m.in_cohort = 1 AND d.kept = 0 GROUP BY m.class_name, m.recipe, COALESCE(d.reason, 'not said')
"""
"""Everything that was turned away, counted by reason: files at the door, CAD models, samples that failed, samples dropped."""

COSTS = f"""
SELECT
    r.run_id, r.class_name, r.recipe, r.started_at, st.stage,
    CAST(r.seconds ->> st.stage AS FLOAT) AS seconds,
    CAST(r.counts ->> ('new_' || st.stage) AS INTEGER) AS made,
    CAST(r.seconds ->> st.stage AS FLOAT) / NULLIF(CAST(r.counts ->> ('new_' || st.stage) AS INTEGER), 0) AS seconds_each,
    CAST(r.waited ->> st.stage AS FLOAT) AS waited,
    r.runtime ->> 'machine' AS machine, r.runtime ->> 'device' AS device
FROM runs r
JOIN ({" UNION ALL ".join(f"SELECT '{stage}' AS stage" for stage in STAGES)}) st ON r.seconds ->> st.stage IS NOT NULL
"""
"""Seconds of work that each run spent on each stage, the artifacts it made in them, and how long it waited for others before.

waited is NULL for runs before schema 0005: their seconds have it in them, and what they had found made they counted again.
"""

_VIEW = "JOIN views v ON v.render_key = k.render_key"
_OF_IMAGE = "image_controls ic JOIN controls k ON k.control_key = ic.control_key"
_OF_VERDICT = "verdicts d"
_OF_SCORE = "verdict_scores vs JOIN verdicts d ON d.verdict_key = vs.verdict_key"
_TAUGHT = "verdict_scores vs JOIN artifacts s ON s.key = vs.score_key"
# Its CAD models are a list, which each database takes apart in a way of its own: a key is in it if taking it out changes it.
_OF_READOUT = """artifacts r JOIN artifacts c
    ON r.stage = 'readout' AND c.stage = 'cad' AND replace(r.inputs ->> 'cads', c.key, '') <> r.inputs ->> 'cads'"""
_IMAGE = "JOIN images i ON i.image_key = d.image_key"
_CONTROLS = "JOIN image_controls ic ON ic.image_key = d.image_key JOIN controls k ON k.control_key = ic.control_key"


def _over_images(stage: str, key: str, rows: str) -> tuple[tuple[str, str, int, str, str, str], ...]:
    return (
        (stage, key, 1, "image", "d.image_key", rows),
        (stage, key, 2, "caption", "i.caption_key", f"{rows} {_IMAGE}"),
        (stage, key, 2, "control", "ic.control_key", f"{rows} {_CONTROLS}"),
        (stage, key, 3, "render", "k.render_key", f"{rows} {_CONTROLS}"),
        (stage, key, 4, "cad", "v.cad_key", f"{rows} {_CONTROLS} {_VIEW}"),
        (stage, key, 5, "source", "v.cad_key", f"{rows} {_CONTROLS} {_VIEW}"),
    )


_LINES = (
    ("cad", "f.key", 1, "source", "f.key", ""),
    ("render", "v.render_key", 1, "cad", "v.cad_key", "views v"),
    ("render", "v.render_key", 2, "source", "v.cad_key", "views v"),
    ("control", "k.control_key", 1, "render", "k.render_key", "controls k"),
    ("control", "k.control_key", 2, "cad", "v.cad_key", f"controls k {_VIEW}"),
    ("control", "k.control_key", 3, "source", "v.cad_key", f"controls k {_VIEW}"),
    ("image", "ic.image_key", 1, "control", "ic.control_key", "image_controls ic"),
    ("image", "i.image_key", 1, "caption", "i.caption_key", "images i"),
    ("image", "ic.image_key", 2, "render", "k.render_key", _OF_IMAGE),
    ("image", "ic.image_key", 3, "cad", "v.cad_key", f"{_OF_IMAGE} {_VIEW}"),
    ("image", "ic.image_key", 4, "source", "v.cad_key", f"{_OF_IMAGE} {_VIEW}"),
    ("readout", "r.key", 1, "cad", "c.key", _OF_READOUT),
    ("readout", "r.key", 2, "source", "c.key", _OF_READOUT),
    ("score", "s.key", 1, "readout", "s.inputs ->> 'readout'", "artifacts s"),
    *_over_images("score", "vs.score_key", _OF_SCORE),
    ("verdict", "vs.verdict_key", 1, "score", "vs.score_key", "verdict_scores vs"),
    ("verdict", "vs.verdict_key", 2, "readout", "s.inputs ->> 'readout'", _TAUGHT),
    *_over_images("verdict", "d.verdict_key", _OF_VERDICT),
)
"""(stage, its key, steps up, stage there, key there, the rows that lead there), every step along a key."""


def _sha256(*names: str) -> str:
    # SQLite reads the dot of a bare name as a step into it, Postgres takes quotes for a part of it.
    spellings = [f"""f.files -> '{quoted}' ->> 'sha256'""" for name in names for quoted in (f'"{name}"', name)]
    return f"COALESCE({', '.join(spellings)})"


def _line(stage: str, key: str, depth: int, above: str, key_above: str, rows: str) -> str:
    # Many images of a cohort, and all controls of an image, share what they were made from.
    distinct = " DISTINCT" if stage in ("image", "score", "verdict") else ""
    file = CONTROL_FILE if stage == "control" else file_of(stage, key)
    if above == "source":
        found = "f.runtime ->> 'source' AS upstream_file, f.inputs ->> 'cad_id' AS upstream_sha256"
    elif above == "control":
        found = f"f.path || '/' || f.stage || '.png' AS upstream_file, {_sha256(FILE['control'], 'edge.png')} AS upstream_sha256"
    else:
        found = f"f.path || '/{FILE[above]}' AS upstream_file, {_sha256(FILE[above])} AS upstream_sha256"
    return f"""SELECT{distinct} {key} AS key, '{stage}' AS stage, {file} AS file,
    {depth} AS depth, '{above}' AS upstream_stage, {key_above} AS upstream_key, {found}
FROM {f"{rows} JOIN artifacts f ON f.key = {key_above}" if rows else f"artifacts f WHERE f.stage = '{stage}'"}"""


LINEAGE = "\nUNION ALL\n".join(_line(*line) for line in _LINES)
"""What a file was made from, all the way up: one row for each ancestor of an artifact. The key is the name of a file's folder.

`source` is the file that somebody registered: its upstream_sha256 is the cad_id (over that file and those it refers to).
"""

QUESTIONS = {
    "coverage": COVERAGE,
    "yields": YIELDS,
    "rejections": REJECTIONS,
    "costs": COSTS,
    "lineage": LINEAGE,
}
