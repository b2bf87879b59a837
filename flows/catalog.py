"""The catalog's upkeep as flows: what the UI launches, and what runs once a week. The same by hand: `dst catalog verify`."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import tidy
from flows.forms import Said
from flows.stops import stoppable
from storage.catalog import journal
from storage.catalog.catalog import Catalog
from storage.catalog.verify import Difference
from storage.catalog.verify import verify as differences
from storage.settings import Settings

log = logging.getLogger("dst")

SHOWN = 200
"""Differences listed in the log and in Prefect's UI: a store that was not mounted has one for every artifact."""


@dataclass(kw_only=True)
class Comparison:
    """What catalog and store disagree on."""

    counts: Counter[str] = field(default_factory=Counter)
    """Kind of difference -> how many."""
    shown: list[Difference] = field(default_factory=list)
    """The first of them."""
    being_made: int = 0
    """Artifacts without a row that are no difference: their run is at it, or was broken off and left them to the next one."""

    def add(self, difference: Difference) -> None:
        self.counts[difference.kind] += 1
        if len(self.shown) < SHOWN:
            self.shown.append(difference)


@flow(name="verify", flow_run_name=tidy.VERIFY, result_serializer="json")
@stoppable
def verify(
    digests: Annotated[bool, Said("Read every file and compare its digest; off: compare sizes only, in seconds")] = True,
) -> State[int]:
    """Compare catalog and store; fail when they differ. digests: read every file, else only their sizes are compared."""
    found = compare(Settings(), digests)
    for difference in found.shown:
        log.warning("%s", difference)
    total = found.counts.total()
    rows = [{"kind": one.kind, "where": one.where, "what": one.what} for one in found.shown]
    create_table_artifact(rows, key="catalog-differences", description=f"{total} differences")
    if total:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found.counts.items()))
        return Failed(message=f"catalog and store differ ({counts}); all of them: dst catalog verify")
    making = f"; {in_the_making(found.being_made)}" if found.being_made else ""
    return Completed(message=f"catalog and store say the same{making}", data=0)


def in_the_making(artifacts: int) -> str:
    """Say of artifacts without a row why they are no difference."""
    return (
        f"{artifacts} artifacts are of runs that go on or were broken off: they, or the next run of the class, write their rows"
    )


def compare(settings: Settings, digests: bool) -> Comparison:
    """Compare catalog and store. What runs that go on, or were broken off, made and have not written down is told apart."""
    catalog, began = Catalog(settings.catalog, settings.store), journal.now()
    found, unwritten = Comparison(), Comparison()
    left: Counter[str] = Counter()
    for difference in differences(catalog, settings.store, digests=digests, unwritten=lambda run_id: left.update([run_id])):
        (unwritten if difference.kind == "no_row" else found).add(difference)
    found.being_made = left.total()
    if catalog.any_run_since(began):
        # A run that ended meanwhile wrote its rows behind our back.
        found.being_made += unwritten.counts.total()
        return found
    found.counts.update(unwritten.counts)
    found.shown = [*found.shown, *unwritten.shown][:SHOWN]
    return found
