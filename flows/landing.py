"""Pictures as they land: what runs have made that no cohort of the catalog has yet.

Enters: catalog and store. Leaves: Pictures, the newest first. A run is planned once, and from then on the store is asked
for those of its images that were not there yet; when its cohort is in the catalog, the catalog tells (storage.report.feed). Of a
run that did not end well, what it had made stays to be seen until the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.pending import recorded_cohort
from flows.retold import Retold
from storage.artifacts import ArtifactError, ArtifactStore, Record, at
from storage.catalog.catalog import Catalog
from storage.report.feed import Picture
from storage.stages import FILE
from tasks.plan.cohort import Planned
from tasks.plan.place import Place

LOOKED_AT = 100
"""The newest runs, among which those whose pictures are not in the catalog are looked for."""
_OPEN = 20
"""Runs that are watched at most: each costs a look for every image that it has not made yet."""
_REST_AT_LEAST_S = 1.0

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is with its images."""

    class_name: str
    """Its class."""
    recipe: str
    """Its recipe."""
    status: str
    """running, or how it ended."""
    made: int
    """Images that are there, from before among them."""
    samples: int
    """Images that it is to make."""


@dataclass(kw_only=True)
class _Watched:
    """A run whose images are waited for."""

    run: Row
    """Its row."""
    waiting: dict[str, Planned]
    """image_key -> its sample, of images that are not there yet."""
    names: Mapping[str, str]
    """cad_id -> name of the CAD model."""
    landed: dict[str, Picture] = field(default_factory=dict)
    """image_key -> picture, of those that the catalog has not."""
    before: int = 0
    """Images that the catalog had."""
    lost: int = 0
    """Samples that failed at their image."""


class Landing:
    """What has landed, asked by any thread."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._runs: dict[str, _Watched] = {}
        self._told = Retold(self._look, _REST_AT_LEAST_S)

    def look(self) -> tuple[list[Picture], list[Progress]]:
        """Return the pictures that have landed, the newest first, and how far the runs that go on are."""
        pictures, progress = self._told()
        return list(pictures), list(progress)

    def _look(self) -> tuple[list[Picture], list[Progress]]:
        catalog, store = self._place.catalog, self._place.store
        open_runs = {row["run_id"]: row for row in _open(catalog)}
        self._runs = {run_id: watched for run_id, watched in self._runs.items() if run_id in open_runs}
        for run_id, row in open_runs.items():
            if run_id in self._runs:
                self._runs[run_id].run = row
            elif (watched := _watched(catalog, row)) is not None:
                self._runs[run_id] = watched
        for watched in self._runs.values():
            _land(store, watched)
        # A run that goes on may be making what another had made before it was stopped.
        found = {key: picture for watched in reversed(self._runs.values()) for key, picture in watched.landed.items()}
        pictures = sorted(found.values(), key=lambda picture: picture.place, reverse=True)
        return pictures, [_progress(watched) for watched in self._runs.values() if watched.run["status"] == "running"]


def _open(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the runs whose images may not be in the catalog: those that go on, and a cohort's last if it did not end well."""
    seen: set[tuple[str, str, str]] = set()
    found = []
    for row in catalog.runs(limit=LOOKED_AT):
        which = (row["class_name"], row["recipe"], row["kind"])
        if row["status"] == "running" or (which not in seen and row["status"] not in ("complete", "invalid")):
            found.append(row)
        seen.add(which)
    return found[:_OPEN]


def _watched(catalog: Catalog, run: Row) -> _Watched | None:
    """Return a run with the images that it is to make; None where it cannot be planned (its CAD models are gone, other code)."""
    try:
        cohort = recorded_cohort(catalog, run)
    except ValueError:
        return None
    waiting = {planned.key("image"): planned for planned in cohort.samples}
    known = catalog.with_image(run["class_name"])
    names = {row["cad_id"]: row["cad_name"] for row in catalog.cad_models(run["class_name"], status=None)}
    unknown = {key: planned for key, planned in waiting.items() if key not in known}
    return _Watched(run=run, waiting=unknown, names=names, before=len(waiting) - len(unknown))


def _land(store: ArtifactStore, watched: _Watched) -> None:
    for key in list(watched.waiting):
        artifact = store.find("image", key)
        if artifact is None:
            continue
        planned = watched.waiting.pop(key)
        if artifact.record.outcome == "made":
            watched.landed[key] = _picture(store, watched, planned, artifact.record)
        else:
            watched.lost += 1


def _picture(store: ArtifactStore, watched: _Watched, planned: Planned, record: Record) -> Picture:
    drawn = [("render", "render", planned.key("render"))]
    drawn += [(kind or "control", "control", key) for kind, key in planned.keys["control"].items()]
    view = _values(store, "render", planned.key("render"))
    return Picture(
        key=record.key,
        created_at=record.created_at,
        sample_id=str(planned.sample),
        class_name=planned.sample.class_name,
        cad_name=watched.names.get(planned.sample.cad_id, planned.sample.cad_id[:12]),
        recipe=watched.run["recipe"],
        run_id=watched.run["run_id"],
        image=f"{at('image', record.key)}/{FILE['image']}",
        strip=tuple((name, f"{at(stage, key)}/{FILE[stage]}") for name, stage, key in drawn),
        caption=str(_values(store, "caption", planned.key("caption")).get("prompt") or ""),
        seed=str(record.values.get("seed", "")),
        azimuth_deg=view.get("azimuth_deg"),
        elevation_deg=view.get("elevation_deg"),
    )


def _values(store: ArtifactStore, stage: str, key: str) -> Mapping[str, Any]:
    try:
        return store.get(stage, key).record.values
    except ArtifactError:
        return {}


def _progress(watched: _Watched) -> Progress:
    made = watched.before + len(watched.landed)
    return Progress(
        class_name=watched.run["class_name"],
        recipe=watched.run["recipe"],
        status=watched.run["status"],
        made=made,
        samples=made + len(watched.waiting) + watched.lost,
    )
