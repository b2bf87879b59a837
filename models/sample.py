"""What a sample is, apart from how it is made.

Enters: class, CAD model, view index, draw index. Leaves: its name, and random numbers that depend on nothing but this: the
same in every process, whatever else is made.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, order=True)
class ViewId:
    """One sampled pose of a CAD model."""

    class_name: str
    """Lower-case class name, e.g. `coffee mug`."""
    cad_id: str
    """sha256 of the CAD model's source, 64 hex digits."""
    view_index: int
    """0, 1, 2, ...: which of the CAD model's poses."""

    def rng(self, purpose: str) -> np.random.Generator:
        """Return this view's own random generator for one purpose (`viewpoint`, `light`, ...)."""
        return np.random.default_rng(_entropy(self.class_name, self.cad_id, self.view_index, purpose))


@dataclass(frozen=True, kw_only=True, order=True)
class SampleId(ViewId):
    """One image of a view: (class, CAD model, view index, draw index)."""

    draw_index: int = 0
    """0, 1, ...: which of the view's images."""

    def __str__(self) -> str:
        name = self.class_name.replace(" ", "_")
        return f"{name}-{self.cad_id[:12]}-{self.view_index:04d}-{self.draw_index:02d}"

    @property
    def view(self) -> ViewId:
        return ViewId(class_name=self.class_name, cad_id=self.cad_id, view_index=self.view_index)

    def rng(self, purpose: str) -> np.random.Generator:
        """Return this sample's own random generator for one purpose (`caption`, ...)."""
        return np.random.default_rng(_entropy(self.class_name, self.cad_id, self.view_index, self.draw_index, purpose))

    def seed(self, purpose: str, attempt: int = 0) -> int:
        """Return the seed, in [0, 2**63), of one attempt at one purpose (`image`)."""
        entropy = _entropy(self.class_name, self.cad_id, self.view_index, self.draw_index, purpose, attempt)
        return entropy & (2**63 - 1)


def _entropy(*identity: str | int) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(identity).encode()).digest()[:16], "little")
