"""The specs of the render stage: viewpoints, lights, camera and sampling. Paper: section 3.2, `3D visual prompts`.

Enters: numbers a recipe chose. Leaves: checked, frozen specs, whose every field changes pixels. What only changes speed or place
(workers, threads, device, time limits) belongs to models.render.pool.RenderPool and is never part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from models.kinds import Spec

STAGE = "render"
VERSION = 2
"""Raised when the same spec gives other pixels or another annotation."""

STRATEGIES = (1, 2, 3, 4, 5)
"""The official code's viewpoint strategies; see ViewpointSpec.official."""


def _range(name: str, low_high: tuple[float, float], low: float, high: float) -> None:
    a, b = low_high
    if not low <= a <= b <= high:
        raise ValueError(f"{name} is ({a:g}, {b:g}): it must be (low, high) with {low:g} <= low <= high <= {high:g}")


@dataclass(frozen=True, kw_only=True)
class ViewpointSpec(Spec):
    """Where cameras stand. Defaults are the official strategy 3 (cars): all around, mostly from a little above."""

    azimuth_range_deg: tuple[float, float] = (0.0, 360.0)
    """Uniform between these; 0 sees the object's front, 90 its own left side (+x). May be negative: (-105, 105)."""
    polar: Literal["normal", "uniform", "sphere"] = "normal"
    """The angle from +z: truncated normal, uniform in degrees, or uniform on the sphere's surface."""
    polar_mean_deg: float = 60.0
    """Mean of the normal before it is truncated."""
    polar_sd_deg: float = 20.0
    """Standard deviation of the normal before it is truncated."""
    polar_range_deg: tuple[float, float] = (0.0, 195.0)
    """Nothing outside is drawn. Above 180 the camera has passed the pole below and comes up on the other side."""
    inplane_range_deg: tuple[float, float] = (0.0, 0.0)
    """Rotation of the image about the optical axis, counter-clockwise as seen in the image, uniform between these."""
    distance: float = 1.5
    """Mean distance from camera to the object's centre, in longest sides of the object."""
    distance_sd: float = 0.5
    """Standard deviation of the distance's normal before it is truncated; 0: always the mean."""
    distance_range: tuple[float, float] = (-0.5, 1.5)
    """Truncation of the distance, relative to its mean."""

    def __post_init__(self) -> None:
        if self.polar not in ("normal", "uniform", "sphere"):
            raise ValueError(f'polar is "{self.polar}": it must be normal, uniform or sphere')
        _range("azimuth_range_deg", self.azimuth_range_deg, -360, 360)
        if self.azimuth_range_deg[1] - self.azimuth_range_deg[0] > 360:
            raise ValueError("azimuth_range_deg spans more than 360 degrees")
        _range("polar_range_deg", self.polar_range_deg, 0, 180 if self.polar == "sphere" else 195)
        _range("inplane_range_deg", self.inplane_range_deg, -180, 180)
        _range("distance_range", self.distance_range, -100, 100)
        if self.polar == "normal" and not self.polar_sd_deg > 0:
            raise ValueError(f"polar_sd_deg is {self.polar_sd_deg:g}: it must be above 0")
        if self.polar == "normal" and not self.polar_range_deg[0] <= self.polar_mean_deg <= self.polar_range_deg[1]:
            raise ValueError(f"polar_mean_deg is {self.polar_mean_deg:g}, outside polar_range_deg {self.polar_range_deg}")
        if not self.distance_sd >= 0 or not self.distance_range[0] <= 0 <= self.distance_range[1]:
            raise ValueError("distance_sd must not be negative and distance_range must enclose 0")
        if not self.distance + self.distance_range[0] >= 0.1:
            raise ValueError(f"distance {self.distance:g} with range {self.distance_range} puts the camera inside the object")

    @classmethod
    def official(cls, strategy: int, distance: float = 1.5) -> ViewpointSpec:
        """Return one of the official strategies, 1 to 5, around a CAD model's own mean `distance`.

        1: all around, polar N(90, 30) (airliner). 2: front half, same polar (microwave). 3: all around, polar N(60, 20) (car).
        4: front half, polar as 3 (printer). 5: all around, polar uniform.

        "Front half" is the official azimuth -195..15: 210 degrees about its -90. Elsewhere that code takes the front to be at
        +90, under which microwaves and printers would be shown from behind. Mirroring an image maps azimuth to 180 minus
        azimuth under either reading, so the code itself does not settle it. We take what the strategy is for and show the
        front: -105..105 in our azimuth.
        """
        if strategy not in STRATEGIES:
            raise ValueError(f"no viewpoint strategy {strategy}: there are {', '.join(map(str, STRATEGIES))}")
        around, front = (0.0, 360.0), (-105.0, 105.0)
        level, above = (90.0, 30.0, (0.0, 180.0)), (60.0, 20.0, (0.0, 195.0))
        azimuth = front if strategy in (2, 4) else around
        mean, sd, limits = above if strategy in (3, 4) else level
        return cls(
            azimuth_range_deg=azimuth,
            polar="uniform" if strategy == 5 else "normal",
            polar_mean_deg=mean,
            polar_sd_deg=sd,
            polar_range_deg=limits,
            distance=distance,
        )

    def asked(self, camera: Mapping[str, Any]) -> ViewpointSpec:
        """Return this spec as one CAD model wants it, after the published list's columns `sampling` and `distance`.

        camera: "strategy" (1 to 5) says which sides it is seen from, "distance" is its own mean; either may be left out, and
        other names are ignored. The rest (spread of the distance, in-plane rotation) stays as it is here.
        """
        asked = self
        if camera.get("strategy") is not None:
            sides = ViewpointSpec.official(camera["strategy"])
            asked = replace(
                asked,
                azimuth_range_deg=sides.azimuth_range_deg,
                polar=sides.polar,
                polar_mean_deg=sides.polar_mean_deg,
                polar_sd_deg=sides.polar_sd_deg,
                polar_range_deg=sides.polar_range_deg,
            )
        return asked if camera.get("distance") is None else replace(asked, distance=float(camera["distance"]))


@dataclass(frozen=True, kw_only=True)
class LightSpec(Spec):
    """How the object is lit. Under either kind each side gets ambient light, so nothing is ever black for want of light."""

    kind: Literal["sampled", "official"] = "sampled"
    """sampled: sun, fill and ambient drawn from the view's identity. official: one fixed area light above the front left."""
    sun_elevation_range_deg: tuple[float, float] = (25.0, 75.0)
    """sampled: height of the sun above the horizon."""
    sun_offset_range_deg: tuple[float, float] = (20.0, 100.0)
    """sampled: azimuth between sun and camera, to either side. Above 90 the sun begins to stand behind the object."""
    sun_softness_range_deg: tuple[float, float] = (4.0, 20.0)
    """sampled: the sun's angular diameter. Hard shadows draw edges that are not the object's."""
    ambient_share_range: tuple[float, float] = (0.15, 0.3)
    """sampled: share of the light that comes from all sides alike."""
    fill_share: float = 0.12
    """sampled: share that comes from the camera's side, so that undersides have shape."""
    exposure_range: tuple[float, float] = (0.8, 1.0)
    """sampled: brightness of a white surface that faces the sun; above 1 white objects lose their edges."""

    def __post_init__(self) -> None:
        if self.kind not in ("sampled", "official"):
            raise ValueError(f'light kind is "{self.kind}": it must be sampled or official')
        _range("sun_elevation_range_deg", self.sun_elevation_range_deg, -90, 90)
        _range("sun_offset_range_deg", self.sun_offset_range_deg, 0, 180)
        _range("sun_softness_range_deg", self.sun_softness_range_deg, 0, 90)
        _range("ambient_share_range", self.ambient_share_range, 0.1, 1)
        _range("exposure_range", self.exposure_range, 0.2, 4)
        if not 0 <= self.fill_share <= 1 - self.ambient_share_range[1]:
            raise ValueError("fill_share and the highest ambient share together must stay within 0..1")


@dataclass(frozen=True, kw_only=True)
class RenderSpec(Spec):
    """One render. The view transform is Standard (sRGB without tone curve), so that colours are the CAD model's own."""

    resolution: int = 512
    """Width and height in pixels."""
    samples: int = 4
    """Paths for each pixel in RGBA: 4 do at 512 px, small pictures want 16 for their outlines. Mask and depth are those of the
    pixel's centre whatever this is."""
    denoiser: Literal["fast", "default", "none"] = "fast"
    """fast: OpenImageDenoise, quality FAST, no prefilter. default: Blender's defaults (the official setting), far slower."""
    diffuse_bounces: int = 1
    """Indirect diffuse light."""
    glossy_bounces: int = 1
    """Indirect mirror light."""
    lens_mm: float = 35.0
    """Focal length; with the sensor it gives 560 px at 512."""
    sensor_mm: float = 32.0
    """Width of the sensor."""
    allow_truncation: bool = False
    """False: a camera that would crop the object is moved back along its axis until the object fits."""
    margin: float = 0.02
    """Free border kept on each side when a camera is moved back, as a share of the resolution."""
    viewpoint: ViewpointSpec = field(default_factory=ViewpointSpec)
    """Where cameras stand."""
    light: LightSpec = field(default_factory=LightSpec)
    """How the object is lit."""

    def __post_init__(self) -> None:
        if not 32 <= self.resolution <= 4096:
            raise ValueError(f"resolution is {self.resolution}: it must be 32 to 4096 pixels")
        if not 1 <= self.samples <= 4096:
            raise ValueError(f"samples is {self.samples}: it must be 1 to 4096")
        if self.denoiser not in ("fast", "default", "none"):
            raise ValueError(f'denoiser is "{self.denoiser}": it must be fast, default or none')
        if not (0 <= self.diffuse_bounces <= 64 and 0 <= self.glossy_bounces <= 64):
            raise ValueError("diffuse_bounces and glossy_bounces must be 0 to 64")
        if not (self.lens_mm > 0 and self.sensor_mm > 0):
            raise ValueError("lens_mm and sensor_mm must be above 0")
        if not 0 <= self.margin < 0.4:
            raise ValueError(f"margin is {self.margin:g}: it must be 0 to 0.4 of the resolution")

    @classmethod
    def official(cls, strategy: int = 3) -> RenderSpec:
        """Return the paper's setting: 512 px, 32 samples, default denoiser, one fixed area light, objects may be cropped."""
        return cls(
            samples=32,
            denoiser="default",
            allow_truncation=True,
            viewpoint=ViewpointSpec.official(strategy),
            light=LightSpec(kind="official"),
        )
