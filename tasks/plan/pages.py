"""Report pages: where they lie in the home folder, how a browser opens them, and how they are written."""

from __future__ import annotations

from pathlib import Path

from storage.files import url_of
from tasks.plan.failures import GENERATE
from tasks.plan.place import Place

INDEXED = 40
"""Reports that the index shows, with pictures of each: those of a class of 12 samples cost 0.1 s of a core and 40 kB."""


def report_path(home: Path, run_id: str) -> Path:
    """Return where a run's page is written."""
    return home / "reports" / f"{run_id}.html"


def sheet_path(home: Path, run_id: str) -> Path:
    """Return where a run's picture strip is written."""
    return home / "reports" / f"{run_id}.png"


def index_path(home: Path) -> Path:
    """Return where the page that leads to the present runs' pages is written."""
    return home / "reports" / "index.html"


def docs_path(home: Path, run_id: str) -> Path:
    """Return where the Data Docs of a run's checks begin."""
    return home / "validation" / run_id / "index.html"


def gallery_path(home: Path) -> Path:
    """Return where the gallery of pictures is, once it was exported there."""
    return home / "gallery" / "index.html"


def address(place: Place, path: Path) -> str:
    """Return how a browser opens a file of the home: through the file server where there is one, else on this machine's disk."""
    return url_of(place.files_url, place.home, path) or path.as_uri()


def write_report(place: Place, run_id: str) -> Path:
    """Write a run's page and its picture strip, and renew the index. Returns the page's path."""
    from storage.report.collect import collect
    from storage.report.page import write
    from storage.report.sheet import write_sheet

    home, found = place.home, collect(place.catalog, place.store, run_id)
    page = write(found, report_path(home, run_id), home=index_path(home), docs=docs_path(home, run_id))
    if any(sample.render is not None for sample in found.samples):
        write_sheet(found, sheet_path(home, run_id), samples=6)
    write_index(place)
    return page


def write_index(place: Place) -> Path:
    """Write the page that leads to the page of each class's last run under each recipe, as far as it was written.

    Of many classes it shows those that were made last: it is written anew at the end of every run.
    """
    from storage.report import page

    catalog = place.catalog
    latest: dict[tuple[str, str], str] = {}
    for row in catalog.runs(kind=GENERATE):
        latest.setdefault((row["class_name"], row["recipe"]), row["run_id"])
    written = {which: run_id for which, run_id in latest.items() if report_path(place.home, run_id).exists()}
    shown = dict(list(written.items())[:INDEXED])
    title = "3D-DST" if len(shown) == len(written) else f"3D-DST, the newest {len(shown)} of {len(written)} reports"
    pages = {run_id: report_path(place.home, run_id) for _, run_id in sorted(shown.items())}
    return page.write_index(catalog, place.store, pages, index_path(place.home), title)
