"""What a runner costs: seconds a shard that are neither work nor the cluster's start, and how long workers stand idle.

    .venv/bin/python -m tests.benchmarks.scale_runners --runners local dask --workers 1 2 4 --shards 32 --seconds 0.5

A shard is a task run that sleeps, so that cores are no part of it; each worker does one at a time, as it renders. Every figure is
of a flow run against a server that Prefect starts for it, in a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

from rich.console import Console
from rich.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runners", nargs="+", default=["local", "dask"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.5)
    asked = parser.parse_args()
    table = Table("runner", "workers", "start s", "shards s", "over work, s a shard", "workers idle")
    with tempfile.TemporaryDirectory(prefix="dst-scale-") as folder:
        os.environ |= {"DST_HOME": folder}
        from flows.prefect_env import own_server, prepare
        from storage.settings import Settings

        prepare(Settings())
        own_server(Settings())
        for runner in asked.runners:
            for workers in asked.workers:
                start, spent = _measured(runner, workers, asked.shards, asked.seconds)
                work = asked.shards * asked.seconds / workers
                over = (spent - work) * workers / asked.shards
                row = (f"{start:.1f}", f"{spent:.2f}", f"{over:.3f}", f"{1 - work / spent:.0%}")
                table.add_row(runner, str(workers), *row)
    Console().print(f"{asked.shards} shards of {asked.seconds} s, {os.cpu_count()} cores", table)


def _measured(runner: str, workers: int, shards: int, seconds: float) -> tuple[float, float]:
    """Return the seconds until a runner takes shards, and those until it has done so many."""
    import pkgutil
    from contextlib import ExitStack

    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.cluster import _api
    from flows.runner import results, threads
    from flows.runners import CLUSTERS, LOCAL
    from tasks.plan.fit import RENDER

    @task(name="shard", cache_policy=NO_CACHE)
    def shard(number: int, seconds: float) -> None:
        time.sleep(seconds)

    @flow(name=f"{runner} {workers}", task_runner=threads(workers))
    def spread() -> tuple[float, float]:
        began = time.monotonic()
        with ExitStack() as held:
            submit: Any = shard.submit
            if runner != LOCAL:
                cluster = held.enter_context(pkgutil.resolve_name(CLUSTERS[runner][0])("", workers))
                held.enter_context(temporary_settings({PREFECT_API_URL: _api()}))
                submit = lambda *given: cluster.submit(  # noqa: E731
                    shard,
                    RENDER,
                    parameters=dict(zip(("number", "seconds"), given, strict=True)),
                    wait_for=None,
                    dependencies=None,
                )
            # Every process imports Prefect for its first one.
            results([submit(-number, 0.1) for number in range(2 * workers)])
            ready = time.monotonic()
            results([submit(number, seconds) for number in range(shards)])
            return ready - began, time.monotonic() - ready

    return spread()


if __name__ == "__main__":
    main()
