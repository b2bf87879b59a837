"""Controls: what an image must obey, drawn from a render.

Enters: one view of a CAD model as the renderer gave it. Leaves: an array that the generator is conditioned on (the paper's 3D
visual prompt, section 3.1), and afterwards how faithfully an image followed it. Each kind of control is a module of this package
with a spec and a class; models.control.kinds lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from models.kinds import KindSpec

PICTURE = "control.png"
"""The file of a control that people see; most kinds have no other."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One rendered view of a CAD model, as arrays. What a kind of control does not need may be None."""

    rgba: NDArray[np.uint8]
    """(H, W, 4) colours and coverage, straight alpha."""
    mask: NDArray[np.generic]
    """(H, W) non-zero on the object."""
    depth: NDArray[np.floating] | None = None
    """(H, W) along the optical axis in longest sides of the CAD model, 0 off the object."""
    normal: NDArray[np.generic] | None = None
    """(H, W, 3) in the camera's frame: uint8 as n * 127.5 + 127.5, or float; all zeros off the object."""
    K: NDArray[np.float64] | None = None
    """(3, 3) camera intrinsics in pixels."""
    R: NDArray[np.float64] | None = None
    """(3, 3) from the canonical frame to the camera's."""
    t: NDArray[np.float64] | None = None
    """(3,) where the canonical origin is in the camera's frame."""
    occupied: Callable[[int], NDArray[np.bool_]] | None = None
    """Called with n, returns (n, n, n): which cells of the canonical cube the CAD model fills (models.cad.voxels)."""


@dataclass(frozen=True, kw_only=True)
class ControlSpec(KindSpec):
    """How a control is drawn; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and view give another array."""
    fidelity_version: ClassVar[int]
    """Raised whenever the same image and control give another fidelity."""

    @property
    def channels(self) -> int:
        """How many channels the control has."""
        return 1


class EmptyControl(ValueError):
    """There is nothing to draw in a view: expected now and then, so that it becomes a row with `reason` and not a crash."""

    reason: ClassVar[str] = "empty_control"
    """What the row says."""


class Control(Protocol):
    """A kind of control at work; it is called with its spec."""

    def draw(self, view: View) -> NDArray[np.uint8]:
        """Return the control of a view, (H, W) or (H, W, C): what a generator is conditioned on, 0 to 255.

        Raises EmptyControl, or ValueError where the view lacks an array.
        """

    def encode(self, drawn: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        """Return the pictures that a control is kept as, by file name: PICTURE for people, others beside it."""

    def decode(self, read: Callable[[str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return the control again; `read` returns a picture of it by file name."""

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        """Return what the catalog says of a drawn control: at least `pixels`, those that are not background, and `density`,
        their share of the picture."""

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        """Return how well `image` (H, W, 3) obeys a control: 1 entirely, 0 no better than chance, NaN where nothing can be told.

        Raises ValueError when the two differ in size.
        """


class Drawing:
    """Base of the kinds whose control is a picture, and kept as it is."""

    def encode(self, drawn: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        """Return the control under the one name that people see."""
        return {PICTURE: drawn}

    def decode(self, read: Callable[[str], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return that picture."""
        return read(PICTURE)
