"""Report pages: where they are and how they are written. Knows no Prefect, so that light commands stay light."""

from __future__ import annotations

import re
from pathlib import Path

from storage.catalog.catalog import Catalog
from storage.files import url_of
from storage.settings import Settings
from tasks.mend import GENERATE

INDEXED = 40
"""Reports that the index shows, with pictures of each: those of a class of 12 samples cost 0.1 s of a core and 40 kB."""


def report_path(settings: Settings, run_id: str) -> Path:
    """Return where a run's page is written."""
    return settings.root / "reports" / f"{run_id}.html"


def sheet_path(settings: Settings, run_id: str) -> Path:
    """Return where a run's picture strip is written."""
    return settings.root / "reports" / f"{run_id}.png"


def index_path(settings: Settings) -> Path:
    """Return where the page that leads to the present runs' pages is written."""
    return settings.root / "reports" / "index.html"


def docs_path(settings: Settings, run_id: str) -> Path:
    """Return where the Data Docs of a run's checks begin."""
    return settings.root / "validation" / run_id / "index.html"


def gallery_path(settings: Settings) -> Path:
    """Return where the gallery of pictures is, once it was exported there."""
    return settings.root / "gallery" / "index.html"


def address(settings: Settings, path: Path) -> str:
    """Return how a browser opens a file of the home: through the file server where there is one, else on this machine's disk."""
    return url_of(settings.files_url, settings.root, path) or path.as_uri()


def artifact_name(class_name: str, what: str) -> str:
    """Return the key of a Prefect artifact of a class: lower-case letters, digits and hyphens, as Prefect asks."""
    return re.sub(r"[^a-z0-9]+", "-", f"{class_name}-{what}".lower()).strip("-")


def write_report(settings: Settings, run_id: str) -> Path:
    """Write a run's page and its picture strip, and renew the index. Returns the page's path."""
    from storage.report.page import write
    from storage.report.sheet import write_sheet

    catalog = Catalog(settings.catalog, settings.store)
    page = write(catalog, settings.store, run_id, report_path(settings, run_id), home=index_path(settings))
    rendered = "select count(*) as pictures from samples where run_id = :run and render_file is not null"
    if catalog.rows(rendered, run=run_id)[0]["pictures"]:
        write_sheet(catalog, settings.store, run_id, sheet_path(settings, run_id), samples=6)
    write_index(settings)
    return page


def write_index(settings: Settings) -> Path:
    """Write the page that leads to the page of each class's last run under each recipe, as far as it was written.

    Of many classes it shows those that were made last: it is written anew at the end of every run.
    """
    from storage.report import page

    catalog = Catalog(settings.catalog, settings.store)
    latest: dict[tuple[str, str], str] = {}
    newest = "select class_name, recipe, run_id from runs where kind = :kind order by started_at desc"
    for row in catalog.rows(newest, kind=GENERATE):
        latest.setdefault((row["class_name"], row["recipe"]), row["run_id"])
    written = {which: run_id for which, run_id in latest.items() if report_path(settings, run_id).exists()}
    shown = dict(list(written.items())[:INDEXED])
    title = "3D-DST" if len(shown) == len(written) else f"3D-DST, the newest {len(shown)} of {len(written)} reports"
    pages = {run_id: report_path(settings, run_id) for _, run_id in sorted(shown.items())}
    return page.write_index(catalog, settings.store, pages, index_path(settings), title)
