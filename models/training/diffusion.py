"""The diffusion process of training: noise in, what the network should have said out.

Enters: clean latents and a random generator. Leaves: noisy latents, time steps and the v targets (Salimans & Ho 2022), on the
schedule of models.training.networks.scheduler.
"""

from __future__ import annotations

from typing import Any


class Diffusion:
    """Noising on a diffusers scheduler's schedule."""

    def __init__(self, scheduler: Any) -> None:
        kept = scheduler.alphas_cumprod.double()
        self.signal = kept.sqrt().float()
        self.noise = (1.0 - kept).sqrt().float()
        self.steps = len(kept)

    def corrupt(self, clean: Any, generator: Any) -> tuple[Any, Any, Any]:
        """Return (noisy latents, time steps (N,), v targets) for clean latents (N, C, h, w) in float32."""
        import torch

        # Stratified over the batch: each step sees every noise level, which steadies the loss.
        count = len(clean)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        times = (spread * self.steps).long().clamp_(0, self.steps - 1)[torch.randperm(count, generator=generator)]
        noise = torch.randn(clean.shape, generator=generator)
        signal, sigma = self.signal[times, None, None, None], self.noise[times, None, None, None]
        return signal * clean + sigma * noise, times, signal * noise - sigma * clean
