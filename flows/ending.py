"""How a run ends that does not come to its end, and what is then written down.

Enters: a run, and what broke it off. Leaves: its row (`stopped` with the reason in words where it was told to stop, else `failed`
with the error's name), rows of what it had made, its samples so far, and a report of those. The same for a run whose process was
killed, by whoever finds it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from storage.artifacts import ArtifactError
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.stages import STAGES
from tasks.plan.cohort import Cohort
from tasks.plan.failures import GENERATE
from tasks.plan.place import Place

log = logging.getLogger("dst")

BY_CTRL_C = "stopped by Ctrl-C"
CANCELLED = "cancelled in Prefect"
WITH_ITS_MACHINE = "stopped with its service or its machine"


def how(error: BaseException) -> tuple[str, str]:
    """Return status and reason of a run that an error broke off; of one told to stop only when nothing of it works any more."""
    if isinstance(error, Exception):
        return "failed", f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
    # Prefect is imported by whoever has task runs: what plans only must stay light.
    from flows import stops

    why = stops.settle(error)
    words = {stops.CTRL_C: BY_CTRL_C, stops.CANCELLED: CANCELLED, stops.ENDED: WITH_ITS_MACHINE}
    return "stopped", words.get(why, f"stopped: {why}")


def write_down(place: Place, cohort: Cohort, run: Mapping[str, Any], status: str, reason: str) -> None:
    """Write how a run ended, and what it had made, into the catalog; then a report of its samples so far."""
    from tasks.catalog import note_finished

    catalog, run_id = place.catalog, str(run["run_id"])
    said: dict[str, Any] = {}
    try:
        counts = note_finished(place, cohort, run_id if run["kind"] == GENERATE else None)
        said = credits_of(catalog, run_id, counts)
    except (CatalogError, ArtifactError, OSError) as trouble:
        log.warning("%s  what the run had made is not in the catalog yet, the next run writes it: %s", run["class_name"], trouble)
    catalog.finish_run(run_id, status=status, reason=reason, **said)
    if run["kind"] == GENERATE and said.get("counts", {}).get("asked"):
        report(place, run_id)


def credits_of(catalog: Catalog, run_id: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return what finish_run is to note of a run's work: its counts with new_<stage> for what it made itself, and its seconds."""
    work = catalog.work_of(run_id)
    new = {f"new_{stage}": work.made.get(stage, 0) for stage in STAGES}
    return {"counts": {**counts, **new}, "seconds": work.seconds, "waited": work.waited}


def report(place: Place, run_id: str) -> None:
    """Write the page of a run that did not come to its end; what goes wrong there changes nothing about the run."""
    from tasks.plan.pages import write_report

    try:
        log.info("report of what there is: %s", write_report(place, run_id))
    except (CatalogError, ArtifactError, OSError) as trouble:
        log.warning("no report: %s", trouble)
