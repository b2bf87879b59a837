"""The training loop: workers that share a step's pictures, checkpoints, a log with loss and time to go.

Enters: a Job and a Runtime. Leaves: a checkpoint at the budget's end. It may be killed at any moment: started again it goes on
from the last checkpoint and, step for step, to the same weights.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.training import checkpoint, dataset, optimise
from models.training.foreign_base import ForeignControlTask
from models.training.spec import Runtime
from models.training.tasks import AutoencoderTask, BaseTask, ControlTask, DecoderTask, Job, Task, TogetherTask

Log = Callable[[str], None]
Onlooker = Callable[[checkpoint.Standing], None]
HISTORY = "history.jsonl"
"""How the loss went: a line of JSON each time the training spoke."""
_REFRESH_S = 30.0
_WAIT_S = 600.0


def train(
    job: Job, runtime: Runtime, log: Log = print, look: Onlooker | None = None, stopped: Callable[[], bool] = lambda: False
) -> checkpoint.Standing:
    """Train one stage to its budget and return where it stands.

    `look` is called every `runtime.look_s` seconds, behind a checkpoint; the training waits, and its clock too. As soon as
    `stopped` says yes the training ends behind a last checkpoint, to go on from there.
    """
    import torch
    import torch.multiprocessing as multiprocessing

    if job.locked:
        log(f"{job.spec.stage}: stays as it is, for the stage {job.locked} of {job.run} has gone on from it")
        return checkpoint.peek(job.checkpoint)
    if runtime.device == "cpu":
        # Threads of one process wait for each other at every operation; on a busy machine that costs tenfold. Workers do not.
        torch.set_num_threads(1)
    task = _task(job)
    if not dataset.complete(job.pictures):
        raise dataset.NoPictures(f"no complete shard in {job.pictures}; make pictures first")
    layout = task.layout
    shared = optimise.vectors(task.parameters, runtime.workers, job.precision, job.device)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(runtime.workers)
    taken = context.Value("l", 0)
    others = [
        context.Process(target=_other, args=(job, runtime, shared, barrier, taken, rank, os.getpid()), daemon=True)
        for rank in range(1, runtime.workers)
    ]
    # Ctrl-C on a terminal reaches every process of the command; when to end is the first worker's to say.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for process in others:
        process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        optimiser = optimise.FlatOptimiser(task.parameters, shared, 0, lambda: _wait(barrier), job.spec)
        standing = checkpoint.load(job.checkpoint, shared, layout)
        shared["weights"].copy_(shared["master"])
        task.prepare()
        _wait(barrier)
        log(
            f"{job.spec.stage}: {sum(p.numel() for p in task.parameters) / 1e6:.2f} M weights, from step {standing.step}, "
            f"{runtime.workers} workers, {job.precision} on {job.device}"
        )
        _lead(task, optimiser, runtime, standing, taken, log, look, stopped)
    finally:
        barrier.abort()
        for process in others:
            process.join(10)
            if process.is_alive():
                process.kill()
    return standing


def _task(job: Job) -> Task:
    """Return the task of a job's stage."""
    if job.base:
        if job.spec.stage != "control":
            raise ValueError(f"on a foreign base only the control is trained, not the {job.spec.stage}")
        return ForeignControlTask(job)
    kinds: dict[str, type[Task]] = {
        "autoencoder": AutoencoderTask,
        "base": BaseTask,
        "control": ControlTask,
        "together": TogetherTask,
        "decoder": DecoderTask,
    }
    return kinds[job.spec.stage](job)


def _lead(
    task: Task,
    optimiser: optimise.FlatOptimiser,
    runtime: Runtime,
    standing: checkpoint.Standing,
    taken: Any,
    log: Log,
    look: Onlooker | None,
    stopped: Callable[[], bool],
) -> None:
    """Run the first worker: it decides when to stop, when shards join and when to save."""
    job, shared = task.job, optimiser.shared
    plan = shared["plan"]
    saved = spoken = begun = looked = time.monotonic()
    before, spoken_step, refreshed = standing.seconds, standing.step, -_REFRESH_S
    while True:
        now = time.monotonic()
        standing.seconds = before + now - begun
        progress = _progress(runtime, standing)
        stop = progress >= 1.0 or stopped()
        if now - refreshed > _REFRESH_S:
            names = task.pictures.names()
            _write_names(job.run / "shards.json", names)
            plan[2] = len(names)
            refreshed = now
        plan[0], plan[1], plan[3] = float(stop), optimise.rate(task.spec, standing.step, progress), standing.step
        taken.value = 0
        optimiser.wait()
        if stop:
            break
        norm = _step(task, optimiser, runtime, taken)
        loss = float(shared["losses"].sum())
        standing.loss = (
            loss if standing.step == 0 else standing.loss + (loss - standing.loss) * max(0.01, 1.0 / (standing.step + 1))
        )
        standing.step += 1
        now = time.monotonic()
        if now - spoken > runtime.speak_s or standing.step == 1:
            pace = (now - spoken) / max(1, standing.step - spoken_step)
            togo = _to_go(runtime, standing, pace)
            log(
                f"{task.spec.stage} step {standing.step}  loss {standing.loss:.4f} (now {loss:.4f})  norm {norm:.2f}  "
                f"rate {float(plan[1]):.1e}  {pace:.3f} s/step  {task.pictures.count} pictures  {togo / 60:.1f} min to go"
            )
            spoken, spoken_step = now, standing.step
            _remember(job.run / HISTORY, task.spec.stage, standing)
        if look is not None and runtime.look_s and now - looked > runtime.look_s:
            standing.seconds = before + now - begun
            checkpoint.save(job.checkpoint, shared, standing)
            look(standing)
            saved = looked = time.monotonic()
            begun, spoken = begun + looked - now, spoken + looked - now
        if now - saved > runtime.checkpoint_s:
            standing.seconds = before + now - begun
            checkpoint.save(job.checkpoint, shared, standing)
            saved = time.monotonic()
    checkpoint.save(job.checkpoint, shared, standing)
    _remember(job.run / HISTORY, task.spec.stage, standing)
    ended = "done" if _progress(runtime, standing) >= 1.0 else "stopped"
    log(f"{task.spec.stage} {ended}: {standing.step} steps in {standing.seconds / 60:.1f} min, loss {standing.loss:.4f}")


def _step(task: Task, optimiser: optimise.FlatOptimiser, runtime: Runtime, taken: Any) -> float:
    """Do one step in one worker, as planned by the first; return the gradient's norm."""
    plan = optimiser.shared["plan"]
    if int(plan[2]) > len(task.pictures.shards):
        task.extend(json.loads((task.job.run / "shards.json").read_text())[: int(plan[2])])
    step = int(plan[3])
    total = 0.0
    for part, parts in _parts(optimiser.rank, runtime, taken):
        loss = task.loss(step, part, parts)
        loss.backward()
        total += float(loss.detach())
    optimiser.shared["losses"][optimiser.rank] = total
    return optimiser.step(step, float(plan[1]))


def _parts(rank: int, runtime: Runtime, taken: Any) -> Iterator[tuple[int, int]]:
    """Yield the parts of a step that are this worker's, as (part, number of parts)."""
    if not runtime.parts:
        yield rank, runtime.workers
        return
    while True:
        with taken.get_lock():
            part = taken.value
            taken.value = part + 1
        if part >= runtime.parts:
            return
        yield part, runtime.parts


def _other(job: Job, runtime: Runtime, shared: dict[str, Any], barrier: Any, taken: Any, rank: int, parent: int) -> None:
    """Run another worker until the first says stop, or is gone."""
    import torch

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    torch.set_num_threads(1)
    task = _task(job)
    optimiser = optimise.FlatOptimiser(task.parameters, shared, rank, lambda: _wait(barrier), job.spec)
    task.prepare()
    try:
        _wait(barrier)
        while True:
            optimiser.wait()
            if shared["plan"][0] > 0:
                break
            _step(task, optimiser, runtime, taken)
    except threading.BrokenBarrierError:
        os._exit(1)


def _wait(barrier: Any) -> None:
    if barrier.parties > 1:
        barrier.wait(_WAIT_S)


def _progress(runtime: Runtime, standing: checkpoint.Standing) -> float:
    if runtime.steps is not None:
        return standing.step / max(1, runtime.steps)
    assert runtime.minutes is not None
    return standing.seconds / max(1e-9, 60.0 * runtime.minutes)


def _to_go(runtime: Runtime, standing: checkpoint.Standing, pace: float) -> float:
    if runtime.steps is not None:
        return (runtime.steps - standing.step) * pace
    assert runtime.minutes is not None
    return max(0.0, 60.0 * runtime.minutes - standing.seconds)


def _remember(path: Path, stage: str, standing: checkpoint.Standing) -> None:
    with open(path, "a") as file:
        line = {"stage": stage, "step": standing.step, "seconds": round(standing.seconds, 1), "loss": round(standing.loss, 5)}
        file.write(json.dumps(line) + "\n")


def history(run: Path) -> list[dict[str, Any]]:
    """Return how the loss went in a run: stage, step, seconds and loss; of steps that were done twice after a kill the later."""
    path = run / HISTORY
    if not path.is_file():
        return []
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        try:
            point = json.loads(line)
        except json.JSONDecodeError:
            # The line that was being written when the process was killed.
            continue
        points = {place: kept for place, kept in points.items() if place[0] != point["stage"] or place[1] < point["step"]}
        points[point["stage"], point["step"]] = point
    return list(points.values())


def _write_names(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(names))
    temporary.replace(path)
