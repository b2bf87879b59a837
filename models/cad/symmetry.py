"""How often a CAD model looks the same in one turn about its upright axis, found by comparing pictures of it turned.

Enters: a canonical GLB. Leaves: 1 (it looks the same only after a full turn), n (it does so after 360 / n degrees) or 0 (it looks
the same from all around), as models.symmetry counts, and how sure that is. Depth and bare colour of parallel views from all
around the model are compared, and both must agree: what nobody can see (an engine under a bonnet) does not count, what can be
seen from any side (a print on a cup, one outlet that is longer) does. What agrees nearly is in doubt, and then it is 1: a
symmetry that is not there spoils poses, one that is not found only costs. A turn is about the surface's centre, so that a stool
with three legs counts as what it is. (Not in the paper: its labels differ even between views that look exactly alike.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.cad.source import Floats

METHOD = "views"
"""How rows name where a symmetry comes from that was found here; earlier versions, less strict, wrote `mesh`."""

SIDE = 128
"""Pixels of a view; the model fills it."""
HEIGHTS_DEG = (6.0, 38.0, 76.0, -34.0)
"""Elevations looked from."""
DEEP = 0.017
"""Surfaces farther apart than this share of the longest side are not the same: a round thing of 12 sides is off by that."""
TINT = 0.06
"""Neither are colours (sRGB, 0 to 1 each) farther apart than this."""
ALIKE = 0.0015
"""Two views are of the same thing when no patch that is unlike is larger than this share of the object's pixels in them."""
NEARLY = 0.01
"""A patch up to this large leaves it in doubt whether the views are of the same thing."""
_NEAR, _NEAR_IN_COLOUR = 5, 3
"""Pixels on a side of the window in which a surface, and a colour, may have its like: two pixels away are about DEEP."""
_WITHIN = np.array([DEEP, TINT, TINT, TINT], np.float32)
_BLUR = 5
"""Pixels on a side of the window that a colour is the mean of."""
_VIEWS = 8
"""So many views from around the model are compared at each elevation, or more."""
_POWERS = (2, 4, 8, 16, 3, 9, 5, 7, 11, 13)
"""A turn of 360 / n shows nothing exactly if turns of 360 / each of n's prime powers do."""
_START_DEG = 13.7
"""No side of most models: thin things that run along rows of pixels fall between them."""
_MOST_FOLDS = 36
_ODD_TURNS = 11
"""Round is what looks alike from this many sides, of uneven distances."""
_MOST_FACES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """A symmetry, and how sure it is."""

    times: int
    """1 none, n-fold, 0 any turn."""
    detail: str
    """One line for a person."""
    sure: bool = True
    """False: pictures of the turned model agreed nearly, so that `times` is 1 for want of certainty."""


def find(glb: Path) -> Found | None:
    """Return the rotational symmetry about +z of a canonical GLB; None for meshes too large to look at."""
    from models.cad.gltf import read_gltf
    from models.cad.sheet import Caster

    model = read_gltf(glb, 10**8)
    if sum(len(part.faces) for part in model.parts) > _MOST_FACES:
        return None
    return _Turntable(Caster(model)).found()


class _Turntable:
    """Views of one model from around its upright axis, each taken once."""

    def __init__(self, caster: Any) -> None:
        corners = caster.points[caster.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        centre = (area[:, None] * corners.mean(axis=1)).sum(axis=0) / max(float(area.sum()), 1e-12)
        self.axis: Floats = np.array([centre[0], centre[1], 0.0])
        self.half = 1.03 * float(np.linalg.norm(caster.points - self.axis, axis=1).max())
        self.caster = caster
        self._views: dict[tuple[float, float], View] = {}

    def found(self) -> Found:
        turns = np.cumsum(np.linspace(0.8, 1.2, _ODD_TURNS)) * 360.0 / _ODD_TURNS
        around = self.apart(list(turns))
        if around <= ALIKE:
            return Found(times=0, detail=f"from all sides at most {around:.2%} looks different ({ALIKE:.2%} may)")
        apart = {power: self.apart_after(power) for power in (2, 3, 5, 7)}
        for power in _POWERS:
            below = power // next(p for p in range(2, power + 1) if power % p == 0)
            if below == 1 or apart.get(below, math.inf) <= ALIKE:
                apart.setdefault(power, self.apart_after(power))
        passed = [power for power, share in apart.items() if share <= ALIKE]
        times = math.lcm(*passed)
        if 1 < times <= _MOST_FOLDS:
            worst = max(apart[power] for power in passed)
            return Found(
                times=times, detail=f"turned by {360 / times:.4g}°, at most {worst:.2%} looks different ({ALIKE:.2%} may)"
            )
        if times > 1 or around <= NEARLY:
            return _doubtful("turned anyhow", around)
        nearly = {power: share for power, share in apart.items() if share <= NEARLY}
        if nearly:
            power = max(nearly)
            return _doubtful(f"turned by {360 / power:.4g}°", nearly[power])
        return Found(times=1, detail=f"however it is turned, more than {NEARLY:.0%} looks different in one place")

    def apart_after(self, times: int) -> float:
        """Return the largest share of a patch that a turn of 360 / times makes unlike, seen from all around; see `apart`."""
        starts = -(-_VIEWS // times)
        step = 360.0 / times
        return max(self.apart([step * k for k in range(times)], step * start / starts) for start in range(starts))

    def apart(self, azimuths: list[float], start: float = 0.0) -> float:
        """Return the largest share of a patch that is unlike the first of these views; infinite as soon as one is over NEARLY."""
        worst = 0.0
        for height in HEIGHTS_DEG:
            first, *others = (start + azimuth + _START_DEG for azimuth in azimuths)
            for azimuth in others:
                worst = max(worst, unlike(self.view(first, height), self.view(azimuth, height)))
                if worst > NEARLY:
                    return math.inf
        return worst

    def view(self, azimuth: float, elevation: float) -> View:
        """Return what is seen of the model, from the axis."""
        from models.colour import to_srgb

        key = (round(azimuth % 360.0, 6), elevation)
        if key not in self._views:
            seen = self.caster.seen(*key, SIDE, self.half, self.axis)
            self._views[key] = View(seen[..., 0], to_srgb(np.clip(seen[..., 1:], 0.0, 1.0)))
        return self._views[key]


def _doubtful(turned: str, share: float) -> Found:
    seen = f"{share:.2%}" if share <= NEARLY else f"more than {NEARLY:.0%}"
    return Found(times=1, sure=False, detail=f"in doubt: {turned}, {seen} looks different ({ALIKE:.2%} may)")


class View:
    """A parallel view, and between which values each pixel of another one has its like in it."""

    def __init__(self, depth: Floats, colours: Floats) -> None:
        """depth: (SIDE, SIDE) towards the viewer; colours: (SIDE, SIDE, 3), sRGB; NaN where there is nothing."""
        import cv2

        there = np.isfinite(depth)
        # Letters become grey, each word its own.
        total = cv2.blur(np.where(there[..., None], colours, 0.0), (_BLUR, _BLUR))
        share = cv2.blur(there.astype(np.float64), (_BLUR, _BLUR))
        means = np.where(there[..., None], total / np.maximum(share, 1e-9)[..., None], np.nan)
        self.values = np.concatenate([depth[..., None], means], axis=2).astype(np.float32)
        self.there = there
        least, most = np.nan_to_num(self.values, nan=np.inf), np.nan_to_num(self.values, nan=-np.inf)
        beside, near = np.ones((_NEAR_IN_COLOUR,) * 2, np.uint8), np.ones((_NEAR,) * 2, np.uint8)
        self.least, self.most = cv2.erode(least, beside), cv2.dilate(most, beside)
        self.least[..., 0], self.most[..., 0] = cv2.erode(least[..., 0], near), cv2.dilate(most[..., 0], near)
        self.least -= _WITHIN
        self.most += _WITHIN


def unlike(one: View, other: View) -> float:
    """Return the largest patch of one view that has no like within a pixel or two of its place in the other, as a share of it."""
    covered = max(int(one.there.sum()), int(other.there.sum()), 1)
    return max(_patch(one, other), _patch(other, one)) / covered


def _patch(one: View, other: View) -> int:
    import cv2

    like = ((one.values >= other.least) & (one.values <= other.most)).all(axis=2)
    # A line that is one pixel thin is where an edge fell into the next pixel.
    patches = cv2.morphologyEx((one.there & ~like).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    sizes = cv2.connectedComponentsWithStats(patches, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    return int(sizes.max()) if len(sizes) else 0
