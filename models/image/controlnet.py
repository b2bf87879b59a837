"""The generator `controlnet`: controls and words in, images out, through diffusers' StableDiffusionControlNetPipeline.

Enters: ImageRequests with prompts and controls. Leaves: GeneratedImages. Each image gets a torch generator of its own, batches
have a fixed shape (the last one is filled by repeating its last request) and the thread count is fixed, because the networks'
outputs differ in the last bits between shapes. Paper section 3.1: an image that obeys the 3D visual prompt and the text prompt.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import platform
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.device import pick_device
from models.image import weights
from models.image.protocol import GeneratedImage, ImageRequest, ImageSpec, Progress, unusable
from models.image.weights import EMBEDDED, revision, source
from models.kinds import Spec

ATTEMPTS = 2
"""An unusable image gets one more attempt, with another seed."""

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "as_saved": "",
}
"""Scheduler -> its class in diffusers; `as_saved` takes the one that the model's folder names."""
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class ControlModel(Spec):
    """One of several ControlNets that steer an image together."""

    control: str
    """Kind of the control that it obeys, such as `canny`."""
    model: str
    """Folder or hub id."""
    revision: str = ""
    """As `revision` of the spec."""
    scale: float = 1.0
    """Weight of this control, times the spec's `control_scale`."""


@dataclass(frozen=True, kw_only=True)
class ControlNetSpec(ImageSpec):
    """A diffusers pipeline and how it is sampled."""

    implementation: ClassVar[str] = "models.image.controlnet:ControlNetGenerator"
    version: ClassVar[int] = 1
    uses_device: ClassVar[bool] = True
    most_tokens: ClassVar[int | None] = 75
    of_controls_size: ClassVar[bool] = True

    kind: Literal["controlnet"] = "controlnet"
    model: str = EMBEDDED
    """`embedded`, a folder in diffusers' layout, or a hub id such as `stable-diffusion-v1-5/stable-diffusion-v1-5`."""
    revision: str = ""
    """Hub id: the commit, 40 hex digits. Folder: `sha256:...` of its files, filled in by `pinned`."""
    control_model: str = ""
    """The ControlNet's own folder or hub id; empty: the `controlnet` inside `model`."""
    control_revision: str = ""
    """As `revision`, of `control_model`."""
    control_models: tuple[ControlModel, ...] = ()
    """For a recipe with several controls: a ControlNet for each, instead of `control_model`."""
    resolution: int = 128
    """Width and height of the image, pixels, a multiple of 8."""
    scheduler: str = "ddim"
    """ddim, euler, euler_a, dpmpp_2m, unipc, or as_saved (what the model's folder names)."""
    steps: int = 20
    """Denoising steps."""
    guidance: float = 1.5
    """Classifier-free guidance scale; 1 switches it off. The default was chosen on the embedded generator; the paper's is 9."""
    eta: float = 0.3
    """DDIM's share of fresh noise in each step, 0..1; other schedulers ignore it. Default: as for guidance; the paper's is 1."""
    control_scale: float = 1.5
    """Weight of the control: 0 switches it off. Default: as for guidance; the paper's is 1."""
    dtype: str = "float32"
    """float32, bfloat16 or float16."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty: give `embedded`, a folder or a hub id")
        if self.control_model and self.control_models:
            raise ValueError("control_model is the one ControlNet, control_models are several: give one of the two")
        if self.resolution < 8 or self.resolution % 8:
            raise ValueError(f"resolution {self.resolution} is not a positive multiple of 8")
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"no scheduler {self.scheduler!r}; there are {', '.join(SCHEDULERS)}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps {self.steps} is not in 1..1000")
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(f"eta {self.eta} is not in 0..1")
        if not 0.0 <= self.control_scale <= 10.0:
            raise ValueError(f"control_scale {self.control_scale} is not in 0..10")
        if not 0.0 <= self.guidance <= 100.0:
            raise ValueError(f"guidance {self.guidance} is not in 0..100")
        if self.dtype not in DTYPES:
            raise ValueError(f"no dtype {self.dtype!r}; there are {', '.join(DTYPES)}")

    @property
    def model_id(self) -> str:
        return self.model

    @property
    def model_revision(self) -> str:
        return self.revision

    @property
    def weights(self) -> str:
        nets = [(one.model, one.revision) for one in self.control_models]
        return repr((self.model, self.revision, self.control_model, self.control_revision, nets, self.dtype))

    def pinned(self) -> Self:
        nets = [dataclasses.replace(one, revision=revision(one.model, one.revision)) for one in self.control_models]
        return dataclasses.replace(
            self,
            revision=revision(self.model, self.revision),
            control_revision=revision(self.control_model, self.control_revision) if self.control_model else "",
            control_models=tuple(nets),
        )

    def lacking(self) -> str | None:
        nets = [(one.model, one.revision) for one in self.control_models]
        own = [(self.control_model, self.control_revision)] if self.control_model else []
        return weights.lacking([(self.model, self.revision), *own, *nets])

    def count(self, prompt: str) -> int:
        tokenizer = _tokenizer(self.model, self.revision)
        return len(tokenizer(prompt, add_special_tokens=False, truncation=False)["input_ids"])

    def check(self, controls: Collection[str]) -> None:
        obeyed = [one.control for one in self.control_models]
        if obeyed and sorted(obeyed) != sorted(controls):
            raise ValueError(f"image.control_models are for {', '.join(obeyed)}; the recipe's controls are {', '.join(controls)}")
        if not obeyed and len(controls) != 1:
            raise ValueError(
                f"one ControlNet obeys one control, the recipe has {len(controls)} ({', '.join(controls)}): "
                "name a ControlNet for each in [[image.control_models]]"
            )


@functools.lru_cache(maxsize=4)
def _tokenizer(model: str, commit: str) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(**source(model, commit), subfolder="tokenizer")


def paper_sd15() -> ControlNetSpec:
    """Return the paper's generator: Stable Diffusion 1.5 with ControlNet v1.1 canny, DDIM, 20 steps, eta 1, guidance 9."""
    return ControlNetSpec(
        model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        control_model="lllyasviel/control_v11p_sd15_canny",
        control_revision="115a470d547982438f70198e353a921996e2e819",
        resolution=512,
        guidance=9.0,
        eta=1.0,
        control_scale=1.0,
    )


class ControlNetGenerator:
    """A ControlNet pipeline, loaded once and used for many requests."""

    def __init__(self, spec: ControlNetSpec, device: str = "auto", threads: int = 0, batch: int = 16) -> None:
        """Load the pipeline of `spec` (revisions are filled in and checked first).

        device: auto, cpu, cuda, ... threads: torch threads, 0 leaves them. batch: images made at once; part of what equal bytes
        need, so it is recorded in `runtime`. Raises UnknownModel or BadModelFolder.
        """
        import torch

        if batch < 1:
            raise ValueError(f"batch {batch} is not positive")
        if threads:
            torch.set_num_threads(threads)
        self.spec = spec.pinned()
        self.batch = batch
        self.device = pick_device(device)
        self._pipeline = load(self.spec).to(self.device)
        self._saved = self._pipeline.scheduler
        self._pipeline.scheduler = _scheduler(self.spec, self._saved)
        self._pipeline.set_progress_bar_config(disable=True)
        if self.device == "cpu":
            for name in ("unet", "controlnet", "vae"):
                getattr(self._pipeline, name).to(memory_format=torch.channels_last)

    def resampled(self, spec: ControlNetSpec) -> ControlNetGenerator:
        """Return a generator with the same weights, not loaded again, and `spec`'s way of sampling.

        Raises ValueError when `spec` names other weights or another precision.
        """
        spec = spec.pinned()
        if spec.weights != self.spec.weights:
            raise ValueError(f"other weights take a generator of their own: {spec.weights}, loaded are {self.spec.weights}")
        other = copy.copy(self)
        other.spec = spec
        other._pipeline = copy.copy(self._pipeline)
        other._pipeline.scheduler = _scheduler(spec, self._saved)
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

        Raises ValueError when its controls are not those of the spec, or one is not (resolution, resolution[, 3]) uint8.
        """
        for request in requests:
            self.spec.check(request.controls)
            size = self.spec.resolution
            for kind, control in request.controls.items():
                if control.shape not in ((size, size), (size, size, 3)) or control.dtype != np.uint8:
                    found = f"{control.shape} of {control.dtype}"
                    raise ValueError(f"{request.sample}: its control {kind} is {found}, not ({size}, {size}) of uint8")
        made: dict[int, GeneratedImage] = {}
        pending = list(range(len(requests)))
        for attempt in range(ATTEMPTS):
            for start in range(0, len(pending), self.batch):
                indices = pending[start : start + self.batch]

                def tell() -> None:
                    if progress:
                        progress(sum(image.reason is None for image in made.values()), len(requests))

                images = self._batch([requests[i] for i in indices], attempt, tell)
                made.update(zip(indices, images, strict=True))
                tell()
            pending = [index for index in pending if made[index].reason is not None]
        return [made[index] for index in range(len(requests))]

    def _batch(self, requests: list[ImageRequest], attempt: int, tell: Callable[[], None]) -> list[GeneratedImage]:
        pictures = self._sample(requests, attempt, tell)
        images = []
        for request, picture in zip(requests, pictures, strict=True):
            reason = unusable(picture)
            rgb = None if reason else np.rint(picture * 255.0).astype(np.uint8)
            seed = request.sample.seed("image", attempt)
            images.append(GeneratedImage(sample=request.sample, rgb=rgb, seed=seed, attempt=attempt, reason=reason))
        return images

    def _sample(self, requests: list[ImageRequest], attempt: int, tell: Callable[[], None]) -> NDArray[np.float32]:
        """Return (len(requests), H, W, 3) in 0..1, from a batch of the full shape. tell: called behind each denoising step."""
        import torch

        def stepped(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            tell()
            return {}

        filled = requests + [requests[-1]] * (self.batch - len(requests))
        generators = [torch.Generator("cpu").manual_seed(request.sample.seed("image", attempt)) for request in filled]
        with torch.no_grad():
            result = self._pipeline(
                prompt=[request.prompt for request in filled],
                negative_prompt=[request.negative_prompt for request in filled],
                image=self._conditions(filled),
                width=self.spec.resolution,
                height=self.spec.resolution,
                num_inference_steps=self.spec.steps,
                guidance_scale=self.spec.guidance,
                eta=self.spec.eta,
                controlnet_conditioning_scale=self._scales,
                generator=generators,
                callback_on_step_end=stepped,
                callback_on_step_end_tensor_inputs=[],
                output_type="np",
            )
        pictures: NDArray[np.float32] = np.asarray(result.images, dtype=np.float32)[: len(requests)]
        return pictures

    @property
    def _scales(self) -> float | list[float]:
        """Weight of the one ControlNet, or of each of several."""
        several = [self.spec.control_scale * one.scale for one in self.spec.control_models]
        return several or self.spec.control_scale

    def _conditions(self, requests: list[ImageRequest]) -> Any:
        """Return the controls as the pipeline takes them: (N, 3, H, W) in 0..1, or a list of such for several ControlNets."""
        import torch

        def stacked(controls: list[NDArray[np.uint8]]) -> Any:
            planes = [np.broadcast_to(c, (3, *c.shape)) if c.ndim == 2 else c.transpose(2, 0, 1) for c in controls]
            return torch.from_numpy(np.stack(planes)).float().div_(255.0).to(self.device, self._pipeline.unet.dtype)

        if self.spec.control_models:
            return [stacked([request.controls[one.control] for request in requests]) for one in self.spec.control_models]
        return stacked([control for request in requests for control in request.controls.values()])


class BadModelFolder(ValueError):
    """A folder or hub repository that is no ControlNet pipeline. One line says what is missing."""


def load(spec: ControlNetSpec) -> Any:
    """Return the StableDiffusionControlNetPipeline of a pinned spec, with the scheduler that its folder names.

    Safetensors only, no code from the model's folder. Raises BadModelFolder.
    """
    import diffusers
    import torch
    import transformers
    from diffusers import ControlNetModel, MultiControlNetModel, StableDiffusionControlNetPipeline
    from safetensors import SafetensorError

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
            parts["controlnet"] = ControlNetModel.from_pretrained(**source(spec.control_model, spec.control_revision), **common)
        elif spec.control_models:
            nets = [ControlNetModel.from_pretrained(**source(one.model, one.revision), **common) for one in spec.control_models]
            parts["controlnet"] = MultiControlNetModel(nets)
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(**source(spec.model, spec.revision), **parts, **common)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError) as error:
        # A folder that lacks something or holds something else ends in any of these, somewhere inside diffusers.
        raise BadModelFolder(f"{spec.model} cannot be loaded as a ControlNet pipeline: {_why(error)}") from error
    for name in ("unet", "controlnet", "vae", "text_encoder"):
        getattr(pipeline, name).eval().requires_grad_(False)
    return pipeline


def _why(error: BaseException) -> str:
    """Return, in one line, why a pipeline could not be loaded.

    A hub that is not reached is told apart: of it transformers says that the model lacks a file.
    """
    # The hub's client speaks through httpx2.
    from httpx2 import TransportError
    from huggingface_hub.errors import OfflineModeIsEnabled

    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, (TransportError, ConnectionError, OfflineModeIsEnabled)):
            said = (str(behind).strip() or type(behind).__name__).splitlines()[0]
            return f"the hub cannot be reached ({said}), and the model is not among those that were loaded before"
        behind = behind.__cause__ or behind.__context__
    said = (str(error).strip() or "it says nothing").splitlines()[0]
    return said if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {said}"


def _scheduler(spec: ControlNetSpec, saved: Any) -> Any:
    import diffusers

    if spec.scheduler == "as_saved":
        return saved
    made = getattr(diffusers, SCHEDULERS[spec.scheduler]).from_config(saved.config)
    if spec.scheduler == "ddim" and float(made.alphas_cumprod[-1]) == 0.0:
        # A schedule that ends in pure noise leaves DDIM with eta 1 the root of a rounding error, and so NaN; the smallest signal
        # avoids it, as diffusers' Euler schedulers do.
        made.alphas_cumprod[-1] = 2.0**-24
    return made
