"""Pictures of known geometry without a renderer: rays cast at a mesh, one through each pixel's centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Cast:
    """One view, as models.render gives it, in the frame of docs/conventions.md."""

    rgba: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normal: NDArray[np.uint8]
    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixel coordinates (N, 2) of canonical points (N, 3)."""
        homogeneous = (points @ self.R.T + self.t) @ self.K.T
        return homogeneous[:, :2] / homogeneous[:, 2:]


def cast(
    mesh: trimesh.Trimesh,
    azimuth_deg: float = 30.0,
    elevation_deg: float = 25.0,
    distance: float = 1.8,
    size: int = 128,
    colour: tuple[float, float, float] | NDArray[np.float64] = (0.8, 0.8, 0.8),
    smooth: bool = False,
    light: tuple[float, float, float] = (0.4, -0.5, 0.8),
) -> Cast:
    """Return what a camera at this pose sees of `mesh` (one colour, or one for each face) under one light and some ambient."""
    a, e = np.radians([azimuth_deg, elevation_deg])
    centre = distance * np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    focal = size * 35 / 32
    K = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    v, u = np.mgrid[:size, :size]
    rays = np.stack([u.ravel(), v.ravel(), np.ones(size * size)], 1) @ np.linalg.inv(K).T @ R
    hits, at, faces = mesh.ray.intersects_location(np.tile(centre, (len(rays), 1)), rays, multiple_hits=False)[0:3]
    where, points = at, hits
    depth = np.zeros(size * size, np.float32)
    depth[where] = (points - centre) @ forward
    if smooth:
        weights = trimesh.triangles.points_to_barycentric(mesh.triangles[faces], points)
        normals = (mesh.vertex_normals[mesh.faces[faces]] * weights[..., None]).sum(1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    else:
        normals = mesh.face_normals[faces]
    normals = np.where(((normals @ forward) > 0)[:, None], -normals, normals)
    shade = 0.35 + 0.65 * np.clip(normals @ (np.array(light) / np.linalg.norm(light)), 0, 1)
    rgba = np.zeros((size * size, 4), np.uint8)
    rgba[where, :3] = np.clip(np.broadcast_to(colour, (len(mesh.faces), 3))[faces] * shade[:, None] * 255, 0, 255)
    rgba[where, 3] = 255
    normal = np.zeros((size * size, 3), np.uint8)
    normal[where] = np.rint(normals @ R.T * 127.5 + 127.5)
    shape = (size, size)
    return Cast(
        rgba=rgba.reshape(*shape, 4),
        mask=rgba[:, 3].reshape(shape),
        depth=depth.reshape(shape),
        normal=normal.reshape(*shape, 3),
        K=K,
        R=R,
        t=-R @ centre,
    )
