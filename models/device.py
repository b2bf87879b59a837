"""Which device the networks run on."""

from __future__ import annotations


def pick_device(device: str) -> str:
    """Return `device`, with `auto` resolved to what this machine has: cuda, mps or cpu."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
