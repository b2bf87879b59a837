"""The generator: edges and words in, pictures out, through diffusers' StableDiffusionControlNetPipeline.

Enters: ImageRequests (sample, prompts, edge map). Leaves: GeneratedImages, each a function of its own request alone: one torch
generator for each sample, a fixed batch shape (the last batch is filled by repeating its last request) and a fixed thread
count, because the networks' outputs differ in the last bits between shapes. Paper section 3.1.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.image.spec import ImageSpec, folder_of, pinned
from models.sample import SampleId

Progress = Callable[[int, int], None]
"""Called with (images done, images asked for)."""

ATTEMPTS = 2
"""An unusable image gets one more attempt, with another seed."""


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One image to make."""

    sample: SampleId
    """Whose image it is; the seed follows from it."""
    prompt: str
    """What to show."""
    negative_prompt: str = ""
    """What not to show."""
    control: NDArray[np.uint8]
    """Edge map (H, W), 0 or 255, of the spec's resolution."""


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One image, or why there is none."""

    sample: SampleId
    rgb: NDArray[np.uint8] | None
    """(H, W, 3), or None with a reason."""
    seed: int
    """Seed of the last attempt."""
    attempt: int
    """0, or 1 after an unusable first image."""
    reason: str | None = None
    """black_image, nan_image or constant_image."""


class Generator(Protocol):
    """Anything that makes images for requests."""

    def generate(self, requests: Sequence[ImageRequest], progress: Progress | None = None) -> list[GeneratedImage]:
        """Return one GeneratedImage for each request, in order."""
        ...


class ControlNetGenerator:
    """A ControlNet pipeline, loaded once and used for many requests."""

    def __init__(self, spec: ImageSpec, device: str = "auto", threads: int = 0, batch: int = 16) -> None:
        """Load the pipeline of `spec` (revisions are filled in and checked first).

        device: auto, cpu, cuda, ... threads: torch threads, 0 leaves them. batch: images made at once; part of what equal bytes
        need, so it is recorded in `runtime`. Raises UnknownModel or BadModelFolder.
        """
        import torch

        if batch < 1:
            raise ValueError(f"batch {batch} is not positive")
        if threads:
            torch.set_num_threads(threads)
        self.spec = pinned(spec)
        self.batch = batch
        self.device = pick_device(device)
        self._pipeline = load(self.spec).to(self.device)
        self._pipeline.set_progress_bar_config(disable=True)
        if self.device == "cpu":
            for name in ("unet", "controlnet", "vae"):
                getattr(self._pipeline, name).to(memory_format=torch.channels_last)

    def resampled(self, spec: ImageSpec) -> ControlNetGenerator:
        """Return a generator with the same weights, not loaded again, and `spec`'s way of sampling.

        Raises ValueError when `spec` names other weights or another precision.
        """
        spec = pinned(spec)
        for name in ("model", "revision", "control_model", "control_revision", "dtype"):
            if getattr(spec, name) != getattr(self.spec, name):
                raise ValueError(f"another {name} ({getattr(spec, name)!r}) takes a generator of its own")
        if spec.scheduler == "as_saved" != self.spec.scheduler:
            raise ValueError("the scheduler that the folder names takes a generator of its own")
        other = copy.copy(self)
        other.spec = spec
        other._pipeline = copy.copy(self._pipeline)
        other._pipeline.scheduler = _scheduler(spec, self._pipeline.scheduler)
        return other

    @property
    def runtime(self) -> dict[str, Any]:
        """What equal bytes depend on besides the spec: machine, device, batch shape, threads, versions."""
        import diffusers
        import torch

        return {
            "device": torch.cuda.get_device_name() if self.device.startswith("cuda") else self.device,
            "machine": platform.machine(),
            "batch": self.batch,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        }

    def generate(self, requests: Sequence[ImageRequest], progress: Progress | None = None) -> list[GeneratedImage]:
        """Return one GeneratedImage for each request, in order.

        Raises ValueError when a control is not (resolution, resolution) uint8.
        """
        for request in requests:
            size = self.spec.resolution
            if request.control.shape != (size, size) or request.control.dtype != np.uint8:
                found = f"{request.control.shape} of {request.control.dtype}"
                raise ValueError(f"{request.sample}: its control is {found}, not ({size}, {size}) of uint8")
        made: dict[int, GeneratedImage] = {}
        pending = list(range(len(requests)))
        for attempt in range(ATTEMPTS):
            for start in range(0, len(pending), self.batch):
                indices = pending[start : start + self.batch]
                for index, image in zip(indices, self._batch([requests[i] for i in indices], attempt), strict=True):
                    made[index] = image
                if progress:
                    progress(sum(image.reason is None for image in made.values()), len(requests))
            pending = [index for index in pending if made[index].reason is not None]
        return [made[index] for index in range(len(requests))]

    def _batch(self, requests: list[ImageRequest], attempt: int) -> list[GeneratedImage]:
        pictures = self._sample(requests, attempt)
        images = []
        for request, picture in zip(requests, pictures, strict=True):
            reason = unusable(picture)
            rgb = None if reason else np.rint(picture * 255.0).astype(np.uint8)
            seed = request.sample.seed("image", attempt)
            images.append(GeneratedImage(sample=request.sample, rgb=rgb, seed=seed, attempt=attempt, reason=reason))
        return images

    def _sample(self, requests: list[ImageRequest], attempt: int) -> NDArray[np.float32]:
        """Return (len(requests), H, W, 3) in 0..1, from a batch of the full shape."""
        import torch

        filled = requests + [requests[-1]] * (self.batch - len(requests))
        controls = torch.from_numpy(np.stack([request.control for request in filled])).float().div_(255.0)
        generators = [torch.Generator("cpu").manual_seed(request.sample.seed("image", attempt)) for request in filled]
        with torch.no_grad():
            result = self._pipeline(
                prompt=[request.prompt for request in filled],
                negative_prompt=[request.negative_prompt for request in filled],
                image=controls[:, None].repeat(1, 3, 1, 1).to(self.device, self._pipeline.unet.dtype),
                width=self.spec.resolution,
                height=self.spec.resolution,
                num_inference_steps=self.spec.steps,
                guidance_scale=self.spec.guidance,
                eta=self.spec.eta,
                controlnet_conditioning_scale=self.spec.control_scale,
                generator=generators,
                output_type="np",
            )
        pictures: NDArray[np.float32] = np.asarray(result.images, dtype=np.float32)[: len(requests)]
        return pictures


class BadModelFolder(ValueError):
    """A folder or hub repository that is no ControlNet pipeline. One line says what is missing."""


def load(spec: ImageSpec) -> Any:
    """Return the StableDiffusionControlNetPipeline of a pinned spec: safetensors only, no code from the model's folder."""
    import diffusers
    import torch
    import transformers
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    dtype = getattr(torch, spec.dtype)
    # Their notes (an autoencoder other than AutoencoderKL, progress bars of loading) say nothing a user could act on.
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    common: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    parts: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False}
    try:
        if spec.control_model:
            source = _source(spec.control_model, spec.control_revision)
            parts["controlnet"] = ControlNetModel.from_pretrained(**source, **common)
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(**_source(spec.model, spec.revision), **parts, **common)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise BadModelFolder(f"{spec.model} cannot be loaded as a ControlNet pipeline: {line}") from error
    for name in ("unet", "controlnet", "vae", "text_encoder"):
        getattr(pipeline, name).eval().requires_grad_(False)
    pipeline.scheduler = _scheduler(spec, pipeline.scheduler)
    return pipeline


def unusable(picture: NDArray[np.float32]) -> str | None:
    """Return why a picture (H, W, 3) in 0..1 is unusable, or None: not finite, black, or the same colour all over."""
    if not np.isfinite(picture).all():
        return "nan_image"
    if picture.max() < 4.0 / 255.0:
        return "black_image"
    if float(np.ptp(picture, axis=(0, 1)).max()) < 2.0 / 255.0:
        return "constant_image"
    return None


def pick_device(device: str) -> str:
    """Return `device`, with `auto` resolved to what this machine has."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _source(model: str, revision: str) -> dict[str, Any]:
    folder = folder_of(model)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    return {"pretrained_model_name_or_path": model, "revision": revision}


def _scheduler(spec: ImageSpec, saved: Any) -> Any:
    import diffusers

    if spec.scheduler == "as_saved":
        return saved
    name = {
        "ddim": "DDIMScheduler",
        "euler": "EulerDiscreteScheduler",
        "euler_a": "EulerAncestralDiscreteScheduler",
        "dpmpp_2m": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler",
    }[spec.scheduler]
    made = getattr(diffusers, name).from_config(saved.config)
    if spec.scheduler == "ddim" and float(made.alphas_cumprod[-1]) == 0.0:
        # A schedule that ends in pure noise leaves DDIM with eta 1 the root of a rounding error, and so NaN; the smallest signal
        # avoids it, as diffusers' Euler schedulers do.
        made.alphas_cumprod[-1] = 2.0**-24
    return made
