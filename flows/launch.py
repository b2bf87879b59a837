"""Launching runs from a terminal: plan first, start Prefect only when something is to be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows import recipes, runs
from storage.catalog.catalog import Catalog
from storage.keys import canonical_json
from storage.settings import Settings
from tasks.cohort import STAGES, Cohort
from tasks.page import report_path


def launch(
    settings: Settings,
    class_names: list[str],
    samples: int,
    recipe_name: str,
    overrides: Path | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Make what is missing of these classes; return the run ids, one a class. Nothing pending: no server, done in seconds."""
    console = Console(stderr=True)
    changes = recipes.read_overrides(overrides)
    recipe = recipes.resolve(recipe_name, changes)
    cohorts = [runs.cohort(settings, name, samples, recipe) for name in class_names]
    if dry_run:
        explain(settings, cohorts)
        return []
    done = {cohort.class_name: runs.complete(settings, cohort) for cohort in cohorts}
    todo = [cohort.class_name for cohort in cohorts if not done[cohort.class_name]]
    if todo:
        done |= _start(settings, console, todo, samples, recipe_name, changes)
    for cohort in cohorts:
        _say(settings, console, cohort, str(done[cohort.class_name]), made_now=cohort.class_name in todo)
    return [str(done[cohort.class_name]) for cohort in cohorts]


def explain(settings: Settings, cohorts: list[Cohort]) -> None:
    """Print the resolved recipe, what is there, what is missing and how many Prefect task runs it would take."""
    console = Console()
    console.print_json(canonical_json(cohorts[0].recipe))
    table = Table("class", "samples", *STAGES, "verdict", "task runs", title="still to be made")
    for cohort in cohorts:
        missing = runs.pending(settings, cohort)
        stages = [str(missing.get(stage, 0)) for stage in (*STAGES, "verdict")]
        table.add_row(cohort.class_name, str(len(cohort.samples)), *stages, str(runs.task_runs(cohort)))
    console.print(table)


def _start(
    settings: Settings, console: Console, class_names: list[str], samples: int, recipe_name: str, changes: dict[str, Any]
) -> dict[str, str | None]:
    from flows.prefect_env import prepare

    prepare(settings)
    console.print("starting Prefect ...", style="dim")
    from flows.generate import generate, generate_many
    from flows.terminal import watched

    with watched():
        if len(class_names) == 1:
            reports = [generate(class_names[0], samples, recipe_name, changes)]
        else:
            reports = generate_many(class_names, samples, recipe_name, changes)
    return {report["class_name"]: report["run_id"] for report in reports}


def _say(settings: Settings, console: Console, cohort: Cohort, run_id: str, made_now: bool) -> None:
    """Print how a run went: what is new, what there is, and where."""
    run = Catalog(settings.catalog, settings.store).run(run_id)
    counts = run["counts"] or {}
    state = run["status"] if made_now else f"{run['status']} already, nothing to make"
    line = "  ".join(f"{counts.get(name, 0)} {name}" for name in ("made", "kept", "dropped", "failed"))
    console.print(f"[bold]{cohort.class_name}[/bold] ({cohort.recipe.name}, {len(cohort.samples)} samples): {state}.  {line}")
    if run["status"] == "invalid":
        console.print(f"  expectations that failed: {run['reason']}", style="red", markup=False)
    console.print(f"  report: {report_path(settings, run_id)}", markup=False, highlight=False, soft_wrap=True)
