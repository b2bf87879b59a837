"""What docs/scaling.md says, measured anew by one command; its parts are commands of their own too.

    .venv/bin/python -m tests.benchmarks.scale                                  # all parts, one after the other
    .venv/bin/python -m tests.benchmarks.scale runners --workers 1 2 4          # one part, with its own options

Enters: a part and its options. Leaves: its tables. Each part runs in a process of its own, since each sets up a home of its own.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = {"runners": "scale_runners", "store": "scale_store", "writers": "catalog_writers", "simulated": "scale_simulated"}
"""Part -> its module: shards on runners, S3 against a folder, catalog writers at once, and many workers over measured times."""


def main() -> int:
    part, *options = sys.argv[1:] or [""]
    if part and part not in PARTS:
        print(f'there is no part "{part}"; there are: {", ".join(PARTS)}; without one all are run', file=sys.stderr)
        return 2
    for name in [part] if part else PARTS:
        print(f"-- {name}", flush=True)
        if code := subprocess.run([sys.executable, "-m", f"tests.benchmarks.{PARTS[name]}", *options]).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
