"""How real pictures look: their distance from the world's own, as a network that has seen photographs sees both.

Enters: pictures, features of the pictures to compare with. Leaves: the Frechet distance of the two sets (Heusel et al. 2017),
and precision and recall (Kynkaanniemi et al. 2019): the share of pictures that lie among the world's, and the share of the world
that lies among them. All on EfficientNet-Lite0's features, so the figures compare with each other and with nobody else's FID.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

NEIGHBOURS = 3
"""A picture's surroundings reach to its third neighbour in its own set."""
BATCH = 32
"""Pictures that are seen at once."""


def known() -> bool:
    """Say whether the pretrained network is installed (the extra `features`)."""
    from models.training import features

    try:
        features.network()
    except features.NoFeatures:
        return False
    return True


def features_of(pictures: Sequence[NDArray[np.uint8]], between: Callable[[], None] = lambda: None) -> Features:
    """Return (N, 1280) features of pictures (H, W, 3). Raises features.NoFeatures without the pretrained network.

    `between` is called before each batch; what it raises ends the work.
    """
    import torch

    from models.training import autoencoder, features

    network = features.network()
    made = []
    with torch.no_grad():
        for start in range(0, len(pictures), BATCH):
            between()
            made.append(features.pooled(network, autoencoder.as_input(np.stack(pictures[start : start + BATCH]))).numpy())
    return np.concatenate(made)


def figures(found: Features, wanted: Features) -> dict[str, float]:
    """Return Frechet distance, precision and recall of pictures' features against the world's."""
    return {
        "frechet": round(frechet(found, wanted), 2),
        "precision": round(inside(found, wanted), 3),
        "recall": round(inside(wanted, found), 3),
    }


def frechet(first: Features, second: Features) -> float:
    """Return the Frechet distance between two sets of features, as if each were normally distributed."""
    means, covariances = zip(*((some.mean(0), np.cov(some.astype(np.float64), rowvar=False)) for some in (first, second)))
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ covariances[1] @ root)
    away = float(np.square(means[0].astype(np.float64) - means[1]).sum())
    return away + float(np.trace(covariances[0]) + np.trace(covariances[1]) - 2.0 * np.sqrt(np.maximum(crossed, 0.0)).sum())


def inside(asked: Features, among: Features) -> float:
    """Return the share of `asked` that lie within the surroundings of at least one of `among`."""
    reach = np.sort(_distances(among, among), axis=1)[:, min(NEIGHBOURS, len(among) - 1)]
    return float((_distances(asked, among) <= reach[None]).any(axis=1).mean())


def _distances(first: Features, second: Features) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    return np.asarray(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T, 0.0))


def round_trip(folder: Path, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return what the autoencoder of a pipeline's folder gives back of pictures."""
    import json

    import diffusers
    import torch

    from models.training import autoencoder

    kind = json.loads((folder / "model_index.json").read_text())["vae"][1]
    vae: Any = getattr(diffusers, kind).from_pretrained(folder / "vae", use_safetensors=True, torch_dtype=torch.float32).eval()
    made: list[NDArray[np.uint8]] = []
    with torch.no_grad():
        for start in range(0, len(pictures), BATCH):
            encoded = vae.encode(autoencoder.as_input(np.stack(pictures[start : start + BATCH])))
            latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
            decoded = vae.decode(latents).sample.permute(0, 2, 3, 1).numpy()
            made += list(((decoded + 1.0) * 127.5).clip(0, 255).round().astype(np.uint8))
    return made
