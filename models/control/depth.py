"""The control `depth`: how near each point of the object is, from the renderer's own depth.

Enters: mask and depth of a view. Leaves: (H, W) uint8, inverse depth scaled to the object: 255 where it is nearest, `farthest`
where it is farthest, 0 for all behind it. This is what MiDaS and its successors give of a photograph (nearer is brighter,
linear in inverse depth, least to most over the whole picture), which public depth ControlNets were trained on; a background
that is far away leaves the object the upper part of the range. The official code estimates it from its own render, although the
renderer knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec, View
from models.control.surface import FIDELITY_VERSION, Surface


@dataclass(frozen=True, kw_only=True)
class DepthSpec(ControlSpec):
    """Inverse depth, scaled to the object."""

    implementation: ClassVar[str] = "models.control.depth:Depth"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = FIDELITY_VERSION

    kind: Literal["depth"] = "depth"
    farthest: int = 64
    """Level of the object's farthest point; 0 makes it as dark as the background."""

    def __post_init__(self) -> None:
        if not 0 <= self.farthest <= 254:
            raise ValueError(f"depth farthest is {self.farthest}; it is a level below 255")


class Depth(Surface[DepthSpec]):
    """Draws inverse depth."""

    @property
    def background(self) -> NDArray[np.uint8]:
        return np.zeros((), np.uint8)

    def levels(self, view: View, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return (H, W): `farthest` to 255 on the object, 0 elsewhere; all 255 where it is equally far everywhere."""
        if view.depth is None:
            raise ValueError('a depth control needs depth; render with it or use kind = "canny"')
        inverse = 1.0 / np.where(inside, view.depth.astype(np.float64), 1.0)
        least, most = inverse[inside].min(), inverse[inside].max()
        share = (inverse - least) / (most - least) if most > least else np.ones_like(inverse)
        scaled = self.spec.farthest + share * (255 - self.spec.farthest)
        return np.where(inside, np.rint(scaled), 0).astype(np.uint8)
