"""What a run came to, as plain JSON: for the row, the terminal and the Prefect UI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypedDict

from tasks.shard import StageReport


class RunReport(TypedDict):
    """How a run went."""

    run_id: str
    class_name: str
    status: str
    """complete or invalid."""
    reason: str | None
    """For invalid: the expectations that were not met."""
    counts: dict[str, int]
    """asked, made, failed, kept, dropped, not_judged; new_render and so on: artifacts that this run itself made."""
    report: str
    """Path of the page."""


def summarise(stages: Iterable[StageReport]) -> dict[str, float]:
    """Return stage -> seconds over the shards of a run."""
    seconds: Counter[str] = Counter()
    for report in stages:
        seconds[report["stage"]] += report["seconds"]  # type: ignore[assignment]
    return {stage: round(value, 2) for stage, value in seconds.items()}


def newly_made(stages: Iterable[StageReport]) -> dict[str, int]:
    """Return new_<stage> -> artifacts that a run made itself, over its shards: what its seconds were spent on."""
    made: Counter[str] = Counter()
    for report in stages:
        made[f"new_{report['stage']}"] += report["made"]
    return dict(made)


def in_words(counts: Mapping[str, int]) -> str:
    """Return what became of images, for a person: `28 kept, 3 dropped, 1 failed`, and how many nothing could judge."""
    names = {"kept": "kept", "dropped": "dropped", "not_judged": "not judged", "failed": "failed"}
    return ", ".join(f"{counts[n]} {said}" for n, said in names.items() if n in counts and (counts[n] or n != "not_judged"))
