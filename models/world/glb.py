"""Reads canonical GLBs for the ray caster.

Enters: the bytes of a canonical GLB. Leaves: a RayModel with its textures.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.colour import to_linear
from models.world import geometry

TEXELS = 1024
"""Longest side of a texture."""


def load(glb: bytes) -> geometry.RayModel:
    """Return a canonical GLB (y-up, as glTF demands) as a RayModel in the canonical frame, with the file's own normals, textures
    and colours at vertices. Raises ValueError for a file without a mesh."""
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(glb), file_type="glb", process=False)
    if not scene.geometry:
        raise ValueError("there is no mesh in it")
    # glTF (x, y, z) is canonical (x, -z, y).
    scene.apply_transform(np.array([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]]))
    made = geometry.ray_model(scene, _normals)
    paint = _paint(scene, made)
    return made if paint is None else dataclasses.replace(made, paint=paint, colours=paint.mean)


def _normals(mesh: Any) -> NDArray[np.float64] | None:
    """Return the (V, 3) normals that a mesh's file gave, or None."""
    given = mesh._cache.cache.get("vertex_normals")
    return None if given is None else np.asarray(given, np.float64)


def _paint(scene: Any, made: geometry.RayModel) -> geometry.Paint | None:
    """Return what varies over a scene's surfaces, part by part as geometry.ray_model took them; None where nothing does."""
    textures: list[NDArray[np.float32] | None] = []
    uvs, tints, means = [], [], []
    for node in sorted(scene.graph.nodes_geometry):
        _, name = scene.graph[node]
        mesh = scene.geometry[name]
        plain = np.array(geometry.surface(mesh)[0], np.float32)
        corners = len(mesh.faces)
        material, uv = getattr(mesh.visual, "material", None), getattr(mesh.visual, "uv", None)
        picture = getattr(material, "baseColorTexture", None)
        tint = np.broadcast_to(plain, (corners, 3, 3)).astype(np.float32)
        texture = None
        if picture is not None and uv is not None:
            texture = _linear(picture)
            tint = np.broadcast_to(_factor(material), (corners, 3, 3)).astype(np.float32)
        elif material is None and mesh.visual.kind == "vertex":
            # glTF's colours at vertices are linear already.
            at_vertices = np.asarray(mesh.visual.vertex_colors[:, :3], np.float32) / 255.0
            tint = at_vertices[mesh.faces]
            plain = at_vertices.mean(axis=0)
        uvs.append(np.zeros((corners, 3, 2), np.float32) if uv is None else np.asarray(uv, np.float32)[mesh.faces])
        textures.append(texture)
        tints.append(tint)
        means.append(plain)
    if all(texture is None for texture in textures) and all(np.ptp(tint.reshape(-1, 3), axis=0).max() < 0.01 for tint in tints):
        return None
    return geometry.Paint(
        textures=tuple(textures),
        corner_uv=np.concatenate(uvs),
        corner_tints=np.concatenate(tints),
        mean=np.array(means, np.float32),
    )


def _linear(picture: Any) -> NDArray[np.float32]:
    """Return a texture as (H, W, 3) linear RGB, no side longer than TEXELS: finer than any pixel here."""
    picture = picture.convert("RGB")
    if max(picture.size) > TEXELS:
        scale = TEXELS / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    return to_linear(np.asarray(picture, np.float32) / 255.0)


def _factor(material: Any) -> NDArray[np.float32]:
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return np.ones(3, np.float32)
    values = np.asarray(factor)
    return np.asarray(values[:3] / (255.0 if np.issubdtype(values.dtype, np.integer) else 1.0), np.float32)
