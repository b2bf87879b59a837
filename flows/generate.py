"""Generate: one class is one run.

    cad -> render -> control ---+
    class, keywords -> caption -+-> image -> score -> verdict (the whole cohort) -> catalog -> report
    cad (all of the class) -> readout (of the judges that are taught) -^

Launched by `dst run`, by `dst demo` and from the Prefect UI. Several classes are sub-flow runs of one parent.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import Field

from flows import cluster, deciding, leftovers, recipes, runs
from flows.pending import class_status
from flows.runner import results, threads
from flows.runners import LOCAL, RunnerName
from flows.stops import stoppable
from flows.table import table
from storage.settings import Settings
from tasks import progress, stages, status, stopping
from tasks.catalog import catalog, check
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tasks.plan.ready import ready
from tasks.report import report
from tasks.run import RunReport

NAMED = 4
"""Classes that the name of a run lists; the others are counted."""

Samples = Annotated[int, Field(ge=1, le=1_000_000, description="Samples, divided evenly over the class's CAD models")]
Made = dict[str, list[PrefectFuture[Any]]]
"""Stage -> its task runs."""


@flow(
    name="generate",
    flow_run_name="{class_name} {recipe_name} {samples}",
    task_runner=threads(4),
)
@stoppable
def generate(
    class_name: str,
    samples: Samples = 200,
    recipe_name: str = "embedded",
    overrides: dict[str, Any] | None = None,
    runner: RunnerName = LOCAL,
) -> RunReport:
    """Make a class's images under a recipe. What the store has is kept; what is missing is made.

    runner: where shards are made (flows.cluster); the cluster's address is a setting, since whoever fills in a form must not
    make this machine trust another.
    """
    settings = Settings()
    place = Place.of(settings, run=str(flow_run.get_id()))
    cohort = runs.cohort(place, class_name, samples, recipes.resolve(recipe_name, overrides))
    leftovers.bury(place)
    runs.announce(place, cohort)
    with runs.on_record(place, cohort, samples) as run, one_bar_a_stage(place, cohort):
        ready(place)
        runs.see_that_it_can_be_made(place, cohort)
        with cluster.at(place, cohort, runner, settings.cluster, settings.cluster_size):
            made = samples_of(place, cohort, readouts=True)
            judged = verdicts_on(place, cohort, made)
            runs.wait(made | judged)
        counts = catalog.submit(place, cohort, run.run_id, *judged["verdict"])
        findings = check.submit(place, cohort, run.run_id, counts)
        counted, found = results([counts, findings])
        run.finish(counted, found)
    # Behind the run's end: its own verdict is on record first, and then what a person has decided shows again.
    deciding.after_a_run(place, cohort)
    page = report(place, cohort, run.run_id)
    # It looks at every class: whatever makes several shows it once, at its own end.
    if flow_run.get_parent_flow_run_id() is None:
        status.show(table(class_status(place)))
    return run.summary(page)


def one_bar_a_stage(place: Place, cohort: Cohort) -> AbstractContextManager[None]:
    """Return what shows each stage of the cohort's run as one bar, over all of its shards or judges, while it is entered."""
    shards = cohort.shards()
    totals = {stage.name: sum(len(shard.keys(stage.name)) for shard in shards) for stage in stages.OF_A_SAMPLE}
    # Readouts and judges say how many of a hundred they have done.
    of_all = {stage.name: 100 * len(stage.parts(cohort.recipe)) for stage in stages.OF_A_COHORT if stage.name != "verdict"}
    totals |= {stage: total for stage, total in of_all.items() if total}
    return progress.whole(place.run, cohort.class_name, totals)


def samples_of(place: Place, cohort: Cohort, *, readouts: bool = False) -> Made:
    """Submit every stage of a sample for every shard, each behind the same shard of the stages it reads (tasks/stages.py).

    A stage with something missing in the store does not ask Prefect's cache: the store is the truth. readouts: also what looks at
    no image, as soon as what it reads is submitted, so that it is taught while the rest goes on.
    """
    shards, made = cohort.shards(), Made()
    for stage in stages.OF_A_SAMPLE:
        task = stage.run().with_options(refresh_cache=runs.lacks(place.store, cohort, stage.name))
        behind = zip(shards, *(made[name] for name in stage.reads), strict=True)
        made[stage.name] = [task.submit(place, shard, cohort.recipe, *before) for shard, *before in behind]
        for other in stages.OF_A_COHORT if readouts else ():
            if not other.of_images and other.name not in made and set(other.reads) <= set(made):
                made[other.name] = _over_all(place, cohort, other, made)
    return made


def verdicts_on(place: Place, cohort: Cohort, made: Made) -> Made:
    """Submit every stage that looks at all images of the cohort together, once for each judge and for the verdict."""
    judged = Made()
    for stage in stages.OF_A_COHORT:
        if stage.name not in made:
            judged[stage.name] = _over_all(place, cohort, stage, made | judged)
    return judged


def _over_all(place: Place, cohort: Cohort, stage: stages.CohortStage, made: Made) -> list[PrefectFuture[Any]]:
    """Submit a stage of the class as a whole, each part behind all that it reads, of readouts behind its own."""
    submitted: dict[str, PrefectFuture[Any]] = {}
    for part in stage.parts(cohort.recipe):
        before: list[PrefectFuture[Any]] = []
        for name in stage.reads:
            above = stages.OVER_A_COHORT.get(name)
            parts = [] if above is None else list(above.parts(cohort.recipe))
            own = above is not None and not above.of_images
            before += [future for i, future in enumerate(made[name]) if not own or parts[i] == part]
        before += [submitted[other] for other in stage.behind(cohort.recipe, part)]
        submitted[part] = stage.run().submit(place, cohort, part, *before)
    return list(submitted.values())


def several() -> str:
    """Return the name of a run of several classes. Prefect's database refuses names of thousands of letters."""
    asked = flow_run.get_parameters()
    names, recipe = list(asked["class_names"]), asked.get("recipe_name", asked.get("recipe"))
    listed = ", ".join(names) if len(names) <= NAMED else f"{len(names)} classes, {', '.join(names[:NAMED])} ..."
    return f"{recipe} {asked['samples']} of {listed}"


@flow(name="generate-many", flow_run_name=several)
@stoppable
def generate_many(
    class_names: list[str],
    samples: Samples = 200,
    recipe_name: str = "embedded",
    overrides: dict[str, Any] | None = None,
    runner: RunnerName = LOCAL,
) -> list[RunReport]:
    """Make several classes, one sub-flow run each."""
    # One class's misfortune is not another's: each runs to its own end, then this run fails if any of them did.
    states = []
    for class_name in class_names:
        states.append(generate(class_name, samples, recipe_name, overrides, runner, return_state=True))
        stopping.heed()
    status.show(table(class_status(Place.of(Settings()))))
    return [state.result() for state in states]
