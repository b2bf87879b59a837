"""Again: which failed samples are to be tried again, and setting them aside. Knows no Prefect.

Enters: a class, a stage, a reason or samples, all of them optional. Leaves: for each class with something to try again, the
recipe and the number of samples of its last run, with what failed set aside so that a run makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows import recipes
from models.kinds import meant
from storage.catalog.catalog import Catalog
from tasks.plan.failures import Failure, failures, forget_failures, last_run
from tasks.plan.place import Place


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which failed samples are meant; None means all."""

    class_name: str | None = None
    """Only of this class."""
    stage: str | None = None
    """Only what failed at this stage."""
    reason: str | None = None
    """Only what failed for this reason."""
    samples: Collection[str] | None = None
    """Only these."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """A class with something to try again."""

    class_name: str
    """Which."""
    failed: list[Failure] = field(default_factory=list)
    """What failed and matches."""
    run: Mapping[str, Any]
    """The row of its last run."""
    broke_off: bool
    """Whether that run did not end: then it is gone on with, whatever failed in it."""

    @property
    def samples(self) -> int:
        """The class's quota."""
        return int(self.run["samples"])


def found(place: Place, asked: Asked) -> list[Again]:
    """Return the classes with something to try again. Raises ValueError for a class or samples that are not there."""
    whole = not (asked.stage or asked.reason or asked.samples)
    classes = []
    for name in _classes(place.catalog, asked):
        run = last_run(place.catalog, name)
        if run is None:
            continue
        failed = failures(place, name, asked.stage, asked.reason, asked.samples)
        broke_off = whole and run["status"] in ("failed", "crashed", "stopped")
        if failed or broke_off:
            classes.append(Again(class_name=name, failed=failed, run=run, broke_off=broke_off))
    return classes


def set_aside(place: Place, again: Again, asked: Asked) -> dict[str, Any]:
    """Set what failed aside; return its recipe as the arguments `name` and `overrides` of a run."""
    # Planned before anything is forgotten: a recipe that cannot be obeyed any more must not cost the reasons.
    recipes.recorded(again.run["recipe_specs"]).pinned()
    forget_failures(place, again.class_name, asked.stage, asked.reason, asked.samples)
    return recipes.as_overrides(again.run["recipe_specs"])


def outcome(place: Place, again: Again) -> str:
    """Return what became of the samples that were tried again, in words."""
    still = {failure.sample_id for failure in failures(place, again.class_name)}
    failed = sum(failure.sample_id in still for failure in again.failed)
    return f"{again.class_name}: {len(again.failed) - failed} made now, {failed} failed again"


def nothing(place: Place, asked: Asked) -> str:
    """Return the line that says why nothing is tried again, and what else has failed."""
    names = _classes(place.catalog, asked)
    which = "".join(
        [
            f" at {asked.stage}" if asked.stage else "",
            f" with reason {asked.reason}" if asked.reason else "",
            f" among {', '.join(sorted(asked.samples))}" if asked.samples else "",
        ]
    )
    others = Counter((f.stage, f.reason) for name in names for f in failures(place, name))
    there = "; failed are: " + ", ".join(f"{n} at {s} ({r})" for (s, r), n in others.most_common()) if others else ""
    where = f'"{names[0]}"' if len(names) == 1 else f"{len(names)} classes"
    return f"nothing to try again: no failed sample in {where}{which}{there}"


def counted(classes: Sequence[Again]) -> list[dict[str, Any]]:
    """Return the table of what is tried again: a row for each class, stage and reason."""
    failed = [failure for again in classes for failure in again.failed]
    counts = Counter((f.class_name, f.recipe, f.stage, f.reason) for f in failed)
    example = {(f.class_name, f.recipe, f.stage, f.reason): f.sample_id for f in reversed(failed)}
    return [
        {
            "class": group[0],
            "recipe": group[1],
            "failed at": group[2],
            "reason": group[3],
            "samples": count,
            "such as": example[group],
        }
        for group, count in counts.items()
    ]


def _classes(catalog: Catalog, asked: Asked) -> list[str]:
    known, class_name = catalog.classes(), asked.class_name
    if class_name is not None and class_name not in known:
        raise ValueError(f'no such class "{class_name}" in the catalog{meant(class_name, known)} See: dst cad list')
    if asked.samples is None:
        return known if class_name is None else [class_name]
    classes = {sample: catalog.class_of_sample(sample) for sample in asked.samples}
    unknown = [sample for sample, found in classes.items() if found is None]
    if unknown:
        raise ValueError(f'no sample "{unknown[0]}" in the catalog; failed ones: dst sql "{_FAILED}"')
    return sorted({found for found in classes.values() if found is not None and class_name in (None, found)})


_FAILED = "select sample_id, stage, reason from samples where status = 'failed' and in_cohort = 1"
