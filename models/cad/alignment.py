"""Alignment offsets of the published CAD list, as the rotation they stand for.

Enters: a CAD model's azimuth and elevation offset in degrees (3D-DST, section 3.1; columns of the published list). Leaves: the
3x3 rotation that follows the axes +y up, -z front. Imports nothing heavy: a command can check a list with it.

The official code sees a CAD model whose file says +y up and -z ahead; with azimuth counted from +x it calls 90 the front. A
sampled azimuth a and polar angle p are looked at from a + azimuth, p - elevation of the file's frame. So what the class calls its
front at eye level lies, in the file's frame, `azimuth` further round and `elevation` higher up: turned back by the one about
+z, then tipped down by the other about the axis from right to left, it is where the canonical frame wants it. The official code
adds the elevation to the camera's angle instead, which is right for a camera in front, wrong by twice as much for one behind, and
leaves its labels in the file's frame.
"""

from __future__ import annotations

import math

Turn = tuple[tuple[float, float, float], ...]


def turn_of(azimuth_deg: float, elevation_deg: float) -> Turn | None:
    """Return the rotation (3x3, rows) that offsets stand for, None where there is nothing to turn."""
    if azimuth_deg % 360 == 0 and elevation_deg % 360 == 0:
        return None
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    ca, sa, ce, se = math.cos(a), math.sin(a), math.cos(e), math.sin(e)
    # Tip about x by +e (the front, -y, goes down by e) after the turn about z by -a.
    back = ((ca, sa, 0.0), (-sa, ca, 0.0), (0.0, 0.0, 1.0))
    down = ((1.0, 0.0, 0.0), (0.0, ce, -se), (0.0, se, ce))
    return tuple(
        (
            sum(down[i][k] * back[k][0] for k in range(3)),
            sum(down[i][k] * back[k][1] for k in range(3)),
            sum(down[i][k] * back[k][2] for k in range(3)),
        )
        for i in range(3)
    )
