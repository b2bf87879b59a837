"""The render task: views of CAD models through warm Blender workers.

Enters: a shard of samples whose canonical GLBs are in the store. Leaves: for each view rgba, mask, depth, normal and the
annotation (3D-DST section 3.1). A renderer that dies is replaced and the task retried; a CAD model that kills it every time
becomes a row.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from storage.images import to_png
from tasks import slots, stopping, worker
from tasks.caching import shard_task
from tasks.passport import passport
from tasks.plan.cohort import Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill

if TYPE_CHECKING:
    from models.render.pool import Casualty, RenderedView, RendererDied, RenderFailure

log = logging.getLogger("dst")

RETRIES = 3
TRIES = {"renderer_killed": RETRIES + 1, "mesh_timeout": 2}
"""How often a CAD model may take the renderer with it before its views become rows with that reason; a hang costs minutes."""


@shard_task("render", retries=RETRIES)
def render(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Render the views of a shard that are not in the store yet."""

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        from models.render.pool import RendererDied, RenderJob

        by_view = {missing.planned.sample.view: missing for missing in todo}
        by_model: dict[str, list[Missing]] = {}
        for missing in by_view.values():
            by_model.setdefault(missing.planned.key("cad"), []).append(missing)
        with ExitStack() as files:
            store = place.store
            glbs = {key: files.enter_context(store.local(store.get("cad", key), "model.glb")) for key in by_model}
            jobs = [
                # What a CAD model asks of the camera is the same for all of its views.
                RenderJob(glb=glbs[key], views=tuple(one.planned.sample.view for one in views), spec=views[0].spec)
                for key, views in by_model.items()
            ]
            pool = worker.renderer(place)
            try:
                with slots.slot(slots.renderer(), of=place.renderers):
                    for outcome in pool.map(jobs, stopping.heed):
                        yield _finished(by_view[outcome.view], outcome, pool.runtime)
            except RendererDied as death:
                log.warning("render  %s  %s", shard, death)
                hopeless = _hopeless(place, death, by_view)
                for casualty in hopeless:
                    for view in casualty.views:
                        yield by_view[view].failed(casualty.reason, casualty.detail, type(death).__name__)
                if len(hopeless) < len(death.casualties):
                    raise

    return fill("render", shard, recipe, place, make)


def _finished(missing: Missing, outcome: RenderedView | RenderFailure, runtime: dict[str, Any]) -> Finished:
    from models.render.annotation import depth_picture
    from models.render.pool import RenderFailure

    if isinstance(outcome, RenderFailure):
        return missing.failed(outcome.reason, outcome.detail, "SceneError")
    view = passport("render", missing.key, view=missing.planned.sample.view, annotation=outcome.annotation, spec=missing.spec)
    files = {
        "rgba.png": to_png(outcome.rgba, view),
        "mask.png": to_png(outcome.mask),
        "depth.png": to_png(depth_picture(outcome.depth)),
        "normal.png": to_png(outcome.normal),
        "annotation.json": json.dumps(outcome.annotation, indent=1, sort_keys=True).encode(),
    }
    return missing.record(values=outcome.annotation, runtime=runtime | {"seconds": round(outcome.seconds, 3)}), files


def _hopeless(place: Place, death: RendererDied, by_view: dict[Any, Missing]) -> list[Casualty]:
    """Return those whose CAD model has taken the renderer with it at every try of this run; the others are worth another."""
    deaths: dict[str, int] = {}
    for casualty in death.casualties:
        key = by_view[casualty.views[0]].planned.key("cad")
        if key not in deaths:
            # Counted where every process of the run sees it: the next try may be another worker's.
            deaths[key] = place.store.add_to_count(f"renderer-deaths/{place.run or 'no-run'}/{key}")
    return [
        casualty
        for casualty in death.casualties
        if deaths[by_view[casualty.views[0]].planned.key("cad")] >= TRIES[casualty.reason]
    ]
