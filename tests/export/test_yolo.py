"""The three YOLO formats, read back from Ultralytics' documents: the same boxes and masks as COCO's, no CAD model in both parts.

Ultralytics' own loader is no dependency; `tests/benchmarks/yolo.py` asks it where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from storage.export.outline import polygon, rectangle
from storage.export.release import export
from tests.export.conftest import Made

SIZE = 128


def labels(out: Path) -> dict[str, tuple[int, list[float]]]:
    """sample -> (class, numbers), by the names that Ultralytics looks for beside each picture that data.yaml leads to."""
    said = yaml.safe_load((out / "data.yaml").read_text())
    assert "path" not in said, "a folder that names its own place cannot be moved"
    assert said["names"] == {0: "car", 1: "garden chair"}
    found = {}
    for part in ("train", "val"):
        for picture in sorted((out / said[part]).glob("*.png")):
            (line,) = (out / "labels" / part / f"{picture.stem}.txt").read_text().splitlines()
            label, *numbers = line.split()
            found[picture.stem] = int(label), [float(number) for number in numbers]
            assert all(0 <= number <= 1 for number in found[picture.stem][1]), picture.stem
    return found


def overlap(a: Any, b: Any) -> float:
    """Return the intersection over the union of two masks."""
    return float(np.count_nonzero((a > 0) & (b > 0)) / np.count_nonzero((a > 0) | (b > 0)))


def filled(points: Any, shape: tuple[int, ...]) -> Any:
    """Return the mask of a polygon as pycocotools fills it."""
    from pycocotools import mask

    return mask.decode(mask.frPyObjects([points.reshape(-1).tolist()], *shape))[..., 0]


def truth(out: Path) -> dict[str, Any]:
    """sample -> COCO's annotation, with its mask and class."""
    from pycocotools.coco import COCO

    coco = COCO(str(out / "annotations" / "instances_default.json"))
    return {
        Path(coco.loadImgs(found["image_id"])[0]["file_name"]).stem: found
        | {"mask": coco.annToMask(found), "class": found["category_id"] - 1}
        for found in coco.loadAnns(coco.getAnnIds())
    }


@pytest.mark.slow
def test_boxes_are_those_of_coco(released: Callable[[str], Path]) -> None:
    known, found = truth(released("coco")), labels(released("yolo"))
    assert set(found) == set(known)
    for name, (label, (x, y, width, height)) in found.items():
        assert label == known[name]["class"]
        box = SIZE * np.array([x - width / 2, y - height / 2, width, height])
        assert box == pytest.approx(known[name]["bbox"], abs=0.001), name


@pytest.mark.slow
def test_outlines_filled_again_are_the_masks(released: Callable[[str], Path]) -> None:
    known, found = truth(released("coco")), labels(released("yolo-seg"))
    assert set(found) == set(known)
    worst = []
    for name, (label, numbers) in found.items():
        assert label == known[name]["class"]
        points, mask = SIZE * np.reshape(numbers, (-1, 2)), known[name]["mask"]
        # As Ultralytics fills it: cut to whole pixels, with the line itself.
        cut = cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [points.astype(np.int32)], 1)
        worst.append(min(overlap(cut, mask), overlap(filled(points, (SIZE, SIZE)), mask)))
        x, y, width, height = known[name]["bbox"]
        assert [*points.min(axis=0), *points.max(axis=0)] == pytest.approx([x, y, x + width, y + height], abs=0.02), name
    assert min(worst) >= 0.97, worst
    print(f"outlines: IoU with the masks {min(worst):.4f} at least")


@pytest.mark.slow
def test_turned_rectangles_hold_the_mask_and_stay_in_the_picture(released: Callable[[str], Path]) -> None:
    known, found = truth(released("coco")), labels(released("yolo-obb"))
    assert set(found) == set(known)
    for name, (label, numbers) in found.items():
        assert label == known[name]["class"]
        corners, mask = SIZE * np.reshape(numbers, (4, 2)), known[name]["mask"]
        sides = np.roll(corners, -1, axis=0) - corners
        assert abs(sides[0] @ sides[1]) <= 0.001 * np.prod(np.linalg.norm(sides[:2], axis=1)), f"{name}: no right angle"
        rows, columns = np.nonzero(mask)
        for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
            ends = (np.stack([columns + dx, rows + dy], axis=1) - corners[0]) @ sides[[0, 3]].T
            shares = ends / np.array([sides[0] @ sides[0], -sides[3] @ sides[3]])
            assert shares.min() >= -0.001, name
            assert shares.max() <= 1.001, name
        assert np.prod(np.linalg.norm(sides[:2], axis=1)) <= np.prod(known[name]["bbox"][2:]) + 0.01, name


@pytest.mark.slow
def test_no_cad_model_is_in_both_parts(released: Callable[[str], Path], made: Made) -> None:
    parts = {}
    for picture in released("yolo").glob("images/*/*.png"):
        row = made.samples[picture.stem]
        parts.setdefault((row["class_name"], row["cad_id"]), set()).add(picture.parent.name)
    assert sorted((class_name, *part) for (class_name, _), part in parts.items()) == [
        ("car", "train"), ("car", "val"), ("garden chair", "train"), ("garden chair", "val"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_release_with_one_part_only_is_validated_on_it(made: Made, tmp_path: Path) -> None:
    (one, *_) = [name for name, row in made.samples.items() if row["class_name"] == "car"]
    export(made.catalog, made.store, format="yolo", out=tmp_path / "out", name="one-part-v1", where=f"sample_id = '{one}'")
    said = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert said == {"train": "images/train", "val": "images/train", "names": {0: "car"}}


def drawn(*shapes: tuple[int, int, int, int, int]) -> Any:
    """Return a mask of rectangles (first and last column and row, value)."""
    mask = np.zeros((40, 60), np.uint8)
    for x0, y0, x1, y1, value in shapes:
        mask[y0 : y1 + 1, x0 : x1 + 1] = value
    return mask


@pytest.mark.parametrize(
    "shapes",
    [
        [(7, 9, 7, 9, 255)],
        [(0, 0, 59, 39, 255)],
        [(5, 5, 40, 30, 255), (10, 10, 14, 14, 0), (20, 8, 30, 25, 0)],
        [(2, 2, 9, 9, 255), (12, 2, 30, 9, 255), (33, 20, 50, 38, 255), (40, 25, 44, 30, 0), (42, 27, 42, 28, 255)],
        [(5, 5, 10, 10, 255), (11, 11, 20, 20, 255)],
    ],
    ids=["a pixel", "the whole picture", "two holes", "parts, and a part in a hole", "corner to corner"],
)
def test_an_outline_filled_is_the_mask(shapes: list[tuple[int, int, int, int, int]]) -> None:
    mask = drawn(*shapes)
    assert overlap(filled(polygon(mask), mask.shape), mask) == 1.0


def test_the_rectangle_is_opencvs_smallest_unless_that_leaves_the_picture() -> None:
    middle = drawn()
    cv2.fillPoly(middle, [np.array([[20, 8], [45, 22], [40, 30], [15, 16]])], 255)
    corners = rectangle(middle)
    rows, columns = np.nonzero(middle)
    edges = np.concatenate([np.stack([columns + dx, rows + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    least = cv2.minAreaRect(edges.astype(np.float32))
    assert cv2.contourArea(corners.astype(np.float32)) == pytest.approx(np.prod(least[1]), rel=1e-3)
    corner = drawn()
    cv2.fillPoly(corner, [np.array([[0, 0], [30, 0], [0, 30]])], 255)
    assert rectangle(corner).min() >= 0
