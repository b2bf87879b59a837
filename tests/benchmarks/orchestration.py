"""What Prefect costs: a run through the flow against its stages called one after the other, and task runs at 10,000 samples.

    .venv/bin/python -m tests.benchmarks.orchestration --samples 500

Both make the same samples with the embedded recipe into empty stores, in processes of their own, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
MODELS = 5

DIRECT = """
import sys, time
from flows import recipes, runs
from storage.settings import Settings
from tasks import stages
from tasks.plan.place import Place
place = Place.of(Settings(), run="direct")
cohort = runs.cohort(place, "car", int(sys.argv[1]), recipes.resolve("embedded"))
for stage in (*stages.OF_A_SAMPLE, *stages.OF_A_COHORT):
    task, began = stage.run(), time.monotonic()
    if stage in stages.OF_A_SAMPLE:
        for shard in cohort.shards():
            task.fn(place, shard, cohort.recipe)
    else:
        for part in stage.parts(cohort.recipe):
            task.fn(place, cohort, part)
    print(stage.name, round(time.monotonic() - began, 2), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory(prefix="dst-orchestration-") as folder:
        direct, stages = _direct(Path(folder) / "direct", samples)
        flow, inside = _flow(Path(folder) / "flow", samples)
        planned = _task_runs(Path(folder) / "flow")
    table = Table("", "seconds", "over the sum", title=f"{samples} samples of one class, embedded recipe, {os.cpu_count()} cores")
    for name, seconds in stages.items():
        table.add_row(f"  {name}", f"{seconds:.1f}", "")
    total = sum(stages.values())
    table.add_row("sum of the stages, called directly", f"{total:.1f}", "")
    table.add_row("process that called them, start to end", f"{direct:.1f}", f"{direct / total - 1:+.1%}")
    table.add_row("flow run (start of the run to its end)", f"{inside:.1f}", f"{inside / total - 1:+.1%}")
    table.add_row("dst run, with starting and stopping Prefect's server", f"{flow:.1f}", f"{flow / total - 1:+.1%}")
    Console().print(table)
    Console().print(f"task runs for 10,000 samples (dst run car --samples 10000 --dry-run): {planned}")


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"DST_HOME": str(home)}


def _register(home: Path) -> None:
    from models.cad import parametric

    folder = home / "cars"
    folder.mkdir(parents=True)
    for seed in range(40_000, 40_000 + MODELS):
        (folder / f"car-{seed}.glb").write_bytes(parametric.glb("car", seed))
    _dst(home, "cad", "add", str(folder), "--class", "car")


def _dst(home: Path, *command: str) -> str:
    arguments = [sys.executable, "-m", "flows.cli", *command]
    return subprocess.run(arguments, cwd=ROOT, env=_environment(home), text=True, stdout=subprocess.PIPE, check=True).stdout


def _direct(home: Path, samples: int) -> tuple[float, dict[str, float]]:
    _register(home)
    began = time.monotonic()
    arguments = [sys.executable, "-c", DIRECT, str(samples)]
    out = subprocess.run(arguments, cwd=ROOT, env=_environment(home), text=True, stdout=subprocess.PIPE, check=True).stdout
    return time.monotonic() - began, {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}


def _flow(home: Path, samples: int) -> tuple[float, float]:
    _register(home)
    began = time.monotonic()
    _dst(home, "run", "car", "--samples", str(samples))
    wall = time.monotonic() - began
    question = "select (julianday(finished_at) - julianday(started_at)) * 86400 as seconds from runs"
    return wall, float(json.loads(_dst(home, "sql", question, "--format", "json"))[0]["seconds"])


def _task_runs(home: Path) -> int:
    """Return the last column of the table that a dry run prints: the last cell of the class's row."""
    printed = _dst(home, "run", "car", "--samples", "10000", "--dry-run").splitlines()
    head, row = (next(line for line in printed if line.split()[:1] == [word]) for word in ("class", "car"))
    assert head.split()[-2:] == ["task", "runs"], head
    return int(row.split()[-1])


if __name__ == "__main__":
    main()
