"""Generate: one class is one run.

    cad -> render -> edge ------+
    class, keywords -> caption -+-> image -> verdict (the whole cohort) -> catalog -> report

Launched by `dst run`, by `dst demo` and from the Prefect UI. Several classes are sub-flow runs of one parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow, task
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import Field

from flows import pending, recipes, runs
from flows.runner import threads
from storage.settings import Settings
from tasks import status
from tasks.cad import cad
from tasks.caption import caption
from tasks.catalog import catalog, check
from tasks.cohort import Cohort, Shard
from tasks.edge import edge
from tasks.image import image
from tasks.render import render
from tasks.report import report
from tasks.run import RunReport
from tasks.verdict import verdict

NAMED = 4
"""Classes that the name of a run lists; the others are counted."""

Samples = Annotated[int, Field(ge=1, le=1_000_000, description="Samples, divided evenly over the class's CAD models")]


@flow(
    name="generate",
    flow_run_name="{class_name} {recipe_name} {samples}",
    task_runner=threads(4),
)
def generate(
    class_name: str, samples: Samples = 200, recipe_name: str = "embedded", overrides: dict[str, Any] | None = None
) -> RunReport:
    """Make a class's images under a recipe. What the store has is kept; what is missing is made."""
    cohort = runs.cohort(Settings(), class_name, samples, recipes.resolve(recipe_name, overrides))
    runs.announce(cohort)
    with runs.recorded(cohort, samples, flow_run.get_id()) as run:
        shards = cohort.shards()
        models = over(cohort, cad, shards)
        renders = over(cohort, render, shards, models)
        edges = over(cohort, edge, shards, renders)
        captions = over(cohort, caption, shards)
        images = over(cohort, image, shards, edges, captions)
        verdicts = verdict.submit(cohort, images)
        counts = catalog.submit(cohort, run.run_id, verdicts)
        findings = check.submit(cohort, run.run_id, counts)
        run.finish(
            counts.result(), findings.result(), [f.result() for f in (*models, *renders, *edges, *captions, *images, verdicts)]
        )
    page = report(cohort, run.run_id)
    # It looks at every class: whatever makes several shows it once, at its own end.
    if flow_run.get_parent_flow_run_id() is None:
        status.show(pending.table(pending.class_status(Settings())))
    return run.summary(page)


def several() -> str:
    """Return the name of a run of several classes. Prefect's database refuses names of thousands of letters."""
    asked = flow_run.get_parameters()
    names, recipe = list(asked["class_names"]), asked.get("recipe_name", asked.get("recipe"))
    listed = ", ".join(names) if len(names) <= NAMED else f"{len(names)} classes, {', '.join(names[:NAMED])} ..."
    return f"{recipe} {asked['samples']} of {listed}"


@flow(name="generate-many", flow_run_name=several)
def generate_many(
    class_names: list[str], samples: Samples = 200, recipe_name: str = "embedded", overrides: dict[str, Any] | None = None
) -> list[RunReport]:
    """Make several classes, one sub-flow run each."""
    # One class's misfortune is not another's: each runs to its own end, then this run fails if any of them did.
    states = [generate(class_name, samples, recipe_name, overrides, return_state=True) for class_name in class_names]
    status.show(pending.table(pending.class_status(Settings())))
    return [state.result() for state in states]


def over(
    cohort: Cohort, stage: task, shards: Sequence[Shard], *upstream: Sequence[PrefectFuture[Any]]
) -> list[PrefectFuture[Any]]:
    """Submit a stage for every shard, each behind the same shard of the stages before it.

    A stage with something missing in the store does not ask Prefect's cache: the store is the truth.
    """
    fresh = stage.with_options(refresh_cache=runs.lacks(cohort, stage.name))
    return [fresh.submit(shard, cohort.recipe, *before) for shard, *before in zip(shards, *upstream, strict=True)]
