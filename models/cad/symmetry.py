"""How often a CAD model looks the same in one turn about its upright axis, found from its mesh.

Enters: a canonical GLB. Leaves: 1 (it looks the same only after a full turn), n (it does so after 360 / n degrees) or 0 (it looks
the same from all around), as models.symmetry counts. Depth and colour of parallel views from around the model are compared: what
nobody can see (an engine under a bonnet) does not count, what can be seen (a print on one side of a cup) does. A turn is about
the surface's centre, so that a stool with three legs counts as what it is. (Not in the paper: its labels differ even between
views that look exactly alike.)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.source import Floats

FOLDS = (12, 10, 9, 8, 7, 6, 5, 4, 3, 2)
"""Looked for; what passes at odd angles too, or for folds that only a round thing has together, is round."""
SIDE = 64
"""Pixels of a view."""
HALF = 0.8
"""Half its width, in longest sides of the model."""
HEIGHTS_DEG = (8.0, 40.0, -30.0)
"""Elevations looked from."""
STARTS_DEG = (10.0, 55.0)
"""Azimuths that a comparison starts from; the others are turned copies."""
DEEP = 0.035
"""Surfaces farther apart than this share of the longest side are not the same: more than a round thing of 12 sides is off."""
TINT = 0.3
"""Neither are colours (0 to 1 each) farther apart than this."""
UNLIKE = 0.035
"""Views are of the same thing when at most this share of its pixels is unlike, of any pair of views."""
CLEARLY = 0.01
"""A number of folds whose views are this much more unlike than the best one's is not taken for as good."""
_ODD_TURNS_DEG = (360 / 7, 360 / 11, 95.0, 131.0, 163.0)
_MOST_FACES = 1_000_000


def symmetry_of(glb: Path) -> int | None:
    """Return the rotational symmetry about +z of a canonical GLB: 1, n or 0; None for meshes too large to look at."""
    from models.cad.gltf import read_gltf
    from models.cad.sheet import Caster

    model = read_gltf(glb, 10**8)
    if sum(len(part.faces) for part in model.parts) > _MOST_FACES:
        return None
    return _Turntable(Caster(model)).symmetry()


class _Turntable:
    """Views of one model from around its upright axis, each taken once."""

    def __init__(self, caster: Any) -> None:
        corners = caster.points[caster.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        centre = (area[:, None] * corners.mean(axis=1)).sum(axis=0) / max(float(area.sum()), 1e-12)
        self.axis: Floats = np.array([centre[0], centre[1], 0.0])
        self.caster = caster
        self._views: dict[tuple[float, float], NDArray[np.float64]] = {}

    def symmetry(self) -> int:
        apart = {folds: self.apart(360.0 / folds) for folds in FOLDS}
        passed = {folds: share for folds, share in apart.items() if share <= UNLIKE}
        if not passed:
            return 1
        # A prism of ten sides nearly passes for one of twelve: only what passes as well as the best counts.
        alike = [folds for folds, share in passed.items() if share <= min(passed.values()) + CLEARLY]
        if math.lcm(*alike) > max(FOLDS) or all(self.apart(turn) <= UNLIKE for turn in _ODD_TURNS_DEG):
            return 0
        return max(alike)

    def apart(self, turn_deg: float) -> float:
        """Return the largest share of unlike pixels that a turn makes in any view; infinite as soon as one is over UNLIKE."""
        worst = 0.0
        for height in HEIGHTS_DEG:
            for start in STARTS_DEG:
                worst = max(worst, unlike(self.view(start, height), self.view(start + turn_deg, height)))
                if worst > UNLIKE:
                    return math.inf
        return worst

    def view(self, azimuth: float, elevation: float) -> NDArray[np.float64]:
        """Return (SIDE, SIDE, 4): depth from the axis towards the viewer and linear colour; NaN where there is nothing."""
        key = (round(azimuth % 360.0, 6), elevation)
        if key not in self._views:
            self._views[key] = self.caster.seen(*key, SIDE, HALF, self.axis)
        return self._views[key]


def unlike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the share of the object's pixels that have no like within one pixel of their place in the other view."""
    here, there = np.isfinite(one[..., 0]), np.isfinite(other[..., 0])
    covered = max(int(here.sum()), int(there.sum()), 1)
    return max(_missing(one, other, here), _missing(other, one, there)) / covered


def _missing(one: NDArray[np.float64], other: NDArray[np.float64], here: NDArray[np.bool_]) -> int:
    found = np.zeros_like(here)
    height, width = here.shape
    padded = np.pad(other, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    for dy in range(3):
        for dx in range(3):
            near = padded[dy : dy + height, dx : dx + width]
            with np.errstate(invalid="ignore"):
                like = (np.abs(near[..., 0] - one[..., 0]) <= DEEP) & (np.abs(near[..., 1:] - one[..., 1:]).max(axis=2) <= TINT)
            found |= like
    return int((here & ~found).sum())
