"""Deployments: what a person launches from the Prefect UI, each with a flat form.

Enters: the catalog's classes and the recipes there are. Leaves: registered deployments whose forms offer just those; a value
that is none of them is refused by the form and, for whoever calls the API, by the server at once. `dst serve` registers them,
and `prefect deploy --all` reads the same list from prefect.yaml (a test compares the two).
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from prefect import Flow, flow
from pydantic import Field

from flows.asked import dry_run, export_release, filter_again, filter_class, preview_class, retry
from flows.catalog import verify
from flows.evaluate import evaluate
from flows.evaluate_filter import evaluate_filter
from flows.forms import (
    ClassName,
    ControlScale,
    RecipeName,
    Runner,
    Said,
    Samples,
    Steps,
    changes,
    classes,
    declared,
    recipe_said,
    recipes_made,
    recipes_offered,
)
from flows.generate import generate, generate_many, several
from flows.prefect_env import FOR_RUNS
from flows.runner import threads
from flows.runners import LOCAL
from flows.scan import scan
from flows.schedule import of_scan, of_verify
from flows.train import train
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.spec import EvaluationSpec
from models.image.weights import EMBEDDED
from storage.settings import Settings
from tasks.run import RunReport

POOL = "dst"
"""The process work pool whose workers run the deployments: each run is a process of its own."""


QUEUE = "default"
"""The pool's queue of what a person launches."""
SCANS = "scans"
"""The queue of scans: theirs is a slot of its own, so that CAD models do not wait behind a training."""


def offered() -> tuple[list[str], list[str], Any]:
    """Return what the forms offer now: classes, recipes, and whatever else they say of the moment."""
    return classes(), recipes_offered(), (recipe_said(), recipes_made())


@flow(
    name="generate a class",
    flow_run_name="{class_name} {recipe} {samples}",
    task_runner=threads(4),
    result_serializer="json",
)
def generate_class(
    class_name: Annotated[ClassName, Said("One of the registered classes")],
    samples: Samples = 200,
    recipe: RecipeName = "embedded",
    steps: Steps = 0,
    control_scale: ControlScale = 0.0,
    runner: Runner = LOCAL,
) -> RunReport:
    """Make the images of one class. Only what is missing is made; started again, it goes on where it was."""
    made: RunReport = generate.fn(class_name, samples, recipe, changes(steps, control_scale), runner)
    return made


@flow(name="generate many classes", flow_run_name=several, result_serializer="json")
def generate_classes(
    class_names: Annotated[list[ClassName], Field(min_length=1), Said("Registered classes; each is a run of its own")],
    samples: Samples = 200,
    recipe: RecipeName = "embedded",
    steps: Steps = 0,
    control_scale: ControlScale = 0.0,
    runner: Runner = LOCAL,
) -> list[RunReport]:
    """Make the images of several classes, a run each. One class's failure does not stop the others."""
    made: list[RunReport] = generate_many.fn(class_names, samples, recipe, changes(steps, control_scale), runner)
    return made


@flow(
    name="evaluate a generator",
    flow_run_name="evaluate {model}",
    task_runner=threads(2),
    result_serializer="json",
)
def evaluate_generator(
    model: Annotated[str, Said("The generator: embedded, or a pipeline's folder")] = EMBEDDED,
    samples: Annotated[int, Field(ge=8, le=10_000), Said("Views of CAD models it has never seen")] = EvaluationSpec().samples,
    sweep: Annotated[
        int, Field(ge=0, le=1_000), Said("Views that each setting of the sweep paints twice; 0: no sweep")
    ] = EvaluationSpec().sweep,
) -> dict[str, Any]:
    """Measure how well a generator shows the pose, the class and the edges it is asked for. Killed, it goes on where it was."""
    figures: dict[str, Any] = evaluate.fn(model=model, samples=samples, sweep=sweep)
    return figures


@flow(name="evaluate filters", flow_run_name="evaluate filters", task_runner=threads(2), result_serializer="json")
def evaluate_filters(
    cad_models: Annotated[
        int, Field(ge=1, le=100), Said("CAD models of each class that no training saw")
    ] = FiltersSpec().cad_models,
    views: Annotated[int, Field(ge=1, le=200), Said("Views of each CAD model")] = FiltersSpec().views,
    seed: Annotated[int, Field(ge=0), Said("Another seed plants other failures")] = 0,
    panel: Annotated[bool, Said("Find the generator's own failures, by a panel of readouts that is trained first")] = True,
) -> dict[str, Any]:
    """Measure what each judge is worth, on images with planted failures. Killed, it goes on where it was."""
    figures: dict[str, Any] = evaluate_filter.fn(cad_models=cad_models, views=views, seed=seed, panel=panel)
    return figures


declared.set()


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One deployment."""

    name: str
    """What it is called in the UI."""
    flow: Flow[..., Any]
    """What it runs."""
    entrypoint: str
    """The flow by module: by file path, flows/ would be first on the path and shadow packages."""
    queue: str = QUEUE
    """The queue of the pool that its runs wait in."""
    tags: tuple[str, ...] = ()
    """What the UI can filter by."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Schedules, triggers and limits, in Prefect's words."""


def deployments() -> list[Deployed]:
    """Return everything that a person can launch from the UI."""
    return [
        Deployed(name="generate a class", flow=generate_class, entrypoint="flows.deployments.generate_class", tags=("generate",)),
        Deployed(
            name="generate many classes",
            flow=generate_classes,
            entrypoint="flows.deployments.generate_classes",
            tags=("generate",),
        ),
        Deployed(name="preview", flow=preview_class, entrypoint="flows.deployments.preview_class", tags=("generate",)),
        Deployed(name="dry run", flow=dry_run, entrypoint="flows.deployments.dry_run", tags=("generate",)),
        Deployed(name="retry what failed", flow=retry, entrypoint="flows.deployments.retry", tags=("generate",)),
        Deployed(name="filter", flow=filter_class, entrypoint="flows.deployments.filter_class", tags=("generate",)),
        Deployed(name="filter again", flow=filter_again, entrypoint="flows.deployments.filter_again", tags=("generate",)),
        Deployed(name="export a release", flow=export_release, entrypoint="flows.deployments.export_release", tags=("export",)),
        Deployed(
            name="scan for new CAD models",
            flow=scan,
            entrypoint="flows.scan.scan",
            queue=SCANS,
            tags=("scan",),
            more=of_scan(Settings()),
        ),
        Deployed(name="train", flow=train, entrypoint="flows.train.train", tags=("models",)),
        Deployed(name="evaluate", flow=evaluate_generator, entrypoint="flows.deployments.evaluate_generator", tags=("models",)),
        Deployed(
            name="evaluate filters", flow=evaluate_filters, entrypoint="flows.deployments.evaluate_filters", tags=("models",)
        ),
        Deployed(
            name="verify",
            flow=verify,
            entrypoint="flows.catalog.verify",
            tags=("catalog",),
            more=of_verify(Settings()),
        ),
    ]


def register(runs: int | None = None) -> list[str]:
    """Register the work pool and every deployment at the server that Prefect is set to; return the deployments' names.

    runs: how many runs go on at once, beside a scan; 0: as many as workers take.

    Registering again changes what has changed (the choices of a form, for one) and leaves runs alone.
    """
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    lock_pool(runs)
    for entry in deployments():
        deployment = RunnerDeployment.from_flow(
            entry.flow,
            name=entry.name,
            work_pool_name=POOL,
            work_queue_name=entry.queue,
            tags=list(entry.tags),
            entrypoint_type=EntrypointType.MODULE_PATH,
            **entry.more,
        )
        deployment.entrypoint = entry.entrypoint
        deployment.apply()
    return [entry.name for entry in deployments()]


def renew_forms() -> None:
    """Put the choices of the moment into the forms of registered deployments. Schedules stay as they are."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.utilities.callables import parameter_schema

    with get_client(sync_client=True) as client:
        for entry in deployments():
            there = client.read_deployment_by_name(f"{entry.flow.name}/{entry.name}")
            form = parameter_schema(entry.flow).model_dump(exclude_unset=True)
            client.update_deployment(there.id, DeploymentUpdate(parameter_openapi_schema=form))


def lock_pool(runs: int | None = None) -> None:
    """Make the work pool, or give the one there is, the template that takes nothing from a run. A step of prefect.yaml, too.

    Its scans come first, one at a time; runs: how many others go on at once, where that is said; 0: as many as workers take.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template()))
        except ObjectAlreadyExists:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template()))
        with suppress(ObjectAlreadyExists):
            client.create_work_queue(SCANS, work_pool_name=POOL)
        scans, others = (client.read_work_queue_by_name(name, work_pool_name=POOL) for name in (SCANS, QUEUE))
        client.update_work_queue(scans.id, priority=1, concurrency_limit=1)
        client.update_work_queue(others.id, priority=2, **({} if runs is None else {"concurrency_limit": runs or None}))


def _python() -> str:
    """Return this environment's Python under one name, whoever asks: `prefect deploy` is started by another link to it."""
    python = Path(sys.prefix, "bin", "python")
    return str(python) if python.exists() else sys.executable


def template() -> dict[str, Any]:
    """Return how the pool's workers start a run: all of it constants, none of it a variable that a run could set.

    There is no `env` among them, since Prefect joins a run's own to that whatever the variables are; the command sets it.
    """
    setting = [f"{name}={value}" for name, value in FOR_RUNS.items()]
    return {
        "job_configuration": {
            "command": shlex.join(["env", *setting, _python(), "-m", "flows.engine"]),
            "working_dir": os.getcwd(),
            "stream_output": True,
        },
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }
