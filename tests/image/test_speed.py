"""What makes painting fast or lets it go on where memory is short, and changes nothing in the pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.image.controlnet import ControlNetGenerator, ControlNetSpec
from models.image.protocol import ImageRequest
from models.sample import SampleId
from tests.benchmarks.image import psnr
from tests.pipelines import random_pipeline

SIZE = 64


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ControlNetSpec:
    folder = random_pipeline(tmp_path_factory.mktemp("speed") / "sd15")
    return ControlNetSpec(model=str(folder), resolution=SIZE, steps=2, guidance=3.0)


def requests(count: int, prompt: str = "a red car") -> list[ImageRequest]:
    control = np.zeros((SIZE, SIZE), np.uint8)
    control[10:50, 8:30] = 255
    return [
        ImageRequest(
            sample=SampleId(class_name="car", cad_id="0" * 64, view_index=index),
            prompt=prompt,
            negative_prompt="blurry",
            controls={"canny": control},
        )
        for index in range(count)
    ]


def stacked(images: list[Any]) -> np.ndarray:
    assert [image.reason for image in images] == [None] * len(images)
    return np.stack([image.rgb for image in images])


def short_of_memory(generator: ControlNetGenerator, fits: int) -> None:
    """Let the UNet run out of memory with more images than fit, as a GPU does."""

    def refuse(network: Any, given: tuple[Any, ...]) -> None:
        if len(given[0]) > 2 * fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    generator._pipeline.unet.register_forward_pre_hook(refuse)


def test_a_batch_that_does_not_fit_is_halved_and_goes_on(spec: ControlNetSpec, caplog: pytest.LogCaptureFixture) -> None:
    whole = ControlNetGenerator(spec, device="cpu", threads=1, batch=8)
    wanted = whole.generate(requests(8))
    assert {image.batch for image in wanted} == {8}
    short = ControlNetGenerator(spec, device="cpu", threads=1, batch=8)
    short_of_memory(short, fits=3)
    made = short.generate(requests(8))
    assert {image.batch for image in made} == {2}
    assert psnr(stacked(made), stacked(wanted)) >= 40.0
    assert [record.message for record in caplog.records if "memory" in record.message] == [
        "out of memory: images are painted 4 at once from here on",
        "out of memory: images are painted 2 at once from here on",
    ]
    # It stays so, for every way of sampling, and is what a generator of that batch makes: a record's batch is enough.
    again = short.resampled(dataclasses.replace(spec, steps=3)).generate(requests(3))
    assert {image.batch for image in again} == {2}
    two = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    assert stacked(two.generate(requests(8))).tobytes() == stacked(made).tobytes()


def test_one_image_that_does_not_fit_and_other_errors_are_raised(spec: ControlNetSpec) -> None:
    generator = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    short_of_memory(generator, fits=0)
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(requests(2))

    def broken(network: Any, given: tuple[Any, ...]) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    other = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    other._pipeline.unet.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="mat1"):
        other.generate(requests(2))


def test_a_caption_is_read_once(spec: ControlNetSpec) -> None:
    generator = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    read: list[int] = []
    generator._pipeline.text_encoder.register_forward_pre_hook(lambda network, given: read.append(1))
    first = generator.generate(requests(4))
    # What is to be shown, and what is not: once each for four images.
    assert len(read) == 2
    assert stacked(generator.generate(requests(4))).tobytes() == stacked(first).tobytes()
    assert len(read) == 2
    generator.generate(requests(2, "a blue car"))
    assert len(read) == 4


def test_compiled_networks_paint_the_same(spec: ControlNetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the backend that needs no compiler; `python -m tests.benchmarks.image --compiled` takes the real one."""
    monkeypatch.setattr(ControlNetGenerator, "compiler", "aot_eager")
    asked = dataclasses.replace(spec, compiled=True)
    compiled = ControlNetGenerator(asked, device="cpu", threads=1, batch=2)
    assert compiled._pipeline.unet._compiled_call_impl is not None
    assert compiled._pipeline.controlnet._compiled_call_impl is not None
    plain = ControlNetGenerator(spec, device="cpu", threads=1, batch=2)
    assert psnr(stacked(compiled.generate(requests(2))), stacked(plain.generate(requests(2)))) >= 40.0
    with pytest.raises(ValueError, match="other weights"):
        plain.resampled(asked)


def test_compiling_needs_a_compiler(spec: ControlNetSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = dataclasses.replace(spec, compiled=True).pinned()
    compiler = tmp_path / "g++"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asked.lacking() is None
    compiler.unlink()
    assert asked.lacking() == "image.compiled needs a C++ compiler: install one (apt-get install g++), or leave it out"


def test_sixteen_bits_are_close_to_thirty_two() -> None:
    """The embedded generator, whose weights mean something: random ones amplify what rounding changes."""
    from tests.benchmarks.image import requests as circles

    asked = circles(2, 128)
    made = [
        stacked(ControlNetGenerator(ControlNetSpec(dtype=dtype, steps=8), device="cpu", threads=1, batch=2).generate(asked))
        for dtype in ("float32", "bfloat16")
    ]
    assert psnr(*made) >= 35.0


def test_large_images_are_decoded_one_by_one(spec: ControlNetSpec) -> None:
    sizes = {}
    for pixels in (SIZE, 512):
        generator = ControlNetGenerator(dataclasses.replace(spec, resolution=pixels, steps=1), device="cpu", threads=1, batch=2)
        seen: list[int] = []
        generator._pipeline.vae.decoder.register_forward_pre_hook(lambda network, given, seen=seen: seen.append(len(given[0])))
        control = np.zeros((pixels, pixels), np.uint8)
        generator.generate([dataclasses.replace(one, controls={"canny": control}) for one in requests(2)])
        sizes[pixels] = set(seen)
    assert sizes == {SIZE: {2}, 512: {1}}
