"""Evaluate filters: what judges are worth, on images of which it is known that they fail.

    images of each class -> failures of each class -> each judge, each class -> figures, report -> package
    panel's world -> panel -> what failed by itself ------------------------------^

Launched by `dst evaluate filter` and by a deployment of its own. Killed, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.forms import Said
from flows.runner import results, threads
from flows.stops import stoppable
from models.evaluation.filters.spec import VERSION, FiltersSpec
from models.kinds import meant
from storage.keys import artifact_key
from storage.settings import Settings
from tasks import evaluate
from tasks import evaluate_filter as tasks
from tasks.plan.place import Place
from tasks.plan.ready import ready


@flow(name="evaluate filters", flow_run_name="evaluate filters", task_runner=threads(2), result_serializer="json")
@stoppable
def evaluate_filter(
    classes: Annotated[list[str] | None, Said("Bundled classes; empty: airplane, car, chair")] = None,
    cad_models: Annotated[
        int, Field(ge=1, le=1000), Said("CAD models of each class that no training saw")
    ] = FiltersSpec().cad_models,
    views: Annotated[int, Field(ge=1, le=1000), Said("Views of each CAD model")] = FiltersSpec().views,
    rates: Annotated[list[float] | None, Said("Shares of images that fail, a set for each; empty: 0.05, 0.1, 0.2")] = None,
    seed: Annotated[int, Field(ge=0), Said("Another seed plants other failures")] = 0,
    judges: Annotated[list[str] | None, Said("Rows of the table; empty: all")] = None,
    panel: Annotated[bool, Said("Find the generator's own failures by a panel of readouts, which is trained first")] = True,
    pictures: Annotated[str, Said("Folder of shards that the panel learns from, as a training's; empty: they are made")] = "",
    official: Annotated[bool, Said("With the published filter at its full size: days on a processor, hours on a GPU")] = False,
    out: Annotated[str, Said("Folder for figures, report and plots; empty: in the home folder")] = "",
    export: Annotated[str, Said("Folder for the benchmark as a package for others; empty: none")] = "",
) -> dict[str, Any]:
    """Paint the sets, let every judge look at them, write figures.json, README.md and plots; return the figures."""
    place = Place.of(Settings())
    ready(place)
    spec = FiltersSpec(cad_models=cad_models, views=views, seed=seed, **_said(classes=classes, rates=rates))
    first, behind = rows_asked(judges, official)
    folder = Path(out) if out else tasks.folder_of(place) / "report"
    painted = [tasks.images.submit(place, spec, name) for name in spec.classes]
    results(painted)
    failures = [tasks.failures.submit(place, spec, name) for name in spec.classes]
    panelled = _panel(place, spec, pictures, failures) if panel else None
    planted = results(failures)
    for wave in (first, behind):
        results([tasks.judge.submit(place, spec, name, row, official, planted) for row in wave for name in spec.classes])
    own = results([panelled])[0] if panelled else ""
    command = _command(spec, judges, panel, pictures, official)
    figures: dict[str, Any]
    (figures,) = results([tasks.measure.submit(place, spec, first + behind, own, str(folder), command, official)])
    packed = results([tasks.package.submit(place, spec, own, figures, export)])[0] if export else ""
    return figures | {"folder": str(folder), "package": packed}


def rows_asked(judges: list[str] | None, official: bool) -> tuple[list[str], list[str]]:
    """Return the rows that are asked for: those that look at images, and those that read the scores of others."""
    from models.evaluation.filters.judging import rows

    known = {row.name: row for row in rows(official)}
    for name in judges or []:
        if name not in known:
            raise ValueError(f'no filter "{name}"{meant(name, known)}; there are: {", ".join(known)}')
    asked = [row for row in known.values() if not judges or row.name in judges]
    # Whoever reads the scores of others needs those.
    kinds = {kind for row in asked for kind in row.spec.reads}
    asked += [row for row in known.values() if row.spec.kind in kinds and row.name == row.spec.kind and row not in asked]
    return [row.name for row in asked if not row.spec.reads], [row.name for row in asked if row.spec.reads]


def _panel(place: Place, spec: FiltersSpec, pictures: str, failures: list[Any]) -> Any:
    from models.evaluation.filters import panel as panels

    made: list[Any] = [pictures]
    if not pictures:
        made = [evaluate.readout_shards.submit(place, panels.world(spec), 0, panels.SHARDS - 1)]
    files: list[Any] = []
    for member in panels.members(spec):
        told = artifact_key("panel", VERSION, member, {"pictures": pictures})
        path = tasks.folder_of(place) / f"panel-{told[:32]}.safetensors"
        files.append(str(path) if path.is_file() else evaluate.train_readouts.submit(place, member, made, str(path)))
    return tasks.panel.submit(place, spec, files, *failures)


def _said(**given: Any) -> dict[str, Any]:
    return {name: tuple(value) for name, value in given.items() if value}


def _command(spec: FiltersSpec, judges: list[str] | None, panel: bool, pictures: str, official: bool) -> str:
    """Return what is typed for these figures."""
    usual, words = FiltersSpec(), ["dst evaluate filter"]
    for name, option in (("classes", "class"), ("rates", "rate")):
        if getattr(spec, name) != getattr(usual, name):
            words += [f"--{option} {value}" for value in getattr(spec, name)]
    for name in ("cad_models", "views", "seed"):
        if getattr(spec, name) != getattr(usual, name):
            words.append(f"--{name.replace('_', '-')} {getattr(spec, name)}")
    words += [f"--judge '{name}'" for name in judges or []]
    words += ["--no-panel"] * (not panel) + [f"--pictures {pictures}"] * bool(pictures) + ["--official"] * official
    return " ".join(words)
