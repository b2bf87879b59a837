"""Preview: a handful of samples of a class, and one picture of them, before a long run.

    cad -> render -> control ---+
    class, keywords -> caption -+-> image -> sheet

Its samples are the first ones of the run that may follow, which then finds them made. No filter, no cohort, no report.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import leftovers, recipes, runs
from flows.generate import one_bar_a_stage, samples_of
from flows.runner import results, threads
from flows.stops import stoppable
from storage.settings import Settings
from tasks import preview as sheet
from tasks.plan.failures import PREVIEW
from tasks.plan.place import Place
from tasks.plan.ready import ready

SAMPLES = 8
"""Views are dealt round the CAD models, so these show as many of them as they can."""


@flow(
    name="preview",
    flow_run_name="preview {class_name} {recipe_name}",
    task_runner=threads(4),
)
@stoppable
def preview(
    class_name: str, samples: int = SAMPLES, recipe_name: str = "embedded", overrides: dict[str, Any] | None = None
) -> str:
    """Make the first samples of a class and a picture of them; return its path."""
    place = Place.of(Settings(), run=str(flow_run.get_id()))
    cohort = runs.cohort(place, class_name, samples, recipes.resolve(recipe_name, overrides))
    leftovers.bury(place)
    runs.announce(place, cohort)
    with runs.on_record(place, cohort, samples, kind=PREVIEW) as run, one_bar_a_stage(place, cohort):
        ready(place)
        runs.see_that_it_can_be_made(place, cohort)
        made = samples_of(place, cohort)
        runs.wait(made)
        (counts,) = results([sheet.preview.submit(place, cohort, *made["image"])])
        unchecked = {"success": True, "failed": [], "docs": ""}
        run.finish(counts, unchecked)
    return str(sheet.preview_path(place.home, cohort))
