"""The control `voxels`: its rays are the grid's, it is kept and read back exactly, and a ControlNet that reads it paints."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from models.cad.voxels import voxelise
from models.control import rays
from models.control.canny import Canny, CannySpec
from models.control.geometry import Geometry, GeometrySpec
from models.control.kinds import CONTROLS
from models.control.protocol import PICTURE, View
from models.control.surface import EmptySurface
from models.control.voxels import RAYS, STRETCHES, VoxelRays, VoxelsSpec
from models.image.controlnet import ControlNetGenerator, ControlNetSpec
from models.image.protocol import ImageRequest
from models.kinds import BadSpec
from models.sample import SampleId
from storage.images import from_png, to_png
from tests.control.cast import Cast, cast
from tests.control.test_rays import mesh_of
from tests.pipelines import random_pipeline

SIZE = 64


def view_of(seen: Cast, mesh: trimesh.Trimesh) -> View:
    return View(
        rgba=seen.rgba,
        mask=seen.mask,
        depth=seen.depth,
        normal=seen.normal,
        K=seen.K,
        R=seen.R,
        t=seen.t,
        occupied=lambda cells: voxelise(mesh.triangles, cells).occupied,
    )


@pytest.fixture(scope="module")
def car() -> View:
    mesh = mesh_of("car")
    return view_of(cast(mesh, 30.0, 25.0, size=SIZE), mesh)


def test_lines_come_first_then_the_rays_and_the_first_stretch_is_where_the_surface_is(car: View) -> None:
    for kind, lines in (("canny", Canny(CannySpec())), ("geometry", Geometry(GeometrySpec()))):
        drawn = VoxelRays(VoxelsSpec(lines=kind)).draw(car)  # type: ignore[arg-type]
        assert drawn.shape == (SIZE, SIZE, VoxelsSpec().channels) == (SIZE, SIZE, 33)
        assert np.array_equal(drawn[..., 0], lines.lines(car))
    assert not VoxelRays(VoxelsSpec(lines="none")).draw(car)[..., 0].any()
    met = drawn[..., 1:] > 0
    assert car.t is not None
    assert car.depth is not None
    inside = car.mask > 0
    assert met.any(axis=2)[inside].mean() > 0.999
    off = np.abs(rays.first(met, car.t) - car.depth)[inside]
    # A cell's diagonal and half a stretch.
    assert (off < np.sqrt(3) / 32 + rays.REACH / STRETCHES).mean() > 0.9


@pytest.mark.parametrize("spec", [VoxelsSpec(), VoxelsSpec(frequencies=3), VoxelsSpec(lines="none", cells=64)])
def test_it_is_kept_as_two_pictures_and_read_back_exactly(car: View, spec: VoxelsSpec) -> None:
    control = VoxelRays(spec)
    drawn = control.draw(car)
    assert drawn.shape[2] == spec.channels
    files = {name: to_png(picture) for name, picture in control.encode(drawn).items()}
    assert set(files) == {PICTURE, RAYS}
    assert np.array_equal(control.decode(lambda name: from_png(files[name])), drawn)
    shown = from_png(files[PICTURE])
    red = (shown == [255, 0, 0]).all(axis=2)
    assert np.array_equal(red, drawn[..., 0] > 0)
    assert ((shown.max(axis=2) > 0) == (drawn[..., : 1 + STRETCHES] > 0).any(axis=2)).all()


def test_a_large_picture_has_a_ray_for_some_pixels_each_through_their_middle() -> None:
    mesh = mesh_of("chair")
    grid = voxelise(mesh.triangles, 32).occupied
    small, large = (cast(mesh, 200.0, -20.0, size=size) for size in (128, 384))
    few, many = (VoxelRays(VoxelsSpec(lines="none")).draw(view_of(seen, mesh)) for seen in (small, large))
    # Both cameras see the same, three times as many pixels a side: three pixels in a row share the ray of their middle one.
    assert np.array_equal(many[1::3, 1::3], few)
    assert np.array_equal(many[::3, ::3], few)
    full = rays.along(grid, large.K, large.R, large.t, (384, 384), STRETCHES)
    assert np.array_equal(full[1::3, 1::3], many[1::3, 1::3, 1:] > 0)


def test_the_distance_is_encoded_as_waves_whose_phase_is_where_the_first_stretch_lies(car: View) -> None:
    drawn = VoxelRays(VoxelsSpec(frequencies=2)).draw(car)
    met = drawn[..., 1 : 1 + STRETCHES] > 0
    seen = met.any(axis=2)
    x = 2 * (met[seen].argmax(axis=1) + 0.5) / STRETCHES - 1
    waves = drawn[seen][:, 1 + STRETCHES :] / 127.5 - 1
    wanted = np.stack([np.sin(np.pi * x), np.sin(2 * np.pi * x), np.cos(np.pi * x), np.cos(2 * np.pi * x)], axis=1)
    assert np.abs(waves - wanted).max() < 0.005
    assert (drawn[~seen][:, 1 + STRETCHES :] == 128).all()


def test_a_picture_with_the_lines_is_faithful_and_one_without_is_not(car: View) -> None:
    for lines in ("canny", "none"):
        control = VoxelRays(VoxelsSpec(lines=lines))  # type: ignore[arg-type]
        drawn = control.draw(car)
        own = np.where((drawn[..., 1:] > 0).any(axis=2), 200, 30).astype(np.uint8)
        if lines == "canny":
            own = drawn[..., 0]
        assert control.fidelity(np.repeat(own[..., None], 3, axis=2), drawn) > 0.9
        assert control.fidelity(np.full((SIZE, SIZE, 3), 90, np.uint8), drawn) < 0.1
    facts = control.facts(drawn)
    assert facts["pixels"] == int((drawn[..., 1:] > 0).any(axis=2).sum())
    assert 1.0 <= facts["stretches"] <= STRETCHES


def test_what_cannot_be_drawn_is_said(car: View) -> None:
    nothing = dataclasses.replace(car, occupied=lambda cells: np.zeros((cells,) * 3, bool))
    with pytest.raises(EmptySurface, match="no ray meets the CAD model's 32 cells a side"):
        VoxelRays(VoxelsSpec()).draw(nothing)
    with pytest.raises(ValueError, match="needs the camera and the CAD model"):
        VoxelRays(VoxelsSpec()).draw(dataclasses.replace(car, occupied=None))
    with pytest.raises(BadSpec, match="voxels cells is 48; it must be 16, 32, 64 or 128"):
        CONTROLS.read({"kind": "voxels", "cells": 48}, "controls.voxels")
    with pytest.raises(BadSpec, match="voxels frequencies is 6"):
        CONTROLS.read({"kind": "voxels", "frequencies": 6}, "controls.voxels")


def _request(kind: str, control: NDArray[np.uint8]) -> ImageRequest:
    sample = SampleId(class_name="car", cad_id="0" * 64, view_index=0)
    return ImageRequest(sample=sample, prompt="a red car", controls={kind: control})


def _painted_by_plain_diffusers(folder: Path, drawn: NDArray[np.uint8], spec: ControlNetSpec) -> NDArray[np.uint8]:
    """Return what the pipeline in `folder` makes of the request, called as its own documentation says."""
    import torch
    from diffusers import StableDiffusionControlNetPipeline

    pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    asked = _request("voxels", drawn)
    made = pipeline(
        asked.prompt, torch.from_numpy(drawn / 255.0).float().permute(2, 0, 1)[None], num_inference_steps=spec.steps,
        guidance_scale=spec.guidance, eta=spec.eta, controlnet_conditioning_scale=spec.control_scale, output_type="np",
        generator=torch.Generator().manual_seed(asked.sample.seed("image")), height=SIZE, width=SIZE,
    ).images[0]  # fmt: skip
    return np.rint(made * 255.0).astype(np.uint8)


def _psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255.0**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9)))


def test_a_stock_controlnet_of_so_many_channels_reads_it_and_one_of_three_is_refused(car: View, tmp_path: Path) -> None:
    drawn = VoxelRays(VoxelsSpec()).draw(car)
    reads = random_pipeline(tmp_path / "reads", reads=VoxelsSpec().channels)
    blind = random_pipeline(tmp_path / "blind")
    spec = ControlNetSpec(model=str(reads), resolution=SIZE, steps=2)
    generator = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    mirrored = drawn.copy()
    mirrored[..., 1:] = drawn[..., :0:-1]  # The same lines and outline, near and far exchanged.
    first, second = (generator.generate([_request("voxels", one)])[0].rgb for one in (drawn, mirrored))
    assert first is not None
    assert second is not None
    assert hashlib.sha256(first.tobytes()).digest() != hashlib.sha256(second.tobytes()).digest(), "the rays are read"
    assert _psnr(first, _painted_by_plain_diffusers(reads, drawn, generator.spec)) > 40.0
    with pytest.raises(ValueError, match=r"the control voxels has 33 channels, and .*blind reads 3: name a ControlNet that was"):
        ControlNetSpec(model=str(blind), resolution=SIZE).check({"voxels": VoxelsSpec().channels})
    with pytest.raises(ValueError, match=r"the control canny has 1 channels, and .*reads reads 33"):
        spec.check({"canny": 1})
