"""The generator `flux`: FLUX.1 with ControlNets, or one of its models that read a control themselves (Canny, Depth).

Enters: ImageRequests. Leaves: GeneratedImages (models.image.diffusion), through diffusers' FluxControlNetPipeline or, without a
ControlNet, FluxControlPipeline. Guidance is distilled into the model: it is told a number, and there is no negative prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.image.diffusion import DiffusionGenerator, DiffusionSpec
from models.image.protocol import ImageRequest

T5_READS = 512
"""Tokens of a prompt that T5 is given, its end among them; its CLIP encoder only sums up the first 75."""


@dataclass(frozen=True, kw_only=True)
class FluxSpec(DiffusionSpec):
    """FLUX.1 with ControlNets, or a model of it that reads a control itself."""

    implementation: ClassVar[str] = "models.image.flux:FluxGenerator"
    version: ClassVar[int] = 1
    most_tokens: ClassVar[int | None] = T5_READS - 1
    multiple_of: ClassVar[int] = 16
    tokenizer: ClassVar[str] = "tokenizer_2"
    needs_control_model: ClassVar[bool] = False

    kind: Literal["flux"] = "flux"
    control_model: str = ""
    """The ControlNet's folder or hub id; empty: `model` reads the control itself, as FLUX.1-Canny-dev and FLUX.1-Depth-dev do."""
    guidance: float = 3.5
    """The guidance that the model is told; the models that read a control themselves were made for 10 to 30."""


class FluxGenerator(DiffusionGenerator):
    """FluxControlNetPipeline or FluxControlPipeline."""

    pipeline: ClassVar[str] = "FluxControlNetPipeline"
    control_network: ClassVar[str] = "FluxControlNetModel"
    several: ClassVar[str] = "FluxMultiControlNetModel"
    denoiser: ClassVar[str] = "transformer"
    said: ClassVar[tuple[str, ...]] = ("prompt_embeds", "pooled_prompt_embeds", "")

    @classmethod
    def named(cls, spec: Any) -> str:
        return cls.pipeline if spec.control_model or spec.control_models else "FluxControlPipeline"

    def arguments(self, requests: Sequence[ImageRequest]) -> dict[str, Any]:
        # In -1..1, as the autoencoder that encodes it expects.
        made: dict[str, Any] = {"control_image": self.conditions(requests, least=-1.0)}
        return made | self.steering() if self.named(self.spec) == self.pipeline else made

    @property
    def guided(self) -> bool:
        return False

    def read(self, negatives: list[str]) -> dict[str, Any]:
        return {"prompt_2": None, "max_sequence_length": T5_READS}
