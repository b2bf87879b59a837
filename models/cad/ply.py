"""PLY, text and binary, with colours and one texture.

Enters: a path. Leaves: a SourceModel with one part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.bad import BadModel
from models.cad.polygons import triangulate
from models.cad.references import text_of
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, clean, linear
from models.cad.textures import TextureShelf

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str, str | None]]
    """(name, type, type of the list's length or None)."""


@dataclass(frozen=True)
class _Header:
    order: str
    """Text: "", little-endian: "<", big-endian: ">"."""
    elements: list[_Element]
    texture: str | None
    size: int


def count_faces(path: Path, limit: int) -> int:
    """Return how many faces (or strips' corners) the header claims; vertices without end count as well."""
    counts = {element.name: element.count for element in _header(path).elements}
    if counts.get("vertex", 0) > 16 * limit + 2**20:
        return counts["vertex"]
    return counts.get("face", 0)


def read_ply(path: Path, max_faces: int) -> SourceModel:
    """Return the model in a PLY file. Raises BadModel."""
    header = _header(path)
    model = SourceModel()
    data = path.read_bytes()[header.size :]
    try:
        tables = _text_tables(header, data) if not header.order else _binary_tables(header, data)
        part = _part(tables, path)
    except (ValueError, IndexError, OverflowError, KeyError) as error:
        if isinstance(error, BadModel):
            raise
        raise BadModel("malformed", f"{path.name} is not valid PLY ({clean(str(error), 120)}); copy or export it again") from None
    if header.texture is not None and part.uv is not None:
        texture = TextureShelf(path, model).by_reference(header.texture, unescape=False)
        if texture is not None:
            model.materials = [Material(name="texture", base_color=(1.0, 1.0, 1.0, 1.0), base_texture=texture)]
            part = SourcePart(name=part.name, points=part.points, faces=part.faces, normals=part.normals, uv=part.uv, material=0)
    model.parts = [part]
    return model


def _header(path: Path) -> _Header:
    with open(path, "rb") as file:
        head = file.read(2**17)
    end = head.find(b"end_header")
    newline = head.find(b"\n", end)
    if not head.startswith(b"ply") or end < 0 or newline < 0:
        raise BadModel("malformed", f"{path.name} does not begin like a PLY file; export it again")
    order, texture = None, None
    elements: list[_Element] = []
    try:
        for line in head[:end].splitlines():
            words = text_of(line).split()
            if words[:1] == ["format"]:
                order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
            elif words[:1] == ["comment"] and len(words) > 2 and words[1].lower() == "texturefile":
                texture = text_of(line).split(None, 2)[2]
            elif words[:1] == ["element"]:
                count = int(words[2])
                if count < 0:
                    raise ValueError
                elements.append(_Element(words[1], count, []))
            elif words[:1] == ["property"]:
                kind = (
                    (words[4], _TYPES[words[3]], _TYPES[words[2]]) if words[1] == "list" else (words[2], _TYPES[words[1]], None)
                )
                elements[-1].properties.append(kind)
    except (KeyError, IndexError, ValueError):
        raise BadModel("malformed", f"{path.name} has a damaged PLY header; export it again") from None
    if order is None:
        raise BadModel("malformed", f"{path.name} has a PLY header without a format; export it again")
    return _Header(order, elements, texture, newline + 1)


Table = dict[str, Any]
"""Property -> (N,) values, or for lists (values one after the other, (N,) lengths)."""


def _text_tables(header: _Header, data: bytes) -> dict[str, Table]:
    lines = [line for line in data.splitlines() if line.strip()]
    tables: dict[str, Table] = {}
    at = 0
    for element in header.elements:
        rows = lines[at : at + element.count]
        at += element.count
        if len(rows) < element.count:
            raise ValueError(f"{len(rows)} of {element.count} {element.name} lines")
        if all(kind[2] is None for kind in element.properties):
            width = len(element.properties)
            values = np.array([[float(word) for word in row.split()[:width]] for row in rows]).reshape(-1, width)
            tables[element.name] = {kind[0]: values[:, i] for i, kind in enumerate(element.properties)}
            continue
        lists: dict[str, tuple[list[float], list[int]]] = {kind[0]: ([], []) for kind in element.properties if kind[2]}
        plain: dict[str, list[float]] = {kind[0]: [] for kind in element.properties if not kind[2]}
        for row in rows:
            words = row.split()
            position = 0
            for name, _, length_type in element.properties:
                if length_type is None:
                    plain[name].append(float(words[position]))
                    position += 1
                else:
                    length = int(words[position])
                    found = [float(word) for word in words[position + 1 : position + 1 + length]]
                    if len(found) != length:
                        raise ValueError(f"a short {element.name} line")
                    lists[name][0].extend(found)
                    lists[name][1].append(length)
                    position += 1 + length
        tables[element.name] = {name: np.array(values) for name, values in plain.items()}
        tables[element.name] |= {name: (np.array(flat), np.array(sizes, dtype=np.int64)) for name, (flat, sizes) in lists.items()}
    return tables


def _binary_tables(header: _Header, data: bytes) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    at = 0
    for element in header.elements:
        if element.name not in ("vertex", "face", "tristrips") and element is header.elements[-1]:
            break
        table, at = _binary_element(element, header.order, data, at)
        tables[element.name] = table
    return tables


def _binary_element(element: _Element, order: str, data: bytes, at: int) -> tuple[Table, int]:
    # All lists as long as the first row's: the usual case, read in one piece.
    fields: list[Any] = []
    position = at
    for name, kind, length_type in element.properties:
        if length_type is None:
            fields.append((name, order + kind))
            position += np.dtype(kind).itemsize
        else:
            length = int(np.frombuffer(data, order + length_type, 1, position)[0]) if element.count else 0
            fields += [(name + "#", order + length_type), (name, order + kind, (length,))]
            position += np.dtype(length_type).itemsize + length * np.dtype(kind).itemsize
    row = np.dtype(fields)
    listed = [kind[0] for kind in element.properties if kind[2] is not None]
    if at + element.count * row.itemsize <= len(data):
        rows = np.frombuffer(data, row, element.count, at)
        if all((rows[name + "#"] == row[name].shape[0]).all() for name in listed):
            table: Table = {kind[0]: rows[kind[0]].astype(np.float64) for kind in element.properties if kind[2] is None}
            for name in listed:
                table[name] = (rows[name].reshape(-1), np.full(element.count, row[name].shape[0], dtype=np.int64))
            return table, at + element.count * row.itemsize
    if not listed:
        raise ValueError(f"its data end before its {element.name} elements do")
    return _binary_rows(element, order, data, at)


def _binary_rows(element: _Element, order: str, data: bytes, at: int) -> tuple[Table, int]:
    plain: dict[str, list[float]] = {kind[0]: [] for kind in element.properties if kind[2] is None}
    lists: dict[str, tuple[list[NDArray[Any]], list[int]]] = {
        kind[0]: ([], []) for kind in element.properties if kind[2] is not None
    }
    for _ in range(element.count):
        for name, kind, length_type in element.properties:
            if length_type is None:
                plain[name].append(float(np.frombuffer(data, order + kind, 1, at)[0]))
                at += np.dtype(kind).itemsize
            else:
                length = int(np.frombuffer(data, order + length_type, 1, at)[0])
                at += np.dtype(length_type).itemsize
                lists[name][0].append(np.frombuffer(data, order + kind, length, at))
                lists[name][1].append(length)
                at += length * np.dtype(kind).itemsize
    table: Table = {name: np.array(values) for name, values in plain.items()}
    for name, (pieces, sizes) in lists.items():
        table[name] = (np.concatenate(pieces) if pieces else np.zeros(0), np.array(sizes, dtype=np.int64))
    return table, at


def _part(tables: dict[str, Table], path: Path) -> SourcePart:
    vertex = tables.get("vertex", {})
    points = _columns(vertex, "x", "y", "z")
    if points is None:
        raise ValueError("no x, y, z")
    face = tables.get("face", {})
    listed = next((face[name] for name in ("vertex_indices", "vertex_index") if name in face), None)
    if listed is None:
        raise BadModel("no_faces", f"{path.name} has no faces (a point cloud?); export the mesh itself")
    corners, sizes = listed[0].astype(np.int64), listed[1]
    if len(corners) and (corners.min() < 0 or corners.max() >= len(points)):
        raise BadModel("bad_index", f"{path.name}: a face refers to a vertex that is not there; export it again")
    keep = sizes >= 3
    corner_kept = np.repeat(keep, sizes)
    corners, sizes = corners[corner_kept], sizes[keep]
    normals = _columns(vertex, "nx", "ny", "nz")
    rgb = _columns(vertex, "red", "green", "blue")
    rgb = _columns(vertex, "r", "g", "b") if rgb is None else rgb
    colors = None
    if rgb is not None and np.isfinite(rgb).all():
        colors = np.concatenate([linear(rgb / 255.0 if rgb.max(initial=0) > 1 else rgb), np.ones((len(rgb), 1))], axis=1)
    uv = next(
        (
            c
            for c in (_columns(vertex, *names) for names in (("s", "t"), ("u", "v"), ("texture_u", "texture_v")))
            if c is not None
        ),
        None,
    )
    texcoord = face.get("texcoord")
    if texcoord is not None and (texcoord[1] == listed[1] * 2).all():
        # Coordinates at the corners of faces: vertices are taken apart where they differ.
        at_corners = texcoord[0].astype(np.float64).reshape(-1, 2)[corner_kept]
        return _with_corner_uv(path, points, corners, sizes, normals, at_corners)
    return SourcePart(
        name=clean(path.stem),
        points=points,
        faces=triangulate(points, corners, sizes),
        normals=normals,
        uv=None if uv is None else uv * (1.0, -1.0) + (0.0, 1.0),
        colors=colors,
    )


def _with_corner_uv(path: Path, points: Floats, corners: Ints, sizes: Ints, normals: Floats | None, uv: Floats) -> SourcePart:
    rows, inverse = np.unique(np.concatenate([corners[:, None], uv], axis=1), axis=0, return_inverse=True)
    which = rows[:, 0].astype(np.int64)
    own = points[which]
    return SourcePart(
        name=clean(path.stem),
        points=own,
        faces=triangulate(own, inverse.reshape(-1).astype(np.int64), sizes),
        normals=None if normals is None else normals[which],
        uv=rows[:, 1:] * (1.0, -1.0) + (0.0, 1.0),
    )


def _columns(table: Table, *names: str) -> Floats | None:
    return np.stack([table[name] for name in names], axis=1).astype(np.float64) if all(name in table for name in names) else None
