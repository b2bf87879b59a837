"""The evaluation tasks: readouts, views, pictures, figures.

Enters: an EvaluationSpec, a generator's spec, a folder. Leaves: figures.json, README.md (the model card), sweep.png, sheet.jpg.
Each may be killed at any moment and goes on where it was: what is on disk, named by all that determines it, is the truth, so
Prefect's cache is not asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.evaluation.spec import STAGE, VERSION, EvaluationSpec, ReadoutSpec
from models.image.controlnet import ControlNetSpec
from models.training.spec import Learned
from models.world.spec import WorldSpec
from storage.folders import write_whole
from storage.keys import artifact_key
from tasks import stopping, worker
from tasks.plan.place import Place
from tasks.states import ends_when_told

if TYPE_CHECKING:
    from models.evaluation.cases import Case
    from models.evaluation.painting import Painted, Painter

UNTRAINED_CLASSES = ("lamp", "boat")
"""Bundled classes that the embedded generator is never shown."""

log = logging.getLogger("dst")


def folder_of(place: Place) -> Path:
    """Return the folder of everything that evaluations keep."""
    return place.home / "evaluation"


def sees_realism() -> bool:
    """Say whether realism can be measured here; where it cannot, say what is missing."""
    from models.evaluation import realism

    if realism.known():
        return True
    log.warning("realism is not measured: pip install 'dst-platform[features]'")
    return False


def own_readouts(place: Place) -> Path:
    """Return where readouts that were trained here lie."""
    return folder_of(place) / "readouts.safetensors"


@task(name="readout-world", task_run_name="readout world, shards {first} to {last}", cache_policy=NO_CACHE, retries=1)
@ends_when_told
def readout_shards(place: Place, world: WorldSpec, first: int, last: int) -> str:
    """Make the missing shards of a world that readouts learn from; return their folder."""
    from models.world import shard

    folder = folder_of(place) / f"world-{artifact_key('world', VERSION, world, {})[:12]}"
    for index in shard.missing(folder, first, last - first + 1):
        made = shard.make_shard(world, index, lambda done: stopping.heed())
        shard.write(made, world, folder, index)
        log.info("readout world %05d  %d pictures", index, len(made.rows))
    return str(folder)


@task(name="readouts", task_run_name="readouts", cache_policy=NO_CACHE)
@ends_when_told
def train_readouts(place: Place, spec: ReadoutSpec, pictures: list[str], out: str, *after: Any) -> str:
    """Train the readouts on the shards of some folders, from the last epoch's checkpoint on; return their file."""
    from models.evaluation import readouts
    from models.training import dataset

    folders = [Path(folder) for folder in pictures]
    shards = [[str(folder), dataset.complete(folder)] for folder in folders]
    key = artifact_key("readouts", VERSION, spec, {"shards": json.dumps(shards)})
    checkpoint = folder_of(place) / f"readouts-{key[:16]}.ckpt"
    taught = readouts.lesson(spec, folders)

    def told(line: str) -> None:
        # Once an epoch, behind its checkpoint.
        log.info("%s", line)
        stopping.heed()

    made = readouts.train(spec, taught, checkpoint, told, threads=place.threads)
    assert made is not None, "nobody asked it to stop"
    readouts.save(made, Path(out), readouts.known(spec, taught))
    return out


@task(name="views", task_run_name="views of {group}", cache_policy=NO_CACHE)
@ends_when_told
def views(place: Place, group: str, kind: str | None, count: int, classes: list[str]) -> str:
    """Return the file of a group's cases, made if it is not there."""
    from models.evaluation import cases, figures

    what = {"group": group, "kind": kind, "count": count, "classes": classes}
    path = _cases_file(place, what)
    if not path.exists():
        cases.save(cases.held_out(count, classes, kind, others=group == figures.WORLD), path)
    return str(path)


@task(name="cad-views", task_run_name="views of CAD models in {folder}", cache_policy=NO_CACHE)
@ends_when_told
def file_views(place: Place, folder: str, orientations: str, count: int) -> str:
    """Return the file of the cases of a folder's CAD models, made if it is not there; a broken model is left out and named."""
    from models.cad.bad import BadModel
    from models.cad.references import referenced_files
    from models.evaluation import cases
    from storage.cad.digest import cad_id as digest_of
    from storage.cad.folder import scan
    from storage.cad.sidecar import Sidecar, read_orientations

    said = read_orientations(Path(orientations)) if orientations else {}
    known: list[dict[str, Any]] = []
    for found in scan(Path(folder)):
        try:
            identity = digest_of(found.path, referenced_files(found.path))
        except BadModel as error:
            log.warning("left out: %s: %s", found.path, error.detail)
            continue
        listed = said.get(identity, Sidecar())
        axes = (found.up, found.front) if (found.up, found.front) != ("auto", "auto") else (listed.up, listed.front)
        known.append(
            {
                "path": str(found.path),
                "cad_id": identity,
                "class_name": found.class_name or found.path.parent.name,
                "name": found.name,
                "up": axes[0] or "auto",
                "front": axes[1] or "auto",
            }
        )
    path = _cases_file(place, {"models": [{**model, "path": Path(model["path"]).name} for model in known], "count": count})
    if not path.exists():
        made: list[Case] = []
        for model in known:
            try:
                made += _of_file(place, model, count)
            except BadModel as error:
                log.warning("left out: %s: %s", model["path"], error.detail)
        if not made:
            raise ValueError(f"no CAD model in {folder} can be used; look at them one by one with: dst cad add")
        cases.save(made, path)
    return str(path)


def _of_file(place: Place, model: dict[str, Any], count: int) -> list[Case]:
    from models.cad.intake import canonicalise_isolated
    from models.cad.spec import CadSpec
    from models.evaluation import cases

    spec = CadSpec(up=model["up"], front=model["front"])
    made = canonicalise_isolated(Path(model["path"]), spec, place.max_faces, place.mesh_timeout_s, between=stopping.heed)
    symmetry = cases.symmetry_of_shape(made.glb)
    return cases.file_cases(made.glb, model["class_name"], model["cad_id"], model["name"], symmetry, count)


def _cases_file(place: Place, what: dict[str, Any]) -> Path:
    from models.world import spec as world

    return folder_of(place) / "views" / f"{artifact_key(STAGE, VERSION, {'world': world.VERSION}, what)[:32]}.npz"


@task(name="paint", task_run_name="pictures: {part}", cache_policy=NO_CACHE)
@ends_when_told
def paint(
    place: Place, part: str, spec: EvaluationSpec, setting: ControlNetSpec, learned: Learned, files: dict[str, str], *after: Any
) -> int:
    """Paint what is missing of one part (main, sweep, samplers); return how many pictures the part has."""
    from models.evaluation import figures

    work = [job for job in figures.paintings(spec, setting, _groups(files)) if job.part == part]
    # One generator on one device, whose time is measured: parts take turns, and image shards of other runs with them.
    with worker.turn(setting, place):
        painter = painter_of(place, setting, learned)
        for job in work:
            painter.paint(job.setting, job.cases, job.draw, job.title)
    return sum(len(job.cases) for job in work)


@task(name="figures", task_run_name="figures and model card", cache_policy=NO_CACHE)
@ends_when_told
def measure(
    place: Place,
    spec: EvaluationSpec,
    setting: ControlNetSpec,
    learned: Learned,
    files: dict[str, str],
    readouts_file: str,
    out: str,
    trained: list[str],
    pictures: str,
    beside: str,
    said: str,
    *after: Any,
) -> dict[str, Any]:
    """Measure the pictures; write figures.json, README.md, sweep.png, sheet.jpg and look.jpg into `out`; return the figures.

    beside: figures.json of another generator on the same views, shown with these. said: what somebody said of look.jpg.
    """
    from models.evaluation import card, figures, named, plot, readouts
    from models.evaluation.sheet import drawn, look, sheet

    groups = _groups(files)
    painter = painter_of(place, setting, learned)

    def paint(*asked: Any) -> Painted:
        # Which settings are the best is known only now; all else is there.
        with worker.turn(setting, place):
            return painter.paint(*asked)

    made = figures.measure(spec, setting, groups, paint, readouts.load(Path(readouts_file), place.threads))
    made["readouts"] = readouts.about(Path(readouts_file))
    made["views"]["swept"] = min(spec.sweep, len(groups[figures.HELD_OUT]))
    made["runtime"] = painter.runtime
    made["control"] = {"learned": learned, "name": setting.control_model, "revision": setting.control_revision}
    shown = [groups[figures.HELD_OUT][index] for index in drawn(groups[figures.HELD_OUT])]
    made["look"] = [named.asked(case) for case in shown]
    if said:
        made["named"] = named.score(named.read(Path(said).read_text()), shown)
    if beside:
        made["beside"] = json.loads(Path(beside).read_text())
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "figures.json", (json.dumps(made, indent=1) + "\n").encode())
    if "sweep" in made:
        write_whole(folder / card.PLOT, plot.plot(made["sweep"], made["chosen"], made["ceiling"]))
    held = groups[figures.HELD_OUT]
    off = painter.paint(figures.switched_off(setting), held[: spec.without_control]).pictures if spec.without_control else []
    painted = painter.paint(setting, held).pictures
    write_whole(folder / card.SHEET, sheet(held, painted, off))
    write_whole(folder / card.LOOK, look([painted[index] for index in drawn(held)]))
    written = card.card(made, [stages_of(Path(run)) for run in trained], count_of(pictures))
    write_whole(folder / "README.md", written.encode())
    create_markdown_artifact(card.tables(made), key="evaluation", description=f"figures of {setting.model}")
    return made


def stages_of(run: Path) -> dict[str, dict[str, Any]]:
    """Return where each stage of a training stands, from its checkpoints. Raises ValueError when there are none."""
    from models.training import checkpoint
    from models.training.spec import STAGES

    found: dict[str, dict[str, Any]] = {
        name: vars(checkpoint.peek(run / f"{name}.safetensors")) for name in STAGES if (run / f"{name}.safetensors").is_file()
    }
    if not found:
        raise ValueError(f"{run} holds no checkpoint of a training; give the folder that dst train works in")
    return found


def count_of(folder: str) -> int:
    """Return how many pictures a folder of shards holds; 0 for no folder."""
    from models.training import dataset

    if not folder:
        return 0
    pictures = dataset.TrainingPictures(Path(folder))
    pictures.extend(pictures.names())
    return pictures.count


def _groups(files: dict[str, str]) -> dict[str, Sequence[Case]]:
    from models.evaluation import cases

    return {name: cases.load(Path(path)) for name, path in files.items()}


def painter_of(place: Place, setting: ControlNetSpec, learned: Learned = "edges") -> Painter:
    """Return the painter of these weights, whose ControlNet has learned this; it keeps every picture."""
    return _made_painter(folder_of(place) / "pictures", setting.weights, learned, place.device, place.threads, place.batch)


@lru_cache(maxsize=1)
def _made_painter(folder: Path, weights: str, learned: Learned, device: str, threads: int, batch: int) -> Painter:
    """Return the painter of these weights, loaded once a process."""
    from models.device import pick_device
    from models.evaluation.painting import Painter

    return Painter(folder, pick_device(device), threads, batch, log.info, stopping.heed, learned)
