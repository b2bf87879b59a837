"""Alignment offsets of the published CAD list, converted to a rotation.

Enters: a CAD model's azimuth and elevation offset in degrees (3D-DST, section 3.1; columns of the published list). Leaves: the
3x3 rotation that follows the axes +y up, -z front. Imports nothing heavy: a command can check a list with it.

The official code takes a CAD file's +y as up and its -z as the front, counts azimuth from +x and so has the front at azimuth 90.
It adds the offsets to the camera: for a sampled azimuth a and polar angle p the camera stands at azimuth a + `azimuth` and polar
angle p - `elevation` of the file's frame. The class's front at eye level therefore lies `azimuth` further round and `elevation`
higher in the file's frame. This module moves the object instead: it turns it back by `azimuth` about +z, then tips its front down
by `elevation` about the axis from right to left. Adding `elevation` to the camera, as the official code does, is right for a
camera in front and wrong by twice the angle for one behind, and its labels stay in the file's frame.
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
