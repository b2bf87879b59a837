"""Images per second of the default render against the paper's, in one run on the same views, and what that does to the edges.

    python -m tests.benchmarks.render [--views 20] [--models FILE ...] [--samples 4 ...] [--sampled-light]

The paper's: one Blender process for each CAD model, on all cores, 512 px, 32 samples, denoiser at its defaults. Ours: warm
processes, one thread each, as many as cores. Edges are the paper's too: Canny 100/200 of the RGB on black; F1 counts an edge
pixel as found when the other picture has one within 1 px. Starting the processes is a row of its own: ours pays it once for all
CAD models. On a busy machine compare CPU seconds, not images per second.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.cad.canonical import canonicalise
from models.cad.spec import CadSpec
from models.render.pool import RenderedView, RenderJob, RenderPool
from models.render.spec import LightSpec, RenderSpec
from models.sample import ViewId

SHARED = Path(os.environ.get("DST_SHARED_CAD", Path(__file__).resolve().parents[3] / "shared" / "cad"))
DEFAULT = ("car/hatchback/hatchback.obj", "duck/Duck.glb", "truck/CesiumMilkTruck.glb", "bus/bus/bus.obj", "cow/cow.obj")

Views = dict[ViewId, RenderedView]


def edges(view: RenderedView) -> NDArray[np.bool_]:
    """Return the paper's edge map of a render."""
    on_black = view.rgba[..., :3].astype(np.float32) * (view.rgba[..., 3:].astype(np.float32) / 255)
    return cv2.Canny(cv2.cvtColor(np.rint(on_black).astype(np.uint8), cv2.COLOR_RGB2GRAY), 100, 200) > 0


def edge_f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """Return F1 of edge pixels, each found when the other picture has one within 1 px."""
    near = np.ones((3, 3), np.uint8)
    hit = found & (cv2.dilate(wanted.astype(np.uint8), near) > 0)
    met = wanted & (cv2.dilate(found.astype(np.uint8), near) > 0)
    precision, recall = hit.sum() / max(found.sum(), 1), met.sum() / max(wanted.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


@dataclasses.dataclass
class Cost:
    """What rendering took."""

    start_s: float = 0.0
    start_cpu_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(jobs: Sequence[RenderJob], workers: int, threads: int, together: bool) -> tuple[Views, Cost]:
    """Render `jobs` in one pool, or each in a process of its own; starting is measured by rendering nothing."""
    views: Views = {}
    cost = Cost()
    for group in [list(jobs)] if together else [[job] for job in jobs]:
        before, started = _children_cpu(), time.perf_counter()
        with RenderPool(workers, 900.0, threads=threads) as pool:
            pool.warm()
            ready = time.perf_counter()
            views.update((view.view, view) for view in pool.map(group) if isinstance(view, RenderedView))
            cost.wall_s += time.perf_counter() - ready
        cost.start_s += ready - started
        # Counted once the processes are gone, starting and loading included.
        cost.cpu_s += _children_cpu() - before
    return views, cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--models", type=Path, nargs="*", default=[SHARED / name for name in DEFAULT])
    parser.add_argument("--samples", type=int, nargs="*", default=[RenderSpec().samples], help="samples of ours to try")
    parser.add_argument("--sampled-light", action="store_true", help="sun and ambient of the default recipe, not one area light")
    options = parser.parse_args()
    console, cores = Console(), len(os.sched_getaffinity(0))
    paper = dataclasses.replace(RenderSpec.official(), light=LightSpec(kind="sampled" if options.sampled_light else "official"))
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, path in enumerate(options.models):
            files.append(Path(folder) / f"{number}-{path.stem}.glb")
            files[-1].write_bytes(canonicalise(path, CadSpec()).glb)

        def jobs(spec: RenderSpec) -> list[RenderJob]:
            ids = [ViewId(class_name="benchmark", cad_id="0" * 64, view_index=index) for index in range(options.views)]
            return [
                RenderJob(glb=file, views=tuple(dataclasses.replace(view, cad_id=file.stem) for view in ids), spec=spec)
                for file in files
            ]

        wanted, base = run(jobs(paper), 1, cores, together=False)
        for samples in options.samples:
            ours = dataclasses.replace(paper, samples=samples, denoiser="fast")
            made, cost = run(jobs(ours), cores, 1, together=True)
            _print(console, options, cores, samples, (wanted, base), (made, cost), files)


def _print(
    console: Console,
    options: argparse.Namespace,
    cores: int,
    samples: int,
    paper: tuple[Views, Cost],
    ours: tuple[Views, Cost],
    files: Sequence[Path],
) -> None:
    n = len(paper[0])
    title = f"{len(files)} CAD models, {options.views} views each, 512 px, {cores} cores; ours: {samples} samples, fast denoiser"
    table = Table("", "the paper's", "ours", "times", title=title)
    for name, a, b in (
        ("processes starting, s in all", paper[1].start_s, ours[1].start_s),
        ("rendering, s in all", paper[1].wall_s, ours[1].wall_s),
        ("s per image", paper[1].wall_s / n, ours[1].wall_s / n),
        ("CPU s per image, starting included", paper[1].cpu_s / n, ours[1].cpu_s / n),
    ):
        table.add_row(name, f"{a:.2f}", f"{b:.2f}", f"{a / b:.1f}")
    a, b = n / paper[1].wall_s, n / ours[1].wall_s
    table.add_row("images per second", f"{a:.3f}", f"{b:.3f}", f"{b / a:.1f}")
    a, b = n / (paper[1].wall_s + paper[1].start_s), n / (ours[1].wall_s + ours[1].start_s)
    table.add_row("images per second, starting included", f"{a:.3f}", f"{b:.3f}", f"{b / a:.1f}")
    console.print(table)
    table = Table("CAD model", "edge F1, mean", "lowest", "edge pixels, relative", title="Edges against the paper's setting")
    for file in files:
        pairs = [(edges(ours[0][view]), edges(paper[0][view])) for view in paper[0] if view.cad_id == file.stem]
        scores = [edge_f1(found, wanted) for found, wanted in pairs]
        share = np.mean([found.sum() / max(wanted.sum(), 1) for found, wanted in pairs])
        table.add_row(file.stem, f"{np.mean(scores):.4f}", f"{min(scores):.4f}", f"{share:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
