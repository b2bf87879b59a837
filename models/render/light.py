"""Lights: from a view's identity to the lamps of its scene.

Enters: a LightSpec, a ViewId and the view's pose. Leaves: a Light: numbers that the annotation records and
models.render.blender makes lamps of.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from models.render.spec import LightSpec
from models.render.viewpoint import Pose
from models.sample import ViewId


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A light that shines at the object's centre from a direction of the canonical frame."""

    kind: str
    """sun (parallel) or area (a square at `distance`)."""
    azimuth_deg: float
    """Direction it comes from, as a camera's azimuth."""
    elevation_deg: float
    """Direction it comes from, as a camera's elevation."""
    strength: float
    """sun: W/m2, pi makes a facing white surface exactly white. area: W."""
    size: float
    """sun: angular diameter in degrees. area: side length."""
    colour: tuple[float, float, float]
    """Linear RGB."""
    distance: float = 0.0
    """area: from the object's centre."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """All light of one view."""

    kind: str
    """The LightSpec's kind."""
    ambient: float
    """Radiance from every direction."""
    lamps: tuple[Lamp, ...]
    """In order: sun, fill; or the one area light."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON types, for the annotation."""
        lamps = [dataclasses.asdict(lamp) | {"colour": list(lamp.colour)} for lamp in self.lamps]
        return {"kind": self.kind, "ambient": self.ambient, "lamps": lamps}


def sample_light(spec: LightSpec, view_id: ViewId, pose: Pose) -> Light:
    """Return the light that belongs to `view_id` under `spec`; sun and fill are placed relative to its `pose`."""
    if spec.kind == "official":
        white = (1.0, 1.0, 1.0)
        lamp = Lamp(kind="area", azimuth_deg=30.0, elevation_deg=60.0, strength=200.0, size=3.0, colour=white, distance=5.0)
        return Light(kind=spec.kind, ambient=0.2, lamps=(lamp,))
    u = view_id.rng("light").random(7).tolist()
    exposure = _between(u[0], spec.exposure_range)
    ambient = _between(u[1], spec.ambient_share_range)
    side = 1.0 if u[2] < 0.5 else -1.0
    # From evening light to overcast sky: red falls as blue rises, green stays.
    warmth = 0.12 * (2 * u[6] - 1)
    sun = Lamp(
        kind="sun",
        azimuth_deg=(pose.azimuth_deg + side * _between(u[3], spec.sun_offset_range_deg)) % 360.0,
        elevation_deg=_between(u[4], spec.sun_elevation_range_deg),
        strength=math.pi * exposure * (1 - ambient - spec.fill_share),
        size=_between(u[5], spec.sun_softness_range_deg),
        colour=(1.0 + warmth, 1.0, 1.0 - warmth),
    )
    fill = Lamp(
        kind="sun",
        azimuth_deg=(pose.azimuth_deg - side * 25.0) % 360.0,
        elevation_deg=max(-90.0, min(90.0, pose.elevation_deg)),
        strength=math.pi * exposure * spec.fill_share,
        size=40.0,
        colour=(1.0, 1.0, 1.0),
    )
    return Light(kind=spec.kind, ambient=exposure * ambient, lamps=(sun, fill))


def _between(u: float, low_high: tuple[float, float]) -> float:
    return low_high[0] + u * (low_high[1] - low_high[0])
