"""Wheels and the sheet metal round them, shared by everything that drives."""

from __future__ import annotations

import numpy as np

from models.cad.shapes.part import CHROME, TYRE, Colour, Part
from models.cad.shapes.solid import Points, Solid, bar, cylinder, hoop, join, revolve


def wheel(
    name: str, x: float, y: float, radius: float, width: float, spokes: int, rim: Colour = CHROME, dish: float = 0.64
) -> tuple[Part, Part]:
    """A tyre and its rim, standing on the ground; `x` is the middle of the tread and the outer face looks away from x = 0."""
    h, r = width / 2, dish * radius
    tread = [(r, -0.8 * h), (0.90 * radius, -h), (radius, -0.72 * h), (radius, 0.72 * h), (0.90 * radius, h), (r, 0.85 * h)]
    tyre = hoop(tread, 26)
    face = revolve([(1.01 * r, -0.7 * h), (1.01 * r, 0.80 * h), (0.90 * r, 0.80 * h), (0.86 * r, 0.35 * h)], 26)
    pieces = [face, cylinder(0.24 * r, 0.0, 0.72 * h, 12, top=0.18 * r)]
    for i in range(spokes):
        a = 2 * np.pi * i / spokes
        tip = 0.92 * r
        pieces.append(
            bar(
                (0.1 * r * np.cos(a), 0.1 * r * np.sin(a), 0.50 * h),
                (tip * np.cos(a), tip * np.sin(a), 0.66 * h),
                0.13 * r,
                0.10 * r,
                6,
            )
        )
    hub = join(*pieces)

    def place(solid: Solid) -> Solid:
        placed = solid.turned("y", 90)
        return (placed if x > 0 else placed.mirrored()).moved(x, y, radius)

    return (
        Part(name=f"wheel_{name}", solid=place(tyre), colour=TYRE, roughness=0.9),
        Part(name=f"rim_{name}", solid=place(hub), colour=rim, metallic=0.6, roughness=0.35),
    )


def arch_stations(y: Points, centres: tuple[float, ...], radius: float, count: int = 9) -> Points:
    """Merge into the stations of a body those at which its wheel arches bend."""
    angle = np.linspace(0, np.pi, count)
    extra = [centre + radius * np.cos(angle) for centre in centres]
    # Two stations a hair apart make the arch's vertical ends.
    extra += [np.array([centre - radius - 0.002, centre + radius + 0.002]) for centre in centres]
    far = np.min(np.abs(y[:, None] - np.concatenate(extra)[None]), axis=1) > 0.015
    return np.unique(np.concatenate([y[far], *extra]))


def arch_height(y: Points, centres: tuple[float, ...], radius: float, axle: float) -> Points:
    """The lower edge that the wheel arches cut, 0 where there is none."""
    high = np.zeros(len(y))
    for centre in centres:
        inside = np.abs(y - centre) <= radius + 1e-9
        rise = axle + np.sqrt(np.maximum(radius**2 - (y - centre) ** 2, 0.0))
        high = np.where(inside, np.maximum(high, rise), high)
    return high
