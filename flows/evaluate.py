"""Evaluate: how well a generator shows what it is asked for, on CAD models it has never seen.

    views -> pictures (main, sweep, samplers) -> figures, model card
    readouts -------------------------------------^

Launched by `dst evaluate generator`; the readouts of other classes by `dst evaluate readouts`. Killed, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.forms import Said
from flows.runner import results, threads
from flows.stops import stoppable
from models.evaluation.spec import EvaluationSpec, ReadoutSpec, readout_world
from models.image.controlnet import ControlNetSpec
from models.image.weights import EMBEDDED
from models.training import controls
from models.training.spec import Learned
from storage.settings import Settings
from tasks import evaluate as tasks
from tasks.plan.place import Place
from tasks.plan.ready import ready

PARTS = ("main", "sweep", "samplers")
GENERATOR = ("steps", "guidance", "eta", "control_scale", "scheduler", "dtype")
"""What of a generator's setting can be asked for; the rest are the recipe's."""


@flow(name="evaluate", flow_run_name="evaluate {model}", task_runner=threads(2), result_serializer="json")
@stoppable
def evaluate(
    model: Annotated[str, Said("The generator: embedded, or a pipeline's folder")] = EMBEDDED,
    control_model: Annotated[str, Said("Folder of another ControlNet for it; empty: its own")] = "",
    control: Annotated[Learned, Said("What the ControlNet has learned to obey")] = "edges",
    samples: Annotated[int, Field(ge=8), Said("Views of held-out CAD models of the trained classes")] = EvaluationSpec().samples,
    sweep: Annotated[
        int, Field(ge=0), Said("Views that each setting of the sweep paints twice; 0: no sweep")
    ] = EvaluationSpec().sweep,
    cad: Annotated[str, Said("Folder of real CAD models, by class; empty: none")] = "",
    orientations: Annotated[str, Said("TOML file with up and front for each cad_id of that folder")] = "",
    readouts: Annotated[str, Said("File of readouts; empty: those trained here, else those of the project")] = "",
    out: Annotated[str, Said("Folder for figures, card, plot and sheet; empty: in the home folder")] = "",
    setting: Annotated[dict[str, Any] | None, Said("Steps, guidance, control_scale, ... that are not the recipe's")] = None,
    trained: Annotated[list[str] | None, Said("Folders of the trainings that made the weights, for the card")] = None,
    pictures: Annotated[str, Said("Folder of the pictures that they were trained on, for the card")] = "",
    beside: Annotated[str, Said("figures.json of another generator on the same views, to be shown beside")] = "",
    named: Annotated[str, Said("File of what somebody said of the pictures in look.jpg, a line each")] = "",
) -> dict[str, Any]:
    """Paint what is missing, measure, write figures.json, README.md, sweep.png and sheet.jpg; return the figures."""
    from models.cad.parametric import TRAINED_CLASSES

    place = Place.of(Settings())
    ready(place)
    spec = EvaluationSpec.of(samples, sweep)
    if cad and control != "edges":
        raise ValueError("views of CAD files are evaluated with edges alone: leave out the folder of CAD models")
    asked = ControlNetSpec(model=model, control_model=control_model, **(setting or {})).pinned()
    obeyed = controls.SPECS[control]
    asked.check({obeyed.kind: obeyed.channels})
    revision = (asked.control_revision or asked.revision).removeprefix("sha256:")
    folder = Path(out) if out else tasks.folder_of(place) / revision[:12]
    classes, own = list(TRAINED_CLASSES), list(tasks.UNTRAINED_CLASSES)
    made: dict[str, Any] = {
        "held-out": tasks.views.submit(place, "held-out", None, spec.samples, classes),
        "untrained": tasks.views.submit(place, "untrained", None, spec.untrained, own),
    }
    for kind in ("steep", "one face"):
        made[kind] = tasks.views.submit(place, kind, kind, spec.uncommon, classes)
    if spec.realism and tasks.sees_realism():
        made |= {group: tasks.views.submit(place, group, None, spec.realism, classes) for group in ("many", "world")}
    if cad:
        made["files"] = tasks.file_views.submit(place, cad, orientations, spec.per_cad_model)
    files = dict(zip(made, results(made.values()), strict=True))
    painted = [tasks.paint.submit(place, part, spec, asked, control, files) for part in PARTS if part == "main" or spec.sweep]
    results(painted)
    measured = tasks.measure.submit(
        place,
        spec,
        asked,
        control,
        files,
        readouts or str(_readouts(place)),
        str(folder),
        trained or [],
        pictures,
        beside,
        named,
        *painted,
    )
    figures: dict[str, Any]
    (figures,) = results([measured])
    return figures | {"folder": str(folder)}


@flow(name="train readouts", flow_run_name="train readouts on {shards} shards", task_runner=threads(2), result_serializer="json")
@stoppable
def train_readouts(
    shards: Annotated[int, Field(ge=1), Said("Shards of 128 pictures made for the readouts")] = 44,
    pictures: Annotated[list[str] | None, Said("More folders of shards to learn from, such as those of a training")] = None,
    classes: Annotated[list[str] | None, Said("Bundled classes to tell apart; empty: those of the embedded generator")] = None,
    epochs: Annotated[int, Field(ge=1), Said("Passes over the pictures")] = ReadoutSpec().epochs,
    out: Annotated[str, Said("Where to write them; empty: in the home folder, where evaluations find them")] = "",
) -> str:
    """Make the pictures that are missing, train the readouts on them; return their file."""
    place, named = Place.of(Settings()), list(classes or [])
    ready(place)
    halves = [(0, shards // 2 - 1), (shards // 2, shards - 1)]
    world = readout_world(tuple(named))
    done = [tasks.readout_shards.submit(place, world, first, last) for first, last in halves if last >= first]
    folders = list(dict.fromkeys(results(done) + list(pictures or [])))
    spec = ReadoutSpec(classes=tuple(named), epochs=epochs)
    made: str
    (made,) = results([tasks.train_readouts.submit(place, spec, folders, out or str(tasks.own_readouts(place)))])
    return made


def _readouts(place: Place) -> Path:
    from models.evaluation.readouts import BUNDLED

    own = tasks.own_readouts(place)
    return own if own.is_file() else BUNDLED
