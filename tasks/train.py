"""The training tasks: the world's shards, the three stages, the folder of weights.

Enters: where pictures and checkpoints are, minutes for each stage. Leaves: shards, checkpoints, a pipeline's folder. Each may be
killed at any moment and goes on where it was, so Prefect's cache is not asked: what is on disk is the truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.training.spec import Runtime, Stage


@task(name="world", task_run_name="world shards {first} to {last}", cache_policy=NO_CACHE, retries=1)
def world(folder: Path, first: int, last: int) -> int:
    """Make the missing shards of a range; return how many pictures the range holds."""
    from models.world import shard
    from models.world.spec import WorldSpec

    logger, spec = get_run_logger(), WorldSpec()
    for index in shard.missing(folder, first, last - first + 1, spec):
        made = shard.make_shard(spec, index)
        shard.write(made, spec, folder, index)
        logger.info("world %05d  %d pictures", index, len(made.rows))
    return (last - first + 1) * spec.pictures_per_shard


@task(name="train", task_run_name="train {stage}", cache_policy=NO_CACHE)
def train(stage: Stage, pictures: Path, run: Path, minutes: float, workers: int, device: str, base: str, *after: Any) -> int:
    """Train one stage to so many minutes over all sittings; return the steps done."""
    from models.training.loop import train as train_stage
    from models.training.networks import NetworkSpec
    from models.training.sitting import job_of

    logger = get_run_logger()
    job = job_of(stage, pictures, run, NetworkSpec(), device=device, base=base)
    standing = train_stage(job, Runtime(minutes=minutes, workers=workers, device=device), logger.info)
    create_markdown_artifact(
        f"{stage}: {standing.step} steps in {standing.seconds / 60:.1f} minutes, loss {standing.loss:.4f}", key=f"train-{stage}"
    )
    return standing.step


@task(name="export", task_run_name="weights", cache_policy=NO_CACHE)
def export(run: Path, folder: Path, base: str, *after: Any) -> Path:
    """Write the trained weights as a folder that diffusers loads."""
    from models.training import export as weights
    from models.training.networks import NetworkSpec

    if base:
        return weights.export_control(run, folder, base)
    return weights.export_run(run, folder, NetworkSpec())
