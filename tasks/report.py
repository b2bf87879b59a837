"""The report task: the page a person opens first.

Enters: a run in the catalog. Leaves: one HTML page in the home folder and a link to it in the Prefect UI.
"""

from __future__ import annotations

from base64 import b64encode

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.settings import Settings
from tasks.cohort import Cohort
from tasks.page import sheet_path, write_report


@task(name="report", task_run_name="report {cohort.class_name}", cache_policy=NO_CACHE)
def report(cohort: Cohort, run_id: str) -> str:
    """Write the page of a run; returns its path."""
    settings = Settings()
    path = write_report(settings, run_id)
    key = cohort.class_name.replace(" ", "-")
    text = f"[{cohort.class_name}, {cohort.recipe.name}]({path.as_uri()})"
    strip = sheet_path(settings, run_id)
    if strip.exists():
        # Inside the text, because the UI shows pictures by address only and this one may be on another machine.
        text += f"\n\n![render, edge map, image, verdict](data:image/png;base64,{b64encode(strip.read_bytes()).decode()})"
    create_markdown_artifact(text, key=f"{key}-report")
    return str(path)
