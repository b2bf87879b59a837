"""What a camera sees of a source file, by rays through pixel centres: no renderer, no canonical GLB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray


def source_triangles(path: Path, canonical_from_source: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the triangles (N, 3, 3) of a file, as trimesh reads it, in the canonical frame."""
    mesh = trimesh.load(path, force="scene", process=False).to_mesh()
    return trimesh.transform_points(mesh.vertices, canonical_from_source)[mesh.faces]


def cast(triangles: NDArray[np.float64], annotation: dict[str, Any]) -> NDArray[np.float64]:
    """Return depth (H, W) along the optical axis at pixel centres, 0 where the ray misses, for the annotation's camera."""
    K, R, t = (np.array(annotation[name]) for name in "KRt")
    h, w = annotation["height"], annotation["width"]
    v, u = np.mgrid[:h, :w]
    rays = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(K).T
    # In the camera's frame a ray whose z is 1 has run its own depth.
    scene = EmbreeScene(robust=True)
    TriangleMesh(scene, (triangles @ R.T + t).astype(np.float32))
    hit = scene.run(np.zeros_like(rays, dtype=np.float32), rays.astype(np.float32), output=True)
    return np.where(hit["primID"] >= 0, hit["tfar"], 0.0).reshape(h, w)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return intersection over union of two masks."""
    return float((a & b).sum() / max((a | b).sum(), 1))
