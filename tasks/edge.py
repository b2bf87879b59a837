"""The edge task: the 3D visual prompt of each view.

Enters: a shard of rendered samples. Leaves: for each view an edge map (3D-DST section 3.1: Canny on the render, or geometry's
own).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from models import edge as edge_spec
from storage.artifacts import Record
from storage.images import from_png, to_png
from storage.keys import plain
from storage.settings import Settings
from tasks.caching import shard_task
from tasks.cohort import Planned, Shard
from tasks.passport import passport
from tasks.recipe import Recipe
from tasks.shard import Finished, ShardReport, caused_by, fill


@shard_task("edge")
def edge(shard: Shard, recipe: Recipe, *after: Any) -> ShardReport:
    """Turn the renders of a shard into edge maps."""
    from models.edge import EmptyEdges, edges, facts

    store = Settings().store

    def make(missing: Sequence[Planned]) -> Iterable[Finished]:
        for planned in missing:
            view = store.get("render", planned.render_key)
            rgba, mask, depth, normal = (
                from_png(store.read(view, f"{name}.png")) for name in ("rgba", "mask", "depth", "normal")
            )
            common = {
                "key": planned.edge_key,
                "stage": edge_spec.STAGE,
                "version": edge_spec.VERSION,
                "spec": plain(recipe.edge),
                "inputs": planned.edge_inputs(),
            }
            try:
                found = edges(
                    rgba=rgba,
                    mask=mask,
                    depth=depth.astype(np.float32) * view.record.values["depth_scale"],
                    normal=normal,
                    K=np.array(view.record.values["K"]),
                    spec=recipe.edge,
                )
            except EmptyEdges as error:
                yield Record(**common, outcome="failed", reason=error.reason, detail=str(error), values=caused_by(error)), {}
                continue
            yield (
                Record(**common, values=facts(found)),
                {"edge.png": to_png(found, passport("edge", planned.edge_key, render=planned.render_key, spec=recipe.edge))},
            )

    return fill("edge", shard, store, make)
