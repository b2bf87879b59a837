"""YOLO: Ultralytics' layouts for detection, segmentation and oriented boxes, each a format of its own.

Enters: an export. Leaves: `images/{train,val}/*.png`, `labels/{train,val}/*.txt` with a line for each object, `data.yaml`.
Classes count from 0; coordinates are shares of the picture's width and height, with pixel edges (not centres) at integers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from storage.export.format import Export
from storage.export.outline import Points, polygon, rectangle
from storage.export.rows import ReleaseSample, SamplePictures

PARTS = 5
"""One of so many CAD models (of a class with fewer: one of them) is for validation; of a class with one, so many of its views."""

_FILES = """
- `images/train/<sample>.png`, `images/val/<sample>.png`: the pictures, each with its own provenance inside. No CAD model is in
  both: the last of each {parts} of a class's CAD models, in order of `cad_id`, is for validation (of fewer: the last one; of a
  single one each {parts}th view, so that its validation says little of other objects).
- `labels/train/<sample>.txt`, `labels/val/<sample>.txt`: a line an object, {line}
- `data.yaml`: what Ultralytics is given. It names no `path`, so the folder can be moved.
"""


class Yolo:
    """See storage.export.format.Format."""

    def __init__(self, name: str, label: Callable[[SamplePictures], list[float]], line: str, loading: str, model: str) -> None:
        """label: the numbers behind a class on its line. line, loading: for the card. model: whose training it fits."""
        self.name = name
        self._label = label
        self.contents = _FILES.format(parts=PARTS, line=line)
        self.loading = f'{_LOADING}{loading}# with Ultralytics: YOLO("{model}.pt").train(data=f"{{OUT}}/data.yaml", imgsz=640)\n'

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        held_out = validation(export)
        entries = []
        for shown in pictures:
            sample = shown.sample
            part = "val" if held_out(sample) else "train"
            numbers = " ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in self._label(shown))
            export.folder.write(f"images/{part}/{sample.name}.png", shown.image)
            line = f"{export.class_ids[sample.class_name] - 1} {numbers}\n"
            export.folder.write(f"labels/{part}/{sample.name}.txt", line.encode())
            entries.append(part)
        return entries

    def finish(self, export: Export) -> None:
        parts = set(export.folder.entries())
        # Ultralytics wants both. A release so small that it has one part only is trained and validated on that one.
        train, val = ("train" if "train" in parts else "val"), ("val" if "val" in parts else "train")
        names = [f"  {i - 1}: {json.dumps(name, ensure_ascii=False)}" for name, i in export.class_ids.items()]
        lines = [f"train: images/{train}", f"val: images/{val}", "names:", *names]
        export.folder.write("data.yaml", "".join(f"{line}\n" for line in lines).encode())


def validation(export: Export) -> Callable[[ReleaseSample], bool]:
    """Return what says of a sample whether it is held out for validation. It follows from the selection alone."""
    last: set[tuple[str, str]] = set()
    alone: set[str] = set()
    for class_name, of_class in groupby(sorted(export.selection.figures.models), key=lambda model: model[0]):
        models = list(of_class)
        if len(models) == 1:
            alone.add(class_name)
        else:
            folds = min(PARTS, len(models))
            last.update(model for i, model in enumerate(models) if i % folds == folds - 1)

    def held_out(sample: ReleaseSample) -> bool:
        if sample.class_name in alone:
            return sample.place % PARTS == PARTS - 1
        return (sample.class_name, sample.cad_id) in last

    return held_out


def _box(shown: SamplePictures) -> list[float]:
    x0, y0, x1, y1 = shown.box
    middle, size = [(x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2], [x1 - x0 + 1, y1 - y0 + 1]
    return _shares(np.array([middle, size]), shown)


def _polygon(shown: SamplePictures) -> list[float]:
    return _shares(polygon(shown.mask), shown)


def _rectangle(shown: SamplePictures) -> list[float]:
    return _shares(rectangle(shown.mask), shown)


def _shares(points: Points, shown: SamplePictures) -> list[float]:
    return [float(value) for value in (points / [shown.width, shown.height]).reshape(-1)]


_LOADING = """
import os
import yaml
import numpy
from PIL import Image

names = yaml.safe_load(open(f"{OUT}/data.yaml"))["names"]
sample = sorted(os.listdir(f"{OUT}/labels/train"))[0].removesuffix(".txt")
image = Image.open(f"{OUT}/images/train/{sample}.png")
label, *numbers = open(f"{OUT}/labels/train/{sample}.txt").read().split()
"""
_BOX_LOADING = """class_name, (x, y, width, height) = names[int(label)], map(float, numbers)  # the middle, then the size
"""
_POINTS_LOADING = """class_name, points = names[int(label)], numpy.array(numbers, float).reshape(-1, 2) * image.size
"""

DETECT = Yolo(
    "yolo",
    _box,
    "`class x y width height`: the middle and the size of the mask's upright box, the same as in `coco`.",
    _BOX_LOADING,
    "yolo11n",
)
SEGMENT = Yolo(
    "yolo-seg",
    _polygon,
    "`class x1 y1 x2 y2 ...`: the outline of the mask, pixel by pixel. A mask of several parts or with holes is one outline\n"
    "  whose rings are joined by lines walked there and back, since a line of the format has room for one.",
    _POINTS_LOADING,
    "yolo11n-seg",
)
ORIENTED = Yolo(
    "yolo-obb",
    _rectangle,
    "`class x1 y1 x2 y2 x3 y3 x4 y4`: the corners of the smallest turned rectangle around the mask, that is round what is\n"
    "  seen. It stays inside the picture; the projected 3D box, which may not, is in the formats with a pose.",
    _POINTS_LOADING,
    "yolo11n-obb",
)
