"""What the catalog knows of images under names that are nobody's columns: their scores, their controls, the verdicts about them.

Enters: keys. Leaves: values by name. Pages, cards and exports read scores and controls here, a few hundred images at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from storage.report.verdict import Verdict, of_row

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

_AT_ONCE = 400


def verdicts(catalog: Catalog, keys: Iterable[str]) -> dict[str, Verdict]:
    """Return verdict_key -> what was measured and decided, for the keys that the catalog knows."""
    columns = "class_name, rule, rules, judges, kept_images, dropped_images, unjudged_images"
    sql = f"SELECT {columns} FROM filters WHERE verdict_key = :key"
    return {key: of_row(row) for key in sorted(set(keys)) for row in catalog.rows(sql, key=key)}


def scores(catalog: Catalog, images: Iterable[tuple[str | None, str | None]]) -> dict[tuple[str, str], dict[str, float]]:
    """Return (verdict_key, image_key) -> name -> what was measured; what was not judged is not in it."""
    judged: dict[str, list[str]] = {}
    for verdict_key, image_key in images:
        if verdict_key and image_key:
            judged.setdefault(verdict_key, []).append(image_key)
    found: dict[tuple[str, str], dict[str, float]] = {}
    sql = "SELECT image_key, name, value FROM scores WHERE verdict_key = :verdict AND image_key IN ({keys}) ORDER BY 1, 2"
    for verdict_key, keys in judged.items():
        for row in _listed(catalog, sql, keys, verdict=verdict_key):
            found.setdefault((verdict_key, row["image_key"]), {})[row["name"]] = float(row["value"])
    return found


def controls(catalog: Catalog, image_keys: Iterable[str | None]) -> dict[str, dict[str, str]]:
    """Return image_key -> kind -> key of each control that the generator had to obey, in order of kind."""
    found: dict[str, dict[str, str]] = {}
    sql = "SELECT image_key, kind, control_key FROM image_controls WHERE image_key IN ({keys}) ORDER BY 1, 2"
    for row in _listed(catalog, sql, [key for key in image_keys if key]):
        found.setdefault(row["image_key"], {})[row["kind"]] = row["control_key"]
    return found


def _listed(catalog: Catalog, sql: str, keys: Iterable[str], **more: str) -> Iterator[dict[str, Any]]:
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        named = {f"k{i}": key for i, key in enumerate(wanted[start : start + _AT_ONCE])}
        yield from catalog.rows(sql.format(keys=", ".join(f":{name}" for name in named)), **named, **more)
