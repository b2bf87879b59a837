"""What a ControlNet learns to obey: edges, depth or voxels of the world's views, as models.control draws them.

Enters: open shards. Leaves: controls (N, H, W, C) of their pictures. What takes long to draw (a ray through voxels for every
pixel) is drawn once for each view and kept in the training's folder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.control.canny import CannySpec
from models.control.depth import Depth, DepthSpec
from models.control.protocol import PICTURE, ControlSpec, View
from models.control.voxels import VoxelRays, VoxelsSpec
from models.render.viewpoint import Pose
from models.training.dataset import OpenShard, TrainingPictures
from models.training.spec import Learned

Bytes = NDArray[np.uint8]
SPECS: dict[Learned, ControlSpec] = {
    "edges": CannySpec(),
    "depth": DepthSpec(),
    "voxels": VoxelsSpec(lines="none"),
    "edges+voxels": VoxelsSpec(),
}
"""What a recipe gives to a ControlNet that has learned this; of edges it learns Canny's and the geometry's in turn."""

_POSE = ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")


def channels(learned: Learned) -> int:
    """Return the channels that a ControlNet reads; one alone is given three times."""
    return max(3, SPECS[learned].channels)


class Edges:
    """Lines, of the shaded picture or of the geometry."""

    def take(self, shard: OpenShard) -> None:
        """Draw what has to be drawn of a new shard."""

    def batch(self, pictures: TrainingPictures, chosen: NDArray[np.int64], geometry: NDArray[np.bool_]) -> Bytes:
        """Return (N, H, W, C) controls; `geometry` says whose lines are the geometry's."""
        return pictures.edges(chosen, geometry)[..., None]


class Depths(Edges):
    """Inverse depth, from the world's own."""

    def __init__(self) -> None:
        self._depths: list[NDArray[np.float16]] = []

    def take(self, shard: OpenShard) -> None:
        """Open the shard's depth. Raises FileNotFoundError where an older world made none."""
        self._depths.append(np.load(shard.folder / "depth.npy", mmap_mode="r"))

    def batch(self, pictures: TrainingPictures, chosen: NDArray[np.int64], geometry: NDArray[np.bool_]) -> Bytes:
        made = []
        for s, i in map(pictures.locate, chosen.tolist()):
            made.append(_inverse_depth(pictures.shards[s].mask[i], self._depths[s][i]))
        return np.stack(made)[..., None]


class Rays(Edges):
    """What rays meet in the CAD model's voxels, with lines or without."""

    def __init__(self, spec: VoxelsSpec, folder: Path) -> None:
        """folder: where the rays of views are kept."""
        self._drawer, self._folder = VoxelRays(spec), folder
        self._views: list[list[int]] = []
        self._kept: list[Bytes] = []

    def take(self, shard: OpenShard) -> None:
        """Draw the rays of a shard's views. Raises ValueError where one is of a CAD model that is no parametric one."""
        names = [(row["class_name"], row["cad_seed"], row["view_index"]) for row in shard.rows]
        views = list(dict.fromkeys(names))
        path = self._folder / f"{shard.name}-{shard.digest[:8]}.npy"
        if not path.is_file():
            first = dict(zip(reversed(names), reversed(shard.rows), strict=True))
            path.parent.mkdir(parents=True, exist_ok=True)
            made = np.stack([self._traced(first[view], shard.rgb.shape[1]) for view in views])
            temporary = path.with_suffix(f".{os.getpid()}.npy")
            np.save(temporary, made)
            temporary.replace(path)
        self._views.append([views.index(name) for name in names])
        self._kept.append(np.load(path, mmap_mode="r"))

    def batch(self, pictures: TrainingPictures, chosen: NDArray[np.int64], geometry: NDArray[np.bool_]) -> Bytes:
        lines, places = pictures.edges(chosen, geometry), map(pictures.locate, chosen.tolist())
        return np.stack(
            [self._drawer.around(own, self._kept[s][self._views[s][i]]) for own, (s, i) in zip(lines, places, strict=True)]
        )

    def _traced(self, row: dict[str, Any], side: int) -> Bytes:
        if "cad_id" in row:
            raise ValueError(f"voxels are learned from parametric classes alone; {row['class_name']} has CAD models of your own")
        return self._drawer.rays(parametric_view(row, side))


def parametric_view(row: dict[str, Any], side: int) -> View:
    """Return the camera of a world's row, with the voxels of its CAD model, for its rays alone."""
    from models.render.camera import intrinsics, rotation
    from models.world.picture import render_spec
    from models.world.spec import WorldSpec

    pose = Pose(**{name: float(row[name]) for name in _POSE})
    return View(
        rgba=np.zeros((side, side, 4), np.uint8),
        mask=np.ones((side, side), np.uint8),
        K=intrinsics(render_spec(WorldSpec(resolution=side))),
        R=rotation(pose),
        t=np.array([0.0, 0.0, pose.distance]),
        occupied=lambda cells: _occupied(row["class_name"], int(row["cad_seed"]), cells),
    )


def of_parametric(learned: Learned, row: dict[str, Any], edges: Bytes) -> Bytes:
    """Return the control (H, W[, C]) of a view of a parametric CAD model, such as a run would draw. edges: its lines (H, W).

    row: class_name, cad_seed, azimuth_deg, elevation_deg, inplane_deg and distance.
    """
    spec, side = SPECS[learned], len(edges)
    if isinstance(spec, CannySpec):
        return edges
    if isinstance(spec, VoxelsSpec):
        rays = VoxelRays(spec)
        return rays.around(edges, rays.rays(parametric_view(row, side)))
    from models.world import geometry, picture
    from models.world.spec import WorldSpec

    world = WorldSpec()
    pose = Pose(**{name: float(row[name]) for name in _POSE})
    focal = world.lens_mm / world.sensor_mm
    view = geometry.camera(pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg, pose.distance, focal)
    seen = picture.seen(picture.parametric_model(row["class_name"], row["cad_seed"]), view, side)
    return _inverse_depth(seen.mask, seen.depth)


def _inverse_depth(mask: NDArray[np.generic], depth: NDArray[np.floating]) -> Bytes:
    return Depth(DepthSpec()).draw(View(rgba=np.empty(0, np.uint8), mask=np.asarray(mask), depth=np.asarray(depth, np.float32)))


@functools.lru_cache(maxsize=8)
def _occupied(class_name: str, cad_seed: int, cells: int) -> NDArray[np.bool_]:
    from models.cad.voxels import voxelise
    from models.world.picture import parametric_model

    model = parametric_model(class_name, cad_seed)
    return voxelise(model.vertices[model.faces].astype(np.float64), cells).occupied


def drawer(learned: Learned, run: Path) -> Edges:
    """Return what draws a training's controls. run: the training's folder."""
    spec = SPECS[learned]
    if isinstance(spec, VoxelsSpec):
        return Rays(spec, run / "rays")
    return Depths() if isinstance(spec, DepthSpec) else Edges()


def shown(learned: Learned, drawn: Bytes) -> Bytes:
    """Return controls (N, H, W, C) as people see them, (N, H, W, 3)."""
    spec = SPECS[learned]
    pictures: Sequence[Bytes] = list(drawn)
    if isinstance(spec, VoxelsSpec):
        pictures = [VoxelRays(spec).encode(one)[PICTURE] for one in drawn]
    return np.stack([one if one.shape[2] == 3 else np.repeat(one, 3, axis=2) for one in pictures])
