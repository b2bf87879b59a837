"""COCO: pictures, boxes and run-length masks in one JSON that pycocotools, detectron2 and torchvision read.

Enters: an export. Leaves: `images/*.png`, `annotations/instances_default.json`, which CVAT finds by that name. Category ids count
from 1, annotation ids are unique, boxes are x, y, width, height with the far edge outside the last pixel, as COCO means them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.export.format import Export, write_json, write_list
from storage.export.rows import SamplePictures


class Coco:
    """See storage.export.format.Format."""

    name = "coco"
    contents = """
- `images/<sample>.png`: the pictures, each with its own provenance inside.
- `annotations/instances_default.json`: one object a picture; `bbox` in COCO's x, y, width, height; `segmentation` as compressed
  run lengths of the CAD model's mask; `area` in pixels of it. Category ids count from 1 in order of the class names.
  `images[].dst` says where a picture comes from, `annotations[].dst` holds pose, K, R, t and the projected 3D box (see
  docs/conventions.md).
"""
    loading = """
from pycocotools.coco import COCO

coco = COCO(f"{OUT}/annotations/instances_default.json")
annotation = coco.loadAnns(coco.getAnnIds())[0]
mask = coco.annToMask(annotation)  # (H, W), 0 or 1
camera = annotation["dst"]["K"], annotation["dst"]["R"], annotation["dst"]["t"]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        entries = []
        for shown in pictures:
            sample = shown.sample
            export.folder.write(f"images/{sample.name}.png", shown.image)
            x0, y0, x1, y1 = shown.box
            facts = shown.annotation()
            geometry = {name: facts[name] for name in ("K", "R", "t", "box3d", "box3d_extents", *sample.pose())}
            image = {
                "id": sample.number + 1,
                "file_name": f"{sample.name}.png",
                "width": shown.width,
                "height": shown.height,
                "dst": sample.provenance(),
            }
            annotation = {
                "id": sample.number + 1,
                "image_id": sample.number + 1,
                "category_id": export.class_ids[sample.class_name],
                "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
                "area": int(np.count_nonzero(shown.mask)),
                "iscrowd": 0,
                "segmentation": {"size": [shown.height, shown.width], "counts": compressed(run_lengths(shown.mask))},
                "dst": geometry,
            }
            entries.append({"image": image, "annotation": annotation})
        return entries

    def finish(self, export: Export) -> None:
        with export.folder.open("annotations/instances_default.json") as file:
            info = {
                "description": f"3D-DST release {export.name}",
                "version": export.facts["digest"],
                "date_created": export.facts["created_at"],
                "year": int(export.facts["created_at"][:4]),
                "contributor": export.facts["code"],
                "url": "",
            }
            categories = [{"id": i, "name": name, "supercategory": "object"} for name, i in export.class_ids.items()]
            licences = [{"id": i, "name": name, "url": ""} for i, name in enumerate(export.facts["licences"], start=1)]
            file.write(b'{"info": ')
            write_json(file, info)
            file.write(b', "licenses": ')
            write_json(file, licences)
            file.write(b', "categories": ')
            write_json(file, categories)
            file.write(b', "images": ')
            write_list(file, (entry["image"] for entry in export.folder.entries()))
            file.write(b', "annotations": ')
            write_list(file, (entry["annotation"] for entry in export.folder.entries()))
            file.write(b"}\n")


def run_lengths(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return COCO's run lengths of a mask (H, W): column by column, the first run is of zeros and may be empty."""
    flat = (mask.T.reshape(-1) > 0).astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], ends, [flat.size])))
    return np.asarray(np.concatenate(([0], counts)) if flat[0] else counts, dtype=np.int64)


def compressed(counts: NDArray[np.int64]) -> str:
    """Return run lengths in COCO's text form: differences to the run before the last, five bits a character, the lowest first."""
    letters: list[str] = []
    listed = counts.tolist()
    for i, count in enumerate(listed):
        left = count - listed[i - 2] if i > 2 else count
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != -1 if bits & 0x10 else left != 0
            letters.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(letters)
