"""The view `run_changes`: what two runs of a class have to say of each sample, side by side.

Read it for two runs (`where from_run = ... and to_run = ...`): it has a row for each sample that either of them listed, for every
two runs of a class.
"""

from __future__ import annotations

from collections.abc import Sequence

_CHANGE = """CASE WHEN a.sample_id IS NULL THEN 'added' WHEN b.sample_id IS NULL THEN 'gone'
         WHEN a.image_key = b.image_key OR (a.image_key IS NULL AND b.image_key IS NULL) THEN 'same'
         WHEN a.image_key IS NULL THEN 'made' WHEN b.image_key IS NULL THEN 'failed' ELSE 'other image' END"""
_TWO_RUNS = "FROM runs x JOIN runs y ON y.class_name = x.class_name AND y.run_id <> x.run_id"
_BESIDE = """LEFT JOIN captions ca ON ca.caption_key = a.caption_key
LEFT JOIN captions cb ON cb.caption_key = b.caption_key
LEFT JOIN verdicts va ON va.verdict_key = a.verdict_key AND va.image_key = a.image_key
LEFT JOIN verdicts vb ON vb.verdict_key = b.verdict_key AND vb.image_key = b.image_key"""


def run_changes(scores: Sequence[str]) -> str:
    """Samples, images, captions, verdicts and scores of one run (`_from`) beside another's (`_to`)."""
    columns = f"""SELECT
    x.run_id AS from_run, y.run_id AS to_run, x.class_name, COALESCE(a.sample_id, b.sample_id) AS sample_id,
    {_CHANGE} AS change,
    a.stage AS failed_at_from, b.stage AS failed_at_to, a.reason AS reason_from, b.reason AS reason_to,
    a.image_key AS image_from, b.image_key AS image_to, ca.prompt AS prompt_from, cb.prompt AS prompt_to,
    va.kept AS kept_from, vb.kept AS kept_to, va.reason AS drop_reason_from, vb.reason AS drop_reason_to,
    {", ".join(f"{_score(name, 'a')} AS {name}_from, {_score(name, 'b')} AS {name}_to" for name in scores)}
{_TWO_RUNS}"""
    return f"""
{columns}
JOIN run_members a ON a.run_id = x.run_id
LEFT JOIN run_members b ON b.run_id = y.run_id AND b.sample_id = a.sample_id
{_BESIDE}
UNION ALL
{columns}
JOIN run_members b ON b.run_id = y.run_id
LEFT JOIN run_members a ON a.run_id = x.run_id AND a.sample_id = b.sample_id
{_BESIDE}
WHERE a.sample_id IS NULL
"""


def _score(name: str, side: str) -> str:
    of = f"s.verdict_key = {side}.verdict_key AND s.image_key = {side}.image_key AND s.name = '{name}'"
    return f"(SELECT s.value FROM scores s WHERE {of})"
