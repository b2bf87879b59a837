"""Preview: a handful of samples of a class, and one picture of them, before a long run.

    cad -> render -> edge ------+
    class, keywords -> caption -+-> image -> sheet

Its samples are the first ones of the run that may follow, which then finds them made. No filter, no cohort, no report.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import recipes, runs
from flows.generate import over
from flows.runner import threads
from storage.settings import Settings
from tasks import preview as sheet
from tasks.cad import cad
from tasks.caption import caption
from tasks.edge import edge
from tasks.image import image
from tasks.mend import PREVIEW
from tasks.render import render

SAMPLES = 8
"""Views are dealt round the CAD models, so these show as many of them as they can."""


@flow(
    name="preview",
    flow_run_name="preview {class_name} {recipe_name}",
    task_runner=threads(4),
)
def preview(
    class_name: str, samples: int = SAMPLES, recipe_name: str = "embedded", overrides: dict[str, Any] | None = None
) -> str:
    """Make the first samples of a class and a picture of them; return its path."""
    cohort = runs.cohort(Settings(), class_name, samples, recipes.resolve(recipe_name, overrides))
    runs.announce(cohort)
    with runs.recorded(cohort, samples, flow_run.get_id(), kind=PREVIEW) as run:
        shards = cohort.shards()
        models = over(cohort, cad, shards)
        renders = over(cohort, render, shards, models)
        edges = over(cohort, edge, shards, renders)
        captions = over(cohort, caption, shards)
        images = over(cohort, image, shards, edges, captions)
        counts = sheet.preview.submit(cohort, images).result()
        unchecked = {"success": True, "failed": [], "docs": ""}
        run.finish(counts, unchecked, [f.result() for f in (*models, *renders, *edges, *captions, *images)])
    return str(sheet.preview_path(Settings(), cohort))
