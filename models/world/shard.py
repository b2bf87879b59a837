"""A shard of the training world: some hundred pictures as plain arrays, a pure function of (WorldSpec, shard index).

Enters: a WorldSpec and an index. Leaves: a folder `shard-00000/` of .npy arrays and rows.json, written under another name and
then renamed, so that it is complete or not there. The first n shards, for any n, are balanced over the classes, and no CAD model
comes a second time before all have come once.

    python -m models.world.shard --out FOLDER --first 0 --count 44
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.world.spec import WorldCad, WorldSpec

if TYPE_CHECKING:
    from models.world.full import SceneRenderer
    from models.world.picture import Picture, Placed, Traced

STRIDE = 389
"""CAD seeds are visited in steps of this, so that neighbours in a shard are not neighbours in seed."""


@dataclass(frozen=True, kw_only=True)
class WorldShard:
    """Pictures in the order of their rows; row i belongs to view i // appearances."""

    arrays: dict[str, NDArray[Any]]
    """rgb (N, H, W, 3), edge_canny, edge_geometry and mask (N, H, W) uint8; depth (N, H, W) float16 in longest sides;
    normal (views, H, W, 3) int8 as n * 127 in the camera's axes; neutral (views, H, W, 4) uint8, to draw the edges anew from."""
    rows: list[dict[str, Any]]
    """One for each picture: class_name, cad_seed, view_index, appearance_index, pose, words, captions."""


def classes_of(spec: WorldSpec) -> tuple[str, ...]:
    """Return the classes of a spec."""
    if spec.classes:
        return spec.classes
    from models.cad.parametric import TRAINED_CLASSES

    return TRAINED_CLASSES


def placed(spec: WorldSpec, index: int) -> Iterator[Placed]:
    """Yield a shard's views: classes dealt round, parametric ones first, CAD models in an order of their own."""
    from models.world.picture import Placed

    parametric = classes_of(spec)
    registered: dict[str, list[WorldCad]] = {}
    for cad in spec.cad_models:
        registered.setdefault(cad.class_name, []).append(cad)
    columns: list[str | list[WorldCad]] = [*parametric, *registered.values()]
    for i in range(index * spec.views_per_shard, (index + 1) * spec.views_per_shard):
        column, turn = columns[i % len(columns)], i // len(columns)
        if isinstance(column, str):
            seed = (turn * STRIDE + spec.seed * 101) % spec.cad_seeds
            yield Placed(class_name=column, cad_seed=seed, view_index=turn // spec.cad_seeds)
        else:
            cad = column[turn % len(column)]
            yield Placed(class_name=cad.class_name, cad_seed=-1, view_index=turn // len(column), cad=cad)


def make_shard(
    spec: WorldSpec, index: int, progress: Callable[[int], None] | None = None, glbs: Mapping[str, Path] | None = None
) -> WorldShard:
    """Return one shard; `progress` is called with the views done. `glbs`: canonical GLBs of registered CAD models, by key."""
    from models.world import full

    if not spec.full(index):
        return _make(spec, index, None, progress, glbs)
    with full.scene_renderer() as renderer:
        return _make(dataclasses.replace(spec, distractor_share=spec.full_distractor_share), index, renderer, progress, glbs)


def _make(
    spec: WorldSpec,
    index: int,
    renderer: SceneRenderer | None,
    progress: Callable[[int], None] | None,
    glbs: Mapping[str, Path] | None,
) -> WorldShard:
    from models.world import picture

    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("rgb", "edge_canny", "edge_geometry", "mask", "depth", "normal", "neutral")
    }
    rows: list[dict[str, Any]] = []
    for done, place in enumerate(placed(spec, index)):
        traced = picture.trace(spec, place, glbs)
        pictures = [] if traced is None else _appearances(spec, traced, renderer)
        if traced is None or not pictures:
            # An empty edge map teaches nothing, nor does a scene that could not be rendered: the shard is one view shorter.
            continue
        columns["normal"].append(np.rint(traced.normal * 127).astype(np.int8))
        columns["neutral"].append(traced.neutral)
        for appearance, finished in enumerate(pictures):
            columns["rgb"].append(finished.rgb)
            columns["edge_canny"].append(traced.edge_canny)
            columns["edge_geometry"].append(traced.edge_geometry)
            columns["mask"].append(traced.mask)
            columns["depth"].append(traced.depth.astype(np.float16))
            rows.append(
                {
                    "class_name": place.class_name,
                    "cad_seed": place.cad_seed,
                    **({} if place.cad is None else {"cad_id": place.cad.cad_id}),
                    "view_index": place.view_index,
                    "appearance_index": appearance,
                    "azimuth_deg": round(traced.pose.azimuth_deg, 3),
                    "elevation_deg": round(traced.pose.elevation_deg, 3),
                    "inplane_deg": round(traced.pose.inplane_deg, 3),
                    "distance": round(traced.pose.distance, 4),
                    "words": finished.words,
                    "captions": list(finished.captions),
                }
            )
        if progress:
            progress(done + 1)
    return WorldShard(arrays={name: np.stack(column) for name, column in columns.items()}, rows=rows)


def _appearances(spec: WorldSpec, traced: Traced, renderer: SceneRenderer | None) -> list[Picture]:
    """Return a view's pictures: shaded from its passes, or rendered whole by `renderer`; none when one of them failed."""
    from models.world import full, picture

    if renderer is None:
        return [picture.paint(traced, appearance) for appearance in range(spec.appearances)]
    pictures = []
    for appearance in range(spec.appearances):
        look = picture.look_of(traced, appearance)
        rgb = full.paint(spec, traced, look, renderer)
        if rgb is None:
            return []
        pictures.append(picture.captioned(traced, appearance, look, rgb))
    return pictures


def folder_of(out: Path, index: int) -> Path:
    """Return where a shard lies."""
    return out / f"shard-{index:05d}"


def write(shard: WorldShard, spec: WorldSpec, out: Path, index: int) -> Path:
    """Write a shard's folder at once and return it."""
    final = folder_of(out, index)
    work = out / f".making-{index:05d}-{os.getpid()}"
    work.mkdir(parents=True)
    for name, array in shard.arrays.items():
        np.save(work / f"{name}.npy", array, allow_pickle=False)
    (work / "rows.json").write_text(json.dumps(shard.rows))
    (work / "world.json").write_text(json.dumps(spec.identity(index)))
    if final.exists() and not made(spec, out, index):
        # Of another spec. A training that has it open keeps its memory maps: they outlive the name.
        old = out / f".old-{index:05d}-{os.getpid()}"
        final.rename(old)
        shutil.rmtree(old)
    if final.exists():
        # Another process was faster; by construction its shard is this one.
        shutil.rmtree(work)
    else:
        work.rename(final)
    return final


def made(spec: WorldSpec, out: Path, index: int) -> bool:
    """Return whether a shard is there, whole and made under this spec."""
    folder = folder_of(out, index)
    if not (folder / "rows.json").exists():
        return False
    said = json.loads((folder / "world.json").read_text())
    wanted = spec.identity(index)
    # Shards that were made before there were full scenes have no kind.
    known = {name: said["spec"].get(name) for name in wanted["spec"]}
    return bool(wanted == {"kind": "traced"} | said | {"spec": known})


def missing(out: Path, first: int, count: int, spec: WorldSpec | None = None) -> list[int]:
    """Return the indices of the shards that are still to be made under a spec (without one: that are not there at all)."""
    there = [
        (folder_of(out, i) / "rows.json").exists() if spec is None else made(spec, out, i) for i in range(first, first + count)
    ]
    return [first + i for i, found in enumerate(there) if not found]


def main(argv: list[str] | None = None) -> None:
    """Make the missing shards of a range, one after the other."""
    parser = argparse.ArgumentParser(description="Make shards of the training world.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=44)
    parser.add_argument(
        "--every", type=int, default=1, help="make only each n-th of the missing shards, to share the work between processes"
    )
    parser.add_argument("--offset", type=int, default=0, help="which of them")
    parser.add_argument("--full-share", type=float, default=WorldSpec().full_share, help="share of the shards with full scenes")
    arguments = parser.parse_args(argv)
    spec = WorldSpec(full_share=arguments.full_share)
    for index in range(arguments.first, arguments.first + arguments.count):
        if index % arguments.every != arguments.offset or made(spec, arguments.out, index):
            continue
        begin = time.monotonic()
        shard = make_shard(spec, index)
        write(shard, spec, arguments.out, index)
        seconds = time.monotonic() - begin
        print(
            f"world {index:05d}  {len(shard.rows)} pictures  {seconds:.1f} s  {seconds / len(shard.rows):.3f} s each", flush=True
        )


if __name__ == "__main__":
    main()
