"""Scan: new CAD models become images by themselves.

    watched folders, registered collections and sources -> cad -> what is pending -> generate, for just that

Launched by `dst scan`, on a schedule and by the event `cad.model.registered`. The scan is the truth: it looks at the folders,
asks catalog and store what is pending, and makes that. Nothing pending: done in seconds. Two scans at once make nothing twice:
the one that comes second leaves it to the first, which looks again when it is done.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import leftovers, tidy
from flows.collected import look_again
from flows.generate import generate
from flows.pending import class_status
from flows.stops import stoppable
from flows.table import table
from flows.wanted import CLAIM, Wanted, another_try, at_it, wanted
from storage.catalog.catalog import Catalog
from storage.catalog.claims import claimed
from storage.settings import Settings
from tasks import status, stopping
from tasks.faults import for_show
from tasks.intake.watch import WatchReport, look, refused
from tasks.plan.place import Place
from tasks.run import RunReport, in_words

log = logging.getLogger("dst")

TRIES_A_CLASS = 3
"""Runs of one class in one scan: files may come while it runs, but a class that never ends up finished must not keep it going."""


class ScanReport(TypedDict):
    """What a scan came to."""

    registered: int
    """CAD models that were new or changed."""
    refused: int
    """Files that were quarantined or rejected now."""
    replaced: int
    """CAD models whose file holds other bytes now."""
    gone: int
    """CAD models whose file has gone."""
    waiting: int
    """Files that somebody was still writing."""
    runs: list[RunReport]
    """The runs it made."""


@flow(name=tidy.SCAN, flow_run_name=tidy.TO_COME, result_serializer="json")
@stoppable
def scan() -> ScanReport | State[Any]:
    """Look for new, changed and broken CAD models and make what is pending. Fails, at its end, if one of its runs did."""
    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    catalog.migrate()
    with claimed(catalog.database, CLAIM, flow_run_id=flow_run.get_id()) as claim:
        killed = (claim.bereaved or {}).get("flow_run_id")
        leftovers.bury(Place.of(settings), [(killed, "its process was killed")] if killed else [])
        if not claim.mine:
            return Completed(message=f"Nothing done: {at_it(claim.holder)}", name="Skipped")
        report = ScanReport(registered=0, refused=0, replaced=0, gone=0, waiting=0, runs=[])
        failed: list[State[Any]] = []
        tries: Counter[str] = Counter()
        first = True
        while True:
            joined = look_again(settings)
            seen = look(settings)
            _count(report, seen, joined)
            todo = [want for want in wanted(settings, seen) if tries[want.class_name] < TRIES_A_CLASS]
            if todo or first:
                _name(report, todo)
            first = False
            if not todo:
                break
            for want in todo:
                tries[want.class_name] += 1
                log.info("%s  %s", want.class_name, want.why)
                another_try(settings, want)
                state = generate(want.class_name, want.samples, want.recipe, want.overrides, return_state=True)
                stopping.heed()
                if state.is_completed():
                    report["runs"].append(state.result())
                else:
                    failed.append(state)
        _show_in_prefect(catalog, report)
        if tries:
            status.show(table(class_status(Place.of(settings))))
    return failed[0] if failed else report


def _name(report: ScanReport, todo: Sequence[Wanted]) -> None:
    """Call the flow run after what it has found: `scan: 2 new, 1 class`. One that found nothing replaces earlier ones."""
    found = {name: report[name] for name in ("registered", "replaced", "gone", "refused")}  # type: ignore[literal-required]
    said = [f"{count} {'new' if name == 'registered' else name}" for name, count in found.items() if count]
    if todo:
        said.append(f"{len(todo)} class{'es' * (len(todo) > 1)}")
    own = str(flow_run.get_id())
    with for_show("the scan's name"):
        tidy.call(own, f"scan: {', '.join(said)}" if said else tidy.IDLE)
        if not said:
            tidy.tidy(UUID(own))


def _count(report: ScanReport, seen: WatchReport, joined: Counter[str]) -> None:
    report["registered"] += len(seen.registered) + joined["added"] + joined["changed"]
    report["refused"] += len(seen.refused) + joined["rejected"] + joined["quarantined"]
    report["replaced"] += len(seen.replaced)
    report["gone"] += len(seen.gone)
    report["waiting"] = len(seen.waiting)


def _show_in_prefect(catalog: Catalog, report: ScanReport) -> None:
    found = {name: value for name, value in report.items() if name != "runs" and value}
    if not found and not report["runs"]:
        return
    lines = [f"- {name}: {value}" for name, value in found.items()]
    for run in report["runs"]:
        counts = run["counts"]
        lines.append(f"- **{run['class_name']}**: {run['status']}, {counts['made']} made, {in_words(counts)}")
    create_markdown_artifact("\n".join(lines), key="scan", description="What the scan found and made")
    broken = refused(catalog)
    if broken:
        create_table_artifact(broken, key="refused-cad-files", description="CAD files that cannot be used, and why")
