"""Pipelines of each family of diffusion models: the real classes, with small random weights, saved to folders.

A folder of a family holds its pipeline and, in `controlnet`, a ControlNet of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.training import text

WORDS = 16
"""Width of what small text encoders say."""


def _clip(projected: bool, tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WORDS, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=WORDS, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(width: int) -> tuple[Any, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz0123456789,.-", *(f"▁{word}" for word in text.words())]
    tokenizer = T5Tokenizer(vocab=[(piece, -float(rank)) for rank, piece in enumerate(dict.fromkeys(pieces))], extra_ids=0)
    config = T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return tokenizer, T5EncoderModel(config)


def _autoencoder(latent_channels: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
        latent_channels=latent_channels, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.3, shift_factor=0.0, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip


def sdxl() -> tuple[Any, Any]:
    """Return (pipeline, ControlNet) of Stable Diffusion XL."""
    import diffusers as d

    tokenizer = text.tokenizer(text.words(), 77)
    common: dict[str, Any] = {
        "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 8,
        "cross_attention_dim": 2 * WORDS, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": WORDS + 6 * 8, "transformer_layers_per_block": 1, "use_linear_projection": True,
    }  # fmt: skip
    downwards = ("DownBlock2D", "CrossAttnDownBlock2D")
    unet = d.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, down_block_types=downwards,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **common,
    )  # fmt: skip
    controlnet = d.ControlNetModel(
        in_channels=4, down_block_types=downwards, conditioning_embedding_out_channels=(8, 16, 16, 16), **common
    )
    pipeline = d.StableDiffusionXLControlNetPipeline(
        vae=_autoencoder(4), text_encoder=_clip(False, tokenizer), text_encoder_2=_clip(True, tokenizer), tokenizer=tokenizer,
        tokenizer_2=tokenizer, unet=unet, controlnet=controlnet, scheduler=d.EulerDiscreteScheduler(), add_watermarker=False,
    )  # fmt: skip
    return pipeline, controlnet


def sd3() -> tuple[Any, Any]:
    """Return (pipeline, ControlNet) of Stable Diffusion 3."""
    import diffusers as d

    tokenizer = text.tokenizer(text.words(), 77)
    # As wide as what the two CLIP encoders say together.
    tokenizer_3, encoder_3 = _t5(2 * WORDS)
    common: dict[str, Any] = {
        "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "attention_head_dim": 8, "num_attention_heads": 4,
        "joint_attention_dim": 2 * WORDS, "caption_projection_dim": 32, "pooled_projection_dim": 2 * WORDS,
    }  # fmt: skip
    controlnet = d.SD3ControlNetModel(num_layers=1, force_zeros_for_pooled_projection=False, **common)
    pipeline = d.StableDiffusion3ControlNetPipeline(
        transformer=d.SD3Transformer2DModel(num_layers=2, **common), scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(4), text_encoder=_clip(True, tokenizer), tokenizer=tokenizer, text_encoder_2=_clip(True, tokenizer),
        tokenizer_2=tokenizer, text_encoder_3=encoder_3, tokenizer_3=tokenizer_3, controlnet=controlnet,
    )  # fmt: skip
    return pipeline, controlnet


def _flux(channels: int) -> tuple[dict[str, Any], dict[str, Any]]:
    import diffusers as d

    tokenizer = text.tokenizer(text.words(), 77)
    tokenizer_2, encoder_2 = _t5(WORDS)
    common: dict[str, Any] = {
        "patch_size": 1, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": WORDS, "pooled_projection_dim": WORDS, "axes_dims_rope": [4, 4, 8], "guidance_embeds": True,
    }  # fmt: skip
    parts = {
        "scheduler": d.FlowMatchEulerDiscreteScheduler(), "vae": _autoencoder(4), "text_encoder": _clip(False, tokenizer),
        "tokenizer": tokenizer, "text_encoder_2": encoder_2, "tokenizer_2": tokenizer_2,
        "transformer": d.FluxTransformer2DModel(in_channels=channels, out_channels=16, **common),
    }  # fmt: skip
    return parts, common


def flux() -> tuple[Any, Any]:
    """Return (pipeline, ControlNet) of FLUX.1."""
    import diffusers as d

    parts, common = _flux(16)
    controlnet = d.FluxControlNetModel(in_channels=16, **common)
    return d.FluxControlNetPipeline(controlnet=controlnet, **parts), controlnet


def flux_control() -> tuple[Any, None]:
    """Return a pipeline of FLUX.1 whose own model reads the control."""
    import diffusers as d

    return d.FluxControlPipeline(**_flux(32)[0]), None


FAMILIES: Mapping[str, Callable[[], tuple[Any, Any]]] = {"sdxl": sdxl, "sd3": sd3, "flux": flux, "flux-control": flux_control}


def random_family(folder: Path, family: str) -> Path:
    """Write a family's pipeline with random weights to `folder` and return it.

    Zero convolutions get small random weights, so that the control changes the image.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline, controlnet = FAMILIES[family]()
        for part in [] if controlnet is None else controlnet.parameters():
            if not part.detach().any():
                torch.nn.init.normal_(part.data, std=0.3)
        # Fresh transformers end in zeros: nothing would be painted.
        for network in (getattr(pipeline, "transformer", None), getattr(pipeline, "unet", None), pipeline.vae):
            for part in [] if network is None else network.parameters():
                if not part.detach().any():
                    torch.nn.init.normal_(part.data, std=0.1)
        # Of what such a small autoencoder decodes, more is told apart when it is louder.
        pipeline.vae.decoder.conv_out.weight.data *= 20.0
    pipeline.save_pretrained(folder, safe_serialization=True)
    if controlnet is not None:
        controlnet.save_pretrained(folder / "controlnet", safe_serialization=True)
    return folder
