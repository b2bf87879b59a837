"""The diffusion process of training: noise in, what the network should have said out.

Enters: clean latents and a random generator. Leaves: noisy latents, time steps and the targets (v, Salimans & Ho 2022, or
the noise), on the scheduler's own schedule.
"""

from __future__ import annotations

from typing import Any


class Diffusion:
    """Noising on a diffusers scheduler's schedule."""

    def __init__(self, scheduler: Any, times: str = "uniform") -> None:
        """`times`: how often each noise level is drawn, as in TrainingSpec."""
        self.middling = times == "logit-normal"
        self.prediction = scheduler.config.prediction_type
        if self.prediction not in ("v_prediction", "epsilon"):
            raise ValueError(f"no training for a base that predicts {self.prediction!r}; v_prediction and epsilon are known")
        kept = scheduler.alphas_cumprod.double()
        self.signal = kept.sqrt().float()
        self.noise = (1.0 - kept).sqrt().float()
        self.steps = len(kept)

    def corrupt(self, clean: Any, generator: Any) -> tuple[Any, Any, Any]:
        """Return (noisy latents, time steps (N,), targets) for clean latents (N, C, h, w) in float32."""
        import torch

        # Stratified over the batch: each step sees every noise level, which steadies the loss.
        count = len(clean)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        if self.middling:
            # Half of them: from pure noise, which the middle never is, the picture has to begin.
            middle = torch.special.ndtri(spread[::2].double().clamp(1e-6, 1.0 - 1e-6)).sigmoid().float()
            spread = torch.cat([middle, spread[1::2]])
        times = (spread * self.steps).long().clamp_(0, self.steps - 1)[torch.randperm(count, generator=generator)]
        noise = torch.randn(clean.shape, generator=generator)
        signal, sigma = self.signal[times, None, None, None], self.noise[times, None, None, None]
        target = signal * noise - sigma * clean if self.prediction == "v_prediction" else noise
        return signal * clean + sigma * noise, times, target
