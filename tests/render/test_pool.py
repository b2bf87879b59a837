"""Renderer processes: what they return does not depend on them, and what befalls them stays with them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from models.cad.canonical import canonicalise
from models.cad.spec import CadSpec
from models.render.pool import RenderedView, RendererDied, RenderFailure, RenderJob, RenderPool
from models.render.process import ROOT
from models.render.spec import LightSpec, RenderSpec
from tests.render.conftest import views

pytestmark = pytest.mark.slow

SMALL = RenderSpec(resolution=96, samples=4)
Glb = Callable[[str], Path]


def digests(outcomes: object) -> dict[int, str]:
    found = {}
    for outcome in outcomes:  # type: ignore[attr-defined]
        assert isinstance(outcome, RenderedView), outcome
        data = b"".join(plane.tobytes() for plane in (outcome.rgba, outcome.mask, outcome.depth, outcome.normal))
        found[outcome.view.view_index] = hashlib.sha256(data + repr(outcome.annotation).encode()).hexdigest()
    return found


def textured_box(path: Path, colour: tuple[int, int, int]) -> Path:
    """Write a canonical GLB whose colour is in a texture."""
    box = trimesh.creation.box(extents=(1, 0.6, 0.4))
    picture = Image.new("RGB", (16, 16), colour)
    box.visual = trimesh.visual.TextureVisuals(
        uv=np.random.default_rng(0).random((len(box.vertices), 2)),
        material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=0.8),
    )
    path.write_bytes(box.export(file_type="glb"))
    return path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def test_views_are_equal_in_another_process_in_another_order_after_another_model(glb: Glb) -> None:
    with RenderPool(workers=1) as one:
        first = digests(one.render(glb("car"), views("car", 4), SMALL))
    with RenderPool(workers=1) as other:
        list(other.render(glb("chair"), views("chair", 2), SMALL))
        second = digests(other.render(glb("car"), views("car", 4)[::-1], SMALL))
    assert first == second


def test_two_workers_return_what_one_does_and_each_view_once(pool: RenderPool, glb: Glb) -> None:
    names = ("car", "chair", "cup")
    alone = {name: digests(pool.render(glb(name), views(name, 9), SMALL)) for name in names}
    with RenderPool(workers=2) as both:
        jobs = [RenderJob(glb=glb(name), views=tuple(views(name, 9)), spec=SMALL) for name in names]
        outcomes = list(both.map(jobs))
        assert len(both.pids) == 2
        assert both.runtime["device"] == "CPU"
        assert both.runtime["bpy"] == "4.2.0"
        # One CAD model is shared out, and still comes in order.
        ordered = list(both.render(glb("car"), views("car", 9), SMALL))
    assert len(outcomes) == 27
    for name in names:
        assert digests([outcome for outcome in outcomes if outcome.view.cad_id == name]) == alone[name]
    assert [outcome.view.view_index for outcome in ordered] == list(range(9))
    assert digests(ordered) == alone["car"]


def test_a_model_never_wears_the_texture_of_the_one_before(pool: RenderPool, tmp_path: Path) -> None:
    """Cycles' data kept between renders did that: found by address, and addresses come again."""
    colours = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
    for turn in range(9):
        name = sorted(colours)[turn % 3]
        box = textured_box(tmp_path / f"{name}.glb", colours[name])
        (view,) = pool.render(box, views(name, 1, turn), RenderSpec(resolution=48))
        assert isinstance(view, RenderedView)
        seen = view.rgba[view.mask > 0][:, :3].mean(axis=0)
        assert int(seen.argmax()) == ("red", "green", "blue").index(name)
        assert seen.max() > 2 * np.sort(seen)[1]


@pytest.mark.parametrize("kind", ["sampled", "official"])
def test_an_object_without_material_is_lit_from_wherever_it_is_seen(kind: str, pool: RenderPool, tmp_path: Path) -> None:
    source = tmp_path / "ball.ply"
    trimesh.creation.icosphere(subdivisions=3).export(source)
    glb = tmp_path / "ball.glb"
    glb.write_bytes(canonicalise(source, CadSpec()).glb)
    for polar in (2.0, 90.0, 178.0):
        spec = RenderSpec(resolution=64, light=LightSpec(kind=kind))  # type: ignore[arg-type]
        below = dataclasses.replace(spec.viewpoint, polar="uniform", polar_range_deg=(polar, polar))
        for view in pool.render(glb, views("ball", 2), dataclasses.replace(spec, viewpoint=below)):
            assert isinstance(view, RenderedView)
            inside = view.rgba[view.mask > 0][:, :3].astype(float)
            assert inside.mean() > 60
            assert (inside.max(axis=1) > 250).mean() < 0.05


def test_a_renderer_killed_at_work_is_reported_and_the_next_call_works(glb: Glb) -> None:
    with RenderPool(workers=1) as pool:
        long = RenderSpec(resolution=256, samples=64, denoiser="none")
        outcomes = pool.render(glb("car"), views("car", 30), long)
        made = [next(outcomes)]
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RendererDied, match="SIGKILL") as death:
            made.extend(outcomes)
        (casualty,) = death.value.casualties
        assert casualty.reason == "renderer_killed"
        # Nothing is lost or doubled: what was handed out and what was not are the views.
        assert sorted([outcome.view for outcome in made] + list(casualty.views)) == views("car", 30)
        again = list(pool.render(glb("car"), list(casualty.views)[:1], SMALL))
        assert isinstance(again[0], RenderedView)
        assert pool.pids
        assert pid not in pool.pids


def test_a_renderer_killed_while_idle_is_replaced_unnoticed(glb: Glb) -> None:
    with RenderPool(workers=1) as pool:
        first = digests(pool.render(glb("cup"), views("cup", 1), SMALL))
        os.kill(pool.pids[0], signal.SIGKILL)
        wait_for(lambda: not pool.pids)
        assert digests(pool.render(glb("cup"), views("cup", 1), SMALL)) == first


def test_one_renderers_death_costs_the_other_models_nothing(glb: Glb) -> None:
    jobs = [
        RenderJob(glb=glb("car"), views=tuple(views("car", 1)), spec=RenderSpec(resolution=512, samples=4096, denoiser="none")),
        *[RenderJob(glb=glb(name), views=tuple(views(name, 2)), spec=SMALL) for name in ("chair", "cup", "table")],
    ]
    with RenderPool(workers=2, mesh_timeout_s=20) as pool:
        made = []
        with pytest.raises(RendererDied, match=r"no sign for 20 s on .*car\.glb") as death:  # noqa: PT012
            # One by one, so that what came before the error is not lost with it.
            for outcome in pool.map(jobs):
                made.append(outcome)
        assert [casualty.reason for casualty in death.value.casualties] == ["mesh_timeout"]
        assert sorted(outcome.view for outcome in made) == sorted(view for job in jobs[1:] for view in job.views)


def test_damaged_files_are_failures_with_a_reason_and_cost_no_process(pool: RenderPool, glb: Glb, tmp_path: Path) -> None:
    whole = glb("car").read_bytes()
    empty = trimesh.Scene([trimesh.PointCloud(np.zeros((3, 3)))]).export(file_type="glb")
    list(pool.render(glb("cup"), views("cup", 1), SMALL))
    pids = pool.pids
    for name, data in {
        "nothing": b"",
        "text": b"this is not a GLB",
        "truncated": whole[: len(whole) // 2],
        "cut-json": whole[:100],
        "points": empty,
    }.items():
        bad = tmp_path / f"{name}.glb"
        bad.write_bytes(data)
        outcomes = list(pool.render(bad, views(name, 2), SMALL))
        assert [outcome.view for outcome in outcomes] == views(name, 2)
        for outcome in outcomes:
            assert isinstance(outcome, RenderFailure), name
            assert outcome.reason in ("unreadable_glb", "no_faces")
            assert bad.name in outcome.detail
            assert "\n" not in outcome.detail
    missing = list(pool.render(tmp_path / "missing.glb", views("missing", 1), SMALL))
    assert isinstance(missing[0], RenderFailure)
    assert pool.pids == pids


def test_a_renderer_is_replaced_after_its_number_of_models(glb: Glb) -> None:
    with RenderPool(workers=1, models_per_worker=2) as pool:
        seen = []
        for _ in range(3):
            list(pool.render(glb("cup"), views("cup", 1), RenderSpec(resolution=32)))
            seen.append(pool.pids)
    assert len(seen[0]) == 1
    assert seen[1] == ()
    assert seen[2] != seen[0]


def test_a_renderer_that_holds_too_much_memory_is_replaced(glb: Glb) -> None:
    with RenderPool(workers=1, worker_memory_bytes=2**20) as pool:
        list(pool.render(glb("cup"), views("cup", 1), RenderSpec(resolution=32)))
        assert pool.pids == ()


def test_renderers_end_with_the_process_that_started_them(glb: Glb, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom models.render.pool import RenderPool\nwith RenderPool(workers=1) as pool:\n"
        "    pool.warm()\n    print(*pool.pids, flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    (pid,) = map(int, parent.stdout.readline().split())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(pid))


def test_leaving_the_block_ends_the_renderers_and_removes_their_files(glb: Glb, tmp_path: Path) -> None:
    with RenderPool(workers=1, scratch=tmp_path) as pool:
        outcomes = pool.render(glb("cup"), views("cup", 8), SMALL)
        next(outcomes)
        (pid,) = pool.pids
    assert gone(pid)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="with block"):
        list(pool.render(glb("cup"), views("cup", 1), SMALL))


def test_threads_share_a_pool_without_mixing_their_views(glb: Glb) -> None:
    with RenderPool(workers=2) as pool:
        made: dict[str, dict[int, str]] = {}

        def ask(name: str) -> None:
            made[name] = digests(pool.render(glb(name), views(name, 3), SMALL))

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("car", "chair")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made["car"] == digests(pool.render(glb("car"), views("car", 3), SMALL))
        assert made["chair"] == digests(pool.render(glb("chair"), views("chair", 3), SMALL))


def test_a_pool_that_cannot_be_meant_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="above 0"):
        RenderPool(workers=0)
    with pytest.raises(ValueError, match="cpu or gpu"):
        RenderPool(device="tpu")  # type: ignore[arg-type]
