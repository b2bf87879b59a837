"""Launching runs from a terminal: plan first, start Prefect only when something is to be made."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from flows import ahead, offers, runners, runs
from flows.commands.terminal import print_rows
from flows.runners import LOCAL, RunnerName
from storage.keys import canonical_json
from storage.settings import Settings
from storage.stages import OF_A_COHORT
from tasks.plan.cohort import Cohort
from tasks.plan.failures import failures
from tasks.plan.pages import report_path
from tasks.plan.place import Place
from tasks.run import in_words, work_in_words


def launch(
    settings: Settings,
    class_names: list[str],
    samples: int,
    recipe_name: str,
    overrides: Path | Mapping[str, Any] | None = None,
    dry_run: bool = False,
    verbose: bool = False,
    runner: RunnerName = LOCAL,
) -> list[str]:
    """Make what is missing of these classes; return the run ids, one a class. Nothing pending: no server, done in seconds.

    overrides: of the recipe, or a TOML file with them. verbose: a dry run prints the resolved recipe as well. runner: where
    shards are made, see flows.cluster.
    """
    console, place = Console(stderr=True), Place.of(settings)
    runners.check(runner)
    changes, cohorts = ahead.planned(place, class_names, samples, recipe_name, overrides)
    if dry_run:
        explain(place, cohorts, verbose)
        return []
    done = {cohort.class_name: runs.complete(place, cohort) for cohort in cohorts}
    todo = [cohort.class_name for cohort in cohorts if not done[cohort.class_name]]
    for cohort in cohorts:
        if cohort.class_name in todo:
            runs.see_that_it_can_be_made(place, cohort)
    if todo:
        done |= _start(settings, console, todo, samples, recipe_name, changes, runner)
    for cohort in cohorts:
        _say(place, console, cohort, str(done[cohort.class_name]), made_now=cohort.class_name in todo)
    return [str(done[cohort.class_name]) for cohort in cohorts]


def look_ahead(
    settings: Settings, class_names: list[str], samples: int, recipe_name: str, overrides: Path | Mapping[str, Any] | None = None
) -> list[Path]:
    """Make the first few samples of each class and a picture of them; print where it is and what the whole run would cost.

    The class's present cohort, if there is one, stays as it is.
    """
    from flows.prefect_env import own_server, prepare

    console, place = Console(stderr=True), Place.of(settings)
    changes, cohorts = ahead.planned(place, class_names, samples, recipe_name, overrides)
    prepare(settings)
    from flows.commands.terminal import watched
    from flows.preview import SAMPLES, preview
    from tasks.preview import write

    sheets = []
    for cohort in cohorts:
        few = replace(cohort, samples=cohort.samples[:SAMPLES])
        # What the filter would say is no part of a preview.
        if set(runs.to_make(place.store, few)) - set(OF_A_COHORT):
            runs.see_that_it_can_be_made(place, few)
            console.print("starting Prefect ...", style="dim")
            own_server(settings)
            with watched():
                preview(cohort.class_name, len(few.samples), recipe_name, changes)
        sheets.append(write(place, few))
        print(f"{cohort.class_name} ({cohort.recipe.name}): {len(few.samples)} samples in {sheets[-1]}")
        print(f"  all {len(cohort.samples)}: {ahead.costs(place, [cohort], ahead.missing_of(place, [cohort]))}")
    return sheets


def explain(place: Place, cohorts: list[Cohort], verbose: bool = False) -> None:
    """Print what is cached, what is missing, what that takes in time and disk, and how many task runs.

    verbose: behind it the resolved recipe, which is longer than a screen.
    """
    lacking = ahead.missing_of(place, cohorts)
    print_rows(ahead.table(place, cohorts, lacking), "cached and missing")
    print(f"to make what is missing: {ahead.costs(place, cohorts, lacking)}")
    for line in offers.in_words(cohorts[0].recipe, sum(missing.get("image", 0) for missing in lacking)):
        print(line)
    for why in dict.fromkeys(
        why for cohort in cohorts for why in (runs.cannot_paint(place, cohort), runs.cannot_judge(place, cohort))
    ):
        if why:
            print(why)
    if verbose:
        print(f"the recipe {cohorts[0].recipe.name}:")
        Console(width=None if sys.stdout.isatty() else 160).print_json(canonical_json(cohorts[0].recipe))


def _start(
    settings: Settings,
    console: Console,
    class_names: list[str],
    samples: int,
    recipe_name: str,
    changes: dict[str, Any],
    runner: RunnerName,
) -> dict[str, str | None]:
    from flows.prefect_env import own_server, prepare

    prepare(settings)
    console.print("starting Prefect ...", style="dim")
    from flows.commands.terminal import watched
    from flows.generate import generate, generate_many

    own_server(settings)
    with watched():
        if len(class_names) == 1:
            reports = [generate(class_names[0], samples, recipe_name, changes, runner)]
        else:
            reports = generate_many(class_names, samples, recipe_name, changes, runner)
    return {report["class_name"]: report["run_id"] for report in reports}


def _say(place: Place, console: Console, cohort: Cohort, run_id: str, made_now: bool) -> None:
    """Print how a run went: what is new, what there is, and where."""
    run = place.catalog.run(run_id)
    counts = run["counts"] or {}
    state = run["status"] if made_now else f"{run['status']} already, nothing to make"
    line = f"{counts.get('made', 0)} made: {in_words(counts)}"
    took = work_in_words(run["seconds"] or {}, run["waited"] or {}) if made_now else ""
    title = f"[bold]{cohort.class_name}[/bold] ({cohort.recipe.name}, {len(cohort.samples)} samples)"
    console.print(f"{title}: {state}. {line}{f'; {took}' if took else ''}", soft_wrap=True)
    if counts.get("failed"):
        _say_why(place, console, cohort.class_name)
    if run["status"] == "invalid":
        console.print(f"  expectations that failed: {run['reason']}", style="red", markup=False, soft_wrap=True)
    console.print(f"  report: {report_path(place.home, run_id)}", markup=False, highlight=False, soft_wrap=True)


def _say_why(place: Place, console: Console, class_name: str) -> None:
    """Print each reason with one sample that shows it and the command that repeats just that one."""
    found = failures(place, class_name)
    for (stage, reason), count in Counter((failure.stage, failure.reason) for failure in found).most_common():
        example = next(failure for failure in found if (failure.stage, failure.reason) == (stage, reason))
        console.print(f"  {count} failed at {stage}: {reason}", style="red", markup=False, soft_wrap=True)
        console.print(f"    {example.detail}", markup=False, highlight=False, soft_wrap=True)
    console.print(f'  to try them again: dst retry "{class_name}"', markup=False, highlight=False, soft_wrap=True)
