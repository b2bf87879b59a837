"""The render task: views of CAD models through warm Blender workers.

Enters: a shard of samples whose canonical GLBs are in the store. Leaves: for each view rgba, mask, depth, normal and the
annotation (3D-DST section 3.1). A renderer that dies is replaced and the task retried; a model that kills it every time
becomes a row.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from models.render import spec as render_spec
from storage.artifacts import Record
from storage.images import to_png
from storage.keys import plain
from storage.settings import Settings
from tasks import slots
from tasks.caching import shard_task
from tasks.cohort import Planned, Shard
from tasks.passport import passport
from tasks.recipe import Recipe
from tasks.shard import Finished, ShardReport, fill

if TYPE_CHECKING:
    from models.render.pool import Casualty, RenderedView, RendererDied, RenderFailure, RenderPool

log = logging.getLogger("dst")

RETRIES = 3
TRIES = {"renderer_killed": RETRIES + 1, "mesh_timeout": 2}
"""How often a CAD model may take the renderer with it before its views become rows with that reason; a hang costs minutes."""
_lock = threading.Lock()
_pool: RenderPool | None = None
_deaths: Counter[str] = Counter()


@shard_task("render", retries=RETRIES)
def render(shard: Shard, recipe: Recipe, *after: Any) -> ShardReport:
    """Render the views of a shard that are not in the store yet."""
    settings = Settings()

    def make(missing: Sequence[Planned]) -> Iterator[Finished]:
        from models.render.pool import RendererDied, RenderJob

        by_view = {planned.sample.view: planned for planned in missing}
        models = {planned.cad_key: settings.store.get("cad", planned.cad_key) for planned in missing}
        for artifact in models.values():
            settings.store.verify(artifact)
        # What a CAD model asks of the camera is the same for all of its views.
        specs = {planned.cad_key: planned.render_spec(recipe) for planned in missing}
        jobs = [
            RenderJob(
                glb=artifact.path("model.glb"),
                views=tuple(planned.sample.view for planned in by_view.values() if planned.cad_key == key),
                spec=specs[key],
            )
            for key, artifact in models.items()
        ]
        pool = renderer(settings)
        try:
            with slots.slot(slots.renderer(), of=settings.renderer_workers):
                for outcome in pool.map(jobs):
                    yield _finished(recipe, by_view[outcome.view], outcome, pool)
        except RendererDied as death:
            log.warning("render  %s  %s", shard, death)
            hopeless = _hopeless(death)
            for casualty in hopeless:
                for view in casualty.views:
                    planned = by_view[view]
                    yield _failed(recipe, planned, casualty, type(death).__name__), {}
            if len(hopeless) < len(death.casualties):
                raise

    return fill("render", shard, settings.store, make)


def renderer(settings: Settings) -> RenderPool:
    """Return this process's warm renderer, started when first asked for and closed when the process ends."""
    from models.render.pool import RenderPool

    global _pool
    with _lock:
        if _pool is None:
            _pool = RenderPool(settings.renderer_workers, settings.mesh_timeout_s).__enter__()
            atexit.register(_pool.__exit__, None, None, None)
        return _pool


def _record(recipe: Recipe, planned: Planned, **fields: Any) -> Record:
    return Record(
        key=planned.render_key,
        stage=render_spec.STAGE,
        version=render_spec.VERSION,
        spec=plain(planned.render_spec(recipe)),
        inputs=planned.render_inputs(),
        **fields,
    )


def _failed(recipe: Recipe, planned: Planned, what: RenderFailure | Casualty, error: str) -> Record:
    return _record(recipe, planned, outcome="failed", reason=what.reason, detail=what.detail, values={"error": error})


def _finished(recipe: Recipe, planned: Planned, outcome: RenderedView | RenderFailure, pool: RenderPool) -> Finished:
    from models.render.annotation import depth_picture
    from models.render.pool import RenderFailure

    if isinstance(outcome, RenderFailure):
        return _failed(recipe, planned, outcome, "SceneError"), {}
    view = passport(
        "render",
        planned.render_key,
        view=planned.sample.view,
        annotation=outcome.annotation,
        spec=planned.render_spec(recipe),
    )
    files = {
        "rgba.png": to_png(outcome.rgba, view),
        "mask.png": to_png(outcome.mask),
        "depth.png": to_png(depth_picture(outcome.depth)),
        "normal.png": to_png(outcome.normal),
        "annotation.json": json.dumps(outcome.annotation, indent=1, sort_keys=True).encode(),
    }
    runtime = pool.runtime | {"seconds": round(outcome.seconds, 3)}
    return _record(recipe, planned, values=outcome.annotation, runtime=runtime), files


def _hopeless(death: RendererDied) -> list[Casualty]:
    """Return those whose CAD model has taken the renderer with it at every try; the others are worth another."""
    for glb in {casualty.glb for casualty in death.casualties}:
        _deaths[str(glb)] += 1
    return [casualty for casualty in death.casualties if _deaths[str(casualty.glb)] >= TRIES[casualty.reason]]
