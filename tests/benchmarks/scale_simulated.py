"""Millions of samples on many machines, simulated: hours, how busy each resource is, and what is the bottleneck.

    .venv/bin/python -m tests.benchmarks.scale_simulated --classes 1000 --samples 2500 --machines 1 8 64

A discrete simulation, and no measurement: a queue like the scheduler's (first come, first served, a task to whatever machine
offers what it needs and is free) over times that were measured elsewhere and are given here as parameters. A class is dealt into
shards as a run deals it; a shard is rendered, drawn (control) and painted, in this order; behind a class's last shard one process
judges it and writes its records into the one catalog, which takes one writer at a time. Machines are alike: so many cores that
render, so many GPUs that paint. Not in it: machines that are lost, networks that are slow, a Prefect server that is.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tasks.plan.cohort import SHARD_AT_LEAST, SHARDS_AT_MOST

RECORDS = 5
"""Records of a sample: render, control, caption, image and its share of the verdict."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one worker, a sample."""

    render: float
    control: float
    image: float
    judge: float
    overhead: float
    """Of a task run, whatever it does."""
    records_a_second: float
    """That the catalog takes, from all writers together."""


@dataclass
class Resource:
    """So many servers, and who waits for one."""

    servers: int
    free: int = field(init=False)
    waiting: deque[tuple[float, int, int]] = field(default_factory=deque)
    """(samples, class, step)"""
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.free = self.servers


def simulate(classes: int, samples: int, at_once: int, servers: dict[str, int], times: Times) -> tuple[float, dict[str, float]]:
    """Return the hours until all classes are made, and the share of the time that each resource was busy.

    at_once: classes whose runs go on together.
    """
    resources = {name: Resource(count) for name, count in servers.items()}
    size = max(SHARD_AT_LEAST, -(-samples // SHARDS_AT_MOST))
    shards = [size] * (samples // size) + ([samples % size] if samples % size else [])
    steps = (
        ("render", times.render),
        ("render", times.control),
        ("gpu", times.image),
        ("render", times.judge),
        ("catalog", RECORDS / times.records_a_second),
    )
    left = {}
    now, events, number, begun = 0.0, [], itertools.count(), itertools.count()

    def begin_class() -> None:
        index = next(begun)
        if index < classes:
            left[index] = len(shards)
            for count in shards:
                ask(index, 0, count)

    def ask(index: int, step: int, count: int) -> None:
        resource = resources[steps[step][0]]
        resource.waiting.append((count, index, step))
        serve(resource)

    def serve(resource: Resource) -> None:
        while resource.free and resource.waiting:
            count, index, step = resource.waiting.popleft()
            seconds = steps[step][1] * count + times.overhead
            resource.free -= 1
            resource.busy_s += seconds
            heapq.heappush(events, (now + seconds, next(number), resource, index, step, count))

    for _ in range(at_once):
        begin_class()
    while events:
        now, _, resource, index, step, count = heapq.heappop(events)
        resource.free += 1
        if step < 2:
            ask(index, step + 1, count)
        elif step == 2:
            left[index] -= 1
            if not left[index]:
                ask(index, 3, samples)
        elif step == 3:
            ask(index, 4, samples)
        else:
            begin_class()
        serve(resource)
    return now / 3600, {name: resource.busy_s / (resource.servers * now) for name, resource in resources.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2500)
    parser.add_argument("--machines", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--cores", type=int, default=16, help="of each machine, all of which render")
    parser.add_argument("--gpus", type=int, default=1, help="of each machine")
    parser.add_argument("--at-once", type=int, default=2, help="classes that go on together, for each machine")
    parser.add_argument("--render-s", type=float, default=0.58, help="tests.benchmarks.render, 512 px")
    parser.add_argument("--control-s", type=float, default=0.03, help="assumed; yours: the view costs")
    parser.add_argument("--image-s", type=float, default=0.125, help="assumed: 8 images a second; yours: the view costs")
    parser.add_argument("--judge-s", type=float, default=0.08, help="assumed; yours: the view costs")
    parser.add_argument("--overhead-s", type=float, default=0.14, help="tests.benchmarks.scale_runners")
    parser.add_argument("--records-a-second", type=float, default=2767, help="tests.benchmarks.catalog_writers")
    parser.add_argument("--bytes-a-sample", type=float, default=1.2e6, help="assumed; yours: the view costs")
    parser.add_argument("--price", type=float, default=0.0, help="of a machine and hour; 0: left out")
    asked = parser.parse_args()
    times = Times(
        render=asked.render_s, control=asked.control_s, image=asked.image_s, judge=asked.judge_s, overhead=asked.overhead_s,
        records_a_second=asked.records_a_second,
    )  # fmt: skip
    table = Table(
        "machines", "hours", "cores busy", "GPUs busy", "catalog busy", "bottleneck", *(["price"] if asked.price else [])
    )
    for machines in asked.machines:
        servers = {"render": machines * asked.cores, "gpu": machines * asked.gpus, "catalog": 1}
        hours, busy = simulate(asked.classes, asked.samples, machines * asked.at_once, servers, times)
        shares = [f"{busy[name]:.0%}" for name in ("render", "gpu", "catalog")]
        most = max(busy, key=lambda name: busy[name])
        price = [f"{hours * machines * asked.price:,.0f}"] if asked.price else []
        table.add_row(str(machines), f"{hours:,.1f}", *shares, {"render": "cores", "gpu": "GPUs"}.get(most, most), *price)
    rows = asked.classes * asked.samples
    Console().print(
        f"{rows:,} samples, {rows * asked.bytes_a_sample / 1e12:.1f} TB, {rows * RECORDS:,} records; {asked.cores} cores and "
        f"{asked.gpus} GPUs a machine",
        table,
    )


if __name__ == "__main__":
    main()
