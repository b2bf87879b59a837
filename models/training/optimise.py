"""The trainable weights as one flat vector, shared by the workers of a training, and the optimiser on it.

Enters: a list of parameters, the vectors that the workers share. Leaves: parameters that are views into the shared low-
precision vector; `step` sums the workers' gradients, lets each worker update the tensors it owns in float32, and keeps the
running mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.training.spec import TrainingSpec

Wait = Callable[[], None]


def vectors(parameters: list[Any], workers: int, precision: str, device: str) -> dict[str, Any]:
    """Return the vectors of a training of `parameters`: shared between processes on a CPU."""
    import torch

    count = sum(_room(parameter) for parameter in parameters)
    low = getattr(torch, precision)
    made = {
        "master": torch.zeros(count, device=device),
        "ema": torch.zeros(count, device=device),
        "first": torch.zeros(count, device=device),
        "second": torch.zeros(count, device=device),
        "weights": torch.zeros(count, dtype=low, device=device),
        "gradients": torch.zeros(workers, count, dtype=low, device=device),
        "norms": torch.zeros(workers, dtype=torch.float64),
        "losses": torch.zeros(workers, dtype=torch.float64),
        "plan": torch.zeros(4, dtype=torch.float64),
    }
    if device == "cpu":
        for tensor in made.values():
            tensor.share_memory_()
    return made


class FlatOptimiser:
    """AdamW or Muon over a flat vector that several workers share."""

    def __init__(self, parameters: list[Any], shared: dict[str, Any], rank: int, wait: Wait, spec: TrainingSpec) -> None:
        """Point `parameters` into the shared vectors. The first worker (rank 0) brings the initial weights in."""
        import torch

        self.shared, self.rank, self.wait, self.spec = shared, rank, wait, spec
        self.workers = shared["gradients"].shape[0]
        self._matrices: list[tuple[int, tuple[int, int]]] = []
        sizes = [_room(parameter) for parameter in parameters]
        starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        # Each worker owns a run of whole tensors of about equal total size.
        edges = [min(starts, key=lambda start: abs(start - starts[-1] * part / self.workers)) for part in range(self.workers + 1)]
        self.low, self.high = edges[rank], edges[rank + 1]
        if rank == 0:
            for parameter, start in zip(parameters, starts, strict=False):
                _view(shared["master"], start, parameter).copy_(parameter.detach())
            shared["ema"].copy_(shared["master"])
            shared["weights"].copy_(shared["master"])
        for parameter, start in zip(parameters, starts, strict=False):
            parameter.data = _view(shared["weights"], start, parameter)
            parameter.grad = _view(shared["gradients"][rank], start, parameter)
            if spec.optimiser == "muon" and parameter.dim() in (2, 4) and self.low <= start < self.high:
                rows, columns = parameter.shape[0], parameter.numel() // parameter.shape[0]
                # Embeddings and the thin first and last layers are lookups, not maps: AdamW does better there.
                if rows <= 1024 and min(rows, columns) >= 32:
                    self._matrices.append((start - self.low, (rows, columns)))
        own = slice(self.low, self.high)
        self.own = {name: shared[name][own] for name in ("master", "ema", "first", "second", "weights")}
        self._sum = torch.zeros_like(self.own["master"])

    def zero(self) -> None:
        """Forget this worker's gradients."""
        self.shared["gradients"][self.rank].zero_()

    def step(self, step: int, rate: float) -> float:
        """Apply one update at learning rate `rate`, after every worker has its gradients; return the gradient's norm."""
        import torch

        self.wait()
        total = self._sum
        total.copy_(self.shared["gradients"][0][self.low : self.high])
        for other in range(1, self.workers):
            total.add_(self.shared["gradients"][other][self.low : self.high])
        self.shared["norms"][self.rank] = float(torch.linalg.vector_norm(total)) ** 2
        self.wait()
        norm = float(self.shared["norms"].sum().sqrt())
        if norm == norm and norm != float("inf"):
            if norm > self.spec.clip:
                total.mul_(self.spec.clip / norm)
            self._update(step, rate)
        self.zero()
        self.wait()
        return norm

    def _update(self, step: int, rate: float) -> None:
        import torch

        spec, own, total = self.spec, self.own, self._sum
        first, second = spec.betas
        saved = []
        for start, (rows, columns) in self._matrices:
            span = slice(start, start + rows * columns)
            momentum = own["first"][span]
            momentum.mul_(0.95).add_(total[span])
            direction = orthogonal((total[span] + 0.95 * momentum).view(rows, columns)).flatten()
            weights = own["master"][span] * (1.0 - rate * spec.weight_decay)
            weights.add_(direction, alpha=-rate * 0.2 * max(rows, columns) ** 0.5)
            saved.append((span, weights, momentum.clone()))
        if own["master"].numel():
            torch._fused_adamw_(
                [own["master"]],
                [total],
                [own["first"]],
                [own["second"]],
                [],
                [torch.tensor(float(step + 1), device=total.device)],
                amsgrad=False,
                lr=rate,
                beta1=first,
                beta2=second,
                weight_decay=spec.weight_decay,
                eps=1e-8,
                maximize=False,
            )
        for span, weights, momentum in saved:
            own["master"][span] = weights
            own["first"][span] = momentum
        if own["weights"].data_ptr() != own["master"].data_ptr():
            own["weights"].copy_(own["master"])
        # The running mean is taken every fourth step: a quarter of the memory traffic, the same mean.
        if step % 4 == 3:
            decay = min(spec.ema, (step + 1) / (step + 10)) ** 4
            own["ema"].lerp_(own["master"], 1.0 - decay)


def orthogonal(matrix: Any) -> Any:
    """Return the nearest half-orthogonal matrix, roughly, by five Newton-Schulz steps in bfloat16 (Muon)."""
    import torch

    x = matrix.to(torch.bfloat16)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).float()


def restore(parameters: list[Any], vector: Any) -> None:
    """Copy the weights in a flat vector (`ema` or `master`) into parameters of any dtype."""
    start = 0
    for parameter in parameters:
        parameter.data.copy_(_view(vector, start, parameter))
        start += _room(parameter)


def collect(parameters: list[Any]) -> Any:
    """Return parameters as one flat float32 vector: what `restore` reads."""
    import torch

    vector = torch.zeros(sum(_room(parameter) for parameter in parameters))
    start = 0
    for parameter in parameters:
        _view(vector, start, parameter).copy_(parameter.detach())
        start += _room(parameter)
    return vector


def rate(spec: TrainingSpec, step: int, progress: float) -> float:
    """Return the learning rate at a step: linear warm-up, constant, then a cosine down to a hundredth at progress 1."""
    import math

    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    late = min(1.0, max(0.0, progress - spec.decay_from) / max(1e-9, 1.0 - spec.decay_from))
    return spec.learning_rate * warm * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * late)))


def _room(parameter: Any) -> int:
    """Return the parameter's length in the vector: filled up, so that each begins on a cache line."""
    count: int = parameter.numel()
    return -(-count // 64) * 64


def _view(vector: Any, start: int, parameter: Any) -> Any:
    """Return the part of a vector that is `parameter`; convolutions in channels-last order, which is what runs fast."""
    part = vector[start : start + parameter.numel()]
    if parameter.dim() == 4:
        rows, inner, height, width = parameter.shape
        return part.view(rows, height, width, inner).permute(0, 3, 1, 2)
    return part.view(parameter.shape)
