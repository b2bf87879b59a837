"""The score task: what one judge measures of every image of a cohort.

Enters: the images of a cohort with their controls and poses. Leaves: named scores for each image, stored once under a key of
their own, so that another judge or another rule recomputes none of them (3D-DST section 3.4: the K-fold consistency filter is
one judge). Over the whole cohort, since what is usual can only be learned from all of it.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.control.protocol import ControlSpec
from models.sample import SampleId
from models.verdict.kinds import JUDGES
from models.verdict.protocol import Judgement, JudgeSpec, Progress
from storage.artifacts import Artifact, ArtifactStore
from storage.images import from_png
from storage.stages import FILE
from tasks import progress, stages
from tasks.caching import cohort_task
from tasks.control import drawn
from tasks.plan.cohort import Cohort, Planned
from tasks.plan.place import Place
from tasks.shard import Finished, StageReport, fill_cohort

log = logging.getLogger("dst")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One image as judges see it (models.verdict.protocol.Evidence), read from the store when they ask."""

    store: ArtifactStore
    """Where it lies."""
    planned: Planned
    """The sample and its keys."""
    controls: Mapping[str, ControlSpec]
    """kind -> spec of what it was to obey."""

    @property
    def sample(self) -> SampleId:
        return self.planned.sample

    @property
    def symmetry(self) -> int:
        return self.planned.symmetry

    @property
    def annotation(self) -> Mapping[str, Any]:
        return self.store.get("render", self.planned.key("render")).record.values

    def image(self) -> Any:
        return from_png(self.store.read(self.store.get("image", self.planned.key("image")), "image.png"))

    def control(self, kind: str) -> Any:
        return drawn(self.store, self.planned.keys["control"][kind], self.controls[kind])

    @property
    def class_name(self) -> str:
        return self.planned.sample.class_name

    @property
    def caption(self) -> str:
        return str(self.store.get("caption", self.planned.key("caption")).record.values["prompt"])

    @property
    def keywords(self) -> tuple[str, ...]:
        return self.planned.keywords

    def mask(self) -> Any:
        return self._rendered("mask.png")

    def depth(self) -> Any:
        return (self._rendered("depth.png") * self.annotation["depth_scale"]).astype(np.float32)

    def normals(self) -> Any:
        return self._rendered("normal.png")

    def _rendered(self, name: str) -> Any:
        return from_png(self.store.read(self.store.get("render", self.planned.key("render")), name))


@cohort_task("score", "score {part} {cohort.class_name}")
def score(place: Place, cohort: Cohort, part: str, *after: Any) -> StageReport:
    """Let the recipe's judge `part` measure every image of the cohort. What was measured before under the same key is kept."""
    store = place.store

    def make(made: Sequence[Planned], blueprint: stages.Blueprint) -> Finished:
        began = time.monotonic()
        evidence = [Stored(store=store, planned=planned, controls=cohort.recipe.controls) for planned in made]
        with progress.stage("score", cohort.class_name, 100) as bar:
            spec, taught = blueprint.spec, {name: key for name, key in blueprint.inputs.items() if name == "readout"}
            tell = lambda done, total: bar.advance(100 * done // total - bar.done)  # noqa: E731
            heard = _heard(store, made, blueprint.inputs["scores"]) if "scores" in blueprint.inputs else None
            judgement = _judged(place, spec, evidence, taught.get("readout"), heard, tell)
        judged = np.any([~np.isnan(values) for values in judgement.scores.values()], axis=0) if judgement.scores else np.zeros(0)
        rows = [
            {
                "sample_id": str(planned.sample),
                "image_key": planned.key("image"),
                "scores": {name: _number(values[i]) for name, values in judgement.scores.items()},
            }
            for i, planned in enumerate(made)
        ]
        seconds = time.monotonic() - began
        log.info("score   %s  %s: %d of %d judged  %.1f s", cohort.class_name, part, judged.sum(), len(made), seconds)
        record = blueprint.record(
            values={
                "judge": part,
                "judged": int(judged.sum()),
                "not_judged": judgement.not_judged,
                "scores": sorted(judgement.scores),
                **taught,
                **judgement.facts,
            },
            runtime={"threads": place.threads},
        )
        return record, {"scores.json": json.dumps(rows, indent=1, sort_keys=True, allow_nan=False).encode()}

    return fill_cohort("score", part, cohort, place, make)


def by_image(store: ArtifactStore, scores: Iterable[Artifact]) -> dict[str, dict[str, float | None]]:
    """Return image key -> name -> score, of several judges together."""
    rows: dict[str, dict[str, float | None]] = {}
    for artifact in scores:
        for row in json.loads(store.read(artifact, FILE["score"])):
            rows.setdefault(row["image_key"], {}).update(row["scores"])
    return rows


def _heard(store: ArtifactStore, made: Sequence[Planned], keys: Mapping[str, str]) -> dict[str, np.ndarray[Any, Any]]:
    """Return what other judges said of the images, in their order: name -> (N,)."""
    rows = by_image(store, (store.get("score", key) for key in keys.values()))
    said = [rows.get(planned.key("image"), {}) for planned in made]
    return {name: np.array([row.get(name) for row in said], np.float64) for name in sorted({n for row in said for n in row})}


def _judged(
    place: Place,
    spec: JudgeSpec,
    evidence: Sequence[Stored],
    readout: str | None,
    heard: Mapping[str, Any] | None,
    tell: Progress,
) -> Judgement:
    """Return what the judge of a spec measures, with the readout of a key if it is taught: none judges without what it needs.

    heard: what the judges said that it reads, if it reads any.
    """
    runtime: dict[str, Any] = {"device": place.device, "threads": place.threads}
    if heard is not None:
        runtime["scores"] = heard
    if readout is not None:
        taught = place.store.get("readout", readout)
        if taught.record.outcome == "failed":
            absent = {name: np.full(len(evidence), np.nan) for name in spec.scores if "*" not in name}
            why = str(taught.record.detail)
            return Judgement(scores=absent, facts={"words": f"{spec.kind}: not judged, {why}"}, not_judged=why)
        runtime["readout"] = place.store.read(taught, FILE["readout"])
    judgement: Judgement = JUDGES.load(spec, **runtime).judge(evidence, tell)
    return judgement


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
