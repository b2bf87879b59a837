"""What the families of generators cost by arithmetic: python -m tests.benchmarks.families_counted

Enters: nothing; the networks are built at their true size on torch's `meta` device, without memory and without weights. Leaves,
printed, for each network: millions of parameters, and TFLOP of one pass over one image (a multiplication and an addition: two).
models/image/known.py holds these figures and makes of them what a recipe costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers as d
import torch
import transformers as t
from torch.utils.flop_counter import FlopCounterMode

META = torch.device("meta")


def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Return a tensor without memory."""
    return torch.empty(*shape, device=META, dtype=dtype)


def built(make: Callable[[], Any]) -> Any:
    """Return a network without memory."""
    with META:
        return make().to(torch.bfloat16).eval().requires_grad_(False)


def parameters(network: Any) -> float:
    """Return millions of parameters."""
    return float(sum(part.numel() for part in network.parameters())) / 1e6


def tflop(network: Any, **given: Any) -> float:
    """Return TFLOP of one call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(**given)
    return counter.get_total_flops() / 1e12


def clip(width: int, layers: int, heads: int, projected: bool) -> Any:
    """Return a CLIP text encoder, where torch makes tensors now."""
    config = t.CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads, projection_dim=width,
        vocab_size=49408,
    )  # fmt: skip
    return (t.CLIPTextModelWithProjection if projected else t.CLIPTextModel)(config)


def t5() -> Any:
    """Return T5 v1.1 XXL's encoder."""
    config = t.T5Config(
        vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )
    return built(lambda: t.T5EncoderModel(config))


def autoencoder(latent: int) -> Any:
    """Return Stable Diffusion's autoencoder, with as many latent channels, where torch makes tensors now."""
    config: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": latent,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "use_quant_conv": latent == 4, "use_post_quant_conv": latent == 4,
    }  # fmt: skip
    return d.AutoencoderKL(**config)


SD15: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
}  # fmt: skip
SD3: dict[str, Any] = {
    "sample_size": 128, "in_channels": 16, "attention_head_dim": 64, "joint_attention_dim": 4096, "pooled_projection_dim": 2048,
}  # fmt: skip
SD3_MEDIUM: dict[str, Any] = {
    "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192,
}  # fmt: skip
SD35_LARGE: dict[str, Any] = {
    "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192, "qk_norm": "rms_norm",
}  # fmt: skip


def unet(config: dict[str, Any], size: int) -> tuple[Any, Any, dict[str, Any]]:
    """Return UNet, ControlNet and what both are given for one image's half of guidance."""
    ups = {} if config is SD15 else {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
    given: dict[str, Any] = {
        "sample": empty(1, 4, size // 8, size // 8), "timestep": torch.zeros((), device=META),
        "encoder_hidden_states": empty(1, 77, config["cross_attention_dim"]),
    }  # fmt: skip
    if config is SDXL:
        given["added_cond_kwargs"] = {"text_embeds": empty(1, 1280), "time_ids": empty(1, 6)}
    network, controlnet = built(lambda: d.UNet2DConditionModel(**config, **ups)), built(lambda: d.ControlNetModel(**config))
    return network, controlnet, given


def of_unets() -> None:
    """Print Stable Diffusion 1.5 and XL."""
    for name, config, size in (("sd15", SD15, 512), ("sdxl", SDXL, 1024), ("sdxl at 512", SDXL, 512)):
        network, net, given = unet(config, size)
        say(f"{name}, denoiser", network, tflop(network, **given))
        steered = {"controlnet_cond": empty(1, 3, size, size), "conditioning_scale": 1.0}
        say(f"{name}, ControlNet", net, tflop(net, **given, **steered))


def of_sd3() -> None:
    """Print Stable Diffusion 3 medium and 3.5 large."""
    latent, said = empty(1, 16, 128, 128), empty(1, 77 + 256, 4096)
    common: dict[str, Any] = {"pooled_projections": empty(1, 2048), "timestep": torch.zeros(1, device=META)}
    given = {"hidden_states": latent, "encoder_hidden_states": said, **common}
    for name, config in (("sd3 medium", SD3_MEDIUM), ("sd3.5 large", SD35_LARGE)):
        network = built(lambda config=config: d.SD3Transformer2DModel(**SD3, **config))
        say(f"{name}, denoiser", network, tflop(network, **given))
    net = built(lambda: d.SD3ControlNetModel(**SD3, **(SD3_MEDIUM | {"num_layers": 6})))
    say("sd3 medium, ControlNet of InstantX", net, tflop(net, **given, controlnet_cond=latent))
    # It reads no text, and only half of the layers are there.
    alone = SD3 | SD35_LARGE | {"num_layers": 19, "joint_attention_dim": None, "pos_embed_type": None, "pos_embed_max_size": None}
    net = built(lambda: d.SD3ControlNetModel(**alone))
    say("sd3.5 large, ControlNet", net, tflop(net, hidden_states=latent, **common, controlnet_cond=latent))


def of_flux() -> None:
    """Print FLUX.1, its model that reads a control, and its ControlNet."""
    given: dict[str, Any] = {
        "encoder_hidden_states": empty(1, 512, 4096), "pooled_projections": empty(1, 768),
        "timestep": torch.zeros(1, device=META), "guidance": torch.zeros(1, device=META),
        "img_ids": empty(4096, 3, dtype=torch.float32), "txt_ids": empty(512, 3, dtype=torch.float32),
    }  # fmt: skip
    guided: dict[str, Any] = {"guidance_embeds": True}
    for name, channels in (("flux", 64), ("flux that reads a control", 128)):
        config = guided | {"in_channels": channels, "out_channels": 64}
        network = built(lambda config=config: d.FluxTransformer2DModel(**config))
        say(f"{name}, denoiser", network, tflop(network, **given, hidden_states=empty(1, 4096, channels)))
    net = built(lambda: d.FluxControlNetModel(in_channels=64, num_layers=5, num_single_layers=0, **guided))
    hidden = empty(1, 4096, 64)
    say("flux, ControlNet of InstantX", net, tflop(net, **given, hidden_states=hidden, controlnet_cond=hidden))


def of_shared() -> None:
    """Print text encoders and autoencoders."""
    small, large = built(lambda: clip(768, 12, 12, False)), built(lambda: clip(1280, 32, 20, True))
    for name, encoder in (("CLIP-L", small), ("CLIP-bigG", large), ("T5 XXL", t5())):
        print(f"{name}: {parameters(encoder):.0f} M", flush=True)
    for channels, size in ((4, 512), (4, 1024), (16, 1024)):
        network = built(lambda channels=channels: autoencoder(channels))
        latent = empty(1, channels, size // 8, size // 8)
        say(f"autoencoder of {channels} channels, decoding {size} px", network, tflop(network.decoder, sample=latent))


def say(name: str, network: Any, forward: float) -> None:
    """Print millions of parameters, and TFLOP of one pass."""
    print(f"{name}: {parameters(network):.0f} M, {forward:.2f} TFLOP", flush=True)


if __name__ == "__main__":
    d.utils.logging.set_verbosity_error()
    of_shared()
    of_unets()
    of_sd3()
    of_flux()
