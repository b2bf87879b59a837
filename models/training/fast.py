"""A training in minutes, for a machine with a GPU that is lent for no longer: one command from nothing to a folder of weights.

Enters: minutes, folders. Leaves: checkpoints and log in the run's folder, the pipeline's folder. Pictures are shaded from rays on
all cores (no Blender) while the first stage trains on those that are there. Stopped, it goes on where it was.

    python -m models.training.fast --minutes 20 --home FOLDER --out weights
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

from models.training import dataset
from models.training.networks import NetworkSpec
from models.training.sitting import SPECS
from models.training.spec import Runtime, Stage
from models.training.tasks import Job

SHARES: dict[Stage, float] = {"autoencoder": 0.25, "base": 0.30, "control": 0.15, "together": 0.18, "decoder": 0.12}
"""Of the time that is left when the first pictures are there."""
FIRST = 8
"""So many shards are awaited: all classes, and most words, are among them."""
LEAST_S = 20.0
"""Seconds that the stages have in all, whatever the pictures took."""
KEPT_S = 20.0
"""Seconds kept back for export and whatever takes longer than planned."""


def makers(folder: Path, shards: int, processes: int) -> list[subprocess.Popen[bytes]]:
    """Start processes that make a folder's missing shards, a share each, and return them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "models.world.shard", "--out", str(folder), "--count", str(shards), "--full-share", "0"]
    return [
        subprocess.Popen(
            [*command, "--every", str(processes), "--offset", str(offset)], env=environment, stdout=subprocess.DEVNULL
        )
        for offset in range(processes)
    ]


def train(home: Path, out: Path, minutes: float, shards: int, batch: int, device: str, processes: int) -> None:
    """Make pictures, train all stages, export; `home` keeps pictures and run. Raises NoFeatures before anything is made."""
    from models.training import features
    from models.training.export import export_run
    from models.training.loop import train as train_stage

    features.network()
    began = time.monotonic()
    pictures, run = home / "world", home / "run"
    run.mkdir(parents=True, exist_ok=True)

    def log(line: str) -> None:
        stamped = f"{time.monotonic() - began:7.1f} s  {line}"
        print(stamped, flush=True)
        with open(run / "log.txt", "a") as file:
            file.write(stamped + "\n")

    making = makers(pictures, shards, processes)
    try:
        while len(dataset.complete(pictures)) < min(FIRST, shards):
            if all(process.poll() is not None for process in making):
                raise dataset.NoPictures(f"no pictures could be made in {pictures}: python -m models.world.shard says why")
            time.sleep(1.0)
        log(f"{len(dataset.complete(pictures))} of {shards} shards are there, {processes} processes make the others")
        left = max(LEAST_S, 60.0 * minutes - KEPT_S - (time.monotonic() - began))
        for stage, share in SHARES.items():
            spec = dataclasses.replace(SPECS[stage], batch=max(1, batch // 2 if stage == "decoder" else batch))
            on = "float32" if device == "mps" else "bfloat16"
            job = Job(spec=spec, networks=NetworkSpec(), pictures=pictures, run=run, precision=on, device=device)
            train_stage(job, Runtime(minutes=left * share / 60.0, workers=1, device=device), log)
        export_run(run, out, NetworkSpec())
        log(f"weights: {out}")
    finally:
        for process in making:
            process.terminate()


def main() -> None:
    from models.device import pick_device

    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Train the embedded generator in minutes, on a GPU.")
    parser.add_argument("--home", type=Path, required=True, help="folder for pictures, checkpoints and log")
    parser.add_argument("--out", type=Path, required=True, help="write the pipeline here")
    parser.add_argument("--minutes", type=float, default=20.0, help="minutes for all of it")
    parser.add_argument("--shards", type=int, default=160, help="shards of 256 pictures")
    parser.add_argument("--batch", type=int, default=512, help="pictures of a step")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=max(1, cores - 1), help="processes that make pictures")
    given = parser.parse_args()
    device = pick_device(given.device)
    train(given.home, given.out, given.minutes, given.shards, given.batch, device, given.processes)


if __name__ == "__main__":
    main()
