"""Poses of the official code, converted to our frame.

Enters: its camera (azimuth from +x with the front at 90, polar angle from +z, in the CAD file's own frame, offsets included) and
the offsets themselves. Leaves: the Pose in the class's canonical frame, in which labels agree between CAD models. An elevation
offset tips the object, so what was level in the file's frame has an in-plane rotation here.
"""

from __future__ import annotations

import math

import numpy as np

from models.cad.alignment import turn_of
from models.render.camera import Matrix, rotation
from models.render.viewpoint import Pose


def canonical_view(
    theta_deg: float, phi_deg: float, rotation_deg: float, distance: float, azimuth_deg: float, elevation_deg: float
) -> Pose:
    """Return the canonical pose of a camera at (theta, phi) of the file's frame, whose offsets are azimuth and elevation."""
    phi = phi_deg % 360.0
    if phi > 180.0:
        phi, theta_deg = 360.0 - phi, theta_deg + 180.0
    raw = Pose(azimuth_deg=theta_deg - 90.0, elevation_deg=90.0 - phi, inplane_deg=rotation_deg, distance=distance)
    turn = turn_of(azimuth_deg, elevation_deg)
    seen = rotation(raw) if turn is None else rotation(raw) @ np.array(turn).T
    return pose_from(seen, distance)


def pose_from(R: Matrix, distance: float) -> Pose:
    """Return the pose whose camera rotation is R (3x3, canonical frame to camera)."""
    back = -R[2]
    elevation = math.degrees(math.asin(min(max(float(back[2]), -1.0), 1.0)))
    if abs(back[2]) < 1 - 1e-12:
        azimuth = math.degrees(math.atan2(float(back[0]), float(-back[1])))
    else:
        # At a pole azimuth and in-plane rotation are one and the same turn.
        azimuth = math.degrees(math.atan2(float(R[0, 1]), float(R[0, 0])))
    level = rotation(Pose(azimuth_deg=azimuth, elevation_deg=elevation, inplane_deg=0.0, distance=distance))
    turn = R @ level.T
    return Pose(
        azimuth_deg=azimuth % 360.0 % 360.0,
        elevation_deg=elevation,
        inplane_deg=math.degrees(math.atan2(float(turn[0, 1]), float(turn[0, 0]))),
        distance=distance,
    )
