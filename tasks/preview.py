"""The preview task: a handful of samples as one picture, before anybody waits for thousands.

Enters: the first samples of a cohort, their stages done. Leaves: rows of what was made (no cohort: who is a member is decided by
runs), and one PNG with render, controls and image of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage.artifacts import ArtifactStore
from storage.images import to_png
from storage.report.collect import picture
from storage.report.content import ReportSample, Thumbnail
from storage.report.sheet import SheetStyle, data_uri, sheet
from storage.stages import FILE
from tasks.catalog import records
from tasks.faults import artifact_name, for_show
from tasks.plan.cohort import Cohort, Planned, failure
from tasks.plan.place import Place


@task(name="preview", task_run_name="preview {cohort.class_name}", cache_policy=NO_CACHE)
def preview(place: Place, cohort: Cohort, *after: Any) -> dict[str, int]:
    """Index what was made, write the sheet, show it in the UI. Returns counts."""
    place.catalog.index(records(cohort, place.store))
    write(place, cohort)
    shown = f"![render, controls, image]({data_uri(_picture(place.store, cohort))})"
    with for_show(f"the preview of {cohort.class_name}"):
        create_markdown_artifact(shown, key=artifact_name(cohort.class_name, "preview"))
    made = len(cohort.made(place.store))
    return {"asked": len(cohort.samples), "made": made, "failed": len(cohort.samples) - made}


def preview_path(home: Path, cohort: Cohort) -> Path:
    """Return where the sheet of a class under a recipe is written."""
    return home / "previews" / f"{cohort.class_name.replace(' ', '_')}-{cohort.recipe.name}.png"


def write(place: Place, cohort: Cohort) -> Path:
    """Write the sheet of samples whose stages are done; return its path."""
    path = preview_path(place.home, cohort)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(_picture(place.store, cohort)))
    return path


def _picture(store: ArtifactStore, cohort: Cohort) -> Any:
    style = SheetStyle(tile=192, columns=2)
    return sheet([_sample(store, planned, 2 * style.tile) for planned in cohort.samples], style)


def _sample(store: ArtifactStore, planned: Planned, size: int) -> ReportSample:
    failed = failure(store, planned)
    render = store.find("render", planned.key("render"))
    caption = store.find("caption", planned.key("caption"))
    pose = render.record.values if render is not None else {}

    def seen(stage: str, key: str) -> Thumbnail | None:
        artifact = store.find(stage, key)
        made = artifact is not None and artifact.record.outcome == "made"
        return picture(store, store.address(artifact, FILE[stage]), size) if artifact is not None and made else None

    return ReportSample(
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
        render=seen("render", planned.key("render")),
        controls=tuple((kind, seen("control", key)) for kind, key in planned.keys["control"].items()),
        image=seen("image", planned.key("image")),
    )
