"""Runs: what is planned before anything heavy starts, and the row that says how it went."""

from __future__ import annotations

import logging
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from flows import ending, offers
from models.kinds import meant
from storage.artifacts import ArtifactStore
from storage.catalog import liveness
from storage.catalog.catalog import Catalog, RunGoing
from storage.keys import plain
from storage.report.verdict import ONE_CAD_MODEL
from storage.stages import OF_A_SAMPLE
from tasks import events, stages, stopping, waiting
from tasks.intake import foreign, orientation
from tasks.plan import cohort as planning
from tasks.plan.cohort import CadModel, Cohort
from tasks.plan.failures import GENERATE
from tasks.plan.fit import PACKAGES
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.run import RunReport

log = logging.getLogger("dst")

_LOOK_EVERY_S = 2.0
"""How often a run that waits for another looks again."""


class CannotPaint(ValueError):
    """A recipe's generator or judge lacks something on this machine; one line that says what to do."""


def cohort(place: Place, class_name: str, samples: int, recipe: Recipe) -> Cohort:
    """Return the cohort of a registered class. Raises ValueError with a suggestion when there is no such class."""
    catalog = place.catalog
    known: list[str] = []
    # Nothing is made by a question: in another folder than the last time there would be an empty home everywhere.
    if catalog.exists:
        catalog.migrate()
        known = catalog.classes()
    if class_name not in known:
        looked = f"in {place.home}" if known else f"in {place.home}, where nothing was added yet (DST_HOME names another home)"
        hint = meant(class_name, known) or f'; add CAD models first: dst cad add PATH --class "{class_name}"'
        raise ValueError(f'no such class "{class_name}" {looked}{hint}{" See: dst cad list" if known else ""}')
    planning.check_count(samples)
    recipe, captions = foreign.pinned(catalog, class_name, recipe.pinned())
    return planning.plan(class_name, recipe, [cad_model(row, captions) for row in catalog.cad_models(class_name)], samples)


def cad_model(row: Mapping[str, Any], captions: foreign.Captions | None = None) -> CadModel:
    """Return what the cohort needs to know of a CAD model's row; captions: those that are imported for its class."""
    return CadModel(
        cad_id=row["cad_id"],
        cad_key=row["cad_key"],
        keywords=tuple(row["keywords"]),
        camera=row["camera"],
        symmetry=1 if row["symmetry"] is None else int(row["symmetry"]),
        captions=() if captions is None else captions.of(row["uid"]),
    )


def to_make(store: ArtifactStore, cohort: Cohort) -> dict[str, int]:
    """Return stage -> artifacts still to be made; damaged ones are set aside first. Empty when the cohort is complete."""
    planning.check(store, cohort)
    for (stage, _), key in cohort.judged(cohort.made(store)).items():
        store.sound(stage, key)
    return missing(store, cohort)


def missing(store: ArtifactStore, cohort: Cohort) -> dict[str, int]:
    """Return stage -> artifacts still to be made, without a look into those that are there. Empty when the cohort is complete."""
    counts = {stage: len(cohort.missing(store, stage)) for stage in OF_A_SAMPLE}
    made = [] if any(counts.values()) else cohort.made(store)
    waits = any(counts.values())
    for stage in stages.OF_A_COHORT:
        if waits and stage.of_images:
            counts[stage.name] = len(stage.parts(cohort.recipe))
        elif made or not stage.of_images:
            counts[stage.name] = sum(not store.has(stage.name, one.key) for one in stage.blueprints(cohort, made).values())
    return {stage: count for stage, count in counts.items() if count}


def announce(place: Place, cohort: Cohort) -> None:
    """Set damaged artifacts aside, sweep up after killed writers, and say what is to be made."""
    place.store.sweep(every_s=86_400.0)
    missing = to_make(place.store, cohort)
    log.info("%s  %d samples  to make: %s", cohort.class_name, len(cohort.samples), missing or "nothing")
    for line in orientation.unconfirmed(place.catalog.cad_models(cohort.class_name)):
        log.warning("%s  %s", cohort.class_name, line)
    if cohort.cad_models == 1:
        log.warning("%s  %s", cohort.class_name, ONE_CAD_MODEL)
    if "control" in missing and place.catalog.made_before_0004(cohort.class_name, cohort.recipe.name):
        log.warning(
            "%s  an earlier version made this cohort under other keys: what stands above is made again, and what it made stays",
            cohort.class_name,
        )


def see_that_it_can_be_made(place: Place, cohort: Cohort) -> None:
    """Raise CannotPaint, in one line, when what is missing cannot be painted or judged on this machine: before any work."""
    if why := cannot_paint(place, cohort) or cannot_judge(place, cohort):
        raise CannotPaint(why)


def cannot_paint(place: Place, cohort: Cohort) -> str | None:
    """Return, in one line, what is missing on this machine to paint the images that are missing; None where nothing is."""
    recipe = cohort.recipe
    if lacks(place.store, cohort, "caption") and (lacking := recipe.caption.lacking(place.means)):
        return f"{recipe.name} cannot write captions here: {lacking}"
    if not lacks(place.store, cohort, "image"):
        return None
    lacking = recipe.image.lacking() or offers.too_large(recipe, place.device)
    return f"{recipe.name} cannot paint here: {lacking}" if lacking else None


def cannot_judge(place: Place, cohort: Cohort) -> str | None:
    """Return, in one line, what is missing on this machine for scores that are missing; None where nothing is."""
    lacking = {part: why for part, judge in cohort.recipe.verdict.judges.items() if (why := judge.lacking())}
    if lacking and not lacks(place.store, cohort, "image"):
        keys = cohort.judged(cohort.made(place.store))
        lacking = {part: why for part, why in lacking.items() if not place.store.has("score", keys["score", part])}
    return next((f"{cohort.recipe.name} cannot be judged by {part} here: {why}" for part, why in lacking.items()), None)


def complete(place: Place, cohort: Cohort) -> str | None:
    """Return the run that finished exactly this cohort, or None if there is still something to do."""
    if to_make(place.store, cohort):
        return None
    made = {str(p.sample): p.key("image") for p in cohort.made(place.store)}
    wanted = {str(p.sample): made.get(str(p.sample)) for p in cohort.samples}
    return place.catalog.complete_run(cohort.class_name, cohort.recipe.name, plain(cohort.recipe), wanted)


def lacks(store: ArtifactStore, cohort: Cohort, stage: str) -> bool:
    """Say whether anything of a stage is not in the store (also where an earlier stage has failed: then it is cheap to look)."""
    return any(not store.has(stage, key) for key in cohort.keys(stage))


def task_runs(cohort: Cohort) -> int:
    """Return how many Prefect task runs this cohort takes: shards by stages, those over all of it, catalog, check and report."""
    over_all = sum(len(stage.parts(cohort.recipe)) for stage in stages.OF_A_COHORT)
    return len(OF_A_SAMPLE) * len(cohort.shards()) + over_all + 3


def wait(made: Mapping[str, Sequence[Any]]) -> None:
    """Wait for task runs, by stage in order; the first that failed raises what made it fail."""
    # Prefect is imported by whoever has task runs: what plans only must stay light.
    from flows.runner import results

    results(future for futures in made.values() for future in futures)


@dataclass
class Run:
    """A run's row while it is open."""

    catalog: Catalog
    run_id: str
    finished: bool = False

    def finish(self, counts: Mapping[str, int], findings: Mapping[str, Any]) -> None:
        """Mark the run complete, or invalid when expectations failed; who wants to know of the latter is told."""
        self.catalog.finish_run(
            self.run_id,
            status="complete" if findings["success"] else "invalid",
            reason="; ".join(findings["failed"]) or None,
            **ending.credits_of(self.catalog, self.run_id, counts),
            docs_path=findings["docs"] or None,
        )
        self.finished = True
        if not findings["success"]:
            events.run_invalid(self.catalog.run(self.run_id))

    def summary(self, page: str) -> RunReport:
        """Return how the run went, for whoever launched it."""
        row = self.catalog.run(self.run_id)
        return {
            "run_id": self.run_id,
            "class_name": row["class_name"],
            "status": row["status"],
            "reason": row["reason"],
            "counts": row["counts"],
            "seconds": row["seconds"],
            "waited": row["waited"],
            "report": page,
        }


@contextmanager
def on_record(place: Place, cohort: Cohort, samples: int, kind: str = GENERATE) -> Iterator[Run]:
    """Keep a row of the run: running, with a heartbeat, then complete or invalid, or how it was broken off (flows.ending).

    kind: GENERATE leaves a cohort behind, PREVIEW none. The row bears the id of the flow run that the place names.

    A run that makes the same samples just now is waited for: what it made is then there. One whose process was killed is not;
    what that made was written down before (flows.leftovers).
    """
    catalog, flow_run_id = place.catalog, place.run or None
    run_id = _started(
        catalog,
        run_id=flow_run_id or str(uuid4()),
        class_name=cohort.class_name,
        recipe=cohort.recipe.name,
        recipe_specs=plain(cohort.recipe),
        samples=samples,
        flow_run_id=flow_run_id,
        flow_run_url=_url(flow_run_id),
        runtime=runtime(place),
        kind=kind,
    )
    run = Run(catalog, run_id)
    try:
        with liveness.beating(lambda: catalog.heartbeat(run_id)):
            yield run
    except BaseException as error:
        status, reason = ending.how(error)
        ending.write_down(place, cohort, catalog.run(run_id), status, reason)
        raise
    assert run.finished, "a run that ends without an error says how it went"


def _started(catalog: Catalog, **row: Any) -> str:
    """Start the run's row and return its id, behind another of the same class. Raises Stopped when told to stop meanwhile."""
    from tasks import states

    waits_for, began = None, time.monotonic()
    while True:
        try:
            started = catalog.start_run(**row, alone=row["kind"] == GENERATE)
        except RunGoing as going:
            if waits_for != going.row["run_id"]:
                waits_for = going.row["run_id"]
                log.info("%s  waits: %s", row["class_name"], going)
                states.waits(str(going))
            with waiting.counted():
                stopping.pause(_LOOK_EVERY_S)
            continue
        if waits_for:
            seconds = time.monotonic() - began
            log.info("%s  goes on after %.0f s of waiting for run %s", row["class_name"], seconds, waits_for[:8])
            states.goes_on(f"waited {seconds:.0f} s for run {waits_for[:8]}")
        return started


def _url(flow_run_id: str | None) -> str | None:
    from prefect.settings import get_current_settings

    base = get_current_settings().ui_url
    return f"{base}/runs/flow-run/{flow_run_id}" if base and flow_run_id else None


def runtime(place: Place) -> dict[str, Any]:
    """Return what of this machine and code a run's row records: versions, threads, batch shape, the commit."""
    return {
        "code": _revision(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "renderer_workers": place.renderers,
        "torch_threads": place.threads,
        "batch": place.batch,
        "device": place.device,
    }


def _revision() -> str | None:
    """Return the commit this code is of, with `+` behind it when it was changed since; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
