"""The control `normals`: which way each point of the object faces, from the renderer's own normals.

Enters: mask and normals of a view. Leaves: (H, W, 3) uint8, n * 127.5 + 127.5 of the outward normal in the camera's frame as
the estimators say it that public normal ControlNets were trained on (Bae et al. 2021, DSINE by Bae and Davison 2024, both in
the convention of ScanNet): red grows to the left, green upwards, blue towards the camera. A wall that faces the camera is (128,
128, 255).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec, View
from models.control.surface import FIDELITY_VERSION, Surface

BACKGROUNDS = {"facing": (128, 128, 255), "black": (0, 0, 0)}


@dataclass(frozen=True, kw_only=True)
class NormalsSpec(ControlSpec):
    """Normals in the camera's frame."""

    implementation: ClassVar[str] = "models.control.normals:Normals"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = FIDELITY_VERSION

    kind: Literal["normals"] = "normals"
    background: Literal["facing", "black"] = "facing"
    """What stands for all behind the object: a wall that faces the camera, or nothing."""

    @property
    def channels(self) -> int:
        return 3


class Normals(Surface[NormalsSpec]):
    """Draws normals."""

    @property
    def background(self) -> NDArray[np.uint8]:
        return np.array(BACKGROUNDS[self.spec.background], np.uint8)

    def levels(self, view: View, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return (H, W, 3). Raises ValueError without normals."""
        if view.normal is None:
            raise ValueError('a normals control needs normals; render with them or use kind = "canny"')
        normal = view.normal.astype(np.float64)
        if view.normal.dtype == np.uint8:
            normal = (normal - 127.5) / 127.5
        length = np.linalg.norm(normal, axis=2, keepdims=True)
        # Ours are in the camera's axes of OpenCV (right, down, away from the camera); theirs are the opposite of each.
        theirs = -normal / np.where(length > 0, length, 1.0)
        known = inside & (length[..., 0] > 0)
        return np.where(known[..., None], np.rint(theirs * 127.5 + 127.5), self.background).astype(np.uint8)
