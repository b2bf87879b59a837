"""The autoencoder: pictures to latents an eighth of their size, and back.

Enters: pictures. Leaves: a stock AutoencoderTiny. Its encoder is linear and computed, not trained: the principal components of
8 x 8 pixel patches, so that latents are known before any training, stay the same for ever, and tell of an edge what an edge map
tells (where in the patch, which way), which is what a ControlNet has to learn. Only the decoder is trained, and may be trained
further at any time without touching the base.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 8
WHITENING = 0.7
"""Latent channel k is its component divided by its deviation to this power: between 0 (pixels' own scale) and 1 (all alike)."""


def components(pictures: NDArray[np.uint8], channels: int) -> dict[str, NDArray[np.float32]]:
    """Return the latent code of pictures (N, H, W, 3): `basis` (channels, 3 * 64) and `bias` (channels,) for pixels in 0..1.

    A patch's pixels are in the order (colour, row, column).
    """
    vectors = patches(pictures).astype(np.float64)
    mean = vectors.mean(0)
    centred = vectors - mean
    values, basis = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(values)[::-1][:channels]
    basis, deviation = basis[:, order].T, np.sqrt(np.maximum(values[order], 1e-12))
    # A component's sign is arbitrary; fix it so that the same pictures give the same code everywhere.
    basis *= np.where(basis[np.arange(len(basis)), np.abs(basis).argmax(1)] < 0, -1.0, 1.0)[:, None]
    scale = deviation**WHITENING
    scale *= np.sqrt(np.mean((deviation / scale) ** 2))
    basis = basis / scale[:, None]
    return {"basis": basis.astype(np.float32), "bias": (-basis @ mean).astype(np.float32)}


def patches(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (patches, 3 * 64) pixels in 0..1 of pictures (N, H, W, 3)."""
    count, height, width, _ = pictures.shape
    blocks = pictures.reshape(count, height // PATCH, PATCH, width // PATCH, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(-1, 3 * PATCH * PATCH).astype(np.float32) / 255.0


def encode(pictures: NDArray[np.uint8], code: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return latents (N, channels, H / 8, W / 8): what the network's encoder returns, at a fraction of its cost."""
    count, height, width, _ = pictures.shape
    latents = patches(pictures) @ code["basis"].T + code["bias"]
    return latents.reshape(count, height // PATCH, width // PATCH, -1).transpose(0, 3, 1, 2)


def write_encoder(network: Any, code: dict[str, NDArray[np.float32]]) -> None:
    """Write the code into the linear encoder of an AutoencoderTiny, exactly.

    Three convolutions of stride 2 gather 2 x 2 blocks (their kernel's rows and columns 1 and 2): 3, 12, 48 numbers, then the
    components. The channels beyond stay zero.
    """
    import torch

    first, half, quarter, eighth, last = network.encoder.layers
    width = first.out_channels
    if width < 48:
        raise ValueError(f"encoder_channels {width} is less than 48: it cannot hold a 4 x 4 patch")
    channels = len(code["bias"])
    if channels > width:
        raise ValueError(f"latent_channels {channels} is more than encoder_channels {width}")
    with torch.no_grad():
        for layer in (first, half, quarter, eighth, last):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
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
        eighth.weight[:channels, :48, 1:, 1:] = basis.permute(0, 1, 3, 5, 2, 4).reshape(channels, 48, 2, 2)
        for channel in range(channels):
            last.weight[channel, channel, 1, 1] = 1.0
        last.bias.copy_(torch.from_numpy(code["bias"]))


def read_encoder(network: Any, channels: int) -> dict[str, NDArray[np.float32]]:
    """Return the code that `write_encoder` wrote into an AutoencoderTiny."""
    *_, eighth, last = network.encoder.layers
    weight = eighth.weight.detach().float()[:channels, :48, 1:, 1:]
    # (channel, colour, row in 4, column in 4, row of blocks, column of blocks) to (channel, colour, row, column).
    basis = weight.reshape(channels, 3, 4, 4, 2, 2).permute(0, 1, 4, 2, 5, 3).reshape(channels, 3 * PATCH * PATCH)
    return {"basis": basis.contiguous().numpy(), "bias": last.bias.detach().float().numpy().copy()}


def save_code(path: Path, code: dict[str, NDArray[np.float32]]) -> None:
    """Write the code at once."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file(code, temporary)
    temporary.replace(path)


def load_code(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the code."""
    from safetensors.numpy import load_file

    code: dict[str, NDArray[np.float32]] = load_file(path)
    return code


def reconstruction_loss(made: Any, true: Any) -> Any:
    """Return the decoder's loss on pictures (N, 3, H, W) in -1..1: absolute error, and that of their differences, for sharp
    edges."""
    loss = (made - true).abs().mean() + 0.5 * (made - true).square().mean()
    for axis in (2, 3):
        loss = loss + (made.diff(dim=axis) - true.diff(dim=axis)).abs().mean()
    return loss


def psnr(made: NDArray[np.floating[Any]], true: NDArray[np.floating[Any]]) -> float:
    """Return the mean over pictures (N, ...) in 0..1 of the peak signal-to-noise ratio, dB."""
    error = ((made - true) ** 2).reshape(len(made), -1).mean(1)
    return float((-10.0 * np.log10(np.maximum(error, 1e-10))).mean())
