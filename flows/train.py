"""Train: the embedded generator from nothing, or a ControlNet on a base of one's own.

    world -> autoencoder -> base -> control -> together -> decoder -> weights

Launched by `dst train`. Any number of sittings: each goes on where the last one stopped, was killed or ran out of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.forms import ClassName, Said
from flows.runner import results, threads
from flows.stops import stoppable
from models.training.spec import Learned
from models.world.spec import WorldSpec
from storage.settings import Settings
from tasks import train as tasks
from tasks.plan.place import Place
from tasks.plan.ready import ready

NAMED = 4
"""Classes that the name of a run lists."""
Minutes = Annotated[float, Field(ge=0), Said("Minutes of this stage over all sittings")]


def named() -> str:
    """Return the name of a training: what it begins with, and the user's classes that join."""
    asked = flow_run.get_parameters()
    base, begin = asked.get("base"), asked.get("begin_from")
    control = asked.get("control")
    what = "ControlNet" if control in (None, "edges") else f"ControlNet for {control}"
    beginning = f"{what} on {base}" if base else f"from {begin}" if begin else "from nothing"
    classes = list(asked.get("class_names") or [])
    joining = f" with {', '.join(classes[:NAMED])}{' ...' * (len(classes) > NAMED)}" if classes else ""
    return f"train {beginning}{joining}"


@flow(name="train", flow_run_name=named, task_runner=threads(2), result_serializer="json")
@stoppable
def train(
    shards: Annotated[int, Field(ge=1), Said("Shards of 256 pictures")] = 44,
    autoencoder_minutes: Minutes = 30,
    base_minutes: Minutes = 120,
    control_minutes: Minutes = 90,
    together_minutes: Minutes = 60,
    decoder_minutes: Minutes = 30,
    base: Annotated[str, Said("Train a ControlNet on this frozen base: folder or hub id@commit")] = "",
    control: Annotated[Learned, Said("What a ControlNet on a frozen base learns to obey")] = "edges",
    begin_from: Annotated[
        str, Said("Begin with these weights: embedded, or the folder of an earlier training; empty: from nothing")
    ] = "",
    class_names: Annotated[
        list[ClassName], Said("Registered classes whose CAD models join the world beside the parametric ones")
    ] = [],  # noqa: B006 - Prefect's forms want the list itself, and nothing changes it.
    full_share: Annotated[float, Field(ge=0, le=1), Said("Share of the shards that are full Blender scenes")] = 0.1,
    sheet_minutes: Annotated[float, Field(ge=0), Said("Minutes between sheets of samples; 0: only at the end")] = 15,
) -> str:
    """Make pictures, train on them, write the weights; return their folder."""
    place = Place.of(Settings())
    ready(place)
    where = tasks.training(place.home, class_names, base, begin_from, control)
    # With no minutes for both together the two stay apart: what the ControlNet learns another time must count.
    stages = [stage for stage in tasks.stages(base, begin_from) if stage != "together" or together_minutes]
    if begin_from:
        tasks.begin(where, begin_from)
    spec = WorldSpec(cad_models=tasks.registered(place, class_names), full_share=full_share)
    device, workers = _device(place)
    halves = [(0, shards // 2 - 1), (shards // 2, shards - 1)]
    done: list[Any] = [tasks.world.submit(place, spec, where.pictures, first, last) for first, last in halves if last >= first]
    minutes = {
        "autoencoder": autoencoder_minutes,
        "base": base_minutes,
        "control": control_minutes,
        "together": together_minutes,
        "decoder": decoder_minutes,
    }
    behind = list(done)
    for stage in stages:
        done = [tasks.train.submit(place, stage, where, minutes[stage], workers, device, base, control, sheet_minutes, *done)]
        behind += done
    results(behind)
    folder: Path
    (folder,) = results([tasks.export.submit(where, base, control, *done)])
    return str(folder)


def _device(place: Place) -> tuple[str, int]:
    """Return the device and the workers that share it."""
    from models.device import pick_device

    device = pick_device(place.device)
    return (device, place.cores) if device == "cpu" else (device, 1)
