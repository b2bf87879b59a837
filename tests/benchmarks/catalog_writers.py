"""Many writers of one catalog on Postgres: records a second that 1, 2, 4 and 8 processes index at once, and that none is lost.

    .venv/bin/python -m tests.benchmarks.catalog_writers --writers 1 2 4 8 --samples 500

Each writer indexes a class of its own, as workers do that make whole classes, in batches of 256 records. Records are made up
before the clock starts; what is timed is from the first writer's first batch to the last one's last. Postgres is one of this
machine, started for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from storage.catalog.catalog import Catalog
from tests import postgres

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, time
from storage.catalog.catalog import Catalog
from tests.catalog import records
made = list(records.records(records.cohort("class {index}", 5, {views})))
catalog = Catalog({url!r})
catalog.query("SELECT 1")
print("ready", flush=True)
sys.stdin.readline()
began = time.time()
for start in range(0, len(made), 256):
    catalog.index(made[start : start + 256])
print(len(made), began, time.time(), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--samples", type=int, default=500, help="samples of each writer")
    asked = parser.parse_args()
    table = Table("writers", "records", "seconds", "records a second", "rows of images")
    with postgres.running() as server:
        for writers in asked.writers:
            name = server.new_database()
            url = server.url(name)
            catalog = Catalog(url)
            catalog.migrate()
            records, seconds = _written(url, writers, asked.samples // 5)
            rows = int(catalog.query("SELECT count(*) AS n FROM images").n[0])
            assert rows == writers * (asked.samples // 5) * 5, f"{rows} rows are there"
            table.add_row(str(writers), str(records), f"{seconds:.1f}", f"{records / seconds:.0f}", str(rows))
            server.drop_database(name)
    Console().print(f"{os.cpu_count()} cores", table)


def _written(url: str, writers: int, views: int) -> tuple[int, float]:
    """Return how many records so many processes have written, and the seconds from the first begin to the last end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.format(index=index, views=views, url=url)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0].split() for process in processes]
    ends = [float(end) for _, _, end in said]
    return sum(int(count) for count, _, _ in said), max(ends) - min(float(began) for _, began, _ in said)


if __name__ == "__main__":
    main()
