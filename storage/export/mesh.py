"""CAD models as the formats want them: points and faces in the canonical frame, out of the store's GLB.

Enters: the canonical GLB (y-up, as glTF demands). Leaves: a triangle mesh in the canonical frame (z up, longest side 1), as PLY
in millimetres, as OFF, or as arrays.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import trimesh

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Triangles in the canonical frame."""

    points: Floats
    """(N, 3), longest side of the bounding box 1."""
    normals: Floats
    """(N, 3), of length 1."""
    colours: NDArray[np.uint8]
    """(N, 3), sRGB: the material's colour, or its texture's at the vertex."""
    faces: Ints
    """(M, 3)."""

    def diameter(self) -> float:
        """Return the largest distance between two vertices."""
        from scipy.spatial import ConvexHull
        from scipy.spatial.distance import pdist

        corners = self.points
        if len(corners) > 64:
            # QJ: a flat model has a hull too.
            corners = corners[ConvexHull(corners, qhull_options="QJ").vertices]
        return float(pdist(corners).max()) if len(corners) > 1 else 0.0

    def scaled(self, scale: float) -> trimesh.Trimesh:
        """Return it as trimesh's, points times `scale`."""
        import trimesh

        return trimesh.Trimesh(
            self.points * scale, self.faces, vertex_normals=self.normals, vertex_colors=self.colours, process=False
        )


def read_glb(data: bytes) -> Mesh:
    """Return the mesh in canonical GLB bytes, all parts in one. Raises ValueError for bytes that are none."""
    import trimesh

    if data[:4] != b"glTF":
        raise ValueError("these bytes are not a GLB")
    parts = list(trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).geometry.values())
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    # glTF's (x, y, z) is the canonical (x, -z, y).
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return Mesh(
        points=np.concatenate([part.vertices for part in parts]) @ turn.T,
        normals=np.concatenate([part.vertex_normals for part in parts]) @ turn.T,
        colours=np.concatenate([_colours(part) for part in parts]),
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
    )


def ply(mesh: Mesh, scale: float) -> bytes:
    """Return binary PLY (little-endian; float, uchar and int alone, triangles), points times `scale`."""
    data: bytes = mesh.scaled(scale).export(file_type="ply", vertex_normal=True)
    return data


def off(mesh: Mesh) -> bytes:
    """Return the mesh as an OFF text."""
    text: str = mesh.scaled(1.0).export(file_type="off", digits=6)
    return text.encode()


def _colours(part: Any) -> NDArray[np.uint8]:
    """Return what a vertex shows: texture, factor and vertex colour multiply, in linear light."""
    from trimesh.visual.color import linear_to_srgb, srgb_to_linear, to_float

    visual, material = part.visual, part.visual.material
    colour = np.ones((len(part.vertices), 3))
    if material.baseColorFactor is not None:
        colour *= to_float(material.baseColorFactor)[:3]
    if "color" in visual.vertex_attributes:
        colour *= to_float(visual.vertex_attributes["color"])[:, :3]
    if material.baseColorTexture is not None and visual.uv is not None:
        texels = np.asarray(material.baseColorTexture.convert("RGB"))
        size = texels.shape[1::-1]
        # trimesh counts v from below; a texel covers [i, i + 1) / size, and textures repeat.
        from_above = np.array([0.0, 1.0]) + np.array([1.0, -1.0]) * visual.uv
        columns, rows = (np.floor(from_above * size).astype(int) % size).T
        colour *= srgb_to_linear(texels[rows, columns])
    return np.asarray(np.rint(linear_to_srgb(np.clip(colour, 0.0, 1.0)) * 255), dtype=np.uint8)
