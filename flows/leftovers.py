"""What a killed run left behind: written into the catalog by the next that comes by.

Enters: the place. Leaves: runs whose process is gone as crashed, here and in Prefect, with rows of what they had made, their
samples so far and a report of those. Their work is taken up by whatever run makes the class next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flows import crashes, ending
from flows.pending import recorded_cohort
from tasks.plan.place import Place

log = logging.getLogger("dst")


def bury(place: Place, others: Iterable[tuple[str, str]] = ()) -> None:
    """Mark the dead as crashed and write down what they had made.

    others: (flow run, why) of dead processes that the catalog keeps no run of, such as a scan's.
    """
    catalog = place.catalog
    crashes.bury(catalog, others)
    for run in catalog.unwritten_runs():
        try:
            cohort = recorded_cohort(catalog, run)
        except ValueError as error:
            log.warning("%s  what run %s had made is not known: %s", run["class_name"], run["run_id"][:8], error)
            credited = ending.credits_of(catalog, run["run_id"], {})
            catalog.finish_run(run["run_id"], status="crashed", reason=run["reason"], **credited)
            continue
        ending.write_down(place, cohort, run, "crashed", run["reason"])
