"""Checkpoints: the whole state of a training, whole or not there.

Enters: the shared vectors, where the training stands. Leaves: one safetensors file, written beside and renamed, so that a kill
at any moment leaves the last complete one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_KEPT = ("master", "ema", "first", "second")


class ForeignCheckpoint(ValueError):
    """A checkpoint of other networks or another stage."""


@dataclass(kw_only=True)
class Standing:
    """Where a training stands."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Seconds trained, over all sittings."""
    loss: float = 0.0
    """Running mean of the loss."""
    layout: str = ""
    """Digest of the parameters' names and shapes."""


def save(path: Path, shared: dict[str, Any], standing: Standing) -> None:
    """Write a checkpoint at once."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    tensors = {name: shared[name].cpu() for name in _KEPT}
    save_file(tensors, temporary, metadata={"standing": json.dumps(asdict(standing))})
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, shared: dict[str, Any], layout: str) -> Standing:
    """Read a checkpoint into the shared vectors; where there is none, return a fresh Standing.

    Raises ForeignCheckpoint when it belongs to other networks.
    """
    if not path.is_file():
        return Standing(layout=layout)
    standing = peek(path)
    if standing.layout != layout:
        raise ForeignCheckpoint(f"{path} is a checkpoint of other networks; move it away or train in another folder")
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in _KEPT:
            shared[name].copy_(file.get_tensor(name))
    return standing


def peek(path: Path) -> Standing:
    """Return where a checkpoint stands, without its tensors."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return Standing(**json.loads(file.metadata()["standing"]))


def vector(path: Path, name: str = "ema") -> Any:
    """Return one of a checkpoint's flat vectors."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.get_tensor(name)
