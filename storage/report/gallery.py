"""The gallery: every picture a condition holds for, on one page that filters by class, viewpoint and verdict.

Enters: a condition over the `samples` view. Leaves: an HTML file, and beside it a folder of thumbnails that the browser loads as
they come into sight. Works offline, from a disk or from a server; each picture leads to the text of where it comes from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from storage.artifacts import ArtifactError, ArtifactStore
from storage.catalog.query import query, stream
from storage.images import UnreadablePicture, from_png
from storage.report import thumbnails
from storage.report.page import environment, frame, relative_link, save

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

DEFAULT_WHERE = "in_cohort = 1"
SIZE = 224
"""Pixels of a thumbnail's longer side."""

_ROW = ("azimuth_deg", "elevation_deg", "inplane_deg", "distance", "score", "edge_score")
_SHARED = (
    "class_name", "cad_id", "cad_name", "licence", "recipe", "model_id", "model_revision", "captioner", "captioner_revision",
    "run_id", "flow_run_url", "drop_reason",
)  # fmt: skip
"""Columns whose values thousands of samples share: said once on the page."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What was written."""

    page: Path
    """The HTML file."""
    pictures: int
    """Pictures on it."""
    lost: int
    """Samples whose picture is missing from the store or damaged."""


def write_gallery(
    catalog: Catalog, store: ArtifactStore, where: str, out: Path, told: Callable[[int, int], None] = lambda done, total: None
) -> Gallery:
    """Write the gallery of `where` to the file `out`. Thumbnails that are there stay. told: (pictures done, pictures in all).

    Raises QueryError for a condition that is none, ValueError for one that holds for no picture.
    """
    selected = f"SELECT * FROM samples WHERE (\n{where}\n)"
    total = int(query(catalog.database, f"SELECT count(s.file) AS n FROM ({selected}) s")["n"].iloc[0])
    if not total:
        raise ValueError(f"no sample with an image fulfils: {where}; see what there is: dst status")
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out} is no name of a page; say --out gallery.html")
    folder = out.with_name(f"{out.stem}_files")
    texts: dict[str, int] = {}
    rows: list[list[Any]] = []
    lost = 0
    order = "ORDER BY s.class_name, s.cad_id, s.view_index, s.draw_index, s.recipe"
    for batch in stream(catalog.database, f"SELECT s.* FROM ({selected}) s WHERE s.file IS NOT NULL {order}", 200):
        for row in batch:
            if not _thumbnail(store, "image", "image.png", str(row["image_key"]), folder):
                lost += 1
                continue
            rendered = _thumbnail(store, "render", "rgba.png", str(row["render_key"]), folder)
            rows.append(_entry(row, texts, rendered))
        told(len(rows) + lost, total)
    html = (
        environment()
        .get_template("gallery.html")
        .render(
            where=where,
            total=len(rows),
            lost=lost,
            data=Markup(_inert({"rows": rows, "texts": list(texts)})),
            files=relative_link(folder, out),
            store=relative_link(store.root, out),
            **frame("gallery.js"),
        )
    )
    return Gallery(page=save(out, html), pictures=len(rows), lost=lost)


def _entry(row: Mapping[str, Any], texts: dict[str, int], rendered: bool) -> list[Any]:
    """Return what the page's script knows of a sample; the order is the script's."""

    def said(value: Any) -> int:
        return texts.setdefault("" if value is None else str(value), len(texts))

    verdict = "unjudged" if row["kept"] is None else "kept" if row["kept"] else "dropped"
    return [
        row["sample_id"],
        verdict,
        *(None if row[name] is None else round(float(row[name]), 3) for name in _ROW),
        said(row["prompt"]),
        str(row["seed"]),
        row["image_key"],
        row["render_key"] if rendered else None,
        *(said(row[name]) for name in _SHARED),
    ]


def _thumbnail(store: ArtifactStore, stage: str, name: str, key: str, folder: Path) -> bool:
    """See to it that the thumbnail of an artifact is there; return whether it is."""
    path = folder / key[:2] / f"{key}.webp"
    if path.exists():
        return True
    try:
        picture = np.asarray(from_png(store.read(store.get(stage, key), name)), dtype=np.uint8)
    except (ArtifactError, UnreadablePicture, KeyError):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(thumbnails.photograph_file(picture, SIZE))
    temporary.replace(path)
    return True


def _inert(value: Any) -> str:
    # Inside a script element only "</" and "<!--" mean anything: without a "<" there is neither.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
