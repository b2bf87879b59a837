"""`dst retry`: what failed is tried again, and nothing else.

Enters: a class, a stage, a reason or samples, all of them optional. Leaves: the matching samples made, or failed again with a
reason, under the recipe and for the number of samples of the class's last run.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from flows import recipes
from flows.commands.run import launch
from flows.commands.terminal import print_rows
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.plan.failures import Failure, failures, forget_failures, last_run
from tasks.plan.place import Place
from tasks.plan.ready import ready


def retry(
    settings: Settings,
    class_name: str | None = None,
    stage: str | None = None,
    reason: str | None = None,
    samples: Collection[str] | None = None,
) -> list[str]:
    """Try failed samples again; return the runs that did. Nothing that matches: one line, and nothing is started.

    A class whose last run did not end goes on with it where nothing more particular was asked for. Raises ValueError for a class
    or samples that are not there.
    """
    place = Place.of(settings)
    catalog = place.catalog
    names = _classes(catalog, class_name, samples)
    found = {name: failures(place, name, stage, reason, samples) for name in names}
    broken = [] if stage or reason or samples else [name for name in names if _broke_off(catalog, name)]
    if not any(found.values()) and not broken:
        print(_nothing(place, names, stage, reason, samples))
        return []
    print_rows(_counted([failure for failed in found.values() for failure in failed]), title="to be tried again")
    run_ids: list[str] = []
    # Before anything is forgotten.
    ready(place)
    for name, failed in found.items():
        run = last_run(catalog, name)
        if run is None or not (failed or name in broken):
            continue
        if name in broken:
            print(f"{name}: the last run ({run['status']}: {run['reason']}) did not end; going on with it")
        # Planned before anything is forgotten: a recipe that cannot be obeyed any more must not cost the reasons.
        recipes.recorded(run["recipe_specs"]).pinned()
        again = recipes.as_overrides(run["recipe_specs"])
        forget_failures(place, name, stage, reason, samples)
        run_ids += launch(settings, [name], run["samples"], again["name"], again["overrides"])
        still = {failure.sample_id for failure in failures(place, name)}
        failed_again = sum(failure.sample_id in still for failure in failed)
        if failed:
            print(f"{name}: {len(failed) - failed_again} made now, {failed_again} failed again")
    return run_ids


def _broke_off(catalog: Catalog, class_name: str) -> bool:
    run = last_run(catalog, class_name)
    return run is not None and run["status"] in ("stopped", "failed", "crashed")


def _classes(catalog: Catalog, class_name: str | None, samples: Collection[str] | None) -> list[str]:
    known = catalog.classes()
    if class_name is not None and class_name not in known:
        close = difflib.get_close_matches(class_name, known, n=1)
        meant = f'; did you mean "{close[0]}"?' if close else ""
        raise ValueError(f'no such class "{class_name}" in the catalog{meant} See: dst cad list')
    if samples is None:
        return known if class_name is None else [class_name]
    classes = {sample: catalog.class_of_sample(sample) for sample in samples}
    unknown = [sample for sample, found in classes.items() if found is None]
    if unknown:
        raise ValueError(f'no sample "{unknown[0]}" in the catalog; failed ones: dst sql "{_FAILED}"')
    return sorted({found for found in classes.values() if found is not None and class_name in (None, found)})


_FAILED = "select sample_id, stage, reason from samples where status = 'failed' and in_cohort = 1"


def _nothing(place: Place, names: Sequence[str], stage: str | None, reason: str | None, samples: Collection[str] | None) -> str:
    asked = "".join(
        [
            f" at {stage}" if stage else "",
            f" with reason {reason}" if reason else "",
            f" among {', '.join(sorted(samples))}" if samples else "",
        ]
    )
    others = Counter((f.stage, f.reason) for name in names for f in failures(place, name))
    there = "; failed are: " + ", ".join(f"{n} at {s} ({r})" for (s, r), n in others.most_common()) if others else ""
    where = f'"{names[0]}"' if len(names) == 1 else f"{len(names)} classes"
    return f"nothing to try again: no failed sample in {where}{asked}{there}"


def _counted(found: Sequence[Failure]) -> list[dict[str, Any]]:
    counts = Counter((f.class_name, f.recipe, f.stage, f.reason) for f in found)
    example = {(f.class_name, f.recipe, f.stage, f.reason): f.sample_id for f in reversed(found)}
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
