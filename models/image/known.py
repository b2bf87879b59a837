"""What the models of our recipes cost, before any hub is asked.

Enters: a spec of a diffusion model. Leaves: its licences, the bytes to download, the memory of its weights and the arithmetic
of one image; None where a model is none of these. Sizes, licences and gates are what was known of the models' pages when this
was written, and no hub was asked; parameters and TFLOP were counted by `python -m tests.benchmarks.families_counted`. None of it
was measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.image.diffusion import DiffusionSpec

T5, CLIP_L, CLIP_G, AUTOENCODER = 4762, 123, 695, 84
"""Millions of parameters of what several families share."""
DECODING = {512: 2.51, 1024: 10.47}
"""Pixels -> TFLOP of decoding an image."""
PEAK = {"float32": 494.0, "bfloat16": 989.0, "float16": 989.0}
"""TFLOP a second that an H100's maker states at most (without sparsity; float32 as TF32)."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One model of a hub."""

    licence: str
    """Its licence, as its page names it."""
    gigabytes: float
    """Of the files that are loaded."""
    parameters: int
    """Millions that are loaded."""
    tflop: Mapping[int, float]
    """Pixels of the image -> TFLOP of one pass of its denoiser, or of a ControlNet."""
    gated: bool = False
    """Whether its page asks for a login and agreement."""
    guided: bool = True
    """Whether guidance takes a second pass; it does not where it is distilled into the model."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a generator costs."""

    licences: Mapping[str, str] = field(default_factory=dict)
    """Model -> licence."""
    gated: tuple[str, ...] = ()
    """Models whose pages ask for a login and agreement."""
    download: float = 0.0
    """Bytes to download where nothing is here yet."""
    weights: float = 0.0
    """Bytes of memory that its weights take; painting takes more, which was not measured."""
    tflop: float = 0.0
    """Of one image: all steps and passes, and decoding; text comes on top, at most 5 with T5."""
    least_s: float = 0.0
    """Seconds of an H100 that an image takes at least, at the peak that its maker states."""


def _sdxl(licence: str) -> Known:
    return Known(licence=licence, gigabytes=13.9, parameters=2567 + CLIP_L + CLIP_G + AUTOENCODER, tflop={512: 1.59, 1024: 6.76})


def _sdxl_net() -> Known:
    return Known(licence="openrail++", gigabytes=5.0, parameters=1251, tflop={512: 0.71, 1024: 3.02})


def _sd15_net() -> Known:
    return Known(licence="openrail", gigabytes=1.45, parameters=361, tflop={512: 0.28})


def _flux(licence: str) -> Known:
    parameters = 11_902 + T5 + CLIP_L + AUTOENCODER
    return Known(licence=licence, gigabytes=33.7, parameters=parameters, tflop={1024: 74.39}, gated=True, guided=False)


_SD15 = 860 + CLIP_L + AUTOENCODER
KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Known(
        licence="creativeml-openrail-m", gigabytes=4.27, parameters=_SD15, tflop={512: 0.80}
    ),
    "lllyasviel/control_v11p_sd15_canny": _sd15_net(),
    "lllyasviel/control_v11f1p_sd15_depth": _sd15_net(),
    "SimianLuo/LCM_Dreamshaper_v7": Known(licence="mit", gigabytes=4.27, parameters=_SD15, tflop={512: 0.80}, guided=False),
    "stabilityai/stable-diffusion-xl-base-1.0": _sdxl("openrail++"),
    "stabilityai/sdxl-turbo": _sdxl("sai-nc-community (not commercial)"),
    "diffusers/controlnet-canny-sdxl-1.0": _sdxl_net(),
    "diffusers/controlnet-depth-sdxl-1.0": _sdxl_net(),
    "stabilityai/stable-diffusion-3-medium-diffusers": Known(
        licence="stabilityai-ai-community", gigabytes=15.5, parameters=2028 + T5 + CLIP_L + CLIP_G + AUTOENCODER,
        tflop={1024: 8.90}, gated=True,
    ),
    "InstantX/SD3-Controlnet-Canny": Known(licence="none stated", gigabytes=1.19, parameters=539, tflop={1024: 2.35}),
    "stabilityai/stable-diffusion-3.5-large-turbo": Known(
        licence="stabilityai-ai-community", gigabytes=27.6, parameters=8057 + T5 + CLIP_L + CLIP_G + AUTOENCODER,
        tflop={1024: 31.12}, gated=True,
    ),
    "stabilityai/stable-diffusion-3.5-large-controlnet-canny": Known(
        licence="stabilityai-ai-community", gigabytes=8.61, parameters=2154, tflop={1024: 15.07}, gated=True
    ),
    "black-forest-labs/FLUX.1-Canny-dev": _flux("flux-1-dev-non-commercial-license"),
    "black-forest-labs/FLUX.1-Depth-dev": _flux("flux-1-dev-non-commercial-license"),
    "black-forest-labs/FLUX.1-schnell": _flux("apache-2.0"),
    "InstantX/FLUX.1-dev-Controlnet-Canny": Known(
        licence="flux-1-dev-non-commercial-license", gigabytes=3.58, parameters=1792, tflop={1024: 6.93}
    ),
}  # fmt: skip
"""Hub id -> what it is."""


def price(spec: object) -> Price | None:
    """Return what a generator costs; None where it is no diffusion model, or one of its models is none of ours."""
    if not isinstance(spec, DiffusionSpec) or any(model not in KNOWN for model, _ in spec.models):
        return None
    parts = [KNOWN[model] for model, _ in spec.models]
    if any(spec.resolution not in part.tflop for part in parts):
        return None
    passes = 2 if parts[0].guided and spec.guidance > 1.0 else 1
    tflop = spec.steps * passes * sum(part.tflop[spec.resolution] for part in parts) + DECODING[spec.resolution]
    return Price(
        licences={model: KNOWN[model].licence for model, _ in spec.models},
        gated=tuple(model for model, _ in spec.models if KNOWN[model].gated),
        download=1e9 * sum(part.gigabytes for part in parts),
        weights=1e6 * sum(part.parameters for part in parts) * (4 if spec.dtype == "float32" else 2),
        tflop=tflop,
        least_s=tflop / PEAK[spec.dtype],
    )
