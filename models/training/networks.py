"""The embedded generator's networks: stock diffusers and transformers classes in small sizes.

Enters: a NetworkSpec. Leaves: an autoencoder (AutoencoderTiny), a text encoder (CLIPTextModel), a UNet (UNet2DConditionModel),
its ControlNet (ControlNetModel) and the noise scheduler (DDIM) that goes with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.kinds import Spec


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Spec):
    """Sizes of the networks."""

    resolution: int = 128
    """Pictures are resolution x resolution pixels, latents an eighth of it."""
    latent_channels: int = 8
    """Channels of a latent."""
    encoder_channels: int = 64
    """Width of the encoder; 48 or more can hold every 4 x 4 patch without loss, which is how it begins."""
    encoder_blocks: tuple[int, ...] = (0, 1, 1, 2)
    """Residual blocks of the encoder at full resolution, 1/2, 1/4 and 1/8."""
    decoder_channels: int = 64
    """Width of the decoder."""
    decoder_blocks: tuple[int, ...] = (3, 3, 2, 0)
    """Residual blocks of the decoder at 1/8, 1/4, 1/2 and full resolution."""
    unet_channels: tuple[int, ...] = (128, 192, 256)
    """Width of the UNet at 1/8, 1/16, 1/32 of the picture's resolution."""
    unet_attention: tuple[bool, ...] = (False, True, False)
    """At which of these levels it attends to itself and to the text; the middle always does."""
    unet_layers: int = 1
    """Residual blocks on each level of the encoder (one more in the decoder)."""
    head_width: int = 64
    """Channels of an attention head."""
    norm_groups: int = 4
    """Groups of the UNet's normalisation. In bfloat16 on a CPU this is fast where a group has a multiple of 16 channels."""
    control_channels: tuple[int, ...] = (12, 24, 48, 96)
    """Width of the small network that brings the edge map down to the latent grid."""
    text_width: int = 192
    """Width of the text encoder."""
    text_layers: int = 3
    """Layers of the text encoder."""
    text_tokens: int = 48
    """Tokens of a prompt, start and end included; longer prompts are cut."""

    def __post_init__(self) -> None:
        if self.resolution % 32:
            raise ValueError(f"resolution {self.resolution} is not a multiple of 32")
        if len(self.unet_channels) != len(self.unet_attention):
            raise ValueError("unet_channels and unet_attention have one entry for each level")
        if any(width % self.norm_groups for width in self.unet_channels):
            raise ValueError(f"each of unet_channels {self.unet_channels} must be a multiple of norm_groups {self.norm_groups}")
        if any(len(entries) != 4 for entries in (self.control_channels, self.encoder_blocks, self.decoder_blocks)):
            raise ValueError(
                "control_channels, encoder_blocks and decoder_blocks have four entries: the latents are an eighth of the picture"
            )
        if self.encoder_channels < max(48, 2 * self.latent_channels):
            raise ValueError(f"encoder_channels {self.encoder_channels} is less than 48 or than twice latent_channels")
        if not 8 <= self.text_tokens <= 77:
            raise ValueError(f"text_tokens {self.text_tokens} is not in 8..77")
        if self.text_width % 32:
            raise ValueError(f"text_width {self.text_width} is not a multiple of 32")


FOREIGN_CONTROL_CHANNELS = (16, 32, 96, 256)
"""`control_channels` on a foreign base: ControlNet's usual widths; three halvings, as Stable Diffusion's autoencoder has."""

TINY = NetworkSpec(
    resolution=64,
    latent_channels=4,
    encoder_channels=48,
    encoder_blocks=(0, 0, 0, 1),
    decoder_channels=16,
    decoder_blocks=(1, 0, 0, 0),
    unet_channels=(32, 64),
    unet_attention=(False, True),
    head_width=32,
    norm_groups=4,
    control_channels=(8, 8, 16, 16),
    text_width=32,
    text_layers=1,
    text_tokens=32,
)
"""Networks that a test trains in seconds."""


def autoencoder(spec: NetworkSpec) -> Any:
    """Return the autoencoder; its scaling factor is known when it is trained: see models.training.autoencoder."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        latent_channels=spec.latent_channels,
        encoder_block_out_channels=(spec.encoder_channels,) * 4,
        decoder_block_out_channels=(spec.decoder_channels,) * 4,
        num_encoder_blocks=spec.encoder_blocks,
        num_decoder_blocks=spec.decoder_blocks,
        scaling_factor=1.0,
    )


def text_encoder(spec: NetworkSpec, vocabulary: int, start: int, end: int) -> Any:
    """Return a CLIPTextModel for a tokenizer of `vocabulary` tokens with the given start and end tokens."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=spec.text_width,
            intermediate_size=4 * spec.text_width,
            projection_dim=spec.text_width,
            num_hidden_layers=spec.text_layers,
            num_attention_heads=spec.text_width // 32,
            max_position_embeddings=spec.text_tokens,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
            attn_implementation="eager",
        )
    )


def unet(spec: NetworkSpec) -> Any:
    """Return the denoising UNet of the base model."""
    from diffusers import UNet2DConditionModel

    down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in spec.unet_attention)
    up = tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(spec.unet_attention))
    return UNet2DConditionModel(
        sample_size=spec.resolution // 8,
        in_channels=spec.latent_channels,
        out_channels=spec.latent_channels,
        block_out_channels=spec.unet_channels,
        down_block_types=down,
        up_block_types=up,
        layers_per_block=spec.unet_layers,
        cross_attention_dim=spec.text_width,
        attention_head_dim=tuple(max(1, width // spec.head_width) for width in spec.unet_channels),
        norm_num_groups=spec.norm_groups,
    )


def controlnet(base: Any, channels: tuple[int, ...] = (12, 24, 48, 96), reads: int = 3) -> Any:
    """Return a ControlNet for `base`: a trainable copy of its encoder behind zero convolutions. reads: the control's channels."""
    from diffusers import ControlNetModel

    return ControlNetModel.from_unet(base, conditioning_channels=reads, conditioning_embedding_out_channels=channels)


def reading(network: Any, channels: int) -> Any:
    """Let a ControlNet read so many channels and return it.

    What it read as grey is the first of them; the others begin unheard.
    """
    import torch

    before = network.controlnet_cond_embedding.conv_in
    if before.in_channels != channels:
        after = torch.nn.Conv2d(channels, before.out_channels, before.kernel_size, padding=before.padding)
        with torch.no_grad():
            after.weight.zero_()
            after.weight[:, :1] = before.weight.sum(dim=1, keepdim=True)
            after.bias.copy_(before.bias)
        network.controlnet_cond_embedding.conv_in = after
        network.register_to_config(conditioning_channels=channels)
    return network


def scheduler() -> Any:
    """Return the noise schedule of the embedded generator: v-prediction down to pure noise (zero terminal SNR)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )
