"""The readout task: what a judge must be taught about a class, by nothing but its CAD models.

Enters: the canonical GLBs of a class. Leaves: one readout for each judge that is taught, made once for the class: it looks at no
image, so that it is taught while rendering and painting go on, and a larger cohort, other prompts and other rules find it there.
"""

from __future__ import annotations

import logging
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.verdict.protocol import NothingToTeach
from models.verdict.readout import facts_of
from storage.artifacts import ArtifactStore
from storage.stages import FILE
from tasks import progress, stages
from tasks.caching import cohort_task
from tasks.plan.cohort import CadModel, Cohort, Planned
from tasks.plan.place import Place
from tasks.shard import Finished, StageReport, fill_cohort

log = logging.getLogger("dst")

NOTHING_TO_TEACH = "nothing_to_teach"
"""Reason: no CAD model of the class can teach this readout anything."""


@dataclass(frozen=True, kw_only=True)
class StoredCad:
    """One CAD model as readouts are taught by it (models.verdict.protocol.CadSource), read from the store when asked for."""

    store: ArtifactStore
    """Where it lies."""
    class_name: str
    """Its class."""
    model: CadModel
    """What the cohort knows of it."""

    @property
    def cad_id(self) -> str:
        return self.model.cad_id

    @property
    def symmetry(self) -> int:
        return self.model.symmetry

    @property
    def keywords(self) -> tuple[str, ...]:
        return self.model.keywords

    def glb(self) -> bytes:
        return self.store.read(self.store.get("cad", self.model.cad_key), FILE["cad"])


@cohort_task("readout", "readout {part} {cohort.class_name}")
def readout(place: Place, cohort: Cohort, part: str, *after: Any) -> StageReport:
    """Teach the readout of the recipe's judge `part`. What was taught before under the same key is kept."""

    def make(images: Sequence[Planned], blueprint: stages.Blueprint) -> Finished:
        began = time.monotonic()
        models = [StoredCad(store=place.store, class_name=cohort.class_name, model=model) for model in cohort.models]
        at_work = pkgutil.resolve_name(blueprint.spec.implementation)(blueprint.spec, device=place.device, threads=place.threads)
        with progress.stage("readout", cohort.class_name, 100) as bar:
            try:
                taught = at_work.teach(models, lambda done, total: bar.advance(100 * done // total - bar.done))
            except NothingToTeach as nothing:
                log.warning("readout %s  %s is not taught: %s", cohort.class_name, part, nothing)
                return blueprint.record(outcome="failed", reason=NOTHING_TO_TEACH, detail=str(nothing)), {}
        facts = facts_of(taught)
        seconds = time.monotonic() - began
        log.info("readout %s  %s: %s  %.1f s", cohort.class_name, part, facts.get("words", "taught"), seconds)
        return blueprint.record(values=facts, runtime={"threads": place.threads}), {FILE["readout"]: taught}

    return fill_cohort("readout", part, cohort, place, make)
