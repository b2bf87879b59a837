"""WebDataset: tar shards that training reads in a stream.

Enters: an export. Leaves: `shard-000000.tar`, ... with the files of a sample beside each other; equal samples make equal bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from storage.export.format import Export, write_json
from storage.export.rows import SamplePictures


class WebDataset:
    """See storage.export.format.Format."""

    name = "webdataset"
    contents = """
- `shard-000000.tar`, ...: up to 256 samples each. Of a sample: `.png` (the picture), `.mask.png` (0 or 255), `.depth.npz`
  (`depth`, 16 bit, steps of `depth_scale` longest sides), `.cls` (class number from 0), `.txt` (prompt), `.json` (the whole
  annotation and provenance).
- `classes.json`: class names in order of their numbers; `shards.json`: samples in each shard.
"""
    loading = """
import glob
import webdataset

dataset = webdataset.WebDataset(sorted(glob.glob(f"{OUT}/shard-*.tar")), shardshuffle=False).decode("pil")
sample = next(iter(dataset))
image, depth, label, annotation = sample["png"], sample["depth.npz"]["depth"], sample["cls"], sample["json"]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        written = 0
        with export.folder.open(_shard(number)) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for shown in pictures:
                sample = shown.sample
                annotation = json.dumps(shown.annotation(), ensure_ascii=False, allow_nan=False)
                _add(tar, f"{sample.name}.png", shown.image)
                _add(tar, f"{sample.name}.mask.png", shown.mask_png)
                _add(tar, f"{sample.name}.depth.npz", _npz(shown))
                _add(tar, f"{sample.name}.cls", str(export.class_ids[sample.class_name] - 1).encode())
                _add(tar, f"{sample.name}.txt", str(sample.row["prompt"] or "").encode())
                _add(tar, f"{sample.name}.json", annotation.encode())
                written += 1
        return [{"shard": _shard(number), "samples": written}]

    def finish(self, export: Export) -> None:
        with export.folder.open("classes.json") as file:
            write_json(file, list(export.class_ids))
        with export.folder.open("shards.json") as file:
            write_json(file, {entry["shard"]: entry["samples"] for entry in export.folder.entries()})


def _npz(shown: SamplePictures) -> bytes:
    # Readers turn every PNG into 8-bit colours; an array stays what it is.
    buffer = io.BytesIO()
    np.savez_compressed(buffer, depth=shown.depth)
    return buffer.getvalue()


def _shard(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # No time and no owner: equal samples are equal shards.
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
