"""The generator `sdxl`: Stable Diffusion XL with ControlNets, through diffusers' StableDiffusionXLControlNetPipeline.

Enters: ImageRequests. Leaves: GeneratedImages (models.image.diffusion). The size that the model is told is the image's own, since
nothing is cropped from anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.image.controlnet import SCHEDULERS, ControlNetGenerator
from models.image.diffusion import DiffusionGenerator, DiffusionSpec


@dataclass(frozen=True, kw_only=True)
class SdxlSpec(DiffusionSpec):
    """Stable Diffusion XL with ControlNets."""

    implementation: ClassVar[str] = "models.image.sdxl:SdxlGenerator"
    version: ClassVar[int] = 1
    most_tokens: ClassVar[int | None] = 75
    schedulers: ClassVar[Mapping[str, str]] = SCHEDULERS

    kind: Literal["sdxl"] = "sdxl"
    eta: float = 0.0
    """DDIM's share of fresh noise in each step, 0..1; other schedulers ignore it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(f"eta {self.eta} is not in 0..1")


class SdxlGenerator(ControlNetGenerator):
    """StableDiffusionXLControlNetPipeline, called as Stable Diffusion 1; decodes in float32 where its folder asks for it."""

    pipeline: ClassVar[str] = "StableDiffusionXLControlNetPipeline"
    others: ClassVar[Mapping[str, Any]] = {"add_watermarker": False}
    said: ClassVar[tuple[str, ...]] = DiffusionGenerator.said
