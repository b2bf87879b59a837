"""The control task: what each image must obey, drawn from its render.

Enters: a shard of rendered samples. Leaves: for each view one artifact of each kind of control in the recipe (3D-DST section 3.1:
an edge map). Where a control asks for voxels, each CAD model is cut into them once a shard: they follow from its GLB, take a
third of the time of one rendering, and are not kept.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.voxels import voxelise
from models.control.kinds import CONTROLS
from models.control.protocol import ControlSpec, EmptyControl, View
from storage.artifacts import ArtifactStore
from storage.export.mesh import read_glb
from storage.images import from_png, to_png
from storage.stages import FILE
from tasks.caching import shard_task
from tasks.passport import passport
from tasks.plan.cohort import Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill

Grids = dict[tuple[str, int], NDArray[np.bool_]]
"""(key of the CAD model, cells a side) -> its cells."""


@shard_task("control")
def control(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Draw the controls of a shard's views."""
    drawers = {kind: CONTROLS.load(spec) for kind, spec in recipe.controls.items()}

    grids: Grids = {}

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        for render_key, of_a_view in groupby(todo, key=lambda missing: missing.planned.key("render")):
            view = rendered(place.store, render_key, grids)
            for missing in of_a_view:
                drawer = drawers[missing.part]
                try:
                    drawn = drawer.draw(view)
                except EmptyControl as error:
                    yield missing.failed(error.reason, str(error), type(error).__name__)
                    continue
                said = passport("control", missing.key, kind=missing.part, render=render_key, spec=missing.spec)
                pictures = {name: to_png(picture, said) for name, picture in drawer.encode(drawn).items()}
                yield missing.record(values=drawer.facts(drawn)), pictures

    return fill("control", shard, recipe, place, make)


def rendered(store: ArtifactStore, render_key: str, grids: Grids) -> View:
    """Return the arrays of a render. grids: those that were made before, added to."""
    render = store.get("render", render_key)
    rgba, mask, depth, normal = (from_png(store.read(render, f"{name}.png")) for name in ("rgba", "mask", "depth", "normal"))
    return View(
        rgba=rgba,
        mask=mask,
        depth=depth.astype(np.float32) * render.record.values["depth_scale"],
        normal=normal,
        K=np.array(render.record.values["K"]),
        R=np.array(render.record.values["R"]),
        t=np.array(render.record.values["t"]),
        occupied=lambda cells: _occupied(store, str(render.record.inputs["cad"]), cells, grids),
    )


def drawn(store: ArtifactStore, key: str, spec: ControlSpec) -> NDArray[np.uint8]:
    """Return a control as a generator is conditioned on it."""
    artifact = store.get("control", key)
    control: NDArray[np.uint8] = CONTROLS.load(spec).decode(lambda name: from_png(store.read(artifact, name)))
    return control


def _occupied(store: ArtifactStore, cad_key: str, cells: int, grids: Grids) -> NDArray[np.bool_]:
    """Return which cells a CAD model fills."""
    if (cad_key, cells) not in grids:
        mesh = read_glb(store.read(store.get("cad", cad_key), FILE["cad"]))
        grids[cad_key, cells] = voxelise(mesh.points[mesh.faces], cells).occupied
    return grids[cad_key, cells]
