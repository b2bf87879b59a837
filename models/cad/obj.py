"""Wavefront OBJ with its material library.

Enters: a path. Leaves: a SourceModel, one part for each object and material.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.cad.bad import BadModel
from models.cad.polygons import triangulate
from models.cad.references import MTL_MAPS, mtl_libraries, mtl_map_name, text_of
from models.cad.rows import distinct
from models.cad.source import Floats, Material, SourceModel, SourcePart, clean, linear, linear_rgb
from models.cad.textures import TextureShelf

Corner = tuple[int, int, int]


class _Group:
    """Polygons of one object with one material, as corners into the file's v, vt, vn."""

    def __init__(self, name: str, material: str | None) -> None:
        self.name = name
        self.material = material
        self.corners: list[int] = []
        self.sizes: list[int] = []


def count_faces(path: Path, limit: int) -> int:
    """Return the number of face lines, or the first count above `limit`: at most the number of triangles."""
    count = 0
    last = b"\n"
    with open(path, "rb") as file:
        while block := file.read(2**24):
            # A line start may lie on the seam between two blocks.
            joined = last + block
            count += joined.count(b"\nf ") + joined.count(b"\nf\t")
            last = joined[-2:]
            if count > limit:
                break
    return count


def read_obj(path: Path, max_faces: int) -> SourceModel:
    """Return the model in an OBJ file. Raises BadModel."""
    model = SourceModel()
    shelf = TextureShelf(path, model)
    lines: dict[bytes, list[bytes]] = {b"v": [], b"vt": [], b"vn": []}
    libraries: list[bytes] = []
    groups: dict[tuple[str, str | None], _Group] = {}
    name, material = path.stem, None
    # Token -> index into `corners`; millions of tokens are looked up, few are new.
    known: dict[bytes, int] = {}
    corners: list[Corner] = []
    group: _Group | None = None
    triangles = 0
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        head = words[0]
        if head in lines:
            lines[head].append(line)
        elif head == b"f":
            if len(words) < 4:
                raise BadModel("malformed", f"{path.name} line {number}: a face of {len(words) - 1} corners; export it again")
            if group is None:
                group = groups.setdefault((name, material), _Group(name, material))
            counts = (len(lines[b"v"]), len(lines[b"vt"]), len(lines[b"vn"]))
            for word in words[1:]:
                relative = b"-" in word
                index = None if relative else known.get(word)
                if index is None:
                    index = len(corners)
                    corners.append(_corner(word, counts, path, number))
                    if not relative:
                        known[word] = index
                group.corners.append(index)
            group.sizes.append(len(words) - 1)
            triangles += len(words) - 3
            if triangles > max_faces:
                raise BadModel("too_many_faces", f"{path.name} has more than {max_faces} faces; simplify it or raise --max-faces")
        elif head in (b"o", b"g"):
            name = text_of(line.strip()[2:]) or path.stem
            group = None
        elif head == b"usemtl":
            material = text_of(line.strip()[7:])
            group = None
        elif head == b"mtllib":
            libraries.append(line)

    materials = _read_materials(libraries, shelf, model)
    points, colors = _points(lines[b"v"], path)
    uv = _columns(lines[b"vt"], 2, "vt", path)
    normals = _columns(lines[b"vn"], 3, "vn", path)
    table = np.array(corners, dtype=np.int64).reshape(-1, 3)
    _check(table[:, 0], len(points), path)
    # Damaged texture coordinates or normals do not spoil the shape: those out of range count as not given.
    table[:, 1] = np.where(table[:, 1] < len(uv), table[:, 1], -1)
    table[:, 2] = np.where(table[:, 2] < len(normals), table[:, 2], -1)
    for name in sorted({g.material for g in groups.values() if g.material is not None} - set(materials)):
        model.warn("material_missing", f"{name} is in no material library; shown grey")
    order = {name: i for i, name in enumerate(materials)}
    model.materials = list(materials.values())
    for group in groups.values():
        polygons = table[np.array(group.corners, dtype=np.int64)]
        first, inverse = distinct(polygons)
        used = polygons[first]
        has_uv = bool((used[:, 1] >= 0).all()) and len(uv) > 0
        has_normals = bool((used[:, 2] >= 0).all()) and len(normals) > 0
        own = points[used[:, 0]]
        model.parts.append(
            SourcePart(
                name=clean(group.name),
                points=own,
                faces=triangulate(own, inverse, np.array(group.sizes, dtype=np.int64)),
                normals=normals[used[:, 2]] if has_normals else None,
                uv=(uv[used[:, 1]] * (1.0, -1.0) + (0.0, 1.0)) if has_uv else None,
                colors=None if colors is None else colors[used[:, 0]],
                material=order.get(group.material) if group.material is not None else None,
            )
        )
    return model


def _lines(path: Path) -> Iterable[bytes]:
    held = b""
    with open(path, "rb") as file:
        for line in file:
            if line.rstrip().endswith(b"\\"):
                held += line.rstrip()[:-1] + b" "
                continue
            yield held + line if held else line
            held = b""


def _corner(word: bytes, counts: Corner, path: Path, number: int) -> Corner:
    """Return v, vt, vn from 0, -1 for what is not given. Negative numbers count back from the last one read."""
    fields = word.split(b"/")
    try:
        values = [int(field) if field else 0 for field in fields[:3]]
    except ValueError:
        raise BadModel("malformed", f"{path.name} line {number}: {clean(text_of(word))!r} is no corner of a face") from None
    values += [0] * (3 - len(values))
    v, vt, vn = (value - 1 if value > 0 else (count + value if value < 0 else -1) for value, count in zip(values, counts))
    if not -1 <= max(v, vt, vn) < 2**40:
        raise BadModel("bad_index", f"{path.name} line {number}: a face refers to something that is not there")
    if v < 0:
        raise BadModel("bad_index", f"{path.name} line {number}: a face refers to a vertex that is not there")
    return v, vt, vn


def _numbers(lines: list[bytes], path: Path, kind: str) -> list[Floats]:
    try:
        return [np.array(line.split()[1:], dtype=np.float64) for line in lines]
    except ValueError:
        raise BadModel("malformed", f"{path.name}: a {kind} line does not hold numbers") from None


def _table(lines: list[bytes], kind: str, path: Path) -> Floats | None:
    """Return all lines as one table, or None when they are not equally long."""
    width = len(lines[0].split()) - 1
    values = b" ".join(lines).split()
    if width < 1 or len(values) != len(lines) * (width + 1):
        return None
    columns = [values[i :: width + 1] for i in range(1, width + 1)]
    if set(values[:: width + 1]) != {kind.encode()}:
        return None
    try:
        return np.array([list(map(float, column)) for column in columns]).T
    except ValueError:
        raise BadModel("malformed", f"{path.name}: a {kind} line does not hold numbers") from None


def _columns(lines: list[bytes], width: int, kind: str, path: Path) -> Floats:
    if not lines:
        return np.zeros((0, width))
    table = _table(lines, kind, path)
    if table is None:
        rows = [np.concatenate([row, np.zeros(width)])[:width] for row in _numbers(lines, path, kind)]
        table = np.stack(rows)
    if table.shape[1] < width:
        table = np.pad(table, ((0, 0), (0, width - table.shape[1])))
    return np.ascontiguousarray(table[:, :width])


def _points(lines: list[bytes], path: Path) -> tuple[Floats, Floats | None]:
    """Return positions and, where every vertex has one, colours (`v x y z r g b`, sRGB)."""
    if not lines:
        return np.zeros((0, 3)), None
    table = _table(lines, "v", path)
    if table is None:
        rows = _numbers(lines, path, "v")
        if min(map(len, rows)) < 3:
            raise BadModel("malformed", f"{path.name}: a vertex with fewer than three numbers")
        table = np.stack([row[:3] for row in rows])
    if table.shape[1] < 3:
        raise BadModel("malformed", f"{path.name}: a vertex with fewer than three numbers")
    colors = None
    if table.shape[1] >= 6:
        rgb = table[:, -3:]
        if np.isfinite(rgb).all():
            rgb = rgb / 255.0 if rgb.max() > 1.0 else rgb
            colors = np.concatenate([linear(rgb), np.ones((len(rgb), 1))], axis=1)
    return np.ascontiguousarray(table[:, :3]), colors


def _check(indices: np.ndarray, count: int, path: Path) -> None:
    if len(indices) and indices.max() >= count:
        raise BadModel("bad_index", f"{path.name}: a face refers to vertex {indices.max() + 1} of {count}; export it again")


def _read_materials(libraries: list[bytes], shelf: TextureShelf, model: SourceModel) -> dict[str, Material]:
    materials: dict[str, Material] = {}
    for line in libraries:
        for name, library in mtl_libraries(line, shelf.references):
            if library.path is None:
                model.warn("material_library_missing", f"{name} is not in the model's folder; shown grey")
                continue
            for material, statements in _statements(library.path):
                materials.setdefault(material, _material(material, statements, shelf, model))
    return materials


def _statements(path: Path) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    for line in path.read_bytes().splitlines():
        words = text_of(line).split(None, 1)
        if len(words) < 2 or words[0].startswith("#"):
            continue
        if words[0].lower() == "newmtl":
            found.append((words[1].strip(), {}))
        elif found:
            found[-1][1].setdefault(words[0].lower(), words[1].strip())
    return found


def _numbers_of(text: str | None, count: int) -> list[float] | None:
    if text is None:
        return None
    try:
        values = [float(word) for word in text.split()[:count]]
    except ValueError:
        return None
    return values if len(values) == count and all(np.isfinite(values)) else None


def _material(name: str, statements: dict[str, str], shelf: TextureShelf, model: SourceModel) -> Material:
    made = Material(name=clean(name))
    kd = _numbers_of(statements.get("kd"), 3)
    if kd is not None:
        made = replace(made, base_color=(*linear_rgb(kd), 1.0))
    shininess = _numbers_of(statements.get("ns"), 1)
    roughness = _numbers_of(statements.get("pr"), 1)
    metallic = _numbers_of(statements.get("pm"), 1)
    if roughness is not None:
        made = replace(made, roughness=float(np.clip(roughness[0], 0.05, 1.0)))
    elif shininess is not None:
        made = replace(made, roughness=round(float(np.clip(1.0 - np.sqrt(max(shininess[0], 0.0) / 1000.0), 0.2, 1.0)), 4))
    if metallic is not None:
        made = replace(made, metallic=float(np.clip(metallic[0], 0.0, 1.0)))
    opacity = _numbers_of(statements.get("d"), 1)
    if opacity is not None and opacity[0] < 0.99:
        model.warn(
            "transparency_dropped", f"material {name} is {opacity[0]:.2f} opaque; shown opaque, as the annotation is of surfaces"
        )
    maps = {kind: mtl_map_name(statements[kind]) for kind in MTL_MAPS if kind in statements}
    if "map_kd" in maps:
        base = shelf.by_reference(maps["map_kd"], unescape=False, opacity=_mask(maps, shelf))
        if base is not None:
            # Exporters write any Kd beside a map; every viewer shows the map alone.
            made = replace(made, base_texture=base, base_color=(1.0, 1.0, 1.0, 1.0), cutoff=0.5 if "map_d" in maps else None)
        elif max(made.base_color[:3]) < 0.02:
            made = replace(made, base_color=Material().base_color)
    if "norm" in maps:
        made = replace(made, normal_texture=shelf.by_reference(maps["norm"], unescape=False))
    return made


def _mask(maps: dict[str, str], shelf: TextureShelf) -> str | None:
    name = maps.get("map_d")
    return name if name is not None and shelf.references.find(name, unescape=False).path is not None else None
