"""Cameras: from a pose to K, R and t, and from points to pixels.

Enters: a Pose, the lens, the object's vertices. Leaves: a Camera in the OpenCV convention (x right, y down, z forward,
pixel centres at integers), moved back until it sees the whole object where the spec wants that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.render.spec import RenderSpec
from models.render.viewpoint import Pose

Matrix = NDArray[np.float64]

NEAR = 0.01
"""Nothing nearer than this is rendered, in longest sides of the object."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """x_cam = R x + t; pixel = K x_cam / depth."""

    K: Matrix
    """3x3, pixels."""
    R: Matrix
    """3x3, canonical frame to camera."""
    t: Matrix
    """3, longest sides of the object."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    @property
    def centre(self) -> Matrix:
        """The camera's place in the canonical frame, (3,)."""
        return -self.R.T @ self.t

    def see(self, points: Matrix) -> Matrix:
        """Return points (N, 3) of the canonical frame in the camera's."""
        return points @ self.R.T + self.t

    def project(self, points: Matrix) -> Matrix:
        """Return the pixels (N, 2) of points (N, 3) of the canonical frame that lie before the camera."""
        seen = self.see(points) @ self.K.T
        return seen[:, :2] / seen[:, 2:]


def intrinsics(spec: RenderSpec) -> Matrix:
    """Return K, 3x3: the focal length in pixels and the centre of the image, 255.5 at 512 px."""
    focal = spec.lens_mm / spec.sensor_mm * spec.resolution
    centre = (spec.resolution - 1) / 2
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])


def rotation(pose: Pose) -> Matrix:
    """Return R, 3x3, canonical frame to camera, of a pose that looks at the origin."""
    a, e, roll = (math.radians(angle) for angle in (pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg))
    forward = np.array([-math.cos(e) * math.sin(a), math.cos(e) * math.cos(a), -math.sin(e)])
    # Level, and defined at the poles as well, where "up" has no direction of its own.
    right = np.array([math.cos(a), math.sin(a), 0.0])
    upright = np.stack([right, np.cross(forward, right), forward])
    # The image turns counter-clockwise when what was right of the centre moves up, which is -y.
    turn = np.array([[math.cos(roll), math.sin(roll), 0.0], [-math.sin(roll), math.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(turn @ upright)


def fitting_distance(points: Matrix, R: Matrix, spec: RenderSpec) -> float:
    """Return the least distance from which every point (N, 3) lies inside the image, its margin kept."""
    K = intrinsics(spec)
    seen = points @ R.T
    # Between the outermost pixel centres, less the margin: |focal * x / (z + distance)| <= half.
    half = K[0, 2] - spec.margin * spec.resolution
    needed = K[0, 0] * np.abs(seen[:, :2]).max(axis=1) / half - seen[:, 2]
    return float(max(needed.max(), (NEAR - seen[:, 2]).max()))


def region(camera: Camera, points: Matrix, border: int = 8) -> tuple[int, int, int, int]:
    """Return the part of the image (x0, y0, x1, y1, ends excluded) that holds every point (N, 3), and `border` pixels around."""
    if camera.see(points)[:, 2].min() < NEAR:
        # What reaches behind the camera may show anywhere.
        return 0, 0, camera.width, camera.height
    pixels = camera.project(points)
    low, high = np.floor(pixels.min(axis=0)).astype(int) - border, np.ceil(pixels.max(axis=0)).astype(int) + border + 1
    x0, y0 = np.clip(low, 0, [camera.width - 1, camera.height - 1]).tolist()
    x1, y1 = np.clip(high, [x0 + 1, y0 + 1], [camera.width, camera.height]).tolist()
    return x0, y0, x1, y1


def place(pose: Pose, points: Matrix, spec: RenderSpec) -> tuple[Camera, float, bool]:
    """Return the camera of `pose` on an object with vertices `points` (N, 3), its distance, and whether it was moved back."""
    R = rotation(pose)
    distance, moved = pose.distance, False
    if not spec.allow_truncation:
        needed = fitting_distance(points, R, spec)
        distance, moved = (needed, True) if needed > distance else (distance, False)
    camera = Camera(K=intrinsics(spec), R=R, t=np.array([0.0, 0.0, distance]), width=spec.resolution, height=spec.resolution)
    return camera, distance, moved
