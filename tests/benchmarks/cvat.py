"""A COCO release through datumaro, with which CVAT reads and writes COCO, and back: what of it is the same.

    pip install datumaro             (in an environment of its own beside this project: it is no dependency)
    dst export coco OUT --name v1
    python -m tests.benchmarks.cvat OUT

Enters: a folder with a COCO release. Leaves: a line for labels without attributes, of which CVAT keeps none, and one for labels
that have the attribute `is_crowd`, off, as it then comes in with every mask.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def main() -> None:
    import datumaro

    given = Path(sys.argv[1])
    known = read(given)
    for kept in (False, True):
        dataset = datumaro.Dataset.import_from(str(given), "coco_instances")
        for item in dataset:
            for one in item.annotations:
                if not kept:
                    one.attributes.clear()
        with tempfile.TemporaryDirectory() as folder:
            dataset.export(folder, "coco_instances", save_media=False)
            back = read(Path(folder))
        assert set(back) == set(known), "pictures are known by their names"
        assert all(back[name]["class"] == known[name]["class"] for name in known)
        same = [overlap(back[name]["mask"], known[name]["mask"]) for name in known]
        boxes = max(np.abs(np.subtract(back[name]["bbox"], known[name]["bbox"])).max() for name in known)
        lost = sorted(known[next(iter(known))].keys() - back[next(iter(known))].keys())
        print(
            f"{'is_crowd, off' if kept else 'no attributes'}: {len(back)} pictures, IoU of masks {min(same):.3f} at least, "
            f"{np.median(same):.3f} in the middle; boxes within {boxes:.1f} pixels; "
            f"iscrowd {sorted({one['iscrowd'] for one in back.values()})}; lost: {', '.join(lost)}"
        )


def read(out: Path) -> dict[str, Any]:
    """picture -> its annotation, with class and mask."""
    from pycocotools.coco import COCO

    (path,) = (out / "annotations").glob("instances_*.json")
    coco = COCO(str(path))
    found = {}
    for one in coco.loadAnns(coco.getAnnIds()):
        name = coco.loadImgs(one["image_id"])[0]["file_name"]
        found[name] = one | {"class": coco.loadCats(one["category_id"])[0]["name"], "mask": coco.annToMask(one) > 0}
    return found


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


if __name__ == "__main__":
    main()
