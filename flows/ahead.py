"""Ahead: what a run would make and what that takes, before anything is started. Knows no Prefect.

Enters: classes, how many samples, a recipe's name and overrides. Leaves: the cohorts, what of them is cached and missing as a
table, and the costs of the rest in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import estimate, recipes, runs
from storage.stages import OF_A_SAMPLE
from tasks import stages
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place


def planned(
    place: Place,
    class_names: Sequence[str],
    samples: int,
    recipe_name: str,
    overrides: Path | Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Cohort]]:
    """Return the overrides, and the cohort of each class. Raises ValueError in one line."""
    changes = dict(overrides) if isinstance(overrides, Mapping) else recipes.read_overrides(overrides)
    recipe = recipes.resolve(recipe_name, changes)
    return changes, [runs.cohort(place, name, samples, recipe) for name in class_names]


def missing_of(place: Place, cohorts: Sequence[Cohort]) -> list[dict[str, int]]:
    """Return stage -> artifacts still to be made, of each cohort: a look for each of them, so it is taken once."""
    return [runs.missing(place.store, cohort) for cohort in cohorts]


def table(place: Place, cohorts: Sequence[Cohort], lacking: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return a row for each class: of each stage how much is cached and missing, and how many task runs the rest takes.

    lacking: as `missing_of` returns it.
    """
    rows: list[dict[str, Any]] = []
    over_all = [stage.name for stage in stages.OF_A_COHORT if any(stage.parts(cohort.recipe) for cohort in cohorts)]
    for cohort, missing in zip(cohorts, lacking, strict=True):
        rows.append(
            {
                "class": cohort.class_name,
                "samples": len(cohort.samples),
                **{stage: _cached(place, cohort, stage, missing.get(stage, 0)) for stage in OF_A_SAMPLE},
                **{stage: "missing" if missing.get(stage) else "cached" for stage in over_all},
                "task runs": runs.task_runs(cohort) if missing else 0,
            }
        )
    return rows


def costs(place: Place, cohorts: Sequence[Cohort], lacking: Sequence[Mapping[str, int]]) -> str:
    """Return, in words, the time and the disk that making what is missing of cohorts under one recipe takes."""
    total = Counter[str]()
    for cohort, missing in zip(cohorts, lacking, strict=True):
        total.update(_priced(cohort, missing))
    return estimate.in_words(estimate.costs(place, cohorts[0].recipe), total)


def _cached(place: Place, cohort: Cohort, stage: str, missing: int) -> str:
    cached = sum(place.store.has(stage, key) for key in cohort.keys(stage))
    return f"{cached} cached, {missing} missing" if missing else f"{cached} cached"


def _priced(cohort: Cohort, missing: Mapping[str, int]) -> dict[str, int]:
    """Return what costs something: scores and verdict are made over all samples, and take their time for each."""
    of_images = {stage.name for stage in stages.OF_A_COHORT if stage.of_images}
    return {stage: len(cohort.samples) if stage in of_images else count for stage, count in missing.items()}
