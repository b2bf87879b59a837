"""The catalog's SQL views: derived, so they are made anew from this text whenever it changes.

Portable SQL only: the same text runs on SQLite and on Postgres.
"""

from __future__ import annotations

from storage.catalog.provenance import OF_A_SAMPLE, PROVENANCE
from storage.catalog.questions import QUESTIONS
from storage.keys import digest

SAMPLES = (
    """
SELECT
    m.sample_id, m.class_name, m.cad_id, m.view_index, m.draw_index,
    c.name AS cad_name, c.source, c.keywords_text AS keywords, c.licence,
    v.azimuth_deg, v.elevation_deg, v.inplane_deg, v.distance,
    v.width, v.height, v.box_x0, v.box_y0, v.box_x1, v.box_y1,
    v.visible_fraction, v.truncated_fraction,
    t.prompt, t.negative_prompt, t.colour, t.material, t.scene, t.light, t.captioner, t.captioner_revision,
    e.edge_density,
    i.seed, i.attempt, i.model_id, i.model_revision,
    m.status, m.stage, m.reason, m.detail,
    d.score, d.score_azimuth, d.score_elevation, d.score_inplane, d.disagreement, d.edge_score, d.fold, d.threshold, d.kept,
    d.reason AS drop_reason,
    m.in_cohort, m.recipe, m.run_id, m.first_run_id, r.flow_run_url,
    m.cad_key, m.render_key, m.edge_key, m.caption_key, m.image_key, m.verdict_key,
    c.spec_key AS cad_spec, v.spec_key AS render_spec, e.spec_key AS edge_spec, t.spec_key AS caption_spec,
    i.spec_key AS image_spec, f.spec_key AS verdict_spec,
    CASE WHEN i.status = 'made' THEN 'image/' || substr(m.image_key, 1, 2) || '/' || m.image_key || '/image.png' END AS file,
    CASE WHEN v.status = 'made' THEN 'render/' || substr(m.render_key, 1, 2) || '/' || m.render_key || '/rgba.png' END
        AS render_file,
    CASE WHEN e.status = 'made' THEN 'edge/' || substr(m.edge_key, 1, 2) || '/' || m.edge_key || '/edge.png' END AS edge_file,
    i.sha256, i.created_at
"""
    + OF_A_SAMPLE
    + """LEFT JOIN runs r ON r.run_id = m.run_id
"""
)
"""Everything about a sample, flat: one row for each sample and image of every cohort, past (in_cohort = 0) and present."""

VIEWS = {"samples": SAMPLES, "provenance": PROVENANCE, **QUESTIONS}

DIGEST = digest("\n".join(f"{name}:{sql}" for name, sql in VIEWS.items()).encode())
"""Says which texts a catalog's views were made from."""
