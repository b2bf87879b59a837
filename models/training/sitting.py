"""One sitting of the embedded generator's training, from pictures to a folder of weights.

Enters: a folder of shards, a folder for the run, minutes for each stage. Leaves: checkpoints and a log in the run's folder, and
the pipeline's folder. Any number of sittings: each goes on where the last one stopped, was killed or ran out of time.

    python -m models.training.sitting --pictures world --run run --out weights --minutes autoencoder=10,base=60,control=60
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from models.training.networks import NetworkSpec
from models.training.spec import STAGES, Learned, Runtime, Stage, TrainingSpec
from models.training.tasks import Job

SPECS: dict[Stage, TrainingSpec] = {
    "autoencoder": TrainingSpec(stage="autoencoder", batch=16, learning_rate=2e-3, optimiser="muon", ema=0.995, perceptual=0.5),
    "base": TrainingSpec(stage="base", learning_rate=2e-3, optimiser="muon", object_weight=3.0, ema=0.999, times="logit-normal"),
    "control": TrainingSpec(
        stage="control",
        learning_rate=2e-3,
        optimiser="muon",
        text_dropout=0.15,
        ema=0.998,
        object_weight=3.0,
        times="logit-normal",
    ),
    "together": TrainingSpec(
        stage="together",
        learning_rate=1e-3,
        optimiser="muon",
        control_dropout=0.2,
        ema=0.999,
        object_weight=3.0,
        times="logit-normal",
    ),
    "decoder": TrainingSpec(
        stage="decoder", batch=8, learning_rate=3e-4, betas=(0.5, 0.99), ema=0.998, perceptual=0.5, adversarial=0.1
    ),
}
"""The settings that make the embedded weights; docs/world.md tells what was tried."""


def job_of(
    stage: Stage,
    pictures: Path,
    run: Path,
    sizes: NetworkSpec,
    precision: str = "bfloat16",
    device: str = "cpu",
    base: str = "",
    control: Learned = "edges",
) -> Job:
    """Return the job of one stage; `base` is a foreign one for the control (folder, or hub id@commit), which obeys `control`."""
    name, _, commit = base.partition("@") if not Path(base).is_dir() else (base, "", "")
    return Job(
        spec=dataclasses.replace(SPECS[stage], control=control),
        networks=sizes,
        pictures=pictures,
        run=run,
        precision=precision,
        device=device,
        base=name,
        base_revision=commit,
    )


def sit(
    pictures: Path,
    run: Path,
    minutes: Mapping[str, float],
    sizes: NetworkSpec,
    workers: int = 2,
    device: str = "cpu",
    parts: int = 0,
) -> None:
    """Train each stage named in `minutes`, in order, to so many minutes in all over all sittings."""
    from models.training.loop import train

    run.mkdir(parents=True, exist_ok=True)

    def log(line: str) -> None:
        stamped = f"{time.strftime('%H:%M:%S')}  {line}"
        print(stamped, flush=True)
        with open(run / "log.txt", "a") as file:
            file.write(stamped + "\n")

    for stage in STAGES:
        if minutes.get(stage):
            job = job_of(stage, pictures, run, sizes, device=device)
            train(job, Runtime(minutes=minutes[stage], workers=workers, device=device, parts=parts), log)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded generator, in as many sittings as it takes.")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of shards")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--begin-from", type=Path, help="a folder of landed weights to go on from, in a new run")
    parser.add_argument("--out", type=Path, help="write the pipeline here at the end")
    parser.add_argument("--minutes", default="autoencoder=10,base=60,control=60", help="minutes of each stage, over all sittings")
    parser.add_argument("--workers", type=int, default=2, help="processes that share a step")
    parser.add_argument("--parts", type=int, default=0, help="cut a step into so many parts for workers on a busy machine")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    minutes = {name: float(value) for name, value in (part.split("=") for part in given.minutes.split(",") if part)}
    sizes = dataclasses.replace(NetworkSpec())
    if given.begin_from:
        from models.training.export import import_run

        import_run(given.begin_from, given.run, sizes)
    sit(given.pictures, given.run, minutes, sizes, given.workers, given.device, given.parts)
    if given.out:
        from models.training.export import export_run

        export_run(given.run, given.out, sizes)


if __name__ == "__main__":
    main()
