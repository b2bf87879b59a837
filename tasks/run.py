"""What a run came to, as plain JSON: for the row, the terminal and the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class RunReport(TypedDict):
    """How a run went."""

    run_id: str
    class_name: str
    status: str
    """complete or invalid; stopped, failed or crashed where it did not come to its end."""
    reason: str | None
    """For invalid: the expectations that were not met."""
    counts: dict[str, int]
    """asked, made, failed, kept, dropped, not_judged; new_render and so on: artifacts that this run itself made."""
    seconds: dict[str, float]
    """Stage -> seconds of work on what this run itself made."""
    waited: dict[str, float]
    """Stage -> seconds behind others before that."""
    report: str
    """Path of the page."""


def work_in_words(seconds: Mapping[str, float], waited: Mapping[str, float]) -> str:
    """Return what a run's work took, for a person: `42 s of work, 645 s of waiting for others`; nothing where it did none."""
    if not seconds:
        return ""
    behind = sum(waited.values())
    return f"{sum(seconds.values()):.0f} s of work" + (f", {behind:.0f} s of waiting for others" if behind >= 1 else "")


def in_words(counts: Mapping[str, int]) -> str:
    """Return what became of images, for a person: `28 kept, 3 dropped, 1 failed`, and how many nothing could judge."""
    names = {"kept": "kept", "dropped": "dropped", "not_judged": "not judged", "failed": "failed"}
    return ", ".join(f"{counts[n]} {said}" for n, said in names.items() if n in counts and (counts[n] or n != "not_judged"))
