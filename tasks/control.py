"""The control task: what each image must obey, drawn from its render.

Enters: a shard of rendered samples. Leaves: for each view one artifact of each kind of control in the recipe (3D-DST section 3.1:
an edge map).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from models.control.kinds import CONTROLS
from models.control.protocol import EmptyControl, View
from storage.artifacts import ArtifactStore
from storage.images import from_png, to_png
from tasks.caching import shard_task
from tasks.passport import passport
from tasks.plan.cohort import Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill


@shard_task("control")
def control(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Draw the controls of a shard's views."""
    drawers = {kind: CONTROLS.load(spec) for kind, spec in recipe.controls.items()}

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        for render_key, of_a_view in groupby(todo, key=lambda missing: missing.planned.key("render")):
            view = rendered(place.store, render_key)
            for missing in of_a_view:
                drawer = drawers[missing.part]
                try:
                    drawn = drawer.draw(view)
                except EmptyControl as error:
                    yield missing.failed(error.reason, str(error), type(error).__name__)
                    continue
                said = passport("control", missing.key, kind=missing.part, render=render_key, spec=missing.spec)
                yield missing.record(values=drawer.facts(drawn)), {"control.png": to_png(drawn, said)}

    return fill("control", shard, recipe, place, make)


def rendered(store: ArtifactStore, render_key: str) -> View:
    """Return the arrays of a render."""
    render = store.get("render", render_key)
    rgba, mask, depth, normal = (from_png(store.read(render, f"{name}.png")) for name in ("rgba", "mask", "depth", "normal"))
    return View(
        rgba=rgba,
        mask=mask,
        depth=depth.astype(np.float32) * render.record.values["depth_scale"],
        normal=normal,
        K=np.array(render.record.values["K"]),
    )
