"""The training tasks: the world's shards, the stages, the folder of weights, the page that shows how it goes.

Enters: where pictures and checkpoints are, minutes for each stage. Leaves: shards, checkpoints, a pipeline's folder, a report.
Each may be killed at any moment and goes on where it was, so Prefect's cache is not asked: what is on disk is the truth.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.training.spec import STAGES, Learned, Runtime, Stage
from models.world.spec import WorldCad, WorldSpec
from storage.keys import digest
from storage.report.training import sheet_path, write, write_sheet
from tasks import stopping
from tasks.plan.pages import address
from tasks.plan.place import Place
from tasks.states import ends_when_told

log = logging.getLogger("dst")

LONGEST_NAME = 80
"""Letters of a folder's name."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where a training lies: one folder for each choice of user's classes, and of a foreign base."""

    pictures: Path
    """Shards of the world."""
    run: Path
    """Checkpoints and history."""
    weights: Path
    """What comes out."""
    report: Path
    """The page and its sheets."""

    @property
    def page(self) -> Path:
        return self.report / "index.html"


def training(home: Path, class_names: Sequence[str], base: str, begin_from: str = "", control: Learned = "edges") -> Training:
    """Return where a training of these user's classes, on this base or begun from these weights, lies below the home folder.

    Each base, each beginning and each control has checkpoints and weights of its own: a ControlNet that was begun on one is none
    for another. Raises ValueError when both are given, or a control other than edges without a base.
    """
    tag = _short("-".join(re.sub(r"[^a-z0-9]+", "_", name.lower()) for name in sorted(set(class_names))))
    folder = home / "training" / tag if tag else home / "training"
    if base and begin_from:
        raise ValueError("a foreign base and weights to begin from exclude each other: give --base or --begin-from, not both")
    if control != "edges" and not base:
        raise ValueError(f"a ControlNet for {control} is trained on a base that is there: give --base embedded, or another")
    read = "" if control == "edges" else control
    named = [(word, name) for word, name in (("on", base), ("from", begin_from), ("reads", read)) if name]
    on = "".join(f"-{word}-{_short(re.sub(r'[^A-Za-z0-9.-]+', '_', name.strip('/')))}" for word, name in named)
    # The page lies among the reports: those are what a browser is shown.
    report = home / "reports" / f"training{f'-{tag}' if tag else ''}{on}"
    return Training(pictures=folder / "world", run=folder / f"run{on}", weights=folder / f"weights{on}", report=report)


def _short(name: str) -> str:
    """Return a name that a file system takes: of many classes, the first ones and a digest of all."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{digest(name.encode())[:12]}"


def registered(place: Place, class_names: Sequence[str]) -> tuple[WorldCad, ...]:
    """Return the registered CAD models of classes. Raises ValueError for a class without any."""
    catalog = place.catalog
    found: list[WorldCad] = []
    if class_names and catalog.exists:
        catalog.migrate()
    for class_name in dict.fromkeys(class_names):
        rows = catalog.cad_models(class_name) if catalog.exists else []
        rows = [row for row in rows if place.store.has("cad", row["cad_key"])]
        if not rows:
            raise ValueError(
                f'no usable CAD model of class "{class_name}" in {place.home}; add some: dst cad add PATH --class "{class_name}"'
            )
        found += [
            WorldCad(class_name=class_name, cad_id=row["cad_id"], cad_key=row["cad_key"], keywords=tuple(row["keywords"]))
            for row in rows
        ]
    return tuple(found)


def stages(base: str, begin_from: str) -> tuple[Stage, ...]:
    """Return what is trained, in order. Raises NoFeatures when it takes the pretrained network and that is not installed."""
    from models.training import features

    if base:
        return ("control",)
    try:
        features.network()
    except features.NoFeatures:
        if not begin_from:
            raise
        # The autoencoder that these weights come with is a trained one.
        log.warning("the decoder stays as it is: pip install 'dst-platform[features]'")
        return tuple(stage for stage in STAGES if stage != "decoder")
    return STAGES


def weights_of(begin_from: str) -> Path:
    """Return the folder of the weights to begin from: `embedded`, or a pipeline's folder.

    Raises ValueError when there is no such folder, when it holds no pipeline, or networks of other sizes than a training's.
    """
    from models.image.weights import folder_of
    from models.training.export import refuse_other_sizes
    from models.training.networks import NetworkSpec

    folder = folder_of(begin_from)
    if folder is None:
        raise ValueError(f"weights to begin from lie in a folder; {begin_from} is a hub id")
    refuse_other_sizes(folder, NetworkSpec())
    return folder


@task(name="world", task_run_name="world shards {first} to {last}", cache_policy=NO_CACHE, retries=1)
@ends_when_told
def world(place: Place, spec: WorldSpec, folder: Path, first: int, last: int) -> int:
    """Make the missing shards of a range; return how many pictures the range holds."""
    from models.world import shard

    missing = shard.missing(folder, first, last - first + 1, spec)
    with ExitStack() as files:
        store = place.store
        glbs = {
            cad.cad_key: files.enter_context(store.local(store.get("cad", cad.cad_key), "model.glb")) for cad in spec.cad_models
        }
        for number, index in enumerate(missing, start=1):
            made = shard.make_shard(spec, index, lambda done: stopping.heed(), glbs=glbs)
            shard.write(made, spec, folder, index)
            kind = "full scenes" if spec.full(index) else "pictures"
            log.info("world %05d  %d %s  %d of %d missing shards made", index, len(made.rows), kind, number, len(missing))
    return (last - first + 1) * spec.pictures_per_shard


@task(name="begin", task_run_name="begin from {begin_from}", cache_policy=NO_CACHE)
@ends_when_told
def begin(where: Training, begin_from: str) -> None:
    """Begin a training where trained weights end. A training that has begun goes on instead. Raises: see `weights_of`."""
    from models.training import export as weights
    from models.training.networks import NetworkSpec

    folder = weights_of(begin_from)
    if not weights.has_begun(where.run):
        weights.import_run(folder, where.run, NetworkSpec())


@task(name="train", task_run_name="train {stage}", cache_policy=NO_CACHE)
@ends_when_told
def train(
    place: Place,
    stage: Stage,
    where: Training,
    minutes: float,
    workers: int,
    device: str,
    base: str,
    control: Learned,
    sheet_minutes: float,
    *after: Any,
) -> int:
    """Train one stage to so many minutes over all sittings; return the steps done."""
    from models.training import sheet
    from models.training.checkpoint import Standing
    from models.training.loop import history
    from models.training.loop import train as train_stage
    from models.training.networks import NetworkSpec
    from models.training.sitting import job_of

    job = job_of(stage, where.pictures, where.run, NetworkSpec(), device=device, base=base, control=control)
    where.run.mkdir(parents=True, exist_ok=True)

    def look(standing: Standing) -> None:
        sheets = where.report / "sheets"
        if standing.step and not sheet_path(sheets, stage, standing.step).exists():
            drawn = sheet.draw(job)
            write_sheet(drawn.picture, drawn.prompts, sheet_path(sheets, stage, standing.step))
        write(
            history(where.run),
            sheets,
            where.page,
            f"A ControlNet for {control} on {base}" if base else "A generator from nothing",
        )
        log.info("%s  sheet of step %d: %s", stage, standing.step, where.page)

    runtime = Runtime(minutes=minutes, workers=workers, device=device, look_s=60.0 * sheet_minutes)
    standing = train_stage(job, runtime, log.info, look, stopping.asked)
    stopping.heed()
    look(standing)
    create_markdown_artifact(
        f"{stage}: {standing.step} steps in {standing.seconds / 60:.1f} minutes, loss {standing.loss:.4f}", key=f"train-{stage}"
    )
    create_link_artifact(address(place, where.page), link_text="losses and sheets of the training", key="train-report")
    return standing.step


@task(name="export", task_run_name="weights", cache_policy=NO_CACHE)
@ends_when_told
def export(where: Training, base: str, control: Learned, *after: Any) -> Path:
    """Write the trained weights as a folder that diffusers loads."""
    from models.training import controls
    from models.training import export as weights
    from models.training.networks import NetworkSpec

    if base:
        return weights.export_control(where.run, where.weights, base, controls.channels(control))
    return weights.export_run(where.run, where.weights, NetworkSpec())
