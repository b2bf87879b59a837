"""What the control `voxels` costs: cutting a CAD model into cells, drawing a view's rays, keeping them.

    .venv/bin/python -m tests.benchmarks.voxels

Enters: nothing. Leaves: a table, a row for each class and size of a picture.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from flows.commands.terminal import print_rows
from models.cad.voxels import voxelise
from models.control.voxels import VoxelRays, VoxelsSpec
from storage.images import to_png
from tests.control.cast import cast
from tests.control.test_rays import mesh_of
from tests.control.test_voxels import view_of

TIMES = 5


def least(work: Callable[[], Any]) -> float:
    """Return the seconds of the quickest of some tries."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    control, rows = VoxelRays(VoxelsSpec()), []
    for class_name in ("car", "chair"):
        mesh = mesh_of(class_name)
        grid = voxelise(mesh.triangles, 32).occupied
        for size in (128, 512):
            view = dataclasses.replace(view_of(cast(mesh, size=size), mesh), occupied=lambda cells, grid=grid: grid)
            drawn = control.draw(view)
            files = [to_png(picture) for picture in control.encode(drawn).values()]
            rows.append(
                {
                    "class": class_name,
                    "triangles": len(mesh.faces),
                    "pixels": size,
                    "cells_32_s": round(least(lambda mesh=mesh: voxelise(mesh.triangles, 32)), 3),
                    "cells_64_s": round(least(lambda mesh=mesh: voxelise(mesh.triangles, 64)), 3),
                    "draw_s": round(least(lambda view=view: control.draw(view)), 3),
                    "bytes": sum(map(len, files)),
                }
            )
    print_rows(rows)


if __name__ == "__main__":
    main()
