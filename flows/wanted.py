"""Wanted: the runs that a scan makes, class by class.

Enters: how far each class is (flows.pending) and what was just found in the watched folders. Leaves: for each class with
something pending, the class again with its quota under the recipe of its last run, and why. Starts nothing and knows no Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flows import ending, recipes
from flows.pending import UNFINISHED, ClassStatus, class_status, said_since, stale
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.intake.watch import WatchReport
from tasks.plan.failures import GENERATE, PASSING, Failure, failures, forget_failures
from tasks.plan.place import Place

CLAIM = "scan"
"""What a scan claims in the catalog while it is at it."""
RETRIES = 3
"""How often a scan tries a failed artifact again; `dst retry` does whenever it is told to."""
RETRY_AFTER_S = 3600.0
"""What passes with time needs some."""
FAILED_RUNS = 3
"""After so many failed runs in a row a class is left alone until something about it changes."""
_BY_HAND = (ending.BY_CTRL_C, ending.CANCELLED, "KeyboardInterrupt", "Cancelled")
"""How a run ends that a person stopped (the last two: before schema 0005): it is not started again by itself."""
_WITH_ITS_MACHINE = (ending.WITH_ITS_MACHINE, "TerminationSignal")
"""How a run ends whose service or machine was shut down: that says nothing about the class."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run that a scan makes."""

    class_name: str
    """Its class."""
    samples: int
    """The class's quota."""
    name: str
    """What the recipe is called."""
    recipe: str
    """For flows.generate: the recipe it starts from."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """For flows.generate: what differs from that."""
    why: str
    """What is pending, for a person."""
    again: tuple[str, ...] = ()
    """Failed samples that are worth another try."""


def wanted(settings: Settings, seen: WatchReport) -> list[Wanted]:
    """Return the runs that would make everything that is pending, in order of class. Raises CatalogMissing."""
    catalog = Catalog(settings.catalog, settings.store)
    found = (_wanted(settings, catalog, status, seen) for status in class_status(Place.of(settings)))
    return [want for want in found if want is not None]


def another_try(settings: Settings, want: Wanted) -> None:
    """Set what failed for a passing reason aside, so that the run makes it."""
    if want.again:
        forget_failures(Place.of(settings), want.class_name, samples=want.again)


def at_it(holder: Mapping[str, Any]) -> str:
    """Say who is scanning."""
    return f"another scan is at it since {holder['started_at'][:19]} on {holder['host']}, process {holder['pid']}; it looks again"


def _wanted(settings: Settings, catalog: Catalog, status: ClassStatus, seen: WatchReport) -> Wanted | None:
    if not status.cad_models or status.run_status == "running":
        return None
    if status.run_id is None:
        if status.class_name not in seen.classes:
            return None
        recipes.resolve(settings.watch_recipe)
        return Wanted(
            class_name=status.class_name,
            samples=settings.watch_samples,
            name=settings.watch_recipe,
            recipe=settings.watch_recipe,
            why=f"a new class with {status.cad_models} CAD models",
        )
    again = _worth_another_try(settings, status)
    why = _why(status, len(again))
    if not why or _left_alone(catalog, status):
        return None
    assert status.recipe is not None
    if status.recipe in recipes.names():
        start: Mapping[str, Any] = {"name": status.recipe, "overrides": {}}
    else:
        start = recipes.as_overrides(status.recipe_specs)
    return Wanted(
        class_name=status.class_name,
        samples=status.samples,
        name=status.recipe,
        recipe=start["name"],
        overrides=start["overrides"],
        why=why,
        again=tuple(failure.sample_id for failure in again),
    )


def _why(status: ClassStatus, again: int) -> str:
    return "; ".join([*stale(status), *([f"{again} failed samples are worth another try"] if again else [])])


def _left_alone(catalog: Catalog, status: ClassStatus) -> bool:
    """Say whether a person stopped a class's last run, or its last runs all failed, and nothing about the class changed since."""
    if status.run_status not in UNFINISHED or status.recipe_changed:
        return False
    runs = [row for row in catalog.runs(status.class_name) if row["kind"] == GENERATE][:FAILED_RUNS]
    in_vain = len(runs) == FAILED_RUNS and all(
        row["status"] in UNFINISHED and row["reason"] not in _WITH_ITS_MACHINE for row in runs
    )
    if not (in_vain or str(runs[0]["reason"]).startswith(_BY_HAND)):
        return False
    return not any(said_since(row, runs[0]) for row in catalog.cad_models(status.class_name))


def _worth_another_try(settings: Settings, status: ClassStatus) -> list[Failure]:
    passing = {reason for _, reason in status.failures if reason in PASSING}
    found = [failure for reason in sorted(passing) for failure in failures(Place.of(settings), status.class_name, reason=reason)]
    return [failure for failure in found if _due(settings, failure)]


def _due(settings: Settings, failure: Failure) -> bool:
    artifact = settings.store.find(failure.stage, failure.key)
    if artifact is None or settings.store.times_set_aside(failure.stage, failure.key) >= RETRIES:
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(artifact.record.created_at)
    return age.total_seconds() > RETRY_AFTER_S
