"""A renderer process: takes jobs as lines of JSON on its standard input, answers with lines of JSON and arrays in a folder.

Enters, one line for each job: {"glb", "views": [{"class_name", "cad_id", "view_index"}], "spec", "first"}. Leaves: a line
{"hello": runtime} at the start; for each view {"view": index, "file", "annotation", "seconds"} or {"view": index, "reason",
"detail"}; {"done": resident bytes} at a job's end. A view's file holds rgba, mask, depth and normal, one after the other, and is
complete before its line is written. A job {"scene", "meshes"} is a whole scene for models.world.full, see `_render_scene`. When
the parent goes away the process ends by itself.

Runs as `python -m models.render.worker SCRATCH DEVICE THREADS`; models.render.pool starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.colour import to_srgb
from models.kinds import read
from models.render.annotation import annotate, normal_picture
from models.render.camera import Camera, Matrix, place, region
from models.render.light import sample_light
from models.render.spec import RenderSpec
from models.render.viewpoint import sample_view
from models.sample import ViewId


def main() -> None:
    # Blender and BlenderProc write to standard output as they like: answers keep the pipe, everything else joins the log.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    scratch, device, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    threading.Thread(target=_read_jobs, args=(jobs, scratch), daemon=True).start()

    from models.render import blender

    scene = blender.Scene(scratch, device="cpu" if device == "cpu" else "gpu", threads=threads)
    _say(answers, {"hello": {"device": scene.device, "threads": threads, **blender.versions()}})
    while True:
        job = json.loads(jobs.get())
        if "scene" in job:
            _render_scene(scene, job, scratch, answers)
        else:
            _render_job(scene, job, scratch, answers)
        _say(answers, {"done": resident_bytes()})


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _read_jobs(jobs: queue.SimpleQueue[str], scratch: Path) -> None:
    for line in sys.stdin:
        jobs.put(line)
    # The parent closed the pipe or died: nobody will take what is being rendered, or clear it from memory.
    shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(OSError):
        scratch.parent.rmdir()
    os._exit(0)


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _render_job(scene: Any, job: dict[str, Any], scratch: Path, answers: IO[str]) -> None:
    from models.render.blender import SceneError

    spec: RenderSpec = read(RenderSpec, job["spec"], "render")
    scene.quality(
        samples=spec.samples, denoiser=spec.denoiser, diffuse_bounces=spec.diffuse_bounces, glossy_bounces=spec.glossy_bounces
    )
    left = list(range(len(job["views"])))
    try:
        with scene.model(Path(job["glb"])) as vertices:
            _say(answers, {"loaded": len(vertices)})
            while left:
                _render_view(scene, vertices, ViewId(**job["views"][left[0]]), left[0], spec, scratch, answers)
                left.pop(0)
    except SceneError as error:
        for number in left:
            _say(answers, {"view": number, "reason": error.reason, "detail": error.detail})


def _render_view(
    scene: Any, vertices: Matrix, view_id: ViewId, number: int, spec: RenderSpec, scratch: Path, answers: IO[str]
) -> None:
    started = time.perf_counter()
    pose = sample_view(spec.viewpoint, view_id)
    light = sample_light(spec.light, view_id, pose)
    camera, distance, moved_back = place(pose, vertices, spec)
    scene.light(light)
    passes = scene.render(camera, region(camera, vertices))
    mask = np.where(passes.index > 0, np.uint8(255), np.uint8(0))
    if not mask.any():
        _say(answers, {"view": number, "reason": "empty_mask", "detail": "no pixel of the view shows the object"})
        return
    visible = visible_fraction(scene, camera, vertices, mask)
    bounds = np.stack([vertices.min(axis=0), vertices.max(axis=0)])
    annotation = annotate(
        pose=pose, camera=camera, distance=distance, moved_back=moved_back, light=light, mask=mask, bounds=bounds, visible=visible
    )
    file = scratch / f"view-{number}.bin"
    with open(file, "wb") as opened:
        for plane in (straight_rgba(passes.combined), mask, passes.depth, normal_picture(passes.normal, mask)):
            opened.write(np.ascontiguousarray(plane).data)
    _say(answers, {"view": number, "file": file.name, "annotation": annotation, "seconds": time.perf_counter() - started})


def _render_scene(scene: Any, job: dict[str, Any], scratch: Path, answers: IO[str]) -> None:
    """Render a whole described scene (models.world.full): answers {"file"}, linear RGB and the object's number, float32."""
    from models.render.scenery import Scenery

    scene.quality(samples=job["scene"]["samples"], denoiser="fast", diffuse_bounces=2, glossy_bounces=2)
    with np.load(scratch / job["meshes"]) as meshes:
        passes = Scenery(scene).render(job["scene"], dict(meshes))
    np.concatenate([passes.combined[..., :3], passes.index[..., None].astype(np.float32)], axis=-1).tofile(scratch / "scene.bin")
    _say(answers, {"file": "scene.bin"})


def straight_rgba(combined: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return 8-bit sRGB with straight alpha (H, W, 4) of linear RGB premultiplied by alpha."""
    levels = np.zeros(combined.shape, np.uint8)
    seen = combined[..., 3] > 0
    alpha = np.clip(combined[seen, 3:], 0, 1)
    linear = np.clip(combined[seen, :3] / np.maximum(alpha, 1e-6), 0, 1)
    levels[seen] = np.rint(np.concatenate([to_srgb(linear), alpha], axis=-1) * 255).astype(np.uint8)
    return levels


def visible_fraction(scene: Any, camera: Camera, vertices: Matrix, mask: NDArray[np.uint8]) -> float:
    """Return the share of the object's whole silhouette that `mask` (H, W) shows: 1 unless the image crops it."""
    seen = camera.see(vertices)
    ahead = seen[:, 2] > 0.05
    pixels = camera.project(vertices[ahead])
    size = np.array([camera.width, camera.height])
    if ahead.all() and (pixels >= -0.5).all() and (pixels <= size - 0.5).all():
        return 1.0
    # The same camera with a wider lens; what almost touches the lens would reach to infinity, so there is an end to it.
    reach = float(np.clip(np.abs(pixels - (size - 1) / 2).max() / (size.min() / 2) * 1.02, 1.0, 8.0))
    K = camera.K.copy()
    K[0, 0] /= reach
    K[1, 1] /= reach
    wide = scene.render(Camera(K=K, R=camera.R, t=camera.t, width=camera.width, height=camera.height)).index > 0
    rows, columns = np.nonzero(wide)
    inside = np.abs(columns - K[0, 2]) * reach < camera.width / 2
    inside &= np.abs(rows - K[1, 2]) * reach < camera.height / 2
    return float(inside.mean()) if len(rows) else 1.0


if __name__ == "__main__":
    main()
