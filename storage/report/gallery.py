"""The gallery: every picture a condition holds for, on one page that filters by class, viewpoint, verdict and scores.

Enters: a condition over the `samples` view. Leaves: an HTML file, and beside it a folder of thumbnails that the browser loads as
they come into sight. Works offline, from a disk or from a server; each picture leads to the text of where it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from storage.artifacts import ArtifactError, ArtifactStore
from storage.catalog.query import query, stream
from storage.folders import write_whole
from storage.images import UnreadablePicture, from_png
from storage.report import thumbnails
from storage.report.collect import control_files
from storage.report.facts import controls, scores, verdicts
from storage.report.page import environment, frame, relative_link, save
from storage.report.verdict import decided, in_words

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

DEFAULT_WHERE = "in_cohort = 1"
SIZE = 224
"""Pixels of a thumbnail's longer side."""

_POSE = ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")
_SHARED = (
    "class_name", "cad_id", "cad_name", "licence", "recipe", "model_id", "model_revision", "captioner", "captioner_revision",
    "run_id", "flow_run_url", "drop_reason", "drop_words",
)  # fmt: skip
"""Columns whose values thousands of samples share: said once on the page."""
_COLUMNS = (
    "sample_id", "kept", *_POSE, "prompt", "seed", "image_key", "control_key", "verdict_key", "file", "render_file",
    "control_file", *_SHARED,
)  # fmt: skip


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
    names: dict[str, int] = {}
    rows: list[list[Any]] = []
    judged: set[tuple[str, str, str]] = set()
    lost = 0
    columns = ", ".join(f"s.{name}" for name in _COLUMNS)
    order = "ORDER BY s.class_name, s.cad_id, s.view_index, s.draw_index, s.recipe"
    for batch in stream(catalog.database, f"SELECT {columns} FROM ({selected}) s WHERE s.file IS NOT NULL {order}", 200):
        measured = scores(catalog, ((row["verdict_key"], row["image_key"]) for row in batch))
        kinds = controls(catalog, (row["image_key"] for row in batch))
        judged |= {(row["verdict_key"], row["class_name"], row["recipe"]) for row in batch if row["verdict_key"]}
        for row in batch:
            drawn = control_files(row, kinds.get(row["image_key"], {}))
            files = {"image": row["file"], "render": row["render_file"], **{f"control: {kind}": at for kind, at in drawn}}
            shown = {name: at for name, at in files.items() if at and _thumbnail(store, at, folder)}
            if "image" not in shown:
                lost += 1
                continue
            rows.append(_entry(row, texts, names, shown, measured.get((row["verdict_key"], row["image_key"]), {})))
        told(len(rows) + lost, total)
    html = (
        environment()
        .get_template("gallery.html")
        .render(
            where=where,
            total=len(rows),
            lost=lost,
            data=Markup(
                _inert({"rows": rows, "texts": list(texts), "scores": list(names), "limits": _limits(catalog, judged, names)})
            ),
            files=relative_link(folder, out),
            store=store.link(out),
            **frame("gallery.js"),
        )
    )
    return Gallery(page=save(out, html), pictures=len(rows), lost=lost)


def _limits(catalog: Catalog, judged: set[tuple[str, str, str]], names: Mapping[str, int]) -> list[list[Any]]:
    """Return class, recipe, place of the score, threshold and words of each rule that decided about the pictures.

    judged: (verdict_key, class, recipe) of the pictures. names: score -> its place.
    """
    told = verdicts(catalog, {verdict_key for verdict_key, _, _ in judged})
    return [
        [class_name, recipe, names[rule.score], rule.threshold, rule.words]
        for verdict_key, class_name, recipe in sorted(judged)
        if verdict_key in told
        for rule in told[verdict_key].rules
        if rule.threshold is not None and rule.score in names
    ]


def _entry(
    row: Mapping[str, Any],
    texts: dict[str, int],
    names: dict[str, int],
    pictures: Mapping[str, str],
    measured: Mapping[str, float],
) -> list[Any]:
    """Return what the page's script knows of a sample; the order is the script's.

    pictures: what it shows -> address in the store. measured: name -> score; of all samples' names, `names` says the places.
    """

    def said(value: Any) -> int:
        return texts.setdefault("" if value is None else str(value), len(texts))

    values = {names.setdefault(name, len(names)): round(value, 3) for name, value in measured.items()}
    addresses = [[said(name), *_spelled(address, said)] for name, address in pictures.items()]
    return [
        row["sample_id"],
        decided(row["kept"]),
        *(None if row[name] is None else round(float(row[name]), 3) for name in _POSE),
        said(row["prompt"]),
        str(row["seed"]),
        addresses,
        [values.get(place) for place in range(max(values, default=-1) + 1)],
        *(said(in_words(row[name]) if name == "drop_reason" and row[name] else row[name]) for name in _SHARED),
    ]


def _spelled(address: str, said: Callable[[str], int]) -> list[Any]:
    """Return an address as key, and stage and file, which many share."""
    stage, _, key, name = address.split("/")
    return [key, said(stage), said(name)]


def _thumbnail(store: ArtifactStore, address: str, folder: Path) -> bool:
    """See to it that the thumbnail of a picture is there; return whether it is."""
    key = address.split("/")[2]
    path = folder / key[:2] / f"{key}.webp"
    if path.exists():
        return True
    try:
        picture = np.asarray(from_png(store.open_address(address)), dtype=np.uint8)
    except (ArtifactError, UnreadablePicture):
        return False
    write_whole(path, thumbnails.photograph_file(picture, SIZE))
    return True


def _inert(value: Any) -> str:
    # Inside a script element only "</" and "<!--" mean anything: without a "<" there is neither.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
