"""Memory of one renderer process over many loads.

    python -m tests.benchmarks.render_memory [--loads 500] [--views 1]

CAD models of ten classes in turn, 128 px. Prints resident memory as it goes, and its growth from the first full round (by when
Blender has everything it keeps) to the last. A pool replaces processes by number of models and by memory; this measures how much
there would be to win.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.cad import parametric
from models.render.pool import RenderedView, RenderPool
from models.render.spec import RenderSpec
from models.sample import ViewId


def resident_mb(pid: int) -> float:
    """Return resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=500)
    parser.add_argument("--views", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    spec = RenderSpec(resolution=128, samples=4)
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for class_name in parametric.CLASSES:
            files.append(Path(folder) / f"{class_name}.glb")
            files[-1].write_bytes(parametric.glb(class_name, 0))
        with RenderPool(workers=1, models_per_worker=options.loads + 1, worker_memory_bytes=2**40) as pool:
            for load in range(options.loads):
                file = files[load % len(files)]
                ids = [
                    ViewId(class_name="benchmark", cad_id=file.stem, view_index=load + index) for index in range(options.views)
                ]
                assert all(isinstance(view, RenderedView) for view in pool.render(file, ids, spec))
                (pid,) = pool.pids
                memory.append(resident_mb(pid))
                if (load + 1) % 50 == 0:
                    console.print(f"{load + 1:5d} loads  {memory[-1]:7.1f} MB")
    rounds = [max(memory[start : start + len(files)]) for start in range(0, len(memory), len(files))]
    table = Table("loads", "MB", title=f"Resident memory of one renderer, {options.loads} loads, {options.views} views each")
    table.add_row(f"1 to {len(files)}", f"{rounds[0]:.1f}")
    table.add_row("highest", f"{max(memory):.1f}")
    table.add_row(f"last {len(files)}", f"{rounds[-1]:.1f}")
    table.add_row("growth", f"{100 * (rounds[-1] / rounds[0] - 1):.1f} %")
    console.print(table)


if __name__ == "__main__":
    main()
