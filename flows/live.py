"""What the live pages ask and say, over catalog and store: the state of all classes, pictures as they land, tags.

Enters: settings; questions and tags from the file server's threads (storage.live). Leaves: JSON types.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.landing import Landing
from flows.overview import overview
from flows.retold import Retold
from models.sample import SampleId
from storage.artifacts import ArtifactError
from storage.catalog import journal
from storage.catalog.database import CatalogMissing
from storage.catalog.tags import Said
from storage.report import feed
from storage.report.feed import Picture, Wanted
from storage.report.state import State
from storage.settings import Settings
from tasks.plan import pages
from tasks.plan.failures import GENERATE
from tasks.plan.place import Place

_REST_AT_LEAST_S = 2.0
SETTLED_S = 20.0
"""So long after the last tag of a class its report is written anew."""


class Live:
    """The live pages' view of a home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = Place.of(settings)
        self._landing = Landing(self._place)
        self._state = Retold(lambda: asdict(self._look()), _REST_AT_LEAST_S)
        self._tagged: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        """Return how every class is, what runs and what ended: see storage.report.state."""
        return self._state()

    def _look(self) -> State:
        try:
            return overview(self._settings)
        except CatalogMissing:
            nothing: dict[str, Any] = dict.fromkeys(("classes", "going", "scheduled", "ended"), ())
            return State(at=journal.now(), silence="", refused=0, **nothing)

    def pictures(self, wanted: Wanted, before: feed.Place | None, keys: Sequence[str]) -> dict[str, Any]:
        """Return a page of pictures that are wanted, the newest first; `keys`: of just these instead."""
        catalog = self._place.catalog
        if not catalog.exists:
            return {"pictures": [], "more": None, "classes": [], "recipes": [], "tags": {}, "going": []}
        landed, going = self._landing.look()
        if keys:
            found = self._of(landed, keys)
            more = None
        else:
            here = [one for one in feed.tagged(catalog, landed) if wanted.holds(one) and (before is None or one.place < before)]
            page = feed.newest(catalog, wanted, before, feed.PAGE + 1)
            there = {picture.key for picture in page}
            merged = sorted([*page, *(one for one in here if one.key not in there)], key=lambda one: one.place, reverse=True)
            found = merged[: feed.PAGE]
            more = list(found[-1].place) if len(merged) > feed.PAGE else None
        recipes = {one.recipe for one in landed} | set(catalog.recipes())
        return {
            "pictures": [asdict(picture) for picture in found],
            "more": more,
            "classes": catalog.classes(),
            "recipes": sorted(recipes),
            "tags": catalog.tag_counts(),
            "going": [asdict(one) for one in going],
        }

    def _of(self, landed: Sequence[Picture], keys: Sequence[str]) -> list[Picture]:
        catalog = self._place.catalog
        found = feed.pictures(catalog, keys)
        there = {picture.key for picture in found}
        return [*found, *feed.tagged(catalog, [one for one in landed if one.key in keys and one.key not in there])]

    def tag(self, image_key: str, tag: str | None, note: str, by: str) -> dict[str, Any]:
        """Write what somebody says of an image; return it as it stands. Raises ValueError, in one line."""
        try:
            record = self._place.store.get("image", image_key).record
        except ArtifactError:
            raise ValueError(f"there is no image {image_key[:12]} in {self._place.store.where}") from None
        if record.outcome != "made":
            raise ValueError(f"image {image_key[:12]} could not be made: there is nothing to tag")
        sample = SampleId(**{name: record.inputs[name] for name in ("class_name", "cad_id", "view_index", "draw_index")})
        said = Said(image_key=image_key, sample_id=str(sample), class_name=sample.class_name, tag=tag, note=note or None)
        catalog = self._place.catalog
        catalog.database.require_schema()
        (row,) = catalog.add_tags([said], by=by)
        self._tagged[sample.class_name] = time.monotonic()
        return {name: row[name] or "" for name in ("note", "tagged_by", "tagged_at")} | {"tag": row["tag"]}

    def renew_reports(self) -> list[str]:
        """Write reports of classes anew whose tags have come to rest, so that they say what tags say of rules; return which."""
        resting = [name for name, at in list(self._tagged.items()) if time.monotonic() - at > SETTLED_S]
        renewed = []
        for class_name in resting:
            self._tagged.pop(class_name, None)
            for run in self._place.catalog.runs(class_name, kind=GENERATE, limit=1):
                if run["status"] != "running" and pages.report_path(self._place.home, run["run_id"]).exists():
                    pages.write_report(self._place, run["run_id"])
                    renewed.append(class_name)
        return renewed

    def write_missing_reports(self) -> list[str]:
        """Write the reports of runs that were made in homes elsewhere, the newest of them; return of which classes."""
        catalog, written = self._place.catalog, []
        if not catalog.exists:
            return []
        for run in catalog.runs(kind=GENERATE, limit=pages.INDEXED):
            page = pages.report_path(self._place.home, run["run_id"])
            if run["status"] in ("complete", "invalid") and not page.exists():
                pages.write_report(self._place, run["run_id"])
                written.append(run["class_name"])
        return written


def person() -> str:
    """Return the name of the user whose process this is."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
