"""docs/exports.md: a section a format, each with code that loads a release, and the same code on the card."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.export.release import FORMATS
from tests.export.conftest import ROOT, Made

PAGE = (ROOT / "docs" / "exports.md").read_text()
SNIPPETS = dict(re.findall(r"^## ([\w-]+)\n.*?```python\n(.*?)```", PAGE, re.M | re.S))


def test_every_format_has_a_section_and_a_row_in_the_table() -> None:
    assert set(FORMATS) == set(SNIPPETS)
    assert set(FORMATS) == set(re.findall(r"^\| `([\w-]+)` \|", PAGE, re.M))


@pytest.mark.parametrize("format", FORMATS)
def test_the_card_shows_the_same_code_as_the_page(format: str) -> None:
    assert SNIPPETS[format].strip() == FORMATS[format].loading.strip()


@pytest.mark.slow
def test_what_was_corrected_in_cvat_becomes_tags_by_the_pages_code(
    released: Callable[[str], Path], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVAT's file, as datumaro writes it: ids anew, no fields of ours, polygons; one object deleted, one drawn elsewhere."""
    given = json.loads((released("coco") / "annotations" / "instances_default.json").read_text())
    names = {image["id"]: image["file_name"] for image in given["images"]}
    deleted, moved, *others = [Path(name).stem for name in sorted(names.values())]
    anew = enumerate(sorted(names.values(), reverse=True), start=1)
    images = [{"id": i, "file_name": name, "width": 128, "height": 128} for i, name in anew]
    numbers = {image["file_name"]: image["id"] for image in images}
    annotations = []
    for one in given["annotations"]:
        name = names[one["image_id"]]
        if Path(name).stem == deleted:
            continue
        box = [0.0, 0.0, 20.0, 0.0, 20.0, 20.0, 0.0, 20.0]
        shape = (
            [box] if Path(name).stem == moved else {"size": one["segmentation"]["size"], "counts": one["segmentation"]["counts"]}
        )
        back = {key: one[key] for key in ("category_id", "bbox", "area", "iscrowd")}
        annotations.append(back | {"id": len(annotations) + 1, "image_id": numbers[name], "segmentation": shape})
    (tmp_path / "annotations").mkdir()
    told = {"images": images, "annotations": annotations, "categories": given["categories"]}
    (tmp_path / "annotations" / "instances_default.json").write_text(json.dumps(told))
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^## CVAT and back\n.*?```python\n(.*?)```", PAGE, re.M | re.S)
    exec(compile(code, "docs/exports.md CVAT", "exec"), {"OUT": str(released("coco")), "CVAT": str(tmp_path)})
    with (tmp_path / "corrections.csv").open(newline="") as file:
        found = {row.pop("sample_id"): row for row in csv.DictReader(file)}
    assert found == {
        deleted: {"tag": "bad", "note": "deleted in CVAT", "recipe": made.samples[deleted]["recipe"]},
        moved: {"tag": "doubtful", "note": "drawn otherwise in CVAT", "recipe": made.samples[moved]["recipe"]},
    }
    assert others


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_the_code_on_the_page_loads_a_release(format: str, released: Callable[[str], Path], made: Made, tmp_path: Path) -> None:
    import os

    os.environ["HF_DATASETS_CACHE"] = str(tmp_path)
    names: dict[str, object] = {"OUT": str(released(format))}
    exec(compile(SNIPPETS[format], f"docs/exports.md {format}", "exec"), names)
    if "azimuth" in names:
        wanted = "(azimuth_deg + 90) % 360" if format == "official" else "azimuth_deg"
        assert isinstance(names["azimuth"], float), wanted
    if "image" in names:
        assert names["image"].size == (128, 128)  # type: ignore[attr-defined]
    if "mask" in names:
        assert names["mask"].shape == (128, 128)  # type: ignore[attr-defined]
