"""A shard of the training world: some hundred pictures as plain arrays, a pure function of (WorldSpec, shard index).

Enters: a WorldSpec and an index. Leaves: a folder `shard-00000/` of .npy arrays and rows.json, written beside its place and
renamed, so that it is there wholly or not at all. Any prefix of shards is balanced over the classes, and CAD models come round
only after all of them were seen.

    python -m models.world.shard --out FOLDER --first 0 --count 44
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.world.spec import STAGE, VERSION, WorldSpec

STRIDE = 389
"""CAD seeds are visited in steps of this, so that neighbours in a shard are not neighbours in seed."""


@dataclass(frozen=True, kw_only=True)
class Shard:
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


def views_of(spec: WorldSpec, index: int) -> Iterator[tuple[str, int, int]]:
    """Yield (class_name, cad_seed, view_index) of a shard's views: classes dealt round, CAD models in an order of their own."""
    classes = classes_of(spec)
    for i in range(index * spec.views_per_shard, (index + 1) * spec.views_per_shard):
        turn = i // len(classes)
        yield classes[i % len(classes)], (turn * STRIDE + spec.seed * 101) % spec.cad_seeds, turn // spec.cad_seeds


def make_shard(spec: WorldSpec, index: int, progress: Callable[[int], None] | None = None) -> Shard:
    """Return one shard; `progress` is told the number of views done."""
    from models.world import picture

    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("rgb", "edge_canny", "edge_geometry", "mask", "depth", "normal", "neutral")
    }
    rows: list[dict[str, Any]] = []
    for done, (class_name, cad_seed, view_index) in enumerate(views_of(spec, index)):
        traced = picture.trace(spec, picture.Placed(class_name=class_name, cad_seed=cad_seed, view_index=view_index))
        if traced is None:
            # An empty edge map teaches nothing: the shard is one view shorter.
            continue
        columns["normal"].append(np.rint(traced.normal * 127).astype(np.int8))
        columns["neutral"].append(traced.neutral)
        for appearance in range(spec.appearances):
            made = picture.paint(traced, appearance)
            columns["rgb"].append(made.rgb)
            columns["edge_canny"].append(traced.edge_canny)
            columns["edge_geometry"].append(traced.edge_geometry)
            columns["mask"].append(traced.mask)
            columns["depth"].append(traced.depth.astype(np.float16))
            rows.append(
                {
                    "class_name": class_name,
                    "cad_seed": cad_seed,
                    "view_index": view_index,
                    "appearance_index": appearance,
                    "azimuth_deg": round(traced.pose.azimuth_deg, 3),
                    "elevation_deg": round(traced.pose.elevation_deg, 3),
                    "inplane_deg": round(traced.pose.inplane_deg, 3),
                    "distance": round(traced.pose.distance, 4),
                    "words": made.words,
                    "captions": list(made.captions),
                }
            )
        if progress:
            progress(done + 1)
    return Shard(arrays={name: np.stack(column) for name, column in columns.items()}, rows=rows)


def folder_of(out: Path, index: int) -> Path:
    """Return where a shard lies."""
    return out / f"shard-{index:05d}"


def write(shard: Shard, spec: WorldSpec, out: Path, index: int) -> Path:
    """Write a shard's folder at once and return it."""
    final = folder_of(out, index)
    work = out / f".making-{index:05d}-{os.getpid()}"
    work.mkdir(parents=True)
    for name, array in shard.arrays.items():
        np.save(work / f"{name}.npy", array, allow_pickle=False)
    (work / "rows.json").write_text(json.dumps(shard.rows))
    (work / "world.json").write_text(
        json.dumps({"stage": STAGE, "version": VERSION, "index": index, "spec": dataclasses.asdict(spec)})
    )
    if final.exists():
        # Another process was faster; by construction its shard is this one.
        shutil.rmtree(work)
    else:
        work.rename(final)
    return final


def missing(out: Path, first: int, count: int) -> list[int]:
    """Return the indices of the shards that are still to be made."""
    return [index for index in range(first, first + count) if not (folder_of(out, index) / "rows.json").exists()]


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
    arguments = parser.parse_args(argv)
    spec = WorldSpec()
    for index in range(arguments.first, arguments.first + arguments.count):
        if index % arguments.every != arguments.offset or not missing(arguments.out, index, 1):
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
