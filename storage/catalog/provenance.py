"""The view `provenance`: one row answers everything that can be asked about how a sample came to be.

Read it for one sample or one class (`where sample_id = ...`): it joins every stage's row, spec and record. Portable SQL only:
`->>` takes a field out of a JSON column on SQLite and on Postgres alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.catalog.joins import MAKER, OF_A_SAMPLE, TAG_COLUMNS, score_columns


def provenance(scores: Sequence[str]) -> str:
    """Which CAD file, whose licence, which pose, light, controls, words, generator, judges, rule, code and run, and which files.

    What only some kinds of a control or a judge have is in the JSON columns control_settings, judges and rules.
    """
    return f"""
SELECT
    m.sample_id, m.class_name, m.cad_id, m.view_index, m.draw_index, m.recipe, m.in_cohort, m.status, m.stage, m.reason, m.detail,
    c.cad_name, c.source AS cad_source, c.collection, c.uid, c.licence, c.keywords_text AS keywords,
    c.up, c.front, c.symmetry,
    v.azimuth_deg, v.elevation_deg, v.inplane_deg, v.distance, v.requested_distance, v.moved_back,
    v.intrinsics, v.rotation, v.translation,
    sv.spec -> 'light' ->> 'kind' AS light_kind, v.light,
    v.width, v.height, v.box_x0, v.box_y0, v.box_x1, v.box_y1, v.visible_fraction, v.truncated_fraction,
    k.kind AS control_kind, k.pixels AS control_pixels, k.density AS control_density, sk.spec AS control_settings, m.controls,
    t.prompt, t.negative_prompt, t.captioner, t.captioner_revision,
    i.model_id AS generator, i.model_revision AS generator_revision,
    si.spec ->> 'control_model' AS control_model, si.spec ->> 'control_revision' AS control_revision,
    si.spec ->> 'scheduler' AS scheduler, CAST(si.spec ->> 'steps' AS INTEGER) AS steps,
    CAST(si.spec ->> 'guidance' AS FLOAT) AS guidance, CAST(si.spec ->> 'control_scale' AS FLOAT) AS control_scale,
    CAST(si.spec ->> 'eta' AS FLOAT) AS eta, si.spec ->> 'dtype' AS dtype, i.seed, i.attempt,
    {score_columns(scores)},
    d.kept, d.reason AS drop_reason, d.words AS drop_words, f.rule, f.rules, f.judges, af.inputs -> 'scores' AS score_keys,
    CAST(COALESCE(sj.spec, sd.spec) ->> 'side' AS INTEGER) AS judged_side,
    CAST(COALESCE(sj.spec, sd.spec) ->> 'margin' AS FLOAT) AS judged_margin,
    CASE WHEN m.status = 'failed' THEN 'no image: failed at ' || m.stage || ' (' || COALESCE(m.reason, '') || ')'
         WHEN d.kept = 1 THEN f.rule
         WHEN d.kept = 0 THEN 'dropped: ' || COALESCE(d.reason, 'for a reason that was not written down')
         WHEN substr(f.rule, 1, 10) = 'not judged' THEN f.rule
         ELSE 'not judged' END AS why,
    {TAG_COLUMNS},
    q.runtime ->> 'code' AS code, q.runtime ->> 'machine' AS machine, q.runtime ->> 'python' AS python,
    q.runtime -> 'packages' AS packages, ai.runtime AS image_runtime, ar.runtime AS render_runtime,
    w.made_by AS made_by_run, o.flow_run_url AS made_by_url, o.started_at AS made_by_started_at, w.attempt AS made_by_attempt,
    w.seconds, w.waited, m.run_id, r.flow_run_url, m.first_run_id,
    m.cad_key, m.render_key, m.control_key, m.caption_key, m.image_key, m.verdict_key,
    ac.path AS cad_folder, ar.path AS render_folder, ak.path AS control_folder, ap.path AS caption_folder,
    ai.path AS image_folder, af.path AS verdict_folder,
    ac.files AS cad_files, ar.files AS render_files, ak.files AS control_files, ap.files AS caption_files,
    ai.files AS image_files, af.files AS verdict_files,
    i.sha256, i.created_at
{OF_A_SAMPLE}{MAKER}LEFT JOIN specs sv ON sv.spec_key = v.spec_key
LEFT JOIN specs sk ON sk.spec_key = k.spec_key
LEFT JOIN specs si ON si.spec_key = i.spec_key
LEFT JOIN verdict_scores j ON j.verdict_key = m.verdict_key AND j.judge = 'kcf'
LEFT JOIN artifacts aj ON aj.key = j.score_key
LEFT JOIN specs sj ON sj.spec_key = aj.spec_key
LEFT JOIN specs sd ON sd.spec_key = f.spec_key
LEFT JOIN artifacts ac ON ac.key = m.cad_key
LEFT JOIN artifacts ar ON ar.key = m.render_key
LEFT JOIN artifacts ak ON ak.key = m.control_key
LEFT JOIN artifacts ap ON ap.key = m.caption_key
LEFT JOIN artifacts ai ON ai.key = m.image_key
LEFT JOIN artifacts af ON af.key = m.verdict_key
LEFT JOIN runs r ON r.run_id = m.run_id
LEFT JOIN runs q ON q.run_id = COALESCE(w.made_by, m.first_run_id)
"""
