"""Warm renderer processes: CAD models and views in, rendered views out, whatever a mesh does to Blender.

Enters: jobs (a GLB, its views, a spec). Leaves: for each view a RenderedView, or a RenderFailure that names what is wrong with
the CAD model. A process that dies or hangs costs its job, not the pool: it is replaced, the other jobs go on, and RendererDied,
which time can heal, is raised at the end. Workers, device, threads and limits change speed only; results do not depend on them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.render.process import Process, ProcessDied, ProcessHung
from models.render.spec import RenderSpec
from models.sample import ViewId

_LOOK_EVERY_S = 0.2
STARTING_S = 120.0
"""What a renderer may take to start: a second or two, more on a busy machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedView:
    """What is known of one view."""

    view: ViewId
    """Which view."""
    rgba: NDArray[np.uint8]
    """(H, W, 4) sRGB, straight alpha."""
    mask: NDArray[np.uint8]
    """(H, W) 255 where the pixel's centre shows the object, else 0."""
    depth: NDArray[np.float32]
    """(H, W) along the optical axis in longest sides of the object; 0 for background. See annotation.depth_picture."""
    normal: NDArray[np.uint8]
    """(H, W, 3) camera axes, n * 127.5 + 127.5; 0 for background."""
    annotation: dict[str, Any]
    """JSON types; see models.render.annotation."""
    seconds: float
    """What rendering it took (runtime, not identity)."""


@dataclass(frozen=True, kw_only=True)
class RenderFailure:
    """A view that cannot be rendered, however often it is tried."""

    view: ViewId
    """Which view."""
    reason: str
    """A short name that reports count by: unreadable_glb, no_faces, animated_glb, empty_mask."""
    detail: str
    """One line for a person."""


@dataclass(frozen=True, kw_only=True)
class RenderJob:
    """Views of one CAD model to render."""

    glb: Path
    """Its canonical GLB."""
    views: tuple[ViewId, ...]
    """Which views."""
    spec: RenderSpec
    """How."""


@dataclass(frozen=True, kw_only=True)
class Casualty:
    """A job that took its process with it."""

    glb: Path
    """The CAD model."""
    reason: Literal["renderer_killed", "mesh_timeout"]
    """A short name that reports count by, should trying again not help."""
    detail: str
    """One line for a person."""
    views: tuple[ViewId, ...]
    """The views that were not made."""


class RendererDied(RuntimeError):
    """Renderer processes died or hung. Everything they had made was handed out; trying the rest again may succeed."""

    def __init__(self, casualties: Sequence[Casualty]) -> None:
        self.casualties = tuple(casualties)
        super().__init__("\n".join(casualty.detail for casualty in casualties))


class _Abandoned(threading.Event):
    """Set when nobody waits for the views of a call any more; knows the processes that are still at them."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._at_work: set[Process] = set()

    @contextlib.contextmanager
    def at_work(self, process: Process) -> Iterator[None]:
        with self._lock:
            self._at_work.add(process)
        try:
            yield
        finally:
            with self._lock:
                self._at_work.discard(process)

    def end(self) -> None:
        """End those processes."""
        with self._lock:
            for process in self._at_work:
                process.end()


class RenderPool:
    """Renderer processes, started when first needed, closed with the `with` block. May be shared by threads."""

    def __init__(
        self,
        workers: int = 1,
        mesh_timeout_s: float = 300.0,
        *,
        device: Literal["cpu", "gpu"] = "cpu",
        threads: int = 1,
        models_per_worker: int = 100,
        worker_memory_bytes: int = 4 * 2**30,
        scratch: Path | None = None,
    ) -> None:
        """Make a pool.

        `mesh_timeout_s`: a process that gives no sign for so long (loading a mesh, rendering one view) is ended.
        `models_per_worker`, `worker_memory_bytes`: a process is replaced after so many loads, or when it holds so much memory.
        `scratch`: folder for files that live for milliseconds; None: in memory where the system has such a place.
        """
        if workers < 1 or threads < 1 or models_per_worker < 1 or mesh_timeout_s <= 0:
            raise ValueError("workers, threads, models_per_worker and mesh_timeout_s must be above 0")
        if device not in ("cpu", "gpu"):
            raise ValueError(f'device is "{device}": it must be cpu or gpu')
        self._workers, self._timeout = workers, mesh_timeout_s
        self._device, self._threads = device, threads
        self._models, self._memory = models_per_worker, worker_memory_bytes
        shared = Path("/dev/shm")
        self._scratch_parent = scratch or (shared if shared.is_dir() else None)
        self._idle: queue.LifoQueue[Process | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._alive: set[Process] = set()
        self._lock = threading.Lock()
        self._hello: dict[str, Any] = {}
        self._scratch: Path | None = None
        self._threads_pool: ThreadPoolExecutor | None = None
        self._closing = False

    def __enter__(self) -> RenderPool:
        self._scratch = Path(tempfile.mkdtemp(prefix="dst-render-", dir=self._scratch_parent))
        self._threads_pool = ThreadPoolExecutor(self._workers, thread_name_prefix="render")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._threads_pool is not None
        assert self._scratch is not None
        self._closing = True
        for process in self._processes():
            process.end()
        self._threads_pool.shutdown(cancel_futures=True)
        # One that was being started while the others were ended.
        for process in self._processes():
            process.end()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the renderers that live now."""
        return tuple(sorted(process.pid for process in self._processes()))

    @property
    def runtime(self) -> dict[str, Any]:
        """What rendered (device in fact, threads, versions), once a renderer has started: recorded, never hashed."""
        return dict(self._hello)

    def warm(self) -> None:
        """Start every process now, instead of when it is first needed. Raises ProcessDied."""
        waiting = [self._idle.get() for _ in range(self._workers)]
        processes = [self._living(process) for process in waiting]
        try:
            for process in processes:
                self._greet(process)
        finally:
            for process in processes:
                self._idle.put(process)

    def render(self, glb: Path, views: Sequence[ViewId], spec: RenderSpec) -> Iterator[RenderedView | RenderFailure]:
        """Render views of one CAD model; gives each view's outcome in the order of `views`.

        Raises RendererDied, after the outcomes that there are, when a renderer died or hung.
        """
        waiting: dict[ViewId, RenderedView | RenderFailure] = {}
        wanted = list(views)
        died: RendererDied | None = None
        outcomes = self.map([RenderJob(glb=glb, views=tuple(views), spec=spec)])
        while True:
            try:
                outcome = next(outcomes)
            except StopIteration:
                break
            except RendererDied as error:
                died = error
                break
            waiting[outcome.view] = outcome
            while wanted and wanted[0] in waiting:
                yield waiting.pop(wanted.pop(0))
        yield from (waiting[view] for view in wanted if view in waiting)
        if died is not None:
            raise died

    def map(
        self, jobs: Sequence[RenderJob], between: Callable[[], None] = lambda: None
    ) -> Iterator[RenderedView | RenderFailure]:
        """Render several CAD models, all processes busy; gives outcomes as they are made.

        between: called all the time while views are waited for; what it raises ends the rendering, and the processes that are at
        it. Raises RendererDied, after all other jobs are through, when renderers died or hung.
        """
        if self._threads_pool is None or self._closing:
            raise RuntimeError("a RenderPool renders only inside its with block")
        outcomes: queue.SimpleQueue[RenderedView | RenderFailure | Casualty | None] = queue.SimpleQueue()
        abandoned = _Abandoned()
        parts = self._split(jobs)
        futures = [self._threads_pool.submit(self._run, part, outcomes, abandoned) for part in parts]
        casualties: list[Casualty] = []
        running = len(parts)
        try:
            while running:
                try:
                    outcome = outcomes.get(timeout=_LOOK_EVERY_S)
                except queue.Empty:
                    between()
                    continue
                if outcome is None:
                    running -= 1
                elif isinstance(outcome, Casualty):
                    casualties.append(outcome)
                else:
                    yield outcome
            # A bug in the exchange itself must not pass for views that were never asked for.
            for future in futures:
                future.result()
        finally:
            abandoned.set()
            for future in futures:
                future.cancel()
            if running:
                # A mesh may take minutes to load: nobody waits for it any more, and the process must not outlive the command.
                abandoned.end()
        if casualties:
            raise RendererDied(casualties)

    def _split(self, jobs: Sequence[RenderJob]) -> list[RenderJob]:
        """Share out the views of few CAD models, so that no process stands idle."""
        jobs = [job for job in jobs if job.views]
        pieces = -(-self._workers // len(jobs)) if jobs else 1
        # A piece loads the mesh again, so it must hold enough views to be worth it.
        return [
            dataclasses.replace(job, views=job.views[start::count])
            for job in jobs
            for count in [max(1, min(pieces, len(job.views) // 4))]
            for start in range(count)
        ]

    def _run(self, job: RenderJob, outcomes: queue.SimpleQueue[Any], abandoned: _Abandoned) -> None:
        process = self._idle.get()
        left = dict(enumerate(job.views))
        try:
            if not abandoned.is_set():
                process = self._living(process)
                with abandoned.at_work(process):
                    self._greet(process)
                    for outcome in self._exchange(process, job, left):
                        outcomes.put(outcome)
                        if abandoned.is_set():
                            process.end()
                            break
        except ProcessHung as error:
            what = f"the renderer gave no sign for {self._timeout:g} s on {job.glb}"
            outcomes.put(self._casualty(job, left, "mesh_timeout", what, error))
        except ProcessDied as error:
            what = f"the renderer died ({error.how}) on {job.glb}"
            outcomes.put(self._casualty(job, left, "renderer_killed", what, error))
        finally:
            if process is not None and not process.fit(self._models, self._memory):
                self._retire(process)
                process = None
            self._idle.put(process)
            outcomes.put(None)

    @staticmethod
    def _casualty(
        job: RenderJob, left: dict[int, ViewId], reason: Literal["renderer_killed", "mesh_timeout"], what: str, error: ProcessDied
    ) -> Casualty:
        last = f"; its last words: {error.last_words}" if error.last_words else ""
        return Casualty(glb=job.glb, reason=reason, detail=what + last, views=tuple(left.values()))

    def _exchange(self, process: Process, job: RenderJob, left: dict[int, ViewId]) -> Iterator[RenderedView | RenderFailure]:
        process.ask(
            {"glb": str(job.glb), "views": [dataclasses.asdict(view) for view in job.views], "spec": dataclasses.asdict(job.spec)}
        )
        while True:
            answer = process.answer(self._timeout)
            if "done" in answer:
                return
            if "view" not in answer:
                continue
            view = left.pop(answer["view"])
            if "reason" in answer:
                yield RenderFailure(view=view, reason=answer["reason"], detail=answer["detail"])
            else:
                yield _rendered(view, process.scratch / answer["file"], answer)

    def _living(self, process: Process | None) -> Process:
        """Return `process`, or a new one when there is none or it died while it had nothing to do."""
        if process is not None and process.alive:
            return process
        if process is not None:
            self._retire(process)
        assert self._scratch is not None
        process = Process(Path(tempfile.mkdtemp(dir=self._scratch)), self._device, self._threads)
        with self._lock:
            self._alive.add(process)
        if self._closing:
            process.end()
        return process

    def _greet(self, process: Process) -> None:
        # Starting is not the mesh's doing, so a short limit for meshes does not bind it.
        self._hello = process.greeting(max(self._timeout, STARTING_S))

    def _retire(self, process: Process) -> None:
        process.end()
        with self._lock:
            self._alive.discard(process)
        shutil.rmtree(process.scratch, ignore_errors=True)

    def _processes(self) -> list[Process]:
        with self._lock:
            return [process for process in self._alive if process.alive]


def _rendered(view: ViewId, file: Path, answer: dict[str, Any]) -> RenderedView:
    annotation = answer["annotation"]
    h, w = annotation["height"], annotation["width"]
    data = file.read_bytes()
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    rgba, mask, depth, normal = np.split(np.frombuffer(data, np.uint8), np.cumsum([4 * h * w, h * w, 4 * h * w]))
    return RenderedView(
        view=view,
        rgba=rgba.reshape(h, w, 4),
        mask=mask.reshape(h, w),
        depth=depth.view(np.float32).reshape(h, w),
        normal=normal.reshape(h, w, 3),
        annotation=annotation,
        seconds=answer["seconds"],
    )
