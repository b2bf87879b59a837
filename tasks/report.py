"""The report task: the page a person opens first.

Enters: a run in the catalog. Leaves: one HTML page in the home folder and a link to it in the Prefect UI.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.cohort import Cohort


def report_path(settings: Settings, run_id: str) -> Path:
    """Return where a run's page is written."""
    return settings.root / "reports" / f"{run_id}.html"


def write_report(settings: Settings, run_id: str) -> Path:
    """Write a run's page and return its path."""
    from storage.report.page import write

    return write(Catalog(settings.catalog, settings.store), settings.store, run_id, report_path(settings, run_id))


@task(name="report", task_run_name="report {cohort.class_name}", cache_policy=NO_CACHE)
def report(cohort: Cohort, run_id: str) -> str:
    """Write the page of a run; returns its path."""
    path = write_report(Settings(), run_id)
    key = cohort.class_name.replace(" ", "-")
    create_markdown_artifact(f"[{cohort.class_name}, {cohort.recipe.name}]({path.as_uri()})", key=f"{key}-report")
    return str(path)


def index_path(settings: Settings) -> Path:
    """Return where the page over several runs is written."""
    return settings.root / "reports" / "index.html"


def write_index(settings: Settings, run_ids: list[str]) -> Path:
    """Write the missing pages of these runs and the page that leads to them."""
    from storage.report.page import write_index as write_page

    for run_id in run_ids:
        if not report_path(settings, run_id).exists():
            write_report(settings, run_id)
    return write_page(Catalog(settings.catalog, settings.store), settings.store, run_ids, index_path(settings))
