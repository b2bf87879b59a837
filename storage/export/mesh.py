"""CAD models as the formats want them: points and faces in the canonical frame, out of the store's GLB.

Enters: the canonical GLB (y-up, as glTF demands). Leaves: a triangle mesh in the canonical frame (z up, longest side 1), as PLY
in millimetres, as OFF, or as arrays.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

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
        from scipy.spatial import ConvexHull, QhullError
        from scipy.spatial.distance import pdist

        corners = self.points
        if len(corners) > 64:
            try:
                corners = corners[ConvexHull(corners).vertices]
            except QhullError:
                # Flat: the vertices that reach farthest in each of many directions hold the two that are farthest apart.
                directions = np.random.default_rng(0).normal(size=(3, 2000))
                corners = corners[np.unique((corners @ directions).argmax(axis=0))]
        return float(pdist(corners).max()) if len(corners) > 1 else 0.0


def read_glb(data: bytes) -> Mesh:
    """Return the mesh in canonical GLB bytes, all parts in one. Raises ValueError for bytes that are none."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise ValueError("these bytes are not a GLB")
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    binary = memoryview(data)[20 + length + 8 :]
    parts: list[tuple[Floats, Floats, NDArray[np.uint8], Ints]] = []
    start = 0
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            attributes = primitive["attributes"]
            points = _accessor(document, binary, attributes["POSITION"]).astype(np.float64)
            faces = _accessor(document, binary, primitive["indices"]).astype(np.int64).reshape(-1, 3)
            normals = (
                _accessor(document, binary, attributes["NORMAL"]).astype(np.float64)
                if "NORMAL" in attributes
                else _normals(points, faces)
            )
            colours = _colours(document, binary, primitive, len(points))
            parts.append((points, normals, colours, faces + start))
            start += len(points)
    # glTF's (x, y, z) is the canonical (x, -z, y).
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return Mesh(
        points=np.concatenate([part[0] for part in parts]) @ turn.T,
        normals=np.concatenate([part[1] for part in parts]) @ turn.T,
        colours=np.concatenate([part[2] for part in parts]),
        faces=np.concatenate([part[3] for part in parts]),
    )


def ply(mesh: Mesh, scale: float) -> bytes:
    """Return binary PLY (little-endian; float, uchar and int alone, triangles), points times `scale`."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(mesh.points)}\n"
        "property float x\nproperty float y\nproperty float z\nproperty float nx\nproperty float ny\nproperty float nz\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    vertices = np.empty(len(mesh.points), dtype=[("place", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
    vertices["place"], vertices["normal"], vertices["colour"] = mesh.points * scale, mesh.normals, mesh.colours
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    return header.encode() + vertices.tobytes() + faces.tobytes()


def off(mesh: Mesh) -> bytes:
    """Return the mesh as an OFF text."""
    lines = [f"OFF\n{len(mesh.points)} {len(mesh.faces)} 0"]
    lines += [f"{x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.points.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in mesh.faces.tolist()]
    return ("\n".join(lines) + "\n").encode()


_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def _accessor(document: Mapping[str, Any], binary: memoryview, index: int) -> NDArray[Any]:
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    width = _WIDTHS[entry["type"]]
    start = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
    kind = np.dtype(_COMPONENTS[entry["componentType"]])
    values = np.frombuffer(binary, kind, entry["count"] * width, start).reshape(entry["count"], width)
    if entry.get("normalized"):
        return np.asarray(values / np.iinfo(kind).max)
    return values


def _normals(points: Floats, faces: Ints) -> Floats:
    across = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    summed = np.zeros_like(points)
    for corner in range(3):
        np.add.at(summed, faces[:, corner], across)
    return np.asarray(summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12))


def _colours(document: Mapping[str, Any], binary: memoryview, primitive: Mapping[str, Any], count: int) -> NDArray[np.uint8]:
    material = document["materials"][primitive["material"]] if "material" in primitive else {}
    surface = material.get("pbrMetallicRoughness", {})
    attributes = primitive["attributes"]
    colour = np.tile(np.asarray(surface.get("baseColorFactor", [1.0, 1.0, 1.0, 1.0]), dtype=np.float64)[:3], (count, 1))
    if "COLOR_0" in attributes:
        colour *= _accessor(document, binary, attributes["COLOR_0"]).astype(np.float64)[:, :3]
    picture = None
    if "baseColorTexture" in surface and "TEXCOORD_0" in attributes:
        source = document["images"][document["textures"][surface["baseColorTexture"]["index"]]["source"]]
        view = document["bufferViews"][source["bufferView"]]
        start = view.get("byteOffset", 0)
        picture = cv2.imdecode(np.frombuffer(binary[start : start + view["byteLength"]], np.uint8), cv2.IMREAD_COLOR)
    if picture is not None:
        uv = _accessor(document, binary, attributes["TEXCOORD_0"]).astype(np.float64) % 1.0
        rows = np.minimum((uv[:, 1] * picture.shape[0]).astype(int), picture.shape[0] - 1)
        columns = np.minimum((uv[:, 0] * picture.shape[1]).astype(int), picture.shape[1] - 1)
        texel = picture[rows, columns, ::-1].astype(np.float64) / 255
        colour *= np.where(texel <= 0.04045, texel / 12.92, ((texel + 0.055) / 1.055) ** 2.4)
    colour = np.clip(colour, 0.0, 1.0)
    shown = np.where(colour <= 0.0031308, colour * 12.92, 1.055 * colour ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(shown * 255), dtype=np.uint8)
