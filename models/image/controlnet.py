"""The generator `controlnet`: Stable Diffusion 1 and 2 and what has their shape, the embedded generator among it.

Enters: ImageRequests. Leaves: GeneratedImages, through diffusers' StableDiffusionControlNetPipeline (models.image.diffusion).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.image.diffusion import DiffusionGenerator, DiffusionSpec
from models.image.protocol import ImageRequest
from models.image.weights import EMBEDDED

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
    "as_saved": "",
}
"""Scheduler -> its class in diffusers; `as_saved` takes the one that the model's folder names."""


@dataclass(frozen=True, kw_only=True)
class ControlNetSpec(DiffusionSpec):
    """Stable Diffusion 1 or 2 with ControlNets."""

    implementation: ClassVar[str] = "models.image.controlnet:ControlNetGenerator"
    version: ClassVar[int] = 1
    most_tokens: ClassVar[int | None] = 75
    schedulers: ClassVar[Mapping[str, str]] = SCHEDULERS
    needs_control_model: ClassVar[bool] = False

    kind: Literal["controlnet"] = "controlnet"
    model: str = EMBEDDED
    """`embedded`, a folder in diffusers' layout, or a hub id such as `stable-diffusion-v1-5/stable-diffusion-v1-5`."""
    control_model: str = ""
    """The ControlNet's own folder or hub id; empty: the `controlnet` inside `model`."""
    resolution: int = 128
    """Width and height of the image, pixels, a multiple of 8."""
    scheduler: str = "ddim"
    """ddim, euler, euler_a, dpmpp_2m, unipc, lcm, or as_saved (what the model's folder names)."""
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
        super().__post_init__()
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(f"eta {self.eta} is not in 0..1")


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


class ControlNetGenerator(DiffusionGenerator):
    """StableDiffusionControlNetPipeline."""

    pipeline: ClassVar[str] = "StableDiffusionControlNetPipeline"
    others: ClassVar[Mapping[str, Any]] = {"safety_checker": None, "requires_safety_checker": False}
    said: ClassVar[tuple[str, ...]] = ("prompt_embeds", "negative_prompt_embeds")

    @classmethod
    def scheduled(cls, spec: DiffusionSpec, saved: Any) -> Any:
        made = super().scheduled(spec, saved)
        if spec.scheduler == "ddim" and float(made.alphas_cumprod[-1]) == 0.0:
            # A schedule that ends in pure noise leaves DDIM with eta 1 the root of a rounding error, and so NaN; the smallest
            # signal avoids it, as diffusers' Euler schedulers do.
            made.alphas_cumprod[-1] = 2.0**-24
        return made

    @property
    def guided(self) -> bool:
        # A model that was distilled is told its guidance and takes no second pass.
        return super().guided and self._pipeline.unet.config.time_cond_proj_dim is None

    def arguments(self, requests: Sequence[ImageRequest]) -> dict[str, Any]:
        return {
            "image": self.conditions(requests, least=0.0),
            "eta": self.spec.eta,
            **self.steering(),
        }
