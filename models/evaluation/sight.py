"""Pictures as the readouts take them, and the changes that teach them what does not matter.

Enters: (H, W, 3) pictures with masks that say where the object should be. Leaves: small squares, and batches of them moved,
mirrored, blurred and recoloured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.verdict.crop import crop

if TYPE_CHECKING:
    import torch

MARGIN = 1.5
"""The square around the object is cut so much wider than its box, and `ROOM` of it is what a network sees."""
ROOM = 1.2
"""Box to what a network sees, before a picture is moved about."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """N pictures, cut for the readouts."""

    near: NDArray[np.uint8]
    """(N, S, S, 4): the square around the object with the mask as fourth channel, MARGIN wide."""
    whole: NDArray[np.uint8]
    """(N, side, side, 4): all of the picture with the mask as fourth channel."""

    def __len__(self) -> int:
        return len(self.near)


def box_of(mask: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return the mask's box (x0, y0, x1, y1); of an empty mask the whole picture's."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0, 0.0, mask.shape[1] - 1.0, mask.shape[0] - 1.0
    return float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())


def see(pictures: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]], side: int) -> Seen:
    """Return pictures cut around where their masks say that the object is."""
    import cv2

    near_side = math.ceil(side * MARGIN / ROOM)
    near, whole = [], []
    for picture, mask in zip(pictures, masks, strict=True):
        box = box_of(mask)
        # The mask's margin must stay empty where the cut reaches over the picture's border.
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        shifted = (box[0] + 1, box[1] + 1, box[2] + 1, box[3] + 1)
        cut = crop(np.ascontiguousarray(picture), box, near_side, MARGIN)
        near.append(np.dstack([cut, crop(framed, shifted, near_side, MARGIN)]))
        both = np.dstack([picture, mask])
        whole.append(cv2.resize(both, (side, side), interpolation=cv2.INTER_AREA))
    return Seen(near=np.stack(near), whole=np.stack(whole))


def tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Return (N, C, S, S) in 0..1."""
    import torch

    made: torch.Tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255.0
    return made


def framed(near: torch.Tensor, side: int, mirrored: bool = False) -> torch.Tensor:
    """Return the middle of the squares at side x side, as a network is asked."""
    margin = (near.shape[-1] - side) // 2
    cut = near[..., margin : margin + side, margin : margin + side]
    return cut.flip(-1) if mirrored else cut


def moved(near: torch.Tensor, side: int, mirror: torch.Tensor, random: torch.Generator, turn_deg: float = 6.0) -> torch.Tensor:
    """Return the squares shifted, scaled, turned a little and where `mirror` (N,) says so mirrored, at side x side."""
    import torch
    from torch.nn import functional

    n = len(near)

    def draw(spread: float) -> torch.Tensor:
        return (torch.rand(n, generator=random) * 2 - 1) * spread

    room = side / near.shape[-1]
    scale = room * torch.exp(draw(0.12))
    angle = draw(math.radians(turn_deg))
    sign = torch.where(mirror, -1.0, 1.0)
    rows = torch.stack(
        [
            torch.stack([sign * scale * angle.cos(), -scale * angle.sin(), draw(0.10)], -1),
            torch.stack([sign * scale * angle.sin(), scale * angle.cos(), draw(0.10)], -1),
        ],
        1,
    )
    grid = functional.affine_grid(rows, [n, near.shape[1], side, side], align_corners=False)
    return functional.grid_sample(near, grid, padding_mode="border", align_corners=False)


def roughened(pictures: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Return (N, 3, S, S) pictures with, for some, blur or noise: painted pictures are softer and grainier than rendered ones."""
    import torch
    from torch.nn import functional

    n = len(pictures)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = (torch.rand(n, 1, 1, 1, generator=random) * 2.4 - 1.2).clamp(0, 1)
    made = pictures + share * (blurred - pictures)
    noise = (torch.rand(n, 1, 1, 1, generator=random) * 0.10 - 0.05).clamp_min(0)
    # One field of noise for all, each picture with a share and a sign of its own: cheaper, and as rough.
    return made + noise * torch.randn(n, 1, 1, 1, generator=random).sign() * torch.randn(made.shape[1:], generator=random)


def recoloured(pictures: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Return (N, 3, S, S) pictures in other colours, some in grey: shape has no colour."""
    import torch

    n = len(pictures)
    order = torch.argsort(torch.rand(n, 3, generator=random), dim=1)
    made = torch.gather(pictures, 1, order[:, :, None, None].expand_as(pictures))
    grey = (torch.rand(n, 1, 1, 1, generator=random) * 1.5 - 0.5).clamp(0, 1)
    made = made + grey * (made.mean(dim=1, keepdim=True) - made)
    gain = torch.exp((torch.rand(n, 3, 1, 1, generator=random) * 2 - 1) * 0.35)
    shift = (torch.rand(n, 1, 1, 1, generator=random) * 2 - 1) * 0.15
    return (made * gain + shift).clamp(0, 1)
