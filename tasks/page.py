"""Report pages: where they are and how they are written. Knows no Prefect, so that light commands stay light."""

from __future__ import annotations

from pathlib import Path

from storage.catalog.catalog import Catalog
from storage.settings import Settings


def report_path(settings: Settings, run_id: str) -> Path:
    """Return where a run's page is written."""
    return settings.root / "reports" / f"{run_id}.html"


def write_report(settings: Settings, run_id: str) -> Path:
    """Write a run's page and return its path."""
    from storage.report.page import write

    return write(Catalog(settings.catalog, settings.store), settings.store, run_id, report_path(settings, run_id))


def index_path(settings: Settings) -> Path:
    """Return where the page over several runs is written."""
    return settings.root / "reports" / "index.html"


def write_index(settings: Settings, run_ids: list[str]) -> Path:
    """Write the missing pages of these runs and the page that leads to them."""
    from storage.report.page import write_index as write_page

    for run_id in run_ids:
        if not report_path(settings, run_id).exists():
            write_report(settings, run_id)
    pages = {run_id: report_path(settings, run_id) for run_id in run_ids}
    return write_page(Catalog(settings.catalog, settings.store), settings.store, pages, index_path(settings))
