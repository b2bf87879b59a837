"""What determines a training: how long, how fast, with which losses.

Enters: nothing heavy. Leaves: TrainingSpec, one for each stage of the embedded generator, and the stages' order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from models.kinds import Spec

Stage = Literal["autoencoder", "base", "control", "together", "decoder"]
Learned = Literal["edges", "depth", "voxels", "edges+voxels"]
"""What a ControlNet learns to obey."""
STAGES: tuple[Stage, ...] = ("autoencoder", "base", "control", "together", "decoder")
"""In this order: the base learns the autoencoder's latents, the control learns on the locked base, then both learn together. The
decoder is trained on behind them, as it may be at any time after the autoencoder: latents stay what they are."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(Spec):
    """One stage of training."""

    stage: Stage
    """autoencoder, base, control, together or decoder."""
    batch: int = 32
    """Pictures in a step, over all workers."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from zero."""
    decay_from: float = 0.5
    """Fraction of the budget after which the learning rate falls, along a cosine, to a hundredth."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """muon: orthogonalised momentum for matrices and convolutions, AdamW for the rest."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decay rates."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    ema: float = 0.998
    """Decay of the running mean of the weights, which is what is exported."""
    text_dropout: float = 0.1
    """Share of pictures whose caption is empty, for classifier-free guidance."""
    control_dropout: float = 0.05
    """Share of pictures whose edge map is empty; where both learn together, of those that the base sees alone."""
    geometry_share: float = 0.5
    """Share of pictures whose control is the geometry edge map; the others take Canny's."""
    object_weight: float = 1.0
    """How much a pixel of the object weighs in base and control against one of its surroundings: they fill most of a picture."""
    control: Learned = "edges"
    """What the ControlNet learns to obey (models.training.controls)."""
    times: Literal["uniform", "logit-normal"] = "uniform"
    """How often base and control see each noise level; logit-normal: in half of the pictures as
    often as all others, in the other half the middle ones, where form is decided, most often."""
    perceptual: float = 0.0
    """Weight of the distance between a pretrained network's features (autoencoder, decoder); 0 needs no such network."""
    spread: float = 0.1
    """Weight of the divergence of each latent channel from a mean of 0 and a spread of 1 (autoencoder)."""
    adversarial: float = 0.0
    """Weight of the patch discriminator's verdict (decoder); it judges a pretrained network's features."""
    seed: int = 0
    """Everything random in this training follows from it and the step."""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"no stage {self.stage!r}; there are {', '.join(STAGES)}")
        if self.batch < 1:
            raise ValueError(f"batch {self.batch} is not positive")
        if not 0.0 < self.learning_rate < 1.0:
            raise ValueError(f"learning_rate {self.learning_rate} is not in (0, 1)")
        if self.object_weight <= 0.0:
            raise ValueError(f"object_weight {self.object_weight} is not positive")
        if self.times not in ("uniform", "logit-normal"):
            raise ValueError(f"times {self.times!r} is neither uniform nor logit-normal")
        for name in ("perceptual", "spread", "adversarial"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} {getattr(self, name)} is negative")
        for name in ("decay_from", "ema", "text_dropout", "control_dropout", "geometry_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} {getattr(self, name)} is not in 0..1")

    def step_seed(self, step: int) -> int:
        """Return the seed of everything random in one step."""
        text = json.dumps([self.seed, self.stage, step])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What changes a training's speed, length or place: recorded, never part of its identity."""

    device: str = "cpu"
    """cpu, cuda, ..."""
    workers: int = 2
    """Processes that share a step's pictures (CPU); one thread each beats threads, which wait for each other at every
    operation."""
    parts: int = 0
    """0: each worker takes its equal share of a step, and a training is the same to the last bit whenever it is resumed. More: a
    step is cut into so many parts, which workers take as they come free; faster on a busy machine, sums differ by rounding."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of forward and backward; the weights are kept in float32 besides."""
    steps: int | None = None
    """Stop after so many steps in all."""
    minutes: float | None = None
    """Stop after so many minutes of training in all, over all sittings."""
    checkpoint_s: float = 120.0
    """Seconds between checkpoints."""
    speak_s: float = 15.0
    """Seconds between lines of the log."""
    look_s: float = 0.0
    """Seconds between looks at what the training can do; 0: none on the way."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if self.workers < 1:
            raise ValueError(f"workers {self.workers} is not positive")
        if self.parts < 0:
            raise ValueError(f"parts {self.parts} is negative")
        if self.workers > 1 and self.device != "cpu":
            raise ValueError("several workers share a CPU; on a GPU use one")
