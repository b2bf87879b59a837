"""The world's pictures as a training reads them.

Enters: a folder of shards (rgb.npy, edge_canny.npy, edge_geometry.npy, mask.npy, rows.json in each), which may grow while it is
read.
Leaves: batches of indices, latents, edge maps and token ids. Nothing is decoded twice: arrays are memory maps, latents are made
once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = ("rgb", "edge_canny", "edge_geometry", "mask")


class NoPictures(ValueError):
    """A folder without a complete shard."""


@dataclass(frozen=True)
class OpenShard:
    """One shard: memory-mapped arrays and its rows."""

    name: str
    folder: Path
    rgb: NDArray[np.uint8]
    canny: NDArray[np.uint8]
    geometry: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    rows: list[dict[str, Any]]
    digest: str
    """Of what the shard says it was made by, and of its rows."""

    def __len__(self) -> int:
        return len(self.rows)


def complete(folder: Path) -> list[str]:
    """Return the names of the folder's complete shards, sorted."""
    return sorted(
        path.parent.name for path in folder.glob("shard-*/rows.json") if all((path.parent / f"{p}.npy").is_file() for p in PARTS)
    )


def open_shard(folder: Path, name: str) -> OpenShard:
    """Open one shard. Raises ValueError when its arrays and rows do not match."""
    rgb, canny, geometry, mask = (np.load(folder / name / f"{part}.npy", mmap_mode="r") for part in PARTS)
    rows = json.loads((folder / name / "rows.json").read_text())
    said = [path.read_bytes() for part in ("world", "rows") if (path := folder / name / f"{part}.json").is_file()]
    if not len(rows) == len(rgb) == len(canny) == len(geometry) == len(mask):
        raise ValueError(f"{folder / name}: its arrays and rows differ in length; make the shard again")
    return OpenShard(name, folder / name, rgb, canny, geometry, mask, rows, hashlib.sha256(b"".join(said)).hexdigest())


class TrainingPictures:
    """All pictures of some shards, in the order in which the shards were found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards: list[OpenShard] = []
        self._starts: list[int] = []
        self.count = 0

    def names(self) -> list[str]:
        """Return the shards in order: known ones first, then what is new in the folder."""
        known = [shard.name for shard in self.shards]
        return known + [name for name in complete(self.folder) if name not in set(known)]

    def extend(self, names: list[str]) -> list[OpenShard]:
        """Open those of `names` that are new, in that order, and return them."""
        known = {shard.name for shard in self.shards}
        new = [open_shard(self.folder, name) for name in names if name not in known]
        for shard in new:
            self._starts.append(self.count)
            self.shards.append(shard)
            self.count += len(shard)
        return new

    def locate(self, index: int) -> tuple[int, int]:
        """Return (shard, place in it) of a picture."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - self._starts[shard]

    @property
    def side(self) -> int:
        """Height and width of the pictures."""
        return int(self.shards[0].rgb.shape[1])

    def rgb(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return (N, H, W, 3) pictures."""
        return np.stack([self.shards[s].rgb[i] for s, i in map(self.locate, indices.tolist())])

    def edges(self, indices: NDArray[np.int64], geometry: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return (N, H, W) edge maps, 0 or 255: the geometry's where `geometry` says so, else Canny's."""
        places = map(self.locate, indices.tolist())
        return np.stack(
            [
                (self.shards[s].geometry if g else self.shards[s].canny)[i]
                for (s, i), g in zip(places, geometry.tolist(), strict=True)
            ]
        )

    def captions(self, shard: OpenShard) -> list[list[str]]:
        """Return each picture's phrasings."""
        return [list(row["captions"]) for row in shard.rows]
