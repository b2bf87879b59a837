"""Pieces of SQL that several views are made of."""

from __future__ import annotations

from collections.abc import Sequence

from storage.stages import FILE

OF_A_SAMPLE = """FROM members m
LEFT JOIN cad_models c ON c.class_name = m.class_name AND c.cad_id = m.cad_id
LEFT JOIN views v ON v.render_key = m.render_key
LEFT JOIN controls k ON k.control_key = m.control_key
LEFT JOIN captions t ON t.caption_key = m.caption_key
LEFT JOIN images i ON i.image_key = m.image_key
LEFT JOIN verdicts d ON d.verdict_key = m.verdict_key AND d.image_key = m.image_key
LEFT JOIN filters f ON f.verdict_key = m.verdict_key
"""
"""A sample with the row of every stage behind it; what there is no row of is null."""


MAKER = """LEFT JOIN artifacts w ON w.key = m.member_key
LEFT JOIN runs o ON o.run_id = w.made_by
"""
"""The artifact that a member comes down to (its image, or what failed), and the run that made it."""


def score_columns(names: Sequence[str]) -> str:
    """Return a column for each score of member `m`. Looked up by primary key, and only where somebody asks for the column."""
    return ", ".join(
        f"(SELECT s.value FROM scores s WHERE s.verdict_key = m.verdict_key AND s.image_key = m.image_key AND s.name = '{name}') "
        f'AS "{name}"'
        for name in names
    )


def _tag(column: str) -> str:
    said = f"SELECT CASE WHEN g.tag IS NOT NULL THEN g.{column} END FROM tags g"
    return f"({said} WHERE g.image_key = m.image_key ORDER BY g.number DESC LIMIT 1)"


TAG_COLUMNS = (
    f"{_tag('tag')} AS tag, {_tag('note')} AS tag_note, {_tag('tagged_by')} AS tagged_by, {_tag('tagged_at')} AS tagged_at"
)
"""What a person said last of member `m`'s image, NULL where nobody did. Looked up as scores are."""


def file_of(stage: str, key: str, name: str = "") -> str:
    """Return SQL for where a file (the one the stage is about, or `name`) of an artifact lies in the store."""
    return f"'{stage}/' || substr({key}, 1, 2) || '/' || {key} || '/{name or FILE[stage]}'"


CONTROL_FILE = (
    "(SELECT s.stage || '/' || substr(k.control_key, 1, 2) || '/' || k.control_key || '/' || s.stage || '.png' "
    "FROM specs s WHERE s.spec_key = k.spec_key)"
)
"""Where the picture of control `k` lies: control/.../control.png, or edge/.../edge.png of an old home."""
