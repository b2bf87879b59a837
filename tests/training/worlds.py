"""A small world for the trainings of the tests: boxes of two colours on two grounds, with their edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SIZE = 64


def write_shards(folder: Path, shards: int = 2, pictures: int = 32) -> Path:
    """Write complete shards as models.world does, with pictures whose shape and colour their edges and captions tell."""
    for shard in range(shards):
        rng = np.random.default_rng(shard)
        rgb = np.zeros((pictures, SIZE, SIZE, 3), np.uint8)
        edges, masks = np.zeros((2, pictures, SIZE, SIZE), np.uint8)
        rows = []
        for index in range(pictures):
            colour, ground = ("red", "blue")[int(rng.integers(2))], ("grass", "snow")[int(rng.integers(2))]
            rgb[index] = {"grass": (60, 130, 40), "snow": (230, 235, 240)}[ground]
            top, left = rng.integers(4, 28, 2)
            bottom, right = top + rng.integers(12, 32), left + rng.integers(12, 32)
            rgb[index, top:bottom, left:right] = {"red": (200, 30, 20), "blue": (30, 50, 190)}[colour]
            masks[index, top:bottom, left:right] = 255
            edges[index, top:bottom, [left, right - 1]] = 255
            edges[index, [top, bottom - 1], left:right] = 255
            rows.append({"captions": [f"a {colour} box on {ground}", f"{colour} box, {ground}", f"a photo of a {colour} box"]})
        made = folder / f"shard-{shard:05d}"
        made.mkdir(parents=True)
        np.save(made / "rgb.npy", rgb)
        np.save(made / "edge_canny.npy", edges)
        np.save(made / "edge_geometry.npy", edges)
        np.save(made / "mask.npy", masks)
        (made / "rows.json").write_text(json.dumps(rows))
    return folder
