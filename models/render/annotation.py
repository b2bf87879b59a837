"""Annotations: what is known exactly about a rendered view, and how depth and normals become pictures.

Enters: camera, mask, the object's vertices and their bounds. Leaves: the annotation as JSON types (names and units below), and
depth and normals as the integers their PNGs hold.

Boxes are in pixels whose centres are integers, inclusive: [leftmost, topmost, rightmost, bottommost] pixel of the mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.render.camera import Camera, Matrix
from models.render.light import Light
from models.render.viewpoint import Pose

DEPTH_SCALE = 1e-4
"""One step of a stored depth, in longest sides of the object; 65535 steps reach 6.5 of them."""


def box2d(mask: NDArray[np.uint8]) -> list[float]:
    """Return [x0, y0, x1, y1] of a mask (H, W) that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return [float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])]


def corners(low: Matrix, high: Matrix) -> Matrix:
    """Return the 8 corners (8, 3) of a box: x changes fastest, then y, then z, each low before high."""
    return np.array([[(low, high)[x][0], (low, high)[y][1], (low, high)[z][2]] for z in (0, 1) for y in (0, 1) for x in (0, 1)])


def annotate(
    *,
    pose: Pose,
    camera: Camera,
    distance: float,
    moved_back: bool,
    light: Light,
    mask: NDArray[np.uint8],
    bounds: Matrix,
    visible: float,
) -> dict[str, Any]:
    """Return the annotation of one view as JSON types.

    `bounds` (2, 3) are the object's in the canonical frame; `visible` is the share of its whole silhouette inside the image.
    """
    return {
        "azimuth_deg": pose.azimuth_deg,
        "elevation_deg": pose.elevation_deg,
        "inplane_deg": pose.inplane_deg,
        "distance": distance,
        "requested_distance": pose.distance,
        "moved_back": moved_back,
        "K": camera.K.tolist(),
        "R": camera.R.tolist(),
        "t": camera.t.tolist(),
        "width": camera.width,
        "height": camera.height,
        "box": box2d(mask),
        "box3d": camera.project(corners(bounds[0], bounds[1])).tolist(),
        "box3d_extents": (bounds[1] - bounds[0]).tolist(),
        "visible_fraction": visible,
        "truncated_fraction": 1.0 - visible,
        "depth_scale": DEPTH_SCALE,
        "light": light.plain(),
    }


def depth_picture(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return depth (H, W), 0 for background, as the 16-bit steps its PNG holds; what is beyond the scale stays at its end."""
    steps: NDArray[np.uint16] = np.clip(np.rint(depth / DEPTH_SCALE), 0, 65535).astype(np.uint16)
    return steps


def normal_picture(normals: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return unit normals (H, W, 3) in the camera's axes as 8-bit RGB, n * 127.5 + 127.5, background 0."""
    return np.where(mask[..., None] > 0, np.rint(normals * 127.5 + 127.5), 0).astype(np.uint8)
