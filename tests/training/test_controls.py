"""A ControlNet is trained on what models.control draws of the same view; one that learned edges goes on with more channels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from models.control.depth import Depth, DepthSpec
from models.control.protocol import View
from models.control.voxels import VoxelRays, VoxelsSpec
from models.training import controls, dataset, networks
from models.training.spec import Learned, Runtime
from models.world import picture, shard
from models.world.spec import WorldSpec
from tests.pipelines import random_pipeline

SIDE = 64
SPEC = WorldSpec(resolution=SIDE, views_per_shard=3, appearances=2, classes=("car", "chair"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    shard.write(shard.make_shard(SPEC, 0), SPEC, folder, 0)
    return folder


@pytest.mark.parametrize("learned", [name for name in get_args(Learned) if name != "edges"])
def test_a_training_sees_what_a_run_would_draw(world: Path, tmp_path: Path, learned: Learned) -> None:
    pictures = dataset.TrainingPictures(world)
    (opened,) = pictures.extend(pictures.names())
    drawer = controls.drawer(learned, tmp_path)
    drawer.take(opened)
    chosen = np.arange(len(opened))
    drawn = drawer.batch(pictures, chosen, np.zeros(len(chosen), bool))
    assert drawn.shape == (len(opened), SIDE, SIDE, 1 if learned == "depth" else 33)
    assert controls.shown(learned, drawn).shape == (len(opened), SIDE, SIDE, 3)
    for index, row in enumerate(opened.rows):
        placed = picture.Placed(class_name=row["class_name"], cad_seed=row["cad_seed"], view_index=row["view_index"])
        traced = picture.trace(SPEC, placed)
        assert traced is not None
        if learned == "depth":
            view = View(rgba=traced.neutral, mask=traced.mask, depth=traced.depth.astype(np.float32))
            # Shards keep depth in 16 bits: a ten thousandth of an object a thousandth of its own range away.
            assert np.abs(Depth(DepthSpec()).draw(view).astype(int) - drawn[index, ..., 0]).max() <= 2
            continue
        view = dataclasses.replace(controls.parametric_view(row, SIDE), rgba=traced.neutral, mask=traced.mask)
        own = VoxelRays(VoxelsSpec(lines="canny" if learned == "edges+voxels" else "none")).draw(view)
        assert np.array_equal(own[..., 1:], drawn[index, ..., 1:])
        assert np.array_equal(own[..., 0], drawn[index, ..., 0]), "lines are the same, or none"
        # The camera is the picture's: rays meet cells where its mask is, and little further.
        met, inside = (drawn[index, ..., 1:] > 0).any(axis=2), traced.mask > 0
        assert met[inside].mean() > 0.99
        assert met[~inside].mean() < 0.25
    made = list((tmp_path / "rays").glob("*.npy"))
    times = [path.stat().st_mtime_ns for path in made]
    controls.drawer(learned, tmp_path).take(opened)
    assert [path.stat().st_mtime_ns for path in made] == times, "rays are drawn once"


def test_voxels_of_cad_models_of_ones_own_are_refused_in_one_line(world: Path, tmp_path: Path) -> None:
    opened = dataset.open_shard(world, "shard-00000")
    rows = [row | {"cad_id": "a" * 64, "cad_seed": -1} for row in opened.rows]
    with pytest.raises(ValueError, match="voxels are learned from parametric classes alone; car has CAD models of your own"):
        controls.drawer("voxels", tmp_path).take(dataclasses.replace(opened, rows=rows))


def test_a_controlnet_that_reads_more_says_the_same_until_it_has_learned_more() -> None:
    import torch

    torch.manual_seed(0)
    network = networks.controlnet(networks.unet(networks.TINY), networks.TINY.control_channels)
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.1)
    size = networks.TINY.latent_channels
    noisy, times = torch.randn(2, size, 8, 8), torch.tensor([10, 500])
    words = torch.randn(2, networks.TINY.text_tokens, networks.TINY.text_width)
    lines = (torch.rand(2, 1, SIDE, SIDE) > 0.9).float()
    with torch.no_grad():
        before = network(noisy, times, words, lines.expand(-1, 3, -1, -1), return_dict=False)[1]
        networks.reading(network, 33)
        assert network.config.conditioning_channels == 33
        after = network(noisy, times, words, torch.cat([lines, torch.rand(2, 32, SIDE, SIDE)], 1), return_dict=False)[1]
    assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("learned", ["depth", "edges+voxels"])
def test_a_controlnet_for_another_control_is_trained_on_a_base_from_its_own_and_loads(
    world: Path, tmp_path: Path, learned: Learned
) -> None:
    from models.image.controlnet import ControlNetSpec
    from models.training.export import export_control
    from models.training.loop import train
    from models.training.sheet import draw
    from models.training.sitting import job_of

    base = random_pipeline(tmp_path / "base")
    job = job_of("control", world, tmp_path / "run", networks.TINY, precision="float32", base=str(base), control=learned)
    job = dataclasses.replace(job, spec=dataclasses.replace(job.spec, batch=4))
    done = train(job, Runtime(steps=2, workers=1, precision="float32"), lambda line: None)
    assert done.step == 2
    reads = controls.channels(learned)
    folder = export_control(tmp_path / "run", tmp_path / "control", str(base), reads)
    assert json.loads((folder / "config.json").read_text())["conditioning_channels"] == reads
    spec = ControlNetSpec(model=str(base), control_model=str(folder), resolution=SIDE, steps=2)
    spec.check({controls.SPECS[learned].kind: 33 if reads == 33 else 1})
    sheet = draw(job)
    assert sheet.picture.shape[0] == 2 * 3 * SIDE + 30


def test_an_evaluation_shows_a_controlnet_what_it_was_trained_on(world: Path, tmp_path: Path) -> None:
    from models.evaluation import cases
    from models.evaluation.painting import Painter
    from models.image.controlnet import ControlNetSpec

    (case,) = cases.held_out(1, ["car"])
    side = len(case.edges)
    both, rays = (cases.control_of(case, name) for name in ("edges+voxels", "voxels"))
    assert cases.control_of(case, "edges") is case.edges
    assert np.array_equal(both[..., 0], case.edges)
    assert not rays[..., 0].any()
    assert np.array_equal(both[..., 1:], rays[..., 1:])
    inside = case.mask > 0
    assert (rays[..., 1:] > 0).any(axis=2)[inside].mean() > 0.99
    depth = cases.control_of(case, "depth")
    assert np.array_equal(depth > 0, inside)
    of_a_file = dataclasses.replace(case, sample=dataclasses.replace(case.sample, cad_id="a" * 64), name="mug")
    with pytest.raises(ValueError, match="mug: views of CAD files are evaluated with edges alone"):
        cases.control_of(of_a_file, "depth")

    spec = ControlNetSpec(model=str(random_pipeline(tmp_path / "reads", reads=33)), resolution=side, steps=1)
    painted = {
        name: Painter(tmp_path / "kept", threads=1, batch=1, learned=name).paint(spec, [case]).pictures[0]
        for name in ("edges+voxels", "voxels")
    }
    assert not np.array_equal(painted["edges+voxels"], painted["voxels"]), "each has pictures of its own"
