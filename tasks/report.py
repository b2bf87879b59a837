"""The report task: the page a person opens first.

Enters: a run in the catalog. Leaves: one HTML page in the home folder and a link to it in the Prefect UI.
"""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.settings import Settings
from tasks.cohort import Cohort
from tasks.page import write_report


@task(name="report", task_run_name="report {cohort.class_name}", cache_policy=NO_CACHE)
def report(cohort: Cohort, run_id: str) -> str:
    """Write the page of a run; returns its path."""
    path = write_report(Settings(), run_id)
    key = cohort.class_name.replace(" ", "-")
    create_markdown_artifact(f"[{cohort.class_name}, {cohort.recipe.name}]({path.as_uri()})", key=f"{key}-report")
    return str(path)
