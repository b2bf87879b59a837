"""Images of others, handed over: a folder that torchvision's ImageFolder and `datasets.load_dataset("imagefolder")` read.

Enters: a condition over the table foreign_images. Leaves: `<class>/<digest>.png` and `metadata.csv` with pose, caption, CAD
model, whether it was kept and every score; complete, or not there at all.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.catalog.catalog import Catalog
from storage.catalog.query import query
from storage.keys import digest

COLUMNS = (
    "class_name", "origin", "cad_uid", "caption", "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "kept", "image_id",
)  # fmt: skip


def hand_over(catalog: Catalog, where: str, out: Path) -> int:
    """Write the images for which `where` holds to `out`, which must not be there or be empty; return how many.

    Raises ValueError in one line: for a condition that does not parse, holds for nothing, or images that have gone or changed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there and not empty; name another folder")
    chosen = f"SELECT * FROM foreign_images WHERE (\n{where}\n) ORDER BY class_name, image_id"
    rows = [{str(name): value for name, value in row.items()} for row in query(catalog.database, chosen).to_dict("records")]
    if not rows:
        raise ValueError(f'no imported image is: {where}; see: dst sql "select origin, count(*) from foreign_images group by 1"')
    gone = [row["path"] for row in rows if not Path(row["path"]).is_file()]
    if gone:
        raise ValueError(f"{len(gone)} of {len(rows)} images have gone, such as {gone[0]}; import them again: dst import images")
    measured = [_scores(row["facts"]) for row in rows]
    names = sorted({name for scores in measured for name in scores})
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with open(partial / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file_name", *COLUMNS, *names))
        for row, scores in zip(rows, measured, strict=True):
            source = Path(row["path"])
            data = source.read_bytes()
            if digest(data) != row["image_id"]:
                shutil.rmtree(partial)
                raise ValueError(f"{source} has changed since it was imported; import it again: dst import images")
            place = f"{row['class_name'].replace(' ', '_')}/{row['image_id'][:24]}{source.suffix.lower()}"
            (partial / place).parent.mkdir(exist_ok=True)
            (partial / place).write_bytes(data)
            table.writerow((place, *(_said(row[column]) for column in COLUMNS), *(_said(scores.get(name)) for name in names)))
        file.flush()
        os.fsync(file.fileno())
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return len(rows)


def _scores(facts: Any) -> Mapping[str, float | None]:
    """Return name -> what was measured of an image, from its facts as the database gives them."""
    known = json.loads(facts) if isinstance(facts, str) else facts
    return dict(((known or {}).get("verdict") or {}).get("scores") or {})


def _said(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
