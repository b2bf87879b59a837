"""The generator `sd3`: Stable Diffusion 3 and 3.5 with ControlNets, through diffusers' StableDiffusion3ControlNetPipeline.

Enters: ImageRequests. Leaves: GeneratedImages (models.image.diffusion). A transformer trained by flow matching: its folder names
the only kind of scheduler that fits. Its T5 reads long prompts; its two CLIP encoders read the first 75 tokens of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.image.diffusion import DiffusionGenerator, DiffusionSpec
from models.image.protocol import ImageRequest

T5_READS = 256
"""Tokens of a prompt that T5 is given, its end among them."""


@dataclass(frozen=True, kw_only=True)
class Sd3Spec(DiffusionSpec):
    """Stable Diffusion 3 or 3.5 with ControlNets."""

    implementation: ClassVar[str] = "models.image.sd3:Sd3Generator"
    version: ClassVar[int] = 1
    most_tokens: ClassVar[int | None] = T5_READS - 1
    multiple_of: ClassVar[int] = 16
    tokenizer: ClassVar[str] = "tokenizer_3"

    kind: Literal["sd3"] = "sd3"


class Sd3Generator(DiffusionGenerator):
    """StableDiffusion3ControlNetPipeline."""

    pipeline: ClassVar[str] = "StableDiffusion3ControlNetPipeline"
    control_network: ClassVar[str] = "SD3ControlNetModel"
    several: ClassVar[str] = "SD3MultiControlNetModel"
    denoiser: ClassVar[str] = "transformer"

    @classmethod
    def load(cls, spec: DiffusionSpec) -> Any:
        pipeline = super().load(spec)
        encode = pipeline.vae.encode

        def settled(*given: Any, **named: Any) -> Any:
            """Encode a control to the middle of what it may be.

            The pipeline draws by torch's global generator: an image would depend on what was painted before it.
            """
            encoded = encode(*given, **named)
            encoded.latent_dist.sample = lambda generator=None: encoded.latent_dist.mode()
            return encoded

        pipeline.vae.encode = settled
        return pipeline

    def arguments(self, requests: Sequence[ImageRequest]) -> dict[str, Any]:
        # In -1..1, as the autoencoder that encodes it expects.
        return {"control_image": self.conditions(requests, least=-1.0), **self.steering()}

    def read(self, negatives: list[str]) -> dict[str, Any]:
        return super().read(negatives) | {"prompt_2": None, "prompt_3": None, "max_sequence_length": T5_READS}
