"""The autoencoder: pictures to latents an eighth of their size, and back.

Enters: pictures. Leaves: a stock AutoencoderTiny. Its encoder begins as a linear one, the principal components of 8 x 8 pixel
patches, so that it knows colours and edges from the first step; encoder and decoder then learn together, by pixels, their
differences and the features of a pretrained network. Few numbers a cell leave a small problem to the diffusion model. Once the
base has begun to learn its latents the encoder is locked. The decoder may be trained on at any time, against a discriminator, so
that what the diffusion model leaves open comes out as plausible detail and not as a blur.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training import checkpoint, networks, optimise

PATCH = 8
SCALE = "scale.json"
"""What the latents of a run are multiplied by to have a spread of 1."""


def components(pictures: NDArray[np.uint8], channels: int) -> dict[str, NDArray[np.float32]]:
    """Return the linear code of pictures (N, H, W, 3): `basis` (channels, 3 * 64) and `bias` (channels,) for pixels in 0..1, each
    channel of spread 1. A patch's pixels are in the order (colour, row, column).
    """
    count, height, width, _ = pictures.shape
    blocks = pictures.reshape(count, height // PATCH, PATCH, width // PATCH, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    vectors = blocks.reshape(-1, 3 * PATCH * PATCH).astype(np.float64) / 255.0
    mean = vectors.mean(0)
    centred = vectors - mean
    values, basis = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(values)[::-1][:channels]
    basis = basis[:, order].T / np.sqrt(np.maximum(values[order], 1e-6))[:, None]
    # A component's sign is arbitrary; fix it so that the same pictures give the same code everywhere.
    basis *= np.where(basis[np.arange(len(basis)), np.abs(basis).argmax(1)] < 0, -1.0, 1.0)[:, None]
    return {"basis": basis.astype(np.float32), "bias": (-basis @ mean).astype(np.float32)}


def begin(network: Any, code: dict[str, NDArray[np.float32]]) -> None:
    """Let the encoder of an AutoencoderTiny begin as the linear code, exactly; what else it has stays as it is, unheard.

    Convolutions of stride 2 gather 2 x 2 blocks (their kernel's rows and columns 1 and 2): 3, 12, 48 numbers, then the components
    and their negatives, so that nothing is lost where a block cuts off what is below zero.
    """
    import torch

    convolutions = [layer for layer in network.encoder.layers if isinstance(layer, torch.nn.Conv2d)]
    first, half, quarter, eighth, last = convolutions
    channels = len(code["bias"])
    with torch.no_grad():
        for layer in network.encoder.layers:
            if not isinstance(layer, torch.nn.Conv2d):
                layer.conv[-1].weight.zero_()
                layer.conv[-1].bias.zero_()
        for layer, used in ((first, 3), (half, 12), (quarter, 48), (eighth, 2 * channels), (last, channels)):
            layer.weight[:used] = 0.0
            if layer.bias is not None:
                layer.bias[:used] = 0.0
        for colour in range(3):
            first.weight[colour, colour, 1, 1] = 1.0
        # After `half`, channel 4c + 2y + x; after `quarter`, 16c + 4(row in 4) + (column in 4).
        for colour in range(3):
            for y in range(2):
                for x in range(2):
                    half.weight[4 * colour + 2 * y + x, colour, 1 + y, 1 + x] = 1.0
                    for yy in range(2):
                        for xx in range(2):
                            row, column = 2 * yy + y, 2 * xx + x
                            quarter.weight[16 * colour + 4 * row + column, 4 * colour + 2 * y + x, 1 + yy, 1 + xx] = 1.0
        basis = torch.from_numpy(code["basis"]).view(channels, 3, 2, 4, 2, 4)
        gathered = basis.permute(0, 1, 3, 5, 2, 4).reshape(channels, 48, 2, 2)
        eighth.weight[:channels, :48, 1:, 1:] = gathered
        eighth.weight[channels : 2 * channels, :48, 1:, 1:] = -gathered
        for channel in range(channels):
            last.weight[channel, channel, 1, 1] = 1.0
            last.weight[channel, channels + channel, 1, 1] = -1.0
        last.bias.copy_(torch.from_numpy(code["bias"]))


def trained(run: Path, spec: networks.NetworkSpec, polished: bool = True) -> Any:
    """Return a run's autoencoder (running means); without `polished` as it was before its decoder was trained on.

    Raises ForeignCheckpoint when the run has none.
    """
    path, better = run / "autoencoder.safetensors", run / "decoder.safetensors"
    if not path.is_file():
        raise checkpoint.ForeignCheckpoint(f"no autoencoder in {run}: train the autoencoder first")
    made = networks.autoencoder(spec)
    optimise.restore(list(made.parameters()), checkpoint.vector(path))
    if polished and better.is_file():
        optimise.restore(parameters_of_decoder(made), checkpoint.vector(better))
    made.register_to_config(scaling_factor=scale(run))
    return made


def parameters_of_decoder(network: Any) -> list[Any]:
    """Return what turns latents into pictures, in the order of a decoder's checkpoint."""
    return list(network.decoder.parameters())


def scale(run: Path) -> float:
    """Return a run's scale of latents; 1 as long as none were made."""
    path = run / SCALE
    return float(json.loads(path.read_text())["scale"]) if path.is_file() else 1.0


def save_scale(run: Path, value: float) -> None:
    """Write a run's scale at once."""
    temporary = run / f".{SCALE}"
    temporary.write_text(json.dumps({"scale": value}))
    temporary.replace(run / SCALE)


def encode(network: Any, pictures: NDArray[np.uint8], device: Any, batch: int = 32) -> NDArray[np.float32]:
    """Return the latents of pictures (N, H, W, 3), unscaled, (N, channels, H / 8, W / 8)."""
    import torch

    made = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            true = as_input(pictures[start : start + batch]).to(device, network.dtype, memory_format=torch.channels_last)
            made.append(network.encode(true).latents.float().cpu().numpy())
    return np.concatenate(made)


def as_input(pictures: NDArray[np.uint8]) -> Any:
    """Return pictures (N, H, W, 3) as (N, 3, H, W) in -1..1."""
    import torch

    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def digest(network: Any) -> str:
    """Return what tells one encoder's latents from another's."""
    told = hashlib.sha256()
    for parameter in network.encoder.parameters():
        told.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()


def reconstruction_loss(made: Any, true: Any) -> Any:
    """Return the loss of pictures (N, 3, H, W) in -1..1: absolute error, and that of their differences, for sharp edges."""
    loss = (made - true).abs().mean() + 0.5 * (made - true).square().mean()
    for axis in (2, 3):
        loss = loss + (made.diff(dim=axis) - true.diff(dim=axis)).abs().mean()
    return loss


def perceptual_loss(made: Sequence[Any], true: Sequence[Any]) -> Any:
    """Return the mean squared distance of features (each of length 1 over its channels) over all levels."""
    return sum((a - b).square().sum(1).mean() for a, b in zip(made, true, strict=True)) / len(made)


def divergence(latents: Any) -> Any:
    """Return how far the channels of latents (N, C, h, w) are, over all of them, from a mean of 0 and a spread of 1."""
    mean, variance = latents.float().mean(dim=(0, 2, 3)), latents.float().var(dim=(0, 2, 3)) + 1e-6
    return 0.5 * (mean.square() + variance - 1.0 - variance.log()).mean()


def psnr(made: NDArray[np.floating[Any]], true: NDArray[np.floating[Any]]) -> float:
    """Return the mean over pictures (N, ...) in 0..1 of the peak signal-to-noise ratio, dB."""
    error = ((made - true) ** 2).reshape(len(made), -1).mean(1)
    return float((-10.0 * np.log10(np.maximum(error, 1e-10))).mean())
