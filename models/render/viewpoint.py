"""Poses: from a view's identity to where its camera stands. Paper: section 3.2; the official code's five strategies.

Enters: a ViewpointSpec and a ViewId. Leaves: a Pose. No geometry and no global state: the same identity gives the same pose in
every process. (A camera that would crop the object is moved back later, along the same axis; see models.render.camera.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from models.render.spec import ViewpointSpec
from models.sample import ViewId


@dataclass(frozen=True, kw_only=True)
class Pose:
    """One sampled pose. Frame and units: docs/conventions.md."""

    azimuth_deg: float
    """In [0, 360): 0 sees the front (-y), 90 the object's own left (+x)."""
    elevation_deg: float
    """In [-90, 90]: above the horizon is positive."""
    inplane_deg: float
    """In [-180, 180]: the image turned counter-clockwise about the optical axis."""
    distance: float
    """From the camera's centre to the object's, in longest sides of the object."""


def sample_view(spec: ViewpointSpec, view: ViewId) -> Pose:
    """Return the pose that belongs to `view` under `spec`."""
    # Always four numbers in one order, so that changing one distribution leaves the others' draws alone.
    azimuth_u, polar_u, inplane_u, distance_u = view.rng("viewpoint").random(4).tolist()
    azimuth = _uniform(azimuth_u, spec.azimuth_range_deg)
    polar = _polar(polar_u, spec)
    if polar > 180:
        # Past the pole below: the same point is reached from the other side.
        polar, azimuth = 360 - polar, azimuth + 180
    low, high = spec.distance + spec.distance_range[0], spec.distance + spec.distance_range[1]
    return Pose(
        azimuth_deg=azimuth % 360.0 % 360.0,
        elevation_deg=90.0 - polar,
        inplane_deg=_uniform(inplane_u, spec.inplane_range_deg),
        distance=truncated_normal(distance_u, spec.distance, spec.distance_sd, low, high),
    )


def truncated_normal(u: float, mean: float, sd: float, low: float, high: float) -> float:
    """Return the quantile `u` in [0, 1) of N(mean, sd) truncated to [low, high]; sd 0 gives the mean."""
    if sd == 0 or low == high:
        return min(max(mean, low), high)
    normal = NormalDist(mean, sd)
    below, above = normal.cdf(low), normal.cdf(high)
    p = below + u * (above - below)
    # The quantile of 0 or 1 is infinite; the range's end is what is meant.
    if p <= 0:
        return low
    if p >= 1:
        return high
    return min(max(normal.inv_cdf(p), low), high)


def _polar(u: float, spec: ViewpointSpec) -> float:
    low, high = spec.polar_range_deg
    if spec.polar == "uniform":
        return _uniform(u, (low, high))
    if spec.polar == "sphere":
        cosine = _uniform(u, (math.cos(math.radians(low)), math.cos(math.radians(high))))
        return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
    return truncated_normal(u, spec.polar_mean_deg, spec.polar_sd_deg, low, high)


def _uniform(u: float, low_high: tuple[float, float]) -> float:
    low, high = low_high
    return low + u * (high - low)
