"""Failed samples: which there are, and setting what failed aside so that it is tried again.

Enters: a class and, where wanted, a stage, a reason or samples. Leaves: rows, or a store in which the next run finds the failed
artifacts missing. Nothing is deleted, and nothing that was made is touched.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from storage.catalog.catalog import Catalog
from tasks.plan.place import Place

GENERATE = "generate"
"""Kind of the runs that leave a cohort behind."""
PREVIEW = "preview"
"""Kind of the runs that make a handful of samples to look at, and leave no cohort."""

PASSING = (
    "renderer_killed",
    "mesh_timeout",
    "took_too_long",
    "out_of_memory",
    "reader_died",
    "reader_failed",
    "missing_file",
)
"""Reasons of failed artifacts that another time may not have: a busy or crowded machine, a share that was away."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A sample of a class's present cohort that has no image."""

    sample_id: str
    """Which sample."""
    class_name: str
    """Its class."""
    recipe: str
    """The recipe it failed under."""
    stage: str
    """The stage at which it failed."""
    reason: str
    """A short name that reports count by."""
    detail: str
    """One line for a person."""
    key: str
    """Key of the failed artifact."""


def last_run(catalog: Catalog, class_name: str) -> dict[str, Any] | None:
    """Return the row of the newest run that was to make a class's samples, or None before there was one."""
    return next(iter(catalog.runs(class_name, limit=1, kind=GENERATE)), None)


def failures(
    place: Place,
    class_name: str,
    stage: str | None = None,
    reason: str | None = None,
    samples: Collection[str] | None = None,
) -> list[Failure]:
    """Return the failed samples of a class under the recipe of its last run that match; None matches all."""
    catalog = place.catalog
    run = last_run(catalog, class_name)
    if run is None:
        return []
    rows = catalog.failed_members(class_name, run["recipe"])
    found = [
        Failure(
            sample_id=row["sample_id"],
            class_name=class_name,
            recipe=row["recipe"],
            stage=row["stage"] or "",
            reason=row["reason"] or "",
            detail=row["detail"] or "",
            key=row.get(f"{row['stage']}_key") or "",
        )
        for row in rows
    ]
    return [
        failure
        for failure in found
        if (stage is None or failure.stage == stage)
        and (reason is None or failure.reason == reason)
        and (samples is None or failure.sample_id in samples)
    ]


def forget_failures(
    place: Place,
    class_name: str,
    stage: str | None = None,
    reason: str | None = None,
    samples: Collection[str] | None = None,
) -> int:
    """Set the failed artifacts of matching samples aside, so that the next run tries them again; return how many samples."""
    found = failures(place, class_name, stage, reason, samples)
    for at, key in sorted({(failure.stage, failure.key) for failure in found}):
        artifact = place.store.find(at, key)
        if artifact is not None and artifact.record.outcome == "failed":
            place.store.set_aside(at, key)
    return len(found)
