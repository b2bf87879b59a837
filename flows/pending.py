"""What is still to be made, class by class: what `dst status`, `dst retry` and the scan for new CAD models ask.

Enters: catalog and store. Leaves: for each class, under the recipe of its last run, how many samples are done, pending and failed
at each stage, and which CAD models its cohort does not have yet. A class whose last run ended is counted from rows; only where
something changed since, or the run did not end, is its cohort planned and looked up in the store. Starts nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows import recipes, runs
from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.keys import plain
from storage.stages import OF_A_COHORT, OF_A_SAMPLE
from tasks import stages
from tasks.intake import foreign
from tasks.plan import cohort as planning
from tasks.plan.cohort import Cohort, Planned
from tasks.plan.failures import GENERATE
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe

log = logging.getLogger("dst")

Row = dict[str, Any]

UNFINISHED = ("stopped", "failed", "crashed")
"""How a run ends that did not make all that it was to make."""


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """How far a class is at one stage, in samples."""

    stage: str
    """One of storage.stages."""
    done: int
    """Samples that have it."""
    pending: int
    """Samples for which it is still to be made."""
    failed: int
    """Samples that failed here; later stages do not count them."""


@dataclass(frozen=True, kw_only=True)
class ClassStatus:
    """How far a class is under one recipe."""

    class_name: str
    """The class."""
    cad_models: int
    """Usable CAD models."""
    rejected: int
    """CAD models that were refused, with a reason."""
    new_cad_models: tuple[str, ...] = ()
    """cad_id of usable CAD models that belong into the cohort and are not in it, or are in it otherwise (aligned anew)."""
    recipe: str | None = None
    """Name of the last run's recipe; None: nothing was run yet."""
    recipe_specs: Mapping[str, Any] = field(default_factory=dict)
    """That recipe in full, as the run's row spells it (see flows.recipes.recorded)."""
    recipe_changed: bool = False
    """The recipe of that name says something else today."""
    samples: int = 0
    """What the last run was asked for."""
    stages: tuple[StageStatus, ...] = ()
    """Every stage, in order."""
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(stage, reason) -> samples."""
    kept: int = 0
    """Samples of the present cohort that the filter keeps."""
    dropped: int = 0
    """Samples of the present cohort that it drops."""
    not_judged: int = 0
    """Samples of the present cohort that no rule could decide over."""
    fresh: Mapping[str, int] = field(default_factory=dict)
    """Stage -> samples whose artifact was made since the last run began; only of one that has not ended well."""
    run_id: str | None = None
    """The last run."""
    run_status: str | None = None
    """running, complete, invalid, stopped, failed or crashed."""
    run: Row = field(default_factory=dict)
    """The last run's row."""
    last: bool = True
    """Whether this is the recipe of the class's last run."""

    def stage(self, name: str) -> StageStatus:
        """Return one stage; nothing done and nothing pending where nothing was run yet."""
        return next((s for s in self.stages if s.stage == name), StageStatus(stage=name, done=0, pending=0, failed=0))

    @property
    def pending(self) -> int:
        """How many samples have still something to be made, their verdict included."""
        return max((stage.pending for stage in self.stages), default=0)


def class_status(place: Place, class_name: str | None = None, every_recipe: bool = False) -> list[ClassStatus]:
    """Return how far each class is (or one class) under the recipe of its last run, in order of name.

    every_recipe: one entry for each recipe a class was run with, the last one first. Raises CatalogMissing.
    """
    catalog = place.catalog
    names = catalog.classes() if class_name is None else [class_name]
    last = last_runs(catalog, class_name)
    models: dict[str, list[Row]] = {name: [] for name in names}
    for row in catalog.cad_models(class_name, status=None):
        models.setdefault(row["class_name"], []).append(row)
    today = _Today(catalog)
    members = catalog.counted(class_name)
    found = []
    for name in sorted(models):
        own: list[Row | None] = [*last.get(name, [])]
        for run in (own if every_recipe else own[:1]) or [None]:
            status = _status(place.store, catalog, name, models[name], run, members, today)
            found.append(replace(status, last=run is None or run is own[0]))
    return found


def stale(status: ClassStatus) -> list[str]:
    """Return why another run of a class would make something, each reason by itself; none where it would not."""
    reasons = []
    if count := len(status.new_cad_models):
        reasons.append(f"{count} CAD model{'s are' if count != 1 else ' is'} not in its cohort")
    if status.recipe_changed:
        reasons.append("its recipe has changed")
    if status.run_status in UNFINISHED:
        reasons.append(f"its last run {status.run_status} ({status.run['reason']})")
    elif status.pending and not reasons:
        reasons.append(f"{status.pending} sample{'s are' if status.pending != 1 else ' is'} pending")
    return reasons


def last_runs(catalog: Catalog, class_name: str | None = None) -> dict[str, list[Row]]:
    """Return class -> the last run under each recipe that left (or is to leave) a cohort behind, the newest first."""
    found: dict[str, dict[str, Row]] = {}
    for row in catalog.runs(class_name):
        if row["kind"] == GENERATE:
            found.setdefault(row["class_name"], {}).setdefault(row["recipe"], row)
    return {name: list(by_recipe.values()) for name, by_recipe in found.items()}


def recorded_cohort(
    catalog: Catalog, run: Mapping[str, Any], samples: int | None = None, usable: Sequence[Row] | None = None
) -> Cohort:
    """Return the cohort a run was to make, with the CAD models that there are now. Raises ValueError where that makes no sense.

    usable: rows of the class's usable CAD models, where they are at hand. The generator's revision is the recorded one: it is not
    compared with what lies on disk today.
    """
    recipe = recipes.recorded(run["recipe_specs"])
    captions = foreign.captions_of(catalog, run["class_name"], recipe)
    rows = catalog.cad_models(run["class_name"]) if usable is None else usable
    models = [runs.cad_model(row, captions) for row in rows]
    return planning.plan(run["class_name"], recipe, models, int(run["samples"]) if samples is None else samples)


class _Today:
    """What recipes say today, each worked out once: a folder's digest takes a moment."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._recipes: dict[str, Recipe | None] = {}

    def differs(self, class_name: str, name: str, recorded: Mapping[str, Any]) -> bool:
        """Say whether a run of the class would obey other specs today; imported captions are pinned to what there is."""
        if name not in self._recipes:
            try:
                self._recipes[name] = recipes.resolve(name).pinned()
            except ValueError as error:
                # One of the user's own that is wrong by now must not cost what can be said of all the other classes.
                if name in recipes.names():
                    log.warning("recipe %s: %s", name, error)
                self._recipes[name] = None
        if (recipe := self._recipes[name]) is None:
            return False
        try:
            recipe, _ = foreign.pinned(self._catalog, class_name, recipe)
        except ValueError:
            return False
        return bool(plain(recipe) != dict(recorded))


def _status(
    store: ArtifactStore,
    catalog: Catalog,
    name: str,
    models: Sequence[Row],
    run: Row | None,
    cohorts: Mapping[tuple[str, str], Sequence[Row]],
    today: _Today,
) -> ClassStatus:
    usable = [row for row in models if row["status"] == "ok"]
    known: dict[str, Any] = {
        "class_name": name,
        "cad_models": len(usable),
        "rejected": sum(row["status"] == "rejected" for row in models),
    }
    if run is None:
        return ClassStatus(**known, new_cad_models=tuple(row["cad_id"] for row in usable))
    known |= {
        "recipe": run["recipe"],
        "recipe_specs": run["recipe_specs"],
        "recipe_changed": today.differs(name, run["recipe"], run["recipe_specs"]),
        "samples": run["samples"],
        "run_id": run["run_id"],
        "run_status": run["status"],
        "run": run,
    }
    members = cohorts.get((name, run["recipe"]), ())
    belonging = {row["cad_id"]: row["cad_key"] for row in usable[: run["samples"]]}
    have = {row["cad_id"]: row["cad_key"] for row in members}
    known["new_cad_models"] = tuple(cad_id for cad_id, key in sorted(belonging.items()) if have.get(cad_id) != key)
    settled = belonging == have and sum(row["samples"] for row in members) == run["samples"]
    if settled and run["status"] in ("complete", "invalid") and _keys_stand(catalog, usable, run, members):
        counts = run["counts"] or {}
        return ClassStatus(
            **known,
            stages=_from_rows(members, run["recipe_specs"]),
            failures=_reasons(members),
            **{name: counts.get(name, 0) for name in ("kept", "dropped", "not_judged")},
        )
    try:
        cohort = recorded_cohort(catalog, run, usable=usable)
    except ValueError:
        # No usable CAD model is left, or other code wrote the recipe: what rows say is all there is to say.
        return ClassStatus(
            **known,
            stages=_from_rows(members, run["recipe_specs"]),
            failures=_reasons(members),
            **vars(catalog.decided(name, run["recipe"])),
        )
    return ClassStatus(
        **known, **_looked_up(store, cohort, since=run["started_at"]), **vars(catalog.decided(name, run["recipe"]))
    )


def said_since(model: Row, run: Row) -> bool:
    """Say whether something was said about a CAD model since a run began; by their numbers, as a clock may have gone back."""
    if model["entry"] is not None and run["number"] is not None:
        return bool(model["entry"] > run["number"])
    return bool(model["added_at"] > run["started_at"])


def _keys_stand(catalog: Catalog, usable: Sequence[Row], run: Row, members: Sequence[Row]) -> bool:
    """Say whether the cohort, planned today, has the keys that its rows have: judged by the first view of CAD models.

    Of one CAD model, or of all where something was said about one of them since the run.
    """
    said = any(said_since(row, run) for row in usable)
    try:
        planned = recorded_cohort(catalog, run, min(len(usable), run["samples"]) if said else 1, usable)
    except ValueError:
        return False
    first = {row["cad_id"]: row for row in members if row["first"] == 0}
    return all(_same_keys(sample, first.get(sample.sample.cad_id)) for sample in planned.samples)


def _same_keys(planned: Planned, row: Row | None) -> bool:
    return row is not None and all(row[f"{stage}_key"] in (None, planned.key(stage)) for stage in OF_A_SAMPLE)


def _from_rows(members: Sequence[Row], specs: Mapping[str, Any]) -> tuple[StageStatus, ...]:
    left = sum(row["samples"] for row in members)
    counted = []
    for stage in OF_A_SAMPLE:
        failed = sum(row["samples"] for row in members if row["status"] == "failed" and row["stage"] == stage)
        left -= failed
        counted.append(StageStatus(stage=stage, done=left, pending=0, failed=failed))
    judges = ((specs or {}).get("verdict") or {}).get("judges") or {}
    taught = any(judge.get("readout") for judge in judges.values())
    over_all = [stage for stage in OF_A_COHORT if stage != "readout" or taught]
    return (*counted, *(StageStatus(stage=stage, done=left, pending=0, failed=0) for stage in over_all))


def _reasons(members: Sequence[Row]) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for row in members:
        if row["status"] == "failed":
            found[str(row["stage"]), str(row["reason"])] += row["samples"]
    return dict(found.most_common())


def _looked_up(store: ArtifactStore, cohort: Cohort, since: str) -> dict[str, Any]:
    done, pending, failed, fresh = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    reasons: Counter[tuple[str, str]] = Counter()
    for planned in cohort.samples:
        for stage in OF_A_SAMPLE:
            there = [store.find(stage, key) for key in planned.keys[stage].values()]
            found = [artifact.record for artifact in there if artifact is not None]
            # Records name the second, runs the microsecond.
            fresh[stage] += bool(found) and max(record.created_at for record in found)[:19] >= since[:19]
            wrong = next((record for record in found if record.outcome == "failed"), None)
            if wrong is not None:
                failed[stage] += 1
                reasons[stage, str(wrong.reason)] += 1
                break
            (done if len(found) == len(there) else pending)[stage] += 1
    made = cohort.made(store) if not pending else []
    judged = cohort.judged(made)
    waiting = len(cohort.samples) - failed.total()
    counted = [StageStatus(stage=s, done=done[s], pending=pending[s], failed=failed[s]) for s in OF_A_SAMPLE]
    for over_all in stages.OF_A_COHORT:
        if not over_all.parts(cohort.recipe):
            continue
        complete = all(store.has(over_all.name, key) for (at, _), key in judged.items() if at == over_all.name)
        ready = complete and (bool(made) or not over_all.of_images)
        counted.append(StageStatus(stage=over_all.name, done=waiting if ready else 0, pending=0 if ready else waiting, failed=0))
    return {"stages": tuple(counted), "failures": dict(reasons.most_common()), "fresh": dict(fresh)}
