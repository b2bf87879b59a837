"""ImageFolder: a folder a class, for classification.

Enters: an export. Leaves: `kept/<class>/*.png` (and `dropped/`, `unjudged/` where the release holds such samples, so that they
are never mixed in by accident), and `samples.csv` with the labels, the scores and where the pictures come from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from storage.export.format import Export, write_json
from storage.export.rows import SamplePictures

_COLUMNS = (
    "file_name", "label", "class_name", "verdict", "azimuth_deg", "elevation_deg", "inplane_deg", "distance",
    "drop_reason", "tag", "tag_note", "sample_id", "cad_id", "prompt", "seed", "sha256",
)  # fmt: skip


class ImageFolder:
    """See storage.export.format.Format."""

    name = "imagefolder"
    contents = """
- `kept/<class>/<sample>.png`; beside it `dropped/` and `unjudged/` where the release holds such samples. Each is the root of an
  ImageFolder of torchvision's or Hugging Face's.
- `samples.csv`: file, label (from 0, in order of the class names), verdict, pose, prompt, seed, digest, each score under its
  name (empty where it was not judged); `classes.json`: the names.
"""
    loading = """
from datasets import load_dataset

dataset = load_dataset("imagefolder", data_dir=f"{OUT}/kept", split="train", drop_labels=False)
image, label = dataset[0]["image"], dataset.features["label"].int2str(dataset[0]["label"])
# without drop_labels a release of one class has no labels; or, with torchvision: torchvision.datasets.ImageFolder(f"{OUT}/kept")
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        entries = []
        for shown in pictures:
            sample = shown.sample
            file = f"{sample.verdict}/{sample.class_name}/{sample.name}.png"
            export.folder.write(file, shown.image)
            row = {**sample.row, "file_name": file, "label": export.class_ids[sample.class_name] - 1, "verdict": sample.verdict}
            named = [sample.row[group].get(name) for group, name in export.named(_COLUMNS).values()]
            entries.append([*(row[name] for name in _COLUMNS), *named])
        return entries

    def finish(self, export: Export) -> None:
        with export.folder.open("samples.csv") as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            table = csv.writer(text, lineterminator="\n")
            table.writerow([*_COLUMNS, *export.named(_COLUMNS)])
            table.writerows(export.folder.entries())
            text.detach()
        with export.folder.open("classes.json") as file:
            write_json(file, list(export.class_ids))
