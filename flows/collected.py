"""Registered collections: what `dst cad import` has taken in once is looked at again by every scan.

Enters: the imports that were made in this home (collection, folder, classes, list, limit). Leaves: models that have joined a
collection since, registered as that import would. What was read is remembered by the import itself and not opened again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.cad.collections import layouts
from storage.cad.collections.published import Listed, read_cad_list
from storage.settings import Settings
from tasks.intake import collections
from tasks.plan.place import Place

log = logging.getLogger("dst")


def wanted(
    collection: str, root: Path, classes: Sequence[str], cad_list: Path | None, limit: int | None, strength: int
) -> tuple[list[collections.Candidate], list[collections.NotThere]]:
    """Return what to import of a collection, and the rows of its list whose models are not there. Raises BadCollection."""
    rows = None if cad_list is None else listed(cad_list, collection, root, strength)
    found = layouts.entries(collection, root)
    if rows is None:
        return collections.of_collection(found, classes, limit), []
    return collections.of_list(rows, found, classes, limit)


def listed(cad_list: Path, collection: str, root: Path, strength: int) -> list[Listed]:
    """Return the rows of a CAD list that are strong enough. Raises BadCollection."""
    taxonomy = layouts.taxonomy_of(root) if collection == "shapenet" else {}
    return [row for row in read_cad_list(cad_list, taxonomy) if row.camera.get("strength", 1) <= strength]


def note(
    settings: Settings,
    collection: str,
    root: Path,
    classes: Sequence[str],
    cad_list: Path | None,
    limit: int | None,
    strength: int,
) -> None:
    """Write down that a collection was imported, and how, for the scans to come."""
    said = {
        "collection": collection,
        "root": str(root),
        "classes": list(classes),
        "cad_list": None if cad_list is None else os.path.abspath(cad_list),
        "limit": limit,
        "strength": strength,
    }
    kept = [entry for entry in noted(settings) if entry != said]
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([*kept, said], indent=1))
    temporary.replace(path)


def noted(settings: Settings) -> list[Mapping[str, Any]]:
    """Return how collections were imported, in order."""
    try:
        return list(json.loads(_path(settings).read_text()))
    except FileNotFoundError:
        return []


def look_again(settings: Settings) -> Counter[str]:
    """Import what has joined the registered collections; return status -> models, of those that were opened."""
    counts: Counter[str] = Counter()
    for entry in noted(settings):
        root, cad_list = Path(entry["root"]), None if entry["cad_list"] is None else Path(entry["cad_list"])
        if not root.is_dir():
            continue
        try:
            models, _ = wanted(entry["collection"], root, entry["classes"], cad_list, entry["limit"], entry["strength"])
        except (ValueError, OSError) as error:
            log.warning("collection %s in %s: %s", entry["collection"], root, error)
            continue
        settled = [model for model in models if _settled(model.path, settings.watch_settle_s)]
        report = collections.bring_in(Place.of(settings), entry["collection"], root, settled)
        counts.update({status: count for status, count in report.counts.items() if status != "remembered"})
    return counts


def _settled(path: Path, seconds: float) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return time.time() - max(stat.st_mtime, stat.st_ctime) >= seconds


def _path(settings: Settings) -> Path:
    return settings.root / "imports" / "registered.json"
