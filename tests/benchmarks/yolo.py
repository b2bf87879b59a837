"""What Ultralytics' own loader makes of the three YOLO formats, against COCO's masks of the same release.

    pip install ultralytics          (in an environment of its own beside this project: it is no dependency)
    python -m tests.export.made HOME
    python -m tests.benchmarks.yolo HOME

Enters: a home with samples. Leaves: a line for each layout and part; raises where a label is refused.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from storage.export.release import export
from tests.export.conftest import ALL, Made

PAINTED = 640
"""Pixels at which Ultralytics trains."""
TASKS = {"yolo": "detect", "yolo-seg": "segment", "yolo-obb": "obb"}


def main() -> None:
    made = Made(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "1"}
        for format in ("coco", *TASKS):
            export(made.catalog, made.store, format=format, out=out / format, name="measured-v1", where=ALL)
        known = truth(out / "coco")
        for format, task in TASKS.items():
            for part, figures in measured(out / format, task, known):
                print(f"{format:9} {part:6} {figures}")


def truth(out: Path) -> dict[str, Any]:
    """sample -> COCO's annotation, with its mask."""
    from pycocotools.coco import COCO

    (path,) = (out / "annotations").glob("*.json")
    coco = COCO(str(path))
    found = coco.loadAnns(coco.getAnnIds())
    return {Path(coco.loadImgs(one["image_id"])[0]["file_name"]).stem: one | {"mask": coco.annToMask(one) > 0} for one in found}


def measured(out: Path, task: str, known: dict[str, Any]) -> Any:
    """Yield the part and what was found in it."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(out / "data.yaml"))
    for part in ("train", "val"):
        asked = get_cfg(overrides={"task": task, "imgsz": PAINTED, "mask_ratio": 1, "mosaic": 0, "rect": False})
        read = YOLODataset(img_path=data[part], imgsz=PAINTED, augment=False, data=data, task=task, hyp=asked, rect=False)
        assert len(read) == len(list(Path(data[part]).glob("*.png"))), "labels were refused"
        boxes, masks = [], []
        for i in range(len(read)):
            raw, shown = read.labels[i], read[i]
            one = known[Path(shown["im_file"]).stem]
            height, width = one["mask"].shape
            large = cv2.resize(one["mask"].astype(np.uint8), (PAINTED, PAINTED), interpolation=cv2.INTER_NEAREST) > 0
            x, y, w, h = raw["bboxes"][0] * [width, height, width, height]
            boxes.append(np.abs(np.array([x - w / 2, y - h / 2, w, h]) - one["bbox"]).max())
            if task == "segment":
                painted = shown["masks"][0].numpy() > 0
                masks.append((painted & large).sum() / (painted | large).sum())
            elif task == "obb":
                x, y, w, h, turned = shown["bboxes"][0].numpy() * [PAINTED, PAINTED, PAINTED, PAINTED, 180 / np.pi]
                corners = cv2.boxPoints(((x, y), (w, h), turned)).round().astype(np.int32)
                painted = cv2.fillPoly(np.zeros((PAINTED, PAINTED), np.uint8), [corners], 1)
                masks.append(painted[large].mean())
        of_boxes = "" if task == "obb" else f", boxes within {max(boxes):.5f} pixels of COCO's"
        of_masks = {"detect": "", "segment": ", IoU with the mask", "obb": ", share of the mask inside"}[task]
        yield part, f"{len(read)} pictures{of_boxes}{of_masks}{f' {min(masks):.5f} at least' if masks else ''}"


if __name__ == "__main__":
    main()
