"""What the families of diffusion models have in common: requests in, images out, through a pipeline of diffusers.

Enters: ImageRequests with prompts and controls. Leaves: GeneratedImages. Each image gets a torch generator of its own, batches
have a fixed shape (the last one is filled by repeating its last request) and the thread count is fixed, because the networks'
outputs differ in the last bits between shapes. What a family's pipeline is called, takes and reads is the family's own module:
controlnet (Stable Diffusion 1 and 2, and the embedded generator), sdxl, sd3, flux. Paper section 3.1: an image that obeys the 3D
visual prompt and the text prompt.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.device import pick_device
from models.image import weights
from models.image.memory import Shape, give_back
from models.image.protocol import GeneratedImage, ImageRequest, ImageSpec, Progress, unusable
from models.image.texts import Texts
from models.image.weights import revision, source
from models.kinds import Spec

ATTEMPTS = 2
"""An unusable image gets one more attempt, with another seed."""
DTYPES = ("float32", "bfloat16", "float16")
DECODED_ALONE = 512
"""Images of so many pixels a side are decoded one by one: a batch of them would take more memory to decode than to denoise."""
COMPILERS = tuple(filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")))
"""What torch compiles with."""


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
    start: float = 0.0
    """Share of the steps behind which it begins to steer."""
    end: float = 1.0
    """Share of the steps behind which it steers no more."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < self.end <= 1.0:
            raise ValueError(f"the ControlNet for {self.control} steers from {self.start} to {self.end}: 0 <= start < end <= 1")


@dataclass(frozen=True, kw_only=True)
class DiffusionSpec(ImageSpec):
    """A diffusers pipeline with ControlNets, and how it is sampled; each family adds its own fields."""

    uses_device: ClassVar[bool] = True
    of_controls_size: ClassVar[bool] = True
    multiple_of: ClassVar[int] = 8
    """Width and height are multiples of this many pixels."""
    tokenizer: ClassVar[str] = "tokenizer"
    """Subfolder of the tokenizer whose tokens `most_tokens` counts."""
    schedulers: ClassVar[Mapping[str, str]] = {"as_saved": ""}
    """Scheduler -> its class in diffusers; `as_saved` takes the one that the model's folder names."""
    needs_control_model: ClassVar[bool] = True
    """Whether the model's folder holds no ControlNet, so that `control_model` or `control_models` must name one."""

    model: str = ""
    """A folder in diffusers' layout, or a hub id."""
    revision: str = ""
    """Hub id: the commit, 40 hex digits. Folder: `sha256:...` of its files, filled in by `pinned`."""
    control_model: str = ""
    """The ControlNet's own folder or hub id."""
    control_revision: str = ""
    """As `revision`, of `control_model`."""
    control_models: tuple[ControlModel, ...] = ()
    """For a recipe with several controls: a ControlNet for each, instead of `control_model`."""
    resolution: int = 1024
    """Width and height of the image, pixels."""
    scheduler: str = "as_saved"
    """One of the family's schedulers."""
    steps: int = 28
    """Denoising steps."""
    guidance: float = 5.0
    """Guidance scale."""
    control_scale: float = 1.0
    """Weight of the control: 0 switches it off."""
    dtype: str = "bfloat16"
    """float32, bfloat16 or float16."""
    compiled: bool = False
    """Whether the networks that denoise are compiled: takes minutes for each shape of a batch, pays for many images; changes last
    bits."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty: give `embedded`, a folder or a hub id")
        if self.control_model and self.control_models:
            raise ValueError("control_model is the one ControlNet, control_models are several: give one of the two")
        if self.needs_control_model and not self.control_model and not self.control_models:
            raise ValueError(f"a generator of kind {self.kind} needs a ControlNet: name a folder or a hub id in control_model")
        if self.resolution < self.multiple_of or self.resolution % self.multiple_of:
            raise ValueError(f"resolution {self.resolution} is not a positive multiple of {self.multiple_of}")
        if self.scheduler not in self.schedulers:
            raise ValueError(f"no scheduler {self.scheduler!r}; there are {', '.join(self.schedulers)}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps {self.steps} is not in 1..1000")
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
        return repr((self.model, self.revision, self.control_model, self.control_revision, nets, self.dtype, self.compiled))

    @property
    def models(self) -> list[tuple[str, str]]:
        """Every model that must be there, with its revision."""
        nets = [(one.model, one.revision) for one in self.control_models]
        own = [(self.control_model, self.control_revision)] if self.control_model else []
        return [(self.model, self.revision), *own, *nets]

    def pinned(self) -> Self:
        nets = [dataclasses.replace(one, revision=revision(one.model, one.revision)) for one in self.control_models]
        return dataclasses.replace(
            self,
            revision=revision(self.model, self.revision),
            control_revision=revision(self.control_model, self.control_revision) if self.control_model else "",
            control_models=tuple(nets),
        )

    def lacking(self) -> str | None:
        if self.compiled and not any(shutil.which(name) for name in COMPILERS):
            return "image.compiled needs a C++ compiler: install one (apt-get install g++), or leave it out"
        return weights.lacking(self.models)

    def count(self, prompt: str) -> int:
        tokenizer = _tokenizer(self.model, self.revision, self.tokenizer)
        return len(tokenizer(prompt, add_special_tokens=False, truncation=False)["input_ids"])

    def check(self, controls: Mapping[str, int]) -> None:
        obeyed = [one.control for one in self.control_models]
        if obeyed and sorted(obeyed) != sorted(controls):
            raise ValueError(f"image.control_models are for {', '.join(obeyed)}; the recipe's controls are {', '.join(controls)}")
        if not obeyed and len(controls) != 1:
            raise ValueError(
                f"one ControlNet obeys one control, the recipe has {len(controls)} ({', '.join(controls)}): "
                "name a ControlNet for each in [[image.control_models]]"
            )
        nets = {one.control: (one.model, one.revision, "") for one in self.control_models}
        own = (self.control_model, self.control_revision, "") if self.control_model else (self.model, self.revision, "controlnet")
        for kind, channels in controls.items():
            reads = weights.conditioning_channels(*nets.get(kind, own))
            # A picture of one channel is read as grey.
            if reads is not None and reads != (channels if channels > 1 else 3):
                raise ValueError(
                    f"the control {kind} has {channels} channels, and {nets.get(kind, own)[0]} reads {reads}: "
                    f"name a ControlNet that was trained on {kind}"
                )


@functools.lru_cache(maxsize=4)
def _tokenizer(model: str, commit: str, subfolder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(**source(model, commit), subfolder=subfolder)


class DiffusionGenerator:
    """A pipeline, loaded once and used for many requests; each family says which one and how it is called."""

    pipeline: ClassVar[str]
    """Its class in diffusers."""
    control_network: ClassVar[str] = "ControlNetModel"
    """Class of its ControlNets."""
    several: ClassVar[str] = "MultiControlNetModel"
    """Class of what holds several of them."""
    denoiser: ClassVar[str] = "unet"
    """Name of the network that denoises."""
    compiler: ClassVar[str] = "inductor"
    """What of torch.compile's backends compiles."""
    others: ClassVar[Mapping[str, Any]] = {}
    """What else the pipeline is loaded with."""
    said: ClassVar[tuple[str, ...]] = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    """What its text encoders give, in order, as arguments of the pipeline; empty: not passed on."""

    def __init__(self, spec: Any, device: str = "auto", threads: int = 0, batch: int = 16) -> None:
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
        self._shape = Shape(batch)
        self._texts = Texts()
        self.device = pick_device(device)
        self._pipeline = self.load(self.spec).to(self.device)
        self._saved = self._pipeline.scheduler
        self._pipeline.scheduler = self.scheduled(self.spec, self._saved)
        self._pipeline.set_progress_bar_config(disable=True)
        for name in (self.denoiser, "controlnet", "vae"):
            if (network := getattr(self._pipeline, name, None)) is not None:
                # What convolutions are fastest in, on a processor and on a GPU in 16 bits.
                network.to(memory_format=torch.channels_last)
                if self.spec.compiled and name != "vae":
                    for one in getattr(network, "nets", [network]):
                        one.compile(backend=self.compiler)
        if self.spec.resolution >= DECODED_ALONE:
            self._pipeline.vae.enable_slicing()

    @classmethod
    def load(cls, spec: DiffusionSpec) -> Any:
        """Return the pipeline of a pinned spec, with the scheduler that its folder names.

        Safetensors only, no code from the model's folder. Raises BadModelFolder.
        """
        import diffusers
        import torch
        import transformers
        from safetensors import SafetensorError

        # Their notes (an autoencoder other than AutoencoderKL, progress bars of loading) say nothing a user could act on.
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        common: dict[str, Any] = {"dtype": getattr(torch, spec.dtype), "use_safetensors": True}
        parts = dict(cls.others)
        try:
            network = getattr(diffusers, cls.control_network)
            if spec.control_model:
                parts["controlnet"] = network.from_pretrained(**source(spec.control_model, spec.control_revision), **common)
            elif spec.control_models:
                nets = [network.from_pretrained(**source(one.model, one.revision), **common) for one in spec.control_models]
                parts["controlnet"] = getattr(diffusers, cls.several)(nets)
            pipeline = getattr(diffusers, cls.named(spec)).from_pretrained(**source(spec.model, spec.revision), **parts, **common)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError) as error:
            # A folder that lacks something or holds something else ends in any of these, somewhere inside diffusers.
            raise BadModelFolder(f"{spec.model} cannot be loaded as a {spec.kind} pipeline: {_why(error)}") from error
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        return pipeline

    @classmethod
    def named(cls, spec: Any) -> str:
        """Return the pipeline's class for a spec."""
        return cls.pipeline

    @classmethod
    def scheduled(cls, spec: DiffusionSpec, saved: Any) -> Any:
        """Return the scheduler of a spec, made from the one that the model's folder names."""
        import diffusers

        name = spec.schedulers[spec.scheduler]
        return getattr(diffusers, name).from_config(saved.config) if name else saved

    def resampled(self, spec: Any) -> Self:
        """Return a generator with the same weights, not loaded again, and `spec`'s way of sampling.

        Raises ValueError when `spec` names other weights or another precision.
        """
        spec = spec.pinned()
        if spec.weights != self.spec.weights:
            raise ValueError(f"other weights take a generator of their own: {spec.weights}, loaded are {self.spec.weights}")
        other = copy.copy(self)
        other.spec = spec
        other._pipeline = copy.copy(self._pipeline)
        other._pipeline.scheduler = self.scheduled(spec, self._saved)
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

        Raises ValueError when its controls are not those of the spec, or one is not (resolution, resolution[, C]) uint8.
        """
        # Which channels a ControlNet reads stands in a file: it is asked once, not for every image.
        for asked in {tuple((kind, _channels(control)) for kind, control in one.controls.items()) for one in requests}:
            self.spec.check(dict(asked))
        size = self.spec.resolution
        for request in requests:
            for kind, control in request.controls.items():
                if control.shape[:2] != (size, size) or control.dtype != np.uint8:
                    found = f"{control.shape} of {control.dtype}"
                    raise ValueError(f"{request.sample}: its control {kind} is {found}, not ({size}, {size}) of uint8")
        made: dict[int, GeneratedImage] = {}
        pending = list(range(len(requests)))
        for attempt in range(ATTEMPTS):
            start = 0
            while start < len(pending):
                indices = pending[start : start + self._shape.size]

                def tell(share: float, painted: int = len(indices)) -> None:
                    if progress:
                        progress(sum(image.reason is None for image in made.values()) + share * painted, len(requests))

                try:
                    images = self._batch([requests[i] for i in indices], attempt, tell)
                except (RuntimeError, MemoryError) as error:
                    self._shape.halve(error)
                else:
                    made.update(zip(indices, images, strict=True))
                    tell(0.0)
                    start += len(indices)
                    continue
                # Behind the handler: as long as it runs, its traceback holds what did not fit.
                give_back(self.device)
            pending = [index for index in pending if made[index].reason is not None]
        return [made[index] for index in range(len(requests))]

    def _batch(self, requests: list[ImageRequest], attempt: int, tell: Callable[[float], None]) -> list[GeneratedImage]:
        pictures = self._sample(requests, attempt, tell)
        images = []
        for request, picture in zip(requests, pictures, strict=True):
            reason = unusable(picture)
            rgb = None if reason else np.rint(picture * 255.0).astype(np.uint8)
            seed = request.sample.seed("image", attempt)
            images.append(
                GeneratedImage(sample=request.sample, rgb=rgb, seed=seed, attempt=attempt, reason=reason, batch=self._shape.size)
            )
        return images

    def _sample(self, requests: list[ImageRequest], attempt: int, tell: Callable[[float], None]) -> NDArray[np.float32]:
        """Return (len(requests), H, W, 3) in 0..1, from a batch of the full shape.

        tell: called behind each denoising step with the share of the steps that are done.
        """
        import torch

        def stepped(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            tell(min(1.0, (step + 1) / self.spec.steps))
            return {}

        filled = requests + [requests[-1]] * (self._shape.size - len(requests))
        generators = [torch.Generator("cpu").manual_seed(request.sample.seed("image", attempt)) for request in filled]
        pairs = [(request.prompt, request.negative_prompt) for request in filled]
        with torch.no_grad():
            result = self._pipeline(
                **self._texts.of(pairs, self.guided, self.encode, self.device),
                width=self.spec.resolution,
                height=self.spec.resolution,
                num_inference_steps=self.spec.steps,
                guidance_scale=self.spec.guidance,
                generator=generators,
                callback_on_step_end=stepped,
                callback_on_step_end_tensor_inputs=[],
                output_type="np",
                **self.arguments(filled),
            )
        pictures: NDArray[np.float32] = np.asarray(result.images, dtype=np.float32)[: len(requests)]
        return pictures

    @property
    def guided(self) -> bool:
        """Whether what is not to be shown is painted beside what is."""
        return bool(self.spec.guidance > 1.0)

    def encode(self, prompts: list[str], negatives: list[str]) -> dict[str, Any]:
        """Return what the text encoders say of prompts: argument of the pipeline -> tensor, one row for each."""
        made = self._pipeline.encode_prompt(prompt=prompts, device=self.device, **self.read(negatives))
        return {name: tensor for name, tensor in zip(self.said, made, strict=True) if name and tensor is not None}

    def read(self, negatives: list[str]) -> dict[str, Any]:
        """Return what else the family's text encoders are called with."""
        return {
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": self.guided,
            "negative_prompt": negatives if self.guided else None,
        }

    def arguments(self, requests: Sequence[ImageRequest]) -> dict[str, Any]:
        """Return what else the family's pipeline is called with: controls above all, in the form that it takes."""
        raise NotImplementedError

    def steering(self) -> dict[str, Any]:
        """Return weights, starts and ends of the one ControlNet, or of each of several."""
        nets = self.spec.control_models
        if not nets:
            return {"controlnet_conditioning_scale": self.spec.control_scale}
        return {
            "controlnet_conditioning_scale": [self.spec.control_scale * one.scale for one in nets],
            "control_guidance_start": [one.start for one in nets],
            "control_guidance_end": [one.end for one in nets],
        }

    def conditions(self, requests: Sequence[ImageRequest], least: float) -> Any:
        """Return the controls as pipelines take them as they are: (N, 3 or C, H, W) from `least` to 1, a list for several."""
        import torch

        dtype = getattr(self._pipeline, self.denoiser).dtype

        def stacked(controls: list[NDArray[np.uint8]]) -> Any:
            planes = [np.broadcast_to(c, (3, *c.shape)) if c.ndim == 2 else c.transpose(2, 0, 1) for c in controls]
            return torch.from_numpy(np.stack(planes)).float().div_(255.0).mul_(1.0 - least).add_(least).to(self.device, dtype)

        if self.spec.control_models:
            return [stacked([request.controls[one.control] for request in requests]) for one in self.spec.control_models]
        return stacked([control for request in requests for control in request.controls.values()])


def _channels(control: NDArray[np.uint8]) -> int:
    return control.shape[2] if control.ndim == 3 else 1


class BadModelFolder(ValueError):
    """A folder or hub repository that is no pipeline of the family. One line says what is missing."""


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
