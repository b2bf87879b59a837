"""The catalog's SQL views: derived, so they are made anew from this text whenever it changes.

Enters: the names of the scores that were ever indexed. Leaves: the text of each view, with one column for each score. Portable
SQL only: the same text runs on SQLite and on Postgres.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.catalog import questions
from storage.catalog.changes import run_changes
from storage.catalog.joins import CONTROL_FILE, MAKER, OF_A_SAMPLE, TAG_COLUMNS, file_of, score_columns
from storage.catalog.provenance import provenance
from storage.keys import digest

SCORES = ("kcf", "kcf_azimuth", "kcf_elevation", "kcf_inplane", "kcf_disagreement", "fidelity")
"""Scores that the views have columns for from the first day: those of the judges that recipes name by default."""


def samples(scores: Sequence[str]) -> str:
    """Everything about a sample, flat: one row for each sample and image of every cohort, past (in_cohort = 0) and present."""
    return f"""
SELECT
    m.sample_id, m.class_name, m.cad_id, m.view_index, m.draw_index,
    c.cad_name, c.source, c.keywords_text AS keywords, c.licence,
    v.azimuth_deg, v.elevation_deg, v.inplane_deg, v.distance,
    v.width, v.height, v.box_x0, v.box_y0, v.box_x1, v.box_y1,
    v.visible_fraction, v.truncated_fraction,
    t.prompt, t.negative_prompt, t.colour, t.material, t.scene, t.light, t.captioner, t.captioner_revision,
    k.kind AS control_kind, k.density AS control_density,
    i.seed, i.attempt, i.model_id, i.model_revision,
    m.status, m.stage, m.reason, m.detail,
    {score_columns(scores)},
    d.kept, d.reason AS drop_reason, d.words AS drop_words, f.rule,
    {TAG_COLUMNS},
    m.in_cohort, m.recipe, w.made_by AS made_by_run, o.flow_run_url AS made_by_url,
    m.run_id, r.flow_run_url, m.first_run_id,
    m.cad_key, m.render_key, m.control_key, m.caption_key, m.image_key, m.verdict_key,
    c.spec_key AS cad_spec, v.spec_key AS render_spec, k.spec_key AS control_spec, t.spec_key AS caption_spec,
    i.spec_key AS image_spec, f.spec_key AS verdict_spec,
    CASE WHEN i.status = 'made' THEN {file_of("image", "m.image_key")} END AS file,
    CASE WHEN v.status = 'made' THEN {file_of("render", "m.render_key")} END AS render_file,
    CASE WHEN k.status = 'made' THEN {CONTROL_FILE} END AS control_file,
    i.sha256, i.created_at
{OF_A_SAMPLE}{MAKER}LEFT JOIN runs r ON r.run_id = m.run_id
"""


def texts(scores: Sequence[str] = SCORES) -> dict[str, str]:
    """Return view -> SQL, with a column for each of these scores."""
    return {
        "samples": samples(scores),
        "provenance": provenance(scores),
        "accepted": questions.accepted(scores),
        "run_changes": run_changes(scores),
        **questions.QUESTIONS,
    }


def digest_of(scores: Sequence[str]) -> str:
    """Return what says from which texts a catalog's views were made."""
    return digest("\n".join(f"{name}:{sql}" for name, sql in texts(scores).items()).encode())


NAMES = tuple(texts())
"""The views, in the order in which they are made."""
WITH_SCORES = ("samples", "provenance", "accepted")
"""Those with a column for each score."""
