"""The two networks that read pictures: small convolutions that a CPU trains in minutes.

Enters: batches of pictures, (N, 3 or 4, side, side) in 0..1. Leaves: logits. The shape network sees no mask, for an outline
alone would give the pose away; the appearance network is shown where the object should be, for it is asked about it and about
what surrounds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = {"shape": (24, 48, 96, 128), "object": (16, 32, 64, 96), "surroundings": (16, 32, 64, 96)}
"""Channels of the four stages of each trunk."""


class Block(nn.Module):  # type: ignore[misc]
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norms[0](self.first(x)))
        made: Tensor = self.act(x + self.norms[1](self.second(y)))
        return made


def trunk(inputs: int, widths: tuple[int, ...], blocks: tuple[int, ...] = (0, 1, 1, 1)) -> nn.Sequential:
    """Return the layers from a picture to a vector: each stage halves the grid."""
    layers: list[nn.Module] = []
    for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        kernel = 5 if index == 0 else 3
        before = inputs if index == 0 else widths[index - 1]
        layers += [nn.Conv2d(before, width, kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [Block(width) for _ in range(count)]
    return nn.Sequential(*layers)


class ShapeNetwork(nn.Module):  # type: ignore[misc]
    """Class, and for each class its azimuth and elevation, from the square around the object."""

    def __init__(self, classes: int, azimuth_bins: int, elevation_bins: int, side: int) -> None:
        super().__init__()
        width, grid = WIDTHS["shape"][-1], side // 16
        self.classes, self.azimuth_bins = classes, azimuth_bins
        self.trunk = trunk(3, WIDTHS["shape"])
        # Where something is in the square tells the pose as well as what it is, so the grid is not averaged away at once.
        self.mix = nn.Sequential(
            nn.Conv2d(width, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64 * grid * grid, 192),
            nn.ReLU(),
        )
        self.class_head = nn.Linear(width, classes)
        self.azimuth_head = nn.Linear(192, classes * azimuth_bins)
        self.elevation_head = nn.Linear(192, elevation_bins)

    def forward(self, pictures: Tensor) -> dict[str, Any]:
        """Return logits: class (N, classes), azimuth (N, classes, bins), elevation (N, bins)."""
        grid = self.trunk(pictures * 4.0 - 2.0)
        mixed = self.mix(grid)
        return {
            "class": self.class_head(grid.mean(dim=(2, 3))),
            "azimuth": self.azimuth_head(mixed).view(-1, self.classes, self.azimuth_bins),
            "elevation": self.elevation_head(mixed),
        }


class AppearanceNetwork(nn.Module):  # type: ignore[misc]
    """Colour, material, scene and light, from the object and from the whole picture, each with the mask as fourth channel."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__()
        self.object = trunk(4, WIDTHS["object"], (0, 1, 1, 0))
        self.surroundings = trunk(4, WIDTHS["surroundings"], (0, 1, 1, 0))
        width = WIDTHS["object"][-1] + WIDTHS["surroundings"][-1]
        self.mix = nn.Sequential(nn.Dropout(0.1), nn.Linear(width, 160), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(160, count) for name, count in counts.items()})

    def forward(self, near: Tensor, whole: Tensor) -> dict[str, Any]:
        """Return logits (N, count) by name."""
        # Colours and textures need no outlines: half the side is enough, at a quarter of the cost.
        coarse = [avg_pool2d(x, 2) * 4.0 - 2.0 for x in (near, whole)]
        seen = [part(x).mean(dim=(2, 3)) for part, x in zip((self.object, self.surroundings), coarse)]
        mixed = self.mix(torch.cat(seen, dim=1))
        return {name: head(mixed) for name, head in self.heads.items()}
