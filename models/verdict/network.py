"""The heavy backbone of the K-fold filter: a ResNet with three heads, trained from scratch, as in the paper.

Enters: training images with targets, held-out images. Leaves: (M, heads, bins) probabilities. All randomness comes from a
generator of its own. Predictions are made in eval mode without gradients, so that BatchNorm's statistics are fixed and what is
said of an image does not depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.device import pick_device
from models.verdict.targets import LEAST_PROBABILITY

if TYPE_CHECKING:
    import torch

    from models.verdict.kcf import KcfSpec
    from models.verdict.kcf_official import KcfOfficialSpec

SHAPES: dict[str, dict[str, Any]] = {
    "resnet-small": {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 192], "depths": [1, 1, 1, 1], "layer_type": "basic"},
    "resnet-50": {
        "embedding_size": 64,
        "hidden_sizes": [256, 512, 1024, 2048],
        "depths": [3, 4, 6, 3],
        "layer_type": "bottleneck",
    },
}
"""transformers' ResNetConfig for each backbone."""


def predict(
    known: NDArray[np.uint8],
    answers: NDArray[np.float64],
    asked: NDArray[np.uint8],
    rng: np.random.Generator,
    spec: KcfSpec,
    backbone: str,
    device: str = "cpu",
    threads: int | None = None,
    between: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Return (M, heads, bins) probabilities of images `asked` after training on `known` with `answers`.

    between: called before each training step; what it raises ends the training.
    """
    import torch

    device = pick_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    heads, bins = answers.shape[1:]
    network = _network(backbone, heads * bins, torch.Generator().manual_seed(int(rng.integers(2**62)))).to(device)
    steps = spec.epochs * max(1, len(known) // spec.batch)
    optimiser = torch.optim.SGD(network.parameters(), lr=spec.learning_rate, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, spec.learning_rate, total_steps=steps, pct_start=0.15)
    network.train()
    for order in _batches(len(known), spec.batch, spec.epochs, rng):
        between()
        pictures = _as_input(_shaken(known[order], rng), device)
        wanted = torch.from_numpy(answers[order]).float().to(device)
        logits = network(pictures).view(-1, heads, bins)
        loss = -(wanted * torch.log_softmax(logits, dim=2)).sum(2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    predicted = []
    with torch.no_grad():
        for start in range(0, len(asked), spec.batch):
            logits = network(_as_input(asked[start : start + spec.batch], device)).view(-1, heads, bins)
            predicted.append(torch.softmax(logits, dim=2).double().cpu().numpy())
    floored = np.maximum(np.concatenate(predicted), LEAST_PROBABILITY)
    probabilities: NDArray[np.float64] = floored / floored.sum(axis=2, keepdims=True)
    return probabilities


def surprise_in_training_mode(
    known: NDArray[np.uint8],
    answers: NDArray[np.int64],
    asked: NDArray[np.uint8],
    annotated: NDArray[np.int64],
    rng: np.random.Generator,
    spec: KcfOfficialSpec,
    device: str = "cpu",
    threads: int | None = None,
    between: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Return (M,) the cross-entropy of images `asked` against their bins `annotated` (M, heads), summed over the heads, after
    training on `known` with `answers` (N, heads); as published, BatchNorm still takes its statistics from each batch.

    between: called before each training step; what it raises ends the training.
    """
    import torch
    from torch.nn import functional

    device = pick_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    heads = answers.shape[1]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    network = _network(spec.backbone, heads * spec.bins, generator).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=spec.learning_rate, momentum=0.9)
    network.train()

    def losses(pictures: NDArray[np.uint8], wanted: NDArray[np.int64]) -> torch.Tensor:
        logits = network(_as_input(pictures, device)).view(-1, heads, spec.bins).transpose(1, 2)
        return functional.cross_entropy(logits, torch.from_numpy(wanted).to(device), reduction="none").sum(1)

    for order in _batches(len(known), spec.batch, spec.epochs, rng):
        between()
        optimiser.zero_grad(set_to_none=True)
        losses(known[order], answers[order]).mean().backward()
        optimiser.step()
    found = []
    with torch.no_grad():
        starts = list(range(0, len(asked), spec.batch))
        # At 32 pixels the last features are one cell, and one cell of one image has no spread: it goes with those before it.
        if spec.side < 64 and len(starts) > 1 and starts[-1] == len(asked) - 1:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], len(asked)], strict=True):
            found.append(losses(asked[start:end], annotated[start:end]).double().cpu().numpy())
    return np.concatenate(found)


def _network(backbone: str, outputs: int, generator: torch.Generator) -> torch.nn.Module:
    """Return the network with weights drawn from `generator` alone: torch's global one is neither used nor seeded."""
    import torch
    from torch import nn
    from transformers import ResNetConfig, ResNetModel

    class Heads(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.body = ResNetModel(ResNetConfig(**SHAPES[backbone]))
            self.answer = nn.Linear(SHAPES[backbone]["hidden_sizes"][-1], outputs)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.answer(self.body(pictures).pooler_output.flatten(1))
            return answer

    # On the meta device nothing is drawn and nothing is held; each part gets its values below.
    with torch.device("meta"):
        network = Heads()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                fan_out = part.out_channels * part.kernel_size[0] * part.kernel_size[1]
                part.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
            elif isinstance(part, nn.Linear):
                part.weight.normal_(0.0, 0.01, generator=generator)
                part.bias.zero_()
            elif isinstance(part, nn.BatchNorm2d):
                part.reset_parameters()
    return network


def _batches(count: int, batch: int, epochs: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return the images of each step; a last, smaller batch is left out of each epoch, another one each time."""
    size = min(batch, count)
    orders = [rng.permutation(count) for _ in range(epochs)]
    return [order[start : start + size] for order in orders for start in range(0, count - size + 1, size)]


def _shaken(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return images shifted, zoomed and lit a little differently. Nothing is mirrored: that would be another azimuth."""
    import cv2

    side = images.shape[1]
    shaken = np.empty_like(images)
    for i, image in enumerate(images):
        zoom, gain, lift = rng.uniform(0.88, 1.15), rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
        shift = rng.uniform(-0.06, 0.06, 2) * side + (1 - zoom) * (side - 1) / 2
        place = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        moved = cv2.warpAffine(image, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        tint = rng.uniform(0.85, 1.15, 3) * gain
        shaken[i] = np.clip(moved * tint + lift, 0, 255)
    return shaken


def _as_input(images: NDArray[np.uint8], device: str) -> torch.Tensor:
    import torch

    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return (torch.from_numpy(channels_first).to(device).float() - 127.5) / 64.0
