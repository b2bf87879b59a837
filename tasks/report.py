"""The report task: the page a person opens first.

Enters: a run in the catalog. Leaves: one HTML page in the home folder, and in the Prefect UI a summary with a strip of pictures
and links to the page, the Data Docs and the gallery.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.cohort import Cohort
from tasks.faults import for_show
from tasks.page import address, artifact_name, docs_path, gallery_path, index_path, sheet_path, write_report


@task(name="report", task_run_name="report {cohort.class_name}", cache_policy=NO_CACHE)
def report(cohort: Cohort, run_id: str) -> str:
    """Write the page of a run; returns its path."""
    settings = Settings()
    path = write_report(settings, run_id)
    summary, name = _summary(settings, cohort, run_id, path), cohort.class_name
    with for_show(f"the report of {name}"):
        create_markdown_artifact(summary, key=artifact_name(name, "summary"), description=f"{name}, recipe {cohort.recipe.name}")
        create_link_artifact(address(settings, path), link_text=f"report of {name}", key=artifact_name(name, "report"))
    return str(path)


def _summary(settings: Settings, cohort: Cohort, run_id: str, page: Path) -> str:
    """Return what a run came to as Markdown: one line, a strip of pictures, links."""
    run = Catalog(settings.catalog, settings.store).run(run_id)
    counts = run["counts"] or {}
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("kept", "dropped", "failed"))
    lines = [
        f"**{cohort.class_name}**, recipe {cohort.recipe.name}: {counts.get('made', 0)} of {counts.get('asked', 0)} made; {said}."
    ]
    if run["status"] == "invalid":
        lines.append(f"**Invalid**, expectations not met: {run['reason']}")
    strip = sheet_path(settings, run_id)
    if strip.exists():
        lines.append(f"![render, edge map, image, verdict]({_picture(settings, strip)})")
    places = {
        "report": page,
        "checks (Data Docs)": docs_path(settings, run_id),
        "gallery": gallery_path(settings),
        "all reports": index_path(settings),
    }
    lines.append(" · ".join(f"[{name}]({address(settings, place)})" for name, place in places.items() if place.exists()))
    return "\n\n".join(lines)


def _picture(settings: Settings, strip: Path) -> str:
    """Return the strip's address; without a file server the picture itself, since nothing else can be reached by a browser."""
    if settings.files_url:
        return address(settings, strip)
    return f"data:image/png;base64,{b64encode(strip.read_bytes()).decode()}"
