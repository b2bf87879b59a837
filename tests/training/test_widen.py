"""Wider networks begin where narrower ones ended: they say the same, and so does a run that begins from a folder."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from models.training import networks, widen
from models.training.networks import TINY

WIDE = dataclasses.replace(TINY, unet_channels=(64, 128))
"""Twice as wide: every channel is copied once, so that only groups which lie across two tensors differ."""


def _stirred(network: torch.nn.Module) -> torch.nn.Module:
    """Fresh networks end in zeros and ones, which would hide what was copied wrongly."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def _asked() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(6, TINY.latent_channels, 8, 8, generator=generator)
    return latents, torch.arange(6) * 190, torch.randn(6, TINY.text_tokens, TINY.text_width, generator=generator)


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / one.norm())


def test_a_wider_unet_and_its_controlnet_say_what_the_narrow_ones_say() -> None:
    old, new = _stirred(networks.unet(TINY)), networks.unet(WIDE).eval()
    latents, times, words = _asked()
    same = torch.eye(TINY.latent_channels)
    with torch.no_grad():
        said = old(latents, times, words).sample
        assert _difference(said, new(latents, times, words).sample) > 0.5
        widen.widen_unet(old, new, same, same)
        assert _difference(said, new(latents, times, words).sample) < 0.05
        control = _stirred(networks.controlnet(old, TINY.control_channels))
        wider = networks.controlnet(networks.unet(WIDE), WIDE.control_channels).eval()
        widen.widen_controlnet(control, wider, same)
        lines = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        spoken = []
        for unet, controlnet in ((old, control), (new, wider)):
            down, middle = controlnet(latents, times, words, lines, return_dict=False)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            spoken.append(unet(latents, times, words, **residuals).sample)
    assert _difference(said, spoken[0]) > 0.1
    assert _difference(spoken[0], spoken[1]) < 0.05


def test_latents_of_another_autoencoder_are_read_through_the_map_between_them() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(40, 4, 8, 8)).astype(np.float32)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    ours = np.einsum("oc,nchw->nohw", turned, theirs).astype(np.float32)
    read, write = widen.latent_maps(theirs, ours)
    assert np.allclose(read.numpy(), turned.T, atol=1e-3)
    assert np.allclose(write.numpy(), turned, atol=1e-3)
