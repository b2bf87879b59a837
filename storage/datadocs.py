"""Data Docs: what was expected of a run and what was found, as one page that opens without internet.

Enters: findings. Leaves: an HTML page with its style inside, what was not met first. Great Expectations' own pages ask seven
content networks for their style and scripts: offline they are bare, and online they tell strangers when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.report.page import environment, frame, save


@dataclass(frozen=True, kw_only=True)
class Expectation:
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
    examples: Sequence[str] = ()
    """Some values that should not be there."""


def write(path: Path, *, title: str, findings: Sequence[Expectation]) -> None:
    """Write the page over all findings."""
    save(path, environment().get_template("checks.html").render(title=title, findings=findings, **frame()))
