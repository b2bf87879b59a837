"""How fast generators paint.

    python -m tests.benchmarks.image [FAMILY ...] [--size tiny|true] [--batch N] [--repeats N] [--dtype D] [--compiled]

Enters: families, with random weights. `embedded` is the generator that comes with the project, for a CPU; `--size true` makes
networks of Stable Diffusion 1.5 or XL in their true size (random weights serve: they are as fast), for a GPU; `tiny` takes the
tests' small ones, which try all of this. Leaves, printed for each: images a second, peak memory and, on an H100 or H200, the
share of its stated peak, for three loops over the same weights, controls, prompts and seeds:

    ours       the generator as a run calls it (models/image/diffusion.py)
    plain      diffusers' own pipeline, called as its documentation does, in the same dtype and batch
    official   as the official code: one prompt at a time, in float32 (its guidance takes two calls, here they are one)

and the PSNR of ours to plain. A loop is warmed by one batch, then timed over `--repeats` batches; the median counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.device import pick_device
from models.image.controlnet import ControlNetSpec, paper_sd15
from models.image.diffusion import DTYPES, DiffusionGenerator, DiffusionSpec
from models.image.kinds import GENERATORS
from models.image.known import DECODING, KNOWN, PEAK
from models.image.protocol import ImageRequest
from models.image.sdxl import SdxlSpec
from models.sample import SampleId
from tests.benchmarks import families_counted as counted

OF_THE_HUB = {
    "sd15": ["stable-diffusion-v1-5/stable-diffusion-v1-5", "lllyasviel/control_v11p_sd15_canny"],
    "sdxl": ["stabilityai/stable-diffusion-xl-base-1.0", "diffusers/controlnet-canny-sdxl-1.0"],
}
"""Families that are known in their true size -> the models whose arithmetic counts."""


def spec_of(family: str, size: str, folder: Path, dtype: str) -> DiffusionSpec:
    """Return the spec of a family whose random weights are written to `folder`."""
    if family == "embedded":
        return ControlNetSpec(dtype=dtype)
    if size == "true":
        _true(family, folder)
    elif family == "sd15":
        from tests.pipelines import random_pipeline

        random_pipeline(folder)
    else:
        from tests.families import random_family

        random_family(folder, family)
    model, pixels = str(folder), (512 if family == "sd15" else 1024) if size == "true" else 64
    common: dict[str, Any] = {"model": model, "control_model": str(folder / "controlnet"), "resolution": pixels, "dtype": dtype}
    if family == "sd15":
        own = {"revision": "", "control_revision": "", "eta": 0.0}
        return dataclasses.replace(paper_sd15(), **common, **own)  # type: ignore[arg-type]
    kinds = {"sdxl": SdxlSpec}
    return kinds.get(family, GENERATORS.of(family))(**common, steps=20)


def _true(family: str, folder: Path) -> None:
    """Write Stable Diffusion 1.5 or XL in its true size with random weights in 16 bits."""
    import diffusers as d

    from models.training import text

    xl = family == "sdxl"
    config = counted.SDXL if xl else counted.SD15
    ups = {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")} if xl else {}
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = text.tokenizer(text.words(), 77)
    with where:
        unet, net = d.UNet2DConditionModel(**config, **ups), d.ControlNetModel(**config)
        parts: dict[str, Any] = {"unet": unet, "controlnet": net, "vae": counted.autoencoder(4), "tokenizer": tokenizer}
        parts["text_encoder"] = counted.clip(768, 12, 12, projected=False)
        if xl:
            parts |= {"text_encoder_2": counted.clip(1280, 32, 20, projected=True), "tokenizer_2": tokenizer}
    torch.nn.init.normal_(net.controlnet_mid_block.weight, std=0.02)
    if xl:
        pipeline: Any = d.StableDiffusionXLControlNetPipeline(
            **parts, scheduler=d.EulerDiscreteScheduler(), add_watermarker=False
        )
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "scheduler": d.DDIMScheduler()}
        pipeline = d.StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
    pipeline.to(torch.bfloat16)
    pipeline.save_pretrained(folder)
    net.save_pretrained(folder / "controlnet")


def requests(count: int, size: int) -> list[ImageRequest]:
    """Return as many different images to paint, with a circle for edges."""
    rows, columns = np.mgrid[:size, :size]
    made = []
    for index in range(count):
        radius = size * (0.2 + 0.2 * index / count)
        edge = np.abs(np.hypot(rows - size / 2, columns - size / 2) - radius) < 1.0
        sample = SampleId(class_name="car", cad_id="a" * 64, view_index=index)
        control = (255 * edge).astype(np.uint8)
        made.append(
            ImageRequest(sample=sample, prompt="a red car on a road", negative_prompt="blurry", controls={"canny": control})
        )
    return made


def ours(generator: DiffusionGenerator, asked: Sequence[ImageRequest]) -> np.ndarray:
    """Paint as a run does."""
    return np.stack([image.rgb if image.rgb is not None else np.zeros(1) for image in generator.generate(asked)])


def plain(generator: DiffusionGenerator, asked: Sequence[ImageRequest], pipeline: Any) -> np.ndarray:
    """Paint as diffusers' documentation does."""
    spec = generator.spec
    generators = [torch.Generator("cpu").manual_seed(request.sample.seed("image", 0)) for request in asked]
    unsaid = {"negative_prompt": [request.negative_prompt for request in asked]} if generator.guided else {}
    longest = {name: value for name, value in generator.read([]).items() if name == "max_sequence_length"}
    with torch.no_grad():
        made = pipeline(
            prompt=[request.prompt for request in asked], num_inference_steps=spec.steps, guidance_scale=spec.guidance,
            width=spec.resolution, height=spec.resolution, generator=generators, output_type="np", **unsaid, **longest,
            **generator.arguments(asked),
        )  # fmt: skip
    return np.rint(made.images * 255.0).astype(np.uint8)


def timed(paint: Callable[[], np.ndarray], device: str, repeats: int) -> tuple[float, np.ndarray, float]:
    """Return the median seconds of a call, what it painted, and the peak of the device's memory in GB (0 on a CPU)."""
    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    pictures, took = paint(), []
    for _ in range(repeats):
        began = time.perf_counter()
        pictures = paint()
        if gpu:
            torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    return statistics.median(took), pictures, torch.cuda.max_memory_allocated() / 1e9 if gpu else 0.0


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Return the PSNR of two stacks of pictures, dB; infinite where they are equal."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10.0 * np.log10(255.0**2 / error)


def measure(family: str, size: str, device: str, batch: int, repeats: int, dtype: str, compiled: bool) -> None:
    """Measure a family and print what was found. compiled: ours alone."""
    with tempfile.TemporaryDirectory(prefix="dst-benchmark-") as scratch:
        spec = dataclasses.replace(spec_of(family, size, Path(scratch) / family, dtype), compiled=compiled)
        generator: DiffusionGenerator = GENERATORS.load(spec, device=device, batch=batch)
        asked = requests(batch, spec.resolution)
        fresh = generator.load(generator.spec).to(device)
        fresh.scheduler = generator.scheduled(generator.spec, fresh.scheduler)
        fresh.set_progress_bar_config(disable=True)
        asked_for = f"{spec.resolution} px, {spec.steps} steps, guidance {spec.guidance}, {spec.dtype}{', compiled' * compiled}"
        print(
            f"{family} ({size}), {asked_for}, batch {batch}, {torch.get_num_threads()} threads, "
            f"{generator.runtime['device']}, torch {torch.__version__}",
            flush=True,
        )
        found = {"ours": timed(lambda: ours(generator, asked), device, repeats)}
        found["plain"] = timed(lambda: plain(generator, asked, fresh), device, repeats)
        fresh.to(torch.float32)
        # Two images tell what one costs.
        seconds, pictures, memory = timed(
            lambda: np.concatenate([plain(generator, [one], fresh) for one in asked[:2]]), device, repeats
        )
        found["official"] = (seconds * batch / 2, pictures, memory)
        for name, (seconds, _, memory) in found.items():
            used = _utilisation(family, size, spec, batch / seconds, device)
            more = f"  {memory:.1f} GB" * (memory > 0) + (f"  {100 * used:.0f} % of the stated peak" if used else "")
            print(f"  {name:<9} {batch / seconds:8.3f} images a second  {seconds / batch:8.3f} s an image{more}", flush=True)
        own, bare, official = found.values()
        print(f"  ours is {bare[0] / own[0]:.2f} times as fast as plain (PSNR {psnr(own[1], bare[1]):.1f} dB), ", end="")
        print(f"{official[0] / own[0]:.2f} times as fast as official", flush=True)


def _utilisation(family: str, size: str, spec: DiffusionSpec, rate: float, device: str) -> float:
    """Return the share of an H100's or H200's stated peak; 0 where arithmetic or device is unknown."""
    known = device.startswith("cuda") and any(name in torch.cuda.get_device_name() for name in ("H100", "H200"))
    if not known or size != "true" or family not in OF_THE_HUB:
        return 0.0
    forward = sum(KNOWN[model].tflop[spec.resolution] for model in OF_THE_HUB[family])
    passes = 2 if spec.guidance > 1 else 1
    return rate * (spec.steps * passes * forward + DECODING[spec.resolution]) / PEAK[spec.dtype]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=["embedded"], help="embedded, sd15, sdxl, and with --size tiny sd3, flux")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", choices=["tiny", "true"], default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, help="default: bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument("--compiled", action="store_true", help="ours by torch.compile; its first batch is not timed")
    said = parser.parse_args()
    where = pick_device(said.device)
    bits = said.dtype or ("bfloat16" if where.startswith("cuda") else "float32")
    for one in said.families:
        measure(one, said.size, where, said.batch, said.repeats, bits, said.compiled)
