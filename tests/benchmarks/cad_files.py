"""Thousands of mutated CAD files: what becomes of each, and whether anybody else sees what we see.

    python -m tests.benchmarks.cad_files [--seeds 2000] [--first 0]

Enters: how many seeds. Leaves: a table on the terminal; the exit code is 1 if a file was read without a warning and every other
reader that reads it (Blender's importers, trimesh) sees something else. 100 of the seeds are in `make test`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.cad.mutations import tried

_BATCH = 250
"""So many files are given to one Blender."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    end, differ, started = asked.first + asked.seeds, 0, time.perf_counter()
    for first in range(asked.first, end, _BATCH):
        with tempfile.TemporaryDirectory() as folder:
            outcome = tried(range(first, min(first + _BATCH, end)), Path(folder))
        refused = ", ".join(f"{count} {reason}" for reason, count in outcome.refused.most_common())
        print(
            f"{first:6}: {outcome.agreed} as others read them, {outcome.said} with a warning, {outcome.refused.total()} refused "
            f"({refused}), {len(outcome.alone)} that nobody else reads, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        for seed, readers in outcome.differ.items():
            differ += 1
            for reader, differences in readers.items():
                print(f"        seed {seed}, {reader}: {'; '.join(differences)}")
    print(f"{differ} of {asked.seeds} are read otherwise by everybody else")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
