"""The generator on pipelines of the real classes with small random weights, saved to folders."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.image.controlnet import ControlNetGenerator, ControlNetSpec, paper_sd15
from models.image.diffusion import BadModelFolder, ControlModel
from models.image.kinds import GENERATORS
from models.image.protocol import GeneratedImage, ImageRequest
from models.image.weights import UnknownModel, revision
from models.sample import SampleId
from tests.pipelines import random_pipeline

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_pipeline(tmp_path_factory.mktemp("weights") / "random")


@pytest.fixture(scope="module")
def generator(folder: Path) -> Iterator[ControlNetGenerator]:
    return ControlNetGenerator(_spec(folder), device="cpu", threads=1, batch=3)


def _spec(folder: Path) -> ControlNetSpec:
    return ControlNetSpec(model=str(folder), resolution=SIZE, steps=2)


def _request(index: int) -> ImageRequest:
    control = np.zeros((SIZE, SIZE), np.uint8)
    control[10:50, 8 + index] = 255
    sample = SampleId(class_name="car", cad_id="0" * 64, view_index=index)
    return ImageRequest(sample=sample, prompt=f"a red car {index}", controls={"canny": control})


def _pixels(images: list[GeneratedImage]) -> list[bytes]:
    assert all(image.rgb is not None for image in images)
    return [image.rgb.tobytes() for image in images if image.rgb is not None]


def test_a_sample_has_the_same_bytes_wherever_it_stands_in_a_batch_and_whatever_shares_it(
    generator: ControlNetGenerator,
) -> None:
    together = _pixels(generator.generate([_request(i) for i in range(5)]))
    turned = _pixels(generator.generate([_request(i) for i in (4, 1, 0, 3, 2)]))
    alone = _pixels(generator.generate([_request(2)]))
    assert together == [turned[2], turned[1], turned[4], turned[3], turned[0]]
    assert alone[0] == together[2]
    assert len(set(together)) == 5


def test_a_sample_has_the_same_bytes_in_another_process(generator: ControlNetGenerator, folder: Path) -> None:
    here = generator.generate([_request(1)])[0].rgb
    assert here is not None
    script = (
        "import sys, hashlib; from pathlib import Path; from tests.image.test_controlnet import _spec, _request\n"
        "from models.image.controlnet import ControlNetGenerator\n"
        "generator = ControlNetGenerator(_spec(Path(sys.argv[1])), device='cpu', threads=1, batch=3)\n"
        "made = generator.generate([_request(0), _request(1)])\n"
        "print(hashlib.sha256(made[1].rgb.tobytes()).hexdigest())\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=root, capture_output=True, text=True, check=True)
    import hashlib

    assert done.stdout.split()[-1] == hashlib.sha256(here.tobytes()).hexdigest()


def test_the_edges_change_the_image_and_a_control_scale_of_zero_switches_them_off(folder: Path) -> None:
    empty = dataclasses.replace(_request(0), controls={"canny": np.zeros((SIZE, SIZE), np.uint8)})
    on = ControlNetGenerator(_spec(folder), device="cpu", threads=1, batch=2)
    first, second = _pixels(on.generate([_request(0), empty]))
    assert first != second
    off = ControlNetGenerator(dataclasses.replace(_spec(folder), control_scale=0.0), device="cpu", threads=1, batch=2)
    first, second = _pixels(off.generate([_request(0), empty]))
    assert first == second


@pytest.mark.parametrize("scheduler", ["euler_a", "dpmpp_2m"])
def test_another_scheduler_is_reproducible_too(folder: Path, scheduler: str) -> None:
    spec = dataclasses.replace(_spec(folder), scheduler=scheduler)
    generator = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    assert _pixels(generator.generate([_request(0), _request(1)]))[1] == _pixels(generator.generate([_request(1)]))[0]


@pytest.mark.parametrize(("fill", "reason"), [(0.0, "black_image"), (float("nan"), "nan_image"), (0.5, "constant_image")])
def test_an_unusable_image_gets_one_more_attempt_with_another_seed_and_then_a_reason(
    folder: Path, fill: float, reason: str
) -> None:
    import torch

    generator = ControlNetGenerator(_spec(folder), device="cpu", threads=1, batch=2)
    last = generator._pipeline.vae.decoder.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(fill)
    image = generator.generate([_request(0)])[0]
    assert (image.rgb, image.reason, image.attempt) == (None, reason, 1)
    assert image.seed == _request(0).sample.seed("image", 1) != _request(0).sample.seed("image", 0)


def test_progress_is_told_after_each_step_and_batch(generator: ControlNetGenerator) -> None:
    told: list[tuple[float, int]] = []
    generator.generate([_request(i) for i in range(4)], lambda done, asked: told.append((done, asked)))
    # Batches of three and one, of two steps each.
    assert [done for done, _ in told] == [1.5, 3.0, 3.0, 3.5, 4.0, 4.0]
    assert {asked for _, asked in told} == {4}


def test_a_picture_is_given_up_behind_the_step_in_which_somebody_asks(generator: ControlNetGenerator) -> None:
    told: list[tuple[float, int]] = []

    def ask(done: float, asked: int) -> None:
        told.append((done, asked))
        raise KeyboardInterrupt

    before = _pixels(generator.generate([_request(0)]))
    with pytest.raises(KeyboardInterrupt):
        generator.generate([_request(1)], ask)
    assert told == [(0.5, 1)]
    assert _pixels(generator.generate([_request(0)])) == before


def test_a_control_of_the_wrong_size_is_named(generator: ControlNetGenerator) -> None:
    wrong = dataclasses.replace(_request(0), controls={"canny": np.zeros((32, 64), np.uint8)})
    with pytest.raises(ValueError, match=r"car-000000000000-0000-00: its control canny is \(32, 64\)"):
        generator.generate([wrong])


def test_several_controls_take_a_controlnet_each_and_a_scale_of_zero_switches_one_off(folder: Path) -> None:
    control = folder / "controlnet"
    spec = dataclasses.replace(_spec(folder), control_model=str(control))
    one = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    lines = [_request(index) for index in range(2)]
    nets = [ControlModel(control="canny", model=str(control)), ControlModel(control="depth", model=str(control), scale=0.0)]
    both = [dataclasses.replace(r, controls={**r.controls, "depth": np.full((SIZE, SIZE, 3), 90, np.uint8)}) for r in lines]

    def painted(scale: float) -> list[bytes]:
        two = (nets[0], dataclasses.replace(nets[1], scale=scale))
        several = dataclasses.replace(spec, control_model="", control_models=two)
        made = GENERATORS.load(several, device="cpu", threads=1, batch=2)
        assert all(net.revision.startswith("sha256:") for net in made.spec.control_models)
        return _pixels(made.generate(both))

    assert painted(0.0) == _pixels(one.generate(lines))
    assert painted(2.0) != painted(0.0)


def test_controls_that_a_generator_cannot_obey_are_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"one ControlNet obeys one control, the recipe has 2 \(canny, depth\): name a ControlNet"
    ):
        ControlNetSpec().check({"canny": 1, "depth": 1})
    several = ControlNetSpec(control_models=(ControlModel(control="canny", model="x"), ControlModel(control="depth", model="y")))
    several.check({"depth": 1, "canny": 1})
    with pytest.raises(ValueError, match=r"control_models are for canny, depth; the recipe's controls are canny"):
        several.check({"canny": 1})
    with pytest.raises(ValueError, match="give one of the two"):
        dataclasses.replace(several, control_model="z")


def test_the_paper_recipe_runs_on_small_models_of_the_same_classes(tmp_path: Path) -> None:
    base, control = _stable_diffusion_in_small(tmp_path)
    spec = dataclasses.replace(
        paper_sd15(), model=str(base), revision="", control_model=str(control), control_revision="", resolution=SIZE, steps=2
    )
    generator = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    first, second = _pixels(generator.generate([_request(0), _request(1)]))
    assert first != second
    assert _pixels(generator.generate([_request(1)])) == [second]
    assert generator.spec.control_revision.startswith("sha256:")


def _stable_diffusion_in_small(folder: Path) -> tuple[Path, Path]:
    """Save a text-to-image pipeline with AutoencoderKL, and a ControlNet of its own, as the hub has them."""
    import torch
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    from models.training import networks, text

    spec = dataclasses.replace(networks.TINY, text_tokens=77)
    torch.manual_seed(0)
    tokenizer = text.tokenizer(text.words(), 77)
    unet = networks.unet(spec)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    encoder = networks.text_encoder(spec, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=networks.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "base")
    networks.controlnet(unet, spec.control_channels).save_pretrained(folder / "control")
    return folder / "base", folder / "control"


def test_a_hub_id_without_a_commit_is_refused() -> None:
    for given in ("", "fp16", "v1.0"):
        with pytest.raises(UnknownModel, match="needs its revision as a commit"):
            revision("stable-diffusion-v1-5/stable-diffusion-v1-5", given)
    # `main` is the newest commit that was fetched, and none was (tests/image/test_hub.py fetches).
    assert revision("nobody/nothing", "main") == "main"
    assert revision(paper_sd15().model, paper_sd15().revision) == paper_sd15().revision


def test_a_folder_is_pinned_by_its_files_and_refused_when_they_changed(folder: Path, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    spec = _spec(copied).pinned()
    assert spec.revision == _spec(folder).pinned().revision
    settings = copied / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "beta_end": 0.02}))
    with pytest.raises(UnknownModel, match="holds other weights"):
        spec.pinned()


def test_a_name_that_is_no_model_is_one_clear_line() -> None:
    with pytest.raises(UnknownModel, match="no such folder, and it is no hub id"):
        revision("no-such-model")


def test_a_folder_that_is_no_pipeline_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModelFolder, match="cannot be loaded as a controlnet pipeline"):
        ControlNetGenerator(_spec(tmp_path), device="cpu")


def test_a_pipeline_without_its_class_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BadModelFolder, match=r"cannot be loaded as a controlnet pipeline: KeyError: '_class_name'$"):
        ControlNetGenerator(_spec(tmp_path), device="cpu")


def test_a_hub_that_is_not_reached_is_told_and_not_a_file_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    # What the hub's client speaks through.
    import httpx2

    def away(**named: str) -> None:
        try:
            raise httpx2.ConnectError("[Errno 111] Connection refused")
        except httpx2.ConnectError as error:
            raise OSError("c/d does not appear to have a file named config.json.") from error

    monkeypatch.setattr(diffusers.ControlNetModel, "from_pretrained", away)
    with pytest.raises(BadModelFolder, match=r"the hub cannot be reached \(\[Errno 111\] Connection refused\)"):
        ControlNetGenerator(paper_sd15(), device="cpu")


def test_the_door_is_light_to_import() -> None:
    heavy = (
        "import sys, models.image.kinds, models.training.spec\n"
        "print([name for name in ('torch', 'diffusers', 'cv2', 'pydantic', 'trimesh') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "wrong", [{"resolution": 100}, {"scheduler": "magic"}, {"steps": 0}, {"eta": 2.0}, {"dtype": "int8"}, {"model": ""}]
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ControlNetSpec(**wrong)  # type: ignore[arg-type]


def test_a_generator_sampled_another_way_paints_what_one_loaded_that_way_paints(folder: Path) -> None:
    requests = [_request(index) for index in range(2)]
    first = ControlNetGenerator(_spec(folder), "cpu", 1, 2)
    before = _pixels(first.generate(requests))
    other = dataclasses.replace(_spec(folder), scheduler="dpmpp_2m", steps=3, guidance=3.0)
    assert _pixels(first.resampled(other).generate(requests)) == _pixels(
        ControlNetGenerator(other, "cpu", 1, 2).generate(requests)
    )
    assert _pixels(first.generate(requests)) == before
    with pytest.raises(ValueError, match="other weights take a generator"):
        first.resampled(dataclasses.replace(other, dtype="bfloat16"))
