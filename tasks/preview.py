"""The preview task: a handful of samples as one picture, before anybody waits for thousands.

Enters: the first samples of a cohort, their stages done. Leaves: rows of what was made (no cohort: who is a member is decided by
runs), and one PNG with render, edge map and image of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.artifacts import Artifact, ArtifactStore
from storage.catalog.catalog import Catalog
from storage.images import to_png
from storage.report.collect import picture
from storage.report.content import Sample
from storage.report.sheet import SheetStyle, data_uri, sheet
from storage.settings import Settings
from tasks.cohort import STAGES, Cohort, Planned, failure
from tasks.faults import for_show
from tasks.page import artifact_name


@task(name="preview", task_run_name="preview {cohort.class_name}", cache_policy=NO_CACHE)
def preview(cohort: Cohort, *after: Any) -> dict[str, int]:
    """Index what was made, write the sheet, show it in the UI. Returns counts."""
    settings = Settings()
    Catalog(settings.catalog, settings.store).index(_artifacts(settings.store, cohort))
    write(settings, cohort)
    shown = f"![render, edge map, image]({data_uri(_picture(settings, cohort))})"
    with for_show(f"the preview of {cohort.class_name}"):
        create_markdown_artifact(shown, key=artifact_name(cohort.class_name, "preview"))
    made = len(cohort.made(settings.store))
    return {"asked": len(cohort.samples), "made": made, "failed": len(cohort.samples) - made}


def preview_path(settings: Settings, cohort: Cohort) -> Path:
    """Return where the sheet of a class under a recipe is written."""
    return settings.root / "previews" / f"{cohort.class_name.replace(' ', '_')}-{cohort.recipe.name}.png"


def write(settings: Settings, cohort: Cohort) -> Path:
    """Write the sheet of samples whose stages are done; return its path."""
    path = preview_path(settings, cohort)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(_picture(settings, cohort)))
    return path


def _picture(settings: Settings, cohort: Cohort) -> Any:
    style = SheetStyle(tile=192, columns=2)
    return sheet([_sample(settings.store, planned, 2 * style.tile) for planned in cohort.samples], style)


def _sample(store: ArtifactStore, planned: Planned, size: int) -> Sample:
    failed = failure(store, planned)
    render = store.find("render", planned.render_key)
    caption = store.find("caption", planned.caption_key)
    pose = render.record.values if render is not None else {}
    return Sample(
        sample_id=str(planned.sample),
        cad_id=planned.sample.cad_id,
        cad_name=planned.sample.cad_id[:12],
        view_index=planned.sample.view_index,
        status="failed" if failed else "unjudged",
        stage=failed[0] if failed else "",
        reason=str(failed[1].record.reason) if failed else "",
        azimuth_deg=pose.get("azimuth_deg"),
        elevation_deg=pose.get("elevation_deg"),
        caption=str(caption.record.values.get("prompt", "")) if caption is not None else "",
        render=picture(store, "render", planned.render_key, "rgba.png", size),
        edge=picture(store, "edge", planned.edge_key, "edge.png", size),
        image=picture(store, "image", planned.image_key, "image.png", size),
    )


def _artifacts(store: ArtifactStore, cohort: Cohort) -> Iterator[Artifact]:
    for stage in STAGES:
        for key in sorted({planned.key(stage) for planned in cohort.samples}):
            artifact = store.find(stage, key)
            if artifact is not None:
                yield artifact
