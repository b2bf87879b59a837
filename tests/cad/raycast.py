"""Quick looks at parametric CAD models: cast rays, shade by one lamp; no Blender.

`python -m tests.cad.raycast OUT.png CLASS...` draws a sheet: a row for each seed, seen from front, front left, left, rear, above.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from models.cad import parametric
from models.cad.shapes.part import Model
from models.cad.shapes.solid import corner_normals

VIEWS = ((0.0, 8.0), (40.0, 15.0), (90.0, 8.0), (205.0, 20.0), (330.0, 50.0))


class Caster:
    """One model, ready to be looked at."""

    def __init__(self, model: Model) -> None:
        every = np.concatenate([part.solid.vertices for part in model.parts])
        low, high = every.min(axis=0), every.max(axis=0)
        triangles, normals, colours = [], [], []
        for part in model.parts:
            vertices = (part.solid.vertices - (low + high) / 2) / (high - low).max()
            triangles.append(vertices[part.solid.faces])
            normals.append(corner_normals(vertices, part.solid.faces))
            colours.append(np.broadcast_to(np.array(part.colour), (len(part.solid.faces), 3)))
        self.triangles = np.concatenate(triangles).astype(np.float32)
        self.normals, self.colours = np.concatenate(normals), np.concatenate(colours)
        self.scene = EmbreeScene()
        TriangleMesh(self.scene, self.triangles)

    def picture(self, azimuth: float, elevation: float, size: int, distance: float = 2.2, fov: float = 34.0) -> np.ndarray:
        """Return a linear RGB picture, (size, size, 3), on a light ground, the camera on our sphere (docs/conventions.md)."""
        a, e = np.radians([azimuth, elevation])
        back = np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
        right = np.array([np.cos(a), np.sin(a), 0.0])
        up = np.cross(back, right)
        span = np.tan(np.radians(fov / 2)) * (2 * (np.arange(size) + 0.5) / size - 1)
        x, y = np.meshgrid(span, -span)
        rays = x[..., None] * right + y[..., None] * up - back
        rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).reshape(-1, 3).astype(np.float32)
        origin = np.broadcast_to((distance * back).astype(np.float32), rays.shape).copy()
        hit = self.scene.run(origin, rays, output=True)
        face = hit["primID"]
        seen = face >= 0
        u, v = hit["u"][seen, None], hit["v"][seen, None]
        corner = self.normals[face[seen]]
        normal = (1 - u - v) * corner[:, 0] + u * corner[:, 1] + v * corner[:, 2]
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        lamp = 0.5 * right + 0.8 * up * np.cos(e) + np.array([0, 0, 0.6]) + 0.7 * back
        lamp /= np.linalg.norm(lamp)
        shade = 0.25 + 0.15 * normal[:, 2:] + 0.75 * np.clip(normal @ lamp, 0, 1)[:, None]
        half = lamp + back
        gloss = 0.25 * np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)[:, None] ** 30
        image = np.full((size * size, 3), 0.75)
        image[seen] = np.clip(self.colours[face[seen]] * shade + gloss, 0, 1)
        return image.reshape(size, size, 3)


def srgb(linear: np.ndarray) -> np.ndarray:
    return (255 * np.clip(linear, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)


def sheet(names: list[str], seeds: range, size: int = 160) -> np.ndarray:
    rows = []
    for name in names:
        for seed in seeds:
            caster = Caster(parametric.model(name, seed))
            rows.append(
                np.concatenate(
                    [srgb(caster.picture(a, e, size * 2).reshape(size, 2, size, 2, 3).mean(axis=(1, 3))) for a, e in VIEWS],
                    axis=1,
                )
            )
    return np.concatenate(rows)


if __name__ == "__main__":
    out, *rest = sys.argv[1:]
    first, last = (int(n) for n in rest.pop(0).split("-")) if rest and rest[0][0].isdigit() else (0, 6)
    cv2.imwrite(out, sheet(rest or list(parametric.CLASSES), range(first, last))[..., ::-1])
