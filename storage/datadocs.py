"""The page of what was expected of a run and what was found: Great Expectations' results in tables.

Enters: findings. Leaves: one HTML page that fetches nothing from anywhere, what was not met first.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; }
h1, h2 { line-height: 1.25; margin: 1.4em 0 .5em; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; }
th, td { border-bottom: 1px solid #d9dee3; padding: .35rem .6rem; text-align: left; vertical-align: top; }
code { color: #57606a; } span.met, .met :first-child { color: #18794e; } .unmet { color: #c62a2f; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e9ec; background: #16191d; } span.met, .met :first-child { color: #4cc38a; } .unmet { color: #ff8589; }
  th, td { border-color: #33393f; } code { color: #9aa4ae; }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: expectations</title><style>{style}</style></head><body>
<h1>{title}: <span class="{word}">{summary}</span></h1>
{tables}
</body></html>
"""

_TABLE = """<h2>{table}</h2>
<table><thead><tr><th></th><th>expected</th><th>found</th><th>in Great Expectations' words</th></tr></thead><tbody>
{rows}
</tbody></table>"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One expectation and what was found of it."""

    table: str
    """What was looked at: samples, made, verdicts, files or coverage."""
    name: str
    """What is true when it is met."""
    met: bool
    """Whether it was."""
    found: str
    """What was found."""
    expectation: str
    """Its type in Great Expectations."""
    limits: Mapping[str, Any]
    """Its arguments there."""


def write(path: Path, *, title: str, findings: Sequence[Finding]) -> None:
    """Write the page over all findings."""
    unmet = [finding for finding in findings if not finding.met]
    shown = {"not met": unmet} if unmet else {}
    for finding in findings:
        shown.setdefault(finding.table, []).append(finding)
    text = _PAGE.format(
        title=html.escape(title),
        style=_STYLE,
        word="unmet" if unmet else "met",
        summary=f"{len(unmet)} of {len(findings)} expectations not met" if unmet else f"all {len(findings)} expectations met",
        tables="\n".join(_TABLE.format(table=name, rows="\n".join(map(_row, listed))) for name, listed in shown.items()),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _row(finding: Finding) -> str:
    word, sign = ("met", "✓") if finding.met else ("unmet", "✗")
    limits = ", ".join(f"{name}={value!r}" for name, value in finding.limits.items())
    name, found, asked = map(html.escape, (finding.name, finding.found, f"{finding.expectation}({limits})"))
    return f'<tr class="{word}"><td>{sign}</td><td>{name}</td><td>{found}</td><td><code>{asked}</code></td></tr>'
