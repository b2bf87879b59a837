"""The report task: the page a person opens first.

Enters: a run in the catalog. Leaves: one HTML page in the home folder, and in the Prefect UI a summary with a strip of pictures
and links to the page, the Data Docs and the gallery.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.images import from_png
from storage.report import thumbnails
from tasks.faults import artifact_name, for_show
from tasks.plan import pages
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tasks.run import in_words, work_in_words

_SIDE = 900
"""Longer side of a strip inside an artifact, pixels."""


@task(name="report", task_run_name="report {cohort.class_name}", cache_policy=NO_CACHE)
def report(place: Place, cohort: Cohort, run_id: str) -> str:
    """Write the page of a run; returns its path."""
    path = pages.write_report(place, run_id)
    summary, name = _summary(place, cohort, run_id, path), cohort.class_name
    with for_show(f"the report of {name}"):
        create_markdown_artifact(summary, key=artifact_name(name, "summary"), description=f"{name}, recipe {cohort.recipe.name}")
        create_link_artifact(pages.address(place, path), link_text=f"report of {name}", key=artifact_name(name, "report"))
    return str(path)


def _summary(place: Place, cohort: Cohort, run_id: str, page: Path) -> str:
    """Return what a run came to as Markdown: one line, a strip of pictures, links."""
    run = place.catalog.run(run_id)
    counts = run["counts"] or {}
    lines = [
        f"**{cohort.class_name}**, recipe {cohort.recipe.name}: {counts.get('made', 0)} of {counts.get('asked', 0)} made; "
        f"{in_words(counts)}."
    ]
    if took := work_in_words(run["seconds"] or {}, run["waited"] or {}):
        lines.append(f"{took}.")
    if run["status"] == "invalid":
        lines.append(f"**Invalid**, expectations not met: {run['reason']}")
    strip = pages.sheet_path(place.home, run_id)
    if strip.exists():
        lines.append(f"![render, control, image, verdict]({_picture(place, strip)})")
    there = {
        "report": page,
        "checks (Data Docs)": pages.docs_path(place.home, run_id),
        "gallery": pages.gallery_path(place.home),
        "all reports": pages.index_path(place.home),
    }
    lines.append(" · ".join(f"[{name}]({pages.address(place, path)})" for name, path in there.items() if path.exists()))
    return "\n\n".join(lines)


def _picture(place: Place, strip: Path) -> str:
    """Return the strip's address; without a file server a small copy of it, since nothing else can be reached by a browser."""
    if place.files_url:
        return pages.address(place, strip)
    # Small: Prefect's database keeps what an artifact says three times.
    return thumbnails.photograph(np.asarray(from_png(strip.read_bytes()), dtype=np.uint8), _SIDE).uri
