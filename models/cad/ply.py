"""PLY, text and binary, with colours and textures.

Enters: a path. Leaves: a SourceModel with a part for each texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.bad import BadModel
from models.cad.polygons import sound_polygons, triangulate
from models.cad.references import BYTE_ORDER_MARK, ply_textures, text_of
from models.cad.sound import taken
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, clean, linear_colors
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
    textures: list[str]
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
        _checked(tables, header, path, model)
        parts = _parts(tables, header, path, model)
    except (ValueError, IndexError, OverflowError, KeyError) as error:
        if isinstance(error, BadModel):
            raise
        raise BadModel("malformed", f"{path.name} is not valid PLY ({clean(str(error), 120)}); copy or export it again") from None
    shelf = TextureShelf(path, model)
    for number, part in parts.items():
        texture = None
        if part.uv is not None and number < len(header.textures):
            texture = shelf.by_reference(header.textures[number], unescape=False)
        if texture is not None:
            if part.colors is not None:
                model.warn("colours_dropped", f"{part.name} has a texture, which is shown, and colours, which are not")
            part = replace(part, colors=None, material=len(model.materials))
            model.materials.append(Material(name="texture", base_color=(1.0, 1.0, 1.0, 1.0), base_texture=texture))
        model.parts.append(part)
    return model


def _header(path: Path) -> _Header:
    with open(path, "rb") as file:
        head = file.read(2**17)
    mark = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    end = head.find(b"end_header")
    # Old Macs end lines with a carriage return alone.
    newline = head.find(b"\n" if b"\n" in head[:end] else b"\r", end)
    if not head[mark:].startswith(b"ply") or end < 0 or newline < 0:
        raise BadModel("malformed", f"{path.name} does not begin like a PLY file; export it again")
    order = None
    elements: list[_Element] = []
    try:
        for line in head[:end].splitlines():
            words = text_of(line).split()
            if words[:1] == ["format"]:
                order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
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
    return _Header(order, elements, ply_textures(head[:end]), newline + 1)


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


_WHITE = {"u1": 255.0, "u2": 65535.0}


def _colors(table: Table, header: _Header, element: str) -> Floats | None:
    """Return the linear colours of an element's rows. What is white, the numbers' type says; numbers alone where it does not."""
    names = next((names for names in (("red", "green", "blue"), ("r", "g", "b")) if all(n in table for n in names)), None)
    if names is None:
        return None
    kinds = {kind[0]: kind[1] for own in header.elements if own.name == element for kind in own.properties}
    return linear_colors(np.stack([table[name] for name in names], axis=1).astype(np.float64), _WHITE.get(kinds[names[0]]))


def _checked(tables: dict[str, Table], header: _Header, path: Path, model: SourceModel) -> None:
    """Warn of what has faces' worth of meaning and is not read."""
    for element in header.elements:
        if element.name not in ("vertex", "face") and element.count:
            model.warn("no_surface", f"{path.name}: {element.count} {clean(element.name)} entries are not read")
    for name in ("vertex", "face"):
        alpha = tables.get(name, {}).get("alpha")
        if isinstance(alpha, np.ndarray) and len(alpha) and alpha.min() < 0.99 * alpha.max():
            model.warn("transparency_dropped", f"{path.name}: the alpha of its colours; shown opaque")


def _parts(tables: dict[str, Table], header: _Header, path: Path, model: SourceModel) -> dict[int, SourcePart]:
    """Return the parts by the number of their texture."""
    vertex = tables.get("vertex", {})
    points = _columns(vertex, "x", "y", "z")
    if points is None:
        raise ValueError("no x, y, z")
    face = tables.get("face", {})
    listed = next((face[name] for name in ("vertex_indices", "vertex_index") if name in face), None)
    if listed is None:
        raise BadModel("no_faces", f"{path.name} has no faces (a point cloud?); export the mesh itself")
    # A broken number is the number of no vertex.
    whole_numbers = np.isfinite(listed[0]) & (listed[0] == np.floor(listed[0]))
    corners, sizes = np.where(whole_numbers, listed[0], -1).astype(np.int64), listed[1]
    keep = sound_polygons(corners, sizes, len(points), model, path.name)
    corner_kept = np.repeat(keep, sizes)
    corners, kept_sizes = corners[corner_kept], sizes[keep]
    named = (_columns(vertex, *names) for names in (("s", "t"), ("u", "v"), ("texture_u", "texture_v")))
    whole = SourcePart(
        name=clean(path.stem),
        points=points,
        faces=np.zeros((0, 3), dtype=np.int64),
        normals=_columns(vertex, "nx", "ny", "nz"),
        uv=next((columns for columns in named if columns is not None), None),
        colors=_colors(vertex, header, "vertex"),
    )
    texcoord, own = face.get("texcoord"), _colors(face, header, "face")
    at_corners: dict[str, Floats] = {}
    if texcoord is not None and (texcoord[1] == sizes * 2).all():
        at_corners["uv"] = texcoord[0].astype(np.float64).reshape(-1, 2)[corner_kept]
    elif texcoord is not None:
        model.warn("uv_dropped", f"{path.name}: its faces' texture coordinates are not two for each corner; left out")
    if own is not None and whole.colors is None:
        at_corners["colors"] = np.repeat(own[keep], kept_sizes, axis=0)
    if at_corners:
        whole, corners = _taken_apart(whole, corners, at_corners)
    whole = replace(whole, uv=None if whole.uv is None else whole.uv * (1.0, -1.0) + (0.0, 1.0))
    if len(header.textures) < 2 or not isinstance(face.get("texnumber"), np.ndarray):
        return {0: replace(whole, faces=triangulate(whole.points, corners, kept_sizes))}
    number = face["texnumber"].astype(np.int64)[keep]
    each = {int(n): (corners[np.repeat(number == n, kept_sizes)], kept_sizes[number == n]) for n in np.unique(number)}
    return {n if n >= 0 else len(each): replace(whole, faces=triangulate(whole.points, *own)) for n, own in each.items()}


def _taken_apart(part: SourcePart, corners: Ints, values: dict[str, Floats]) -> tuple[SourcePart, Ints]:
    """Give the part values that belong to corners: vertices are taken apart where they differ. Returns the new corners too."""
    table = np.concatenate([corners[:, None], *values.values()], axis=1)
    rows, inverse = np.unique(table, axis=0, return_inverse=True)
    ends = np.cumsum([1, *(value.shape[1] for value in values.values())])
    own = {name: rows[:, start:end] for name, start, end in zip(values, ends, ends[1:])}
    part = taken(part, rows[:, 0].astype(np.int64), part.faces)
    part = replace(part, uv=own.get("uv", part.uv), colors=own.get("colors", part.colors))
    return part, inverse.reshape(-1).astype(np.int64)


def _columns(table: Table, *names: str) -> Floats | None:
    return np.stack([table[name] for name in names], axis=1).astype(np.float64) if all(name in table for name in names) else None
