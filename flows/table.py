"""The table of all classes, as a terminal and the Prefect UI show it.

Enters: how far each class is (flows.pending). Leaves: a row for each class and recipe, every cell a text or a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.pending import ClassStatus, StageStatus
from storage.stages import OF_A_SAMPLE


def table(statuses: Sequence[ClassStatus]) -> list[dict[str, Any]]:
    """Return the table that a terminal and the Prefect UI show: one row for each class and recipe."""
    return [
        {
            "class": status.class_name,
            "CAD models": _models(status),
            "recipe": f"{status.recipe or ''}{' (changed since)' if status.recipe_changed else ''}",
            "samples": status.samples,
            **{name: _cell(status.stage(name)) for name in OF_A_SAMPLE if name != "cad"},
            "verdict": _verdicts(status),
            "last run": status.run_status or "none yet",
        }
        for status in statuses
    ]


def _models(status: ClassStatus) -> str:
    parts = [str(status.cad_models)]
    if status.rejected:
        parts.append(f"{status.rejected} rejected")
    if status.new_cad_models and status.recipe is not None:
        parts.append(f"{len(status.new_cad_models)} not in the cohort")
    return ", ".join(parts)


def _cell(stage: StageStatus) -> str:
    parts = [str(stage.done)]
    if stage.pending:
        parts.append(f"{stage.pending} pending")
    if stage.failed:
        parts.append(f"{stage.failed} failed")
    return ", ".join(parts)


def _verdicts(status: ClassStatus) -> str:
    parts = [f"{status.kept} kept, {status.dropped} dropped"] if status.kept or status.dropped else []
    if status.not_judged:
        parts.append(f"{status.not_judged} not judged")
    waiting = status.stage("verdict").pending
    return ", ".join([*parts, f"{waiting} pending"] if waiting else parts)
