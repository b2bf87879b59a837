"""Do the poses of a run look like what the viewpoint spec promises? Paper: section 3.2, viewpoints.

Enters: the `viewpoint` part of a render spec, as recorded, and the poses that were rendered. Leaves: for each quantity how far
the poses are from the promised distribution (Kolmogorov-Smirnov), how likely that is by chance, how many lie outside the promised
range and how many repeat another view's. Written from the promise alone, not from the code that samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 4096
"""Quantiles that stand for a distribution: far finer than any run's poses can tell."""
_SLACK = 1e-6
"""Degrees or lengths by which rounding may leave a range, and below which a range is a point."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a spec promises of one quantity."""

    quantity: str
    """Column of the catalog's views."""
    text: str
    """The promise in words."""
    quantiles: NDArray[np.float64]
    """Its distribution, as sorted, equally likely values."""
    ranges: tuple[tuple[float, float], ...]
    """Where it may lie at all."""
    varies: bool
    """Whether no two views can be expected to agree in it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How a run's poses compare with a promise."""

    quantity: str
    promise: str
    views: int
    deviation: float
    """Largest difference between the promised and the found cumulative distribution, 0 to 1."""
    p_value: float
    """Chance of such a difference if the promise holds."""
    outside: int
    """Views outside the promised range."""
    repeated: int
    """Views that repeat another one's value where each should have its own."""


def promises(viewpoint: Mapping[str, Any]) -> list[Promise]:
    """Return what a recorded viewpoint spec promises of azimuth, elevation, in-plane rotation and requested distance."""
    u = (np.arange(GRID) + 0.5) / GRID
    low, high = viewpoint["azimuth_range_deg"]
    polar = _polar(viewpoint, u)
    # Past the pole below, the same point is seen from the other side.
    beyond = polar > 180
    azimuth = low + u * (high - low)
    # A low-discrepancy shuffle pairs every azimuth with every polar angle evenly.
    partner = np.argsort((np.arange(GRID) * 0.6180339887498949) % 1.0)
    azimuth = np.where(beyond[partner], azimuth + 180, azimuth) % 360
    elevation = 90 - np.where(beyond, 360 - polar, polar)
    inplane_low, inplane_high = viewpoint["inplane_range_deg"]
    mean, sd = viewpoint["distance"], viewpoint["distance_sd"]
    near, far = (mean + end for end in viewpoint["distance_range"])
    distance = _truncated_normal(u, mean, sd, near, far)
    how = viewpoint["polar"]
    if how == "normal":
        how = f"N({viewpoint['polar_mean_deg']:g}, {viewpoint['polar_sd_deg']:g})"
    polar_low, polar_high = viewpoint["polar_range_deg"]
    arcs = _arcs(low, high) + (_arcs(low + 180, high + 180) if beyond.any() else ())
    lowest = -90.0 if polar_high > 180 else 90.0 - polar_high
    return [
        _promise("azimuth_deg", f"azimuth uniform in [{low:g}, {high:g}]", azimuth, *arcs),
        _promise("elevation_deg", f"polar angle {how} in [{polar_low:g}, {polar_high:g}]", elevation, (lowest, 90.0 - polar_low)),
        _promise(
            "inplane_deg",
            f"in-plane rotation uniform in [{inplane_low:g}, {inplane_high:g}]",
            inplane_low + u * (inplane_high - inplane_low),
            (inplane_low, inplane_high),
        ),
        _promise("requested_distance", f"distance N({mean:g}, {sd:g}) in [{near:g}, {far:g}]", distance, (near, far)),
    ]


def compare(promise: Promise, found: Sequence[float]) -> Finding:
    """Return how the found values, one a view, compare with the promise."""
    values = np.sort(np.asarray(found, dtype=np.float64))
    reference = promise.quantiles
    inside = [(values >= low - _SLACK) & (values <= high + _SLACK) for low, high in promise.ranges]
    outside = int(np.count_nonzero(~np.any(inside, axis=0)))
    if reference[-1] - reference[0] <= _SLACK:
        deviation, p_value = (1.0, 0.0) if outside else (0.0, 1.0)
    else:
        deviation = _largest_difference(values, reference)
        p_value = _chance(deviation, len(values))
    repeated = len(values) - len(np.unique(values)) if promise.varies else 0
    return Finding(
        quantity=promise.quantity,
        promise=promise.text,
        views=len(values),
        deviation=deviation,
        p_value=p_value,
        outside=outside,
        repeated=repeated,
    )


def _promise(quantity: str, text: str, values: NDArray[np.float64], *ranges: tuple[float, float]) -> Promise:
    quantiles = np.sort(values)
    varies = bool(quantiles[-1] - quantiles[0] > 1e-3)
    return Promise(quantity=quantity, text=text, quantiles=quantiles, ranges=ranges, varies=varies)


def _arcs(low: float, high: float) -> tuple[tuple[float, float], ...]:
    """Return the azimuths from low to high as ranges within [0, 360]."""
    start = low % 360
    end = start + high - low
    return ((start, end),) if end <= 360 else ((start, 360.0), (0.0, end - 360))


def _polar(viewpoint: Mapping[str, Any], u: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = viewpoint["polar_range_deg"]
    if viewpoint["polar"] == "uniform":
        return np.asarray(low + u * (high - low), dtype=np.float64)
    if viewpoint["polar"] == "sphere":
        bottom, top = math.cos(math.radians(low)), math.cos(math.radians(high))
        return np.asarray(np.degrees(np.arccos(np.clip(bottom + u * (top - bottom), -1, 1))), dtype=np.float64)
    return _truncated_normal(u, viewpoint["polar_mean_deg"], viewpoint["polar_sd_deg"], low, high)


def _truncated_normal(u: NDArray[np.float64], mean: float, sd: float, low: float, high: float) -> NDArray[np.float64]:
    if sd == 0 or low == high:
        return np.full(len(u), min(max(mean, low), high))
    normal = NormalDist(mean, sd)
    below, above = normal.cdf(low), normal.cdf(high)
    inside = np.clip(below + u * (above - below), 1e-300, 1 - 1e-16)
    return np.clip([normal.inv_cdf(float(p)) for p in inside], low, high)


def _largest_difference(values: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    n = len(values)
    promised = np.searchsorted(reference, values, side="right") / len(reference)
    return float(max(np.max(np.arange(1, n + 1) / n - promised), np.max(promised - np.arange(n) / n)))


def _chance(deviation: float, n: int) -> float:
    """Return Kolmogorov's tail with Stephens' correction for small n."""
    root = math.sqrt(n)
    x = (root + 0.12 + 0.11 / root) * deviation
    if x < 0.2:
        return 1.0
    return float(min(1.0, max(0.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101)))))
