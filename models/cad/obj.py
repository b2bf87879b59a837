"""Wavefront OBJ with its material library.

Enters: a path. Leaves: a SourceModel, one part for each object and material.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.cad.bad import BadModel
from models.cad.polygons import sound_polygons, triangulate
from models.cad.references import MTL_MAPS, lines_of, mtl_libraries, mtl_map, text_of
from models.cad.rows import distinct
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, clean, linear_colors, linear_rgb
from models.cad.textures import TextureShelf

Corner = tuple[int, int, int]
_OTHER_SHAPES = (b"l", b"p", b"curv", b"curv2", b"surf")


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
            joined = (last + block).replace(b"\r", b"\n")
            count += joined.count(b"\nf ") + joined.count(b"\nf\t")
            last = joined[-2:]
            if count > limit:
                break
    return count


class _Lines:
    """What the lines of a file hold, by kind."""

    def __init__(self) -> None:
        self.tables: dict[bytes, list[bytes]] = {b"v": [], b"vt": [], b"vn": []}
        self.libraries: list[bytes] = []
        self.groups: dict[tuple[str, str | None], _Group] = {}
        self.corners: list[Corner] = []
        self.others: set[str] = set()


def _read_lines(path: Path, max_faces: int) -> _Lines:
    found = _Lines()
    lines, groups, corners = found.tables, found.groups, found.corners
    name, material = path.stem, None
    # Token -> index into `corners`; millions of tokens are looked up, few are new.
    known: dict[bytes, int] = {}
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
            triangles += max(len(words) - 3, 0)
            if triangles > max_faces:
                raise BadModel("too_many_faces", f"{path.name} has more than {max_faces} faces; simplify it or raise --max-faces")
        elif head in (b"o", b"g"):
            name = text_of(line.strip()[2:]) or path.stem
            group = None
        elif head == b"usemtl":
            material = text_of(line.strip()[7:])
            group = None
        elif head == b"mtllib":
            found.libraries.append(line)
        elif head in _OTHER_SHAPES:
            found.others.add(head.decode())
    return found


def read_obj(path: Path, max_faces: int) -> SourceModel:
    """Return the model in an OBJ file. Raises BadModel."""
    model = SourceModel()
    shelf = TextureShelf(path, model)
    found = _read_lines(path, max_faces)
    lines, groups = found.tables, found.groups
    if found.others:
        model.warn("no_surface", f"{path.name}: lines, points and curves ({', '.join(sorted(found.others))}) are left out")
    materials, moved = _read_materials(found.libraries, shelf, model)
    points, colors = _points(lines[b"v"], path)
    uv = _columns(lines[b"vt"], 2, "vt", path)
    normals = _columns(lines[b"vn"], 3, "vn", path)
    table = np.array(found.corners, dtype=np.int64).reshape(-1, 3)
    # Damaged texture coordinates or normals do not spoil the shape: those out of range count as not given.
    table[:, 1] = np.where(table[:, 1] < len(uv), table[:, 1], -1)
    table[:, 2] = np.where(table[:, 2] < len(normals), table[:, 2], -1)
    kept = _sound(groups, table, len(points), path, model)
    for name in sorted({g.material for g in groups.values() if g.material is not None} - set(materials)):
        model.warn("material_missing", f"{name} is in no material library; shown grey")
    order = {name: i for i, name in enumerate(materials)}
    model.materials = list(materials.values())
    for group, (polygons, sizes) in zip(groups.values(), kept):
        first, inverse = distinct(polygons)
        used = polygons[first]
        has_normals = bool((used[:, 2] >= 0).all()) and len(normals) > 0
        if not has_normals and (used[:, 2] >= 0).any():
            model.warn("normals_dropped", f"{clean(group.name)}: some of its faces have no normals; all are computed anew")
        textured = group.material in materials and materials[group.material].base_texture is not None
        own_uv = _uv(polygons, used, sizes, uv, textured, clean(group.name), model)
        if own_uv is not None and group.material in moved:
            own_uv = own_uv * moved[group.material][0] + moved[group.material][1]
        own = points[used[:, 0]]
        model.parts.append(
            SourcePart(
                name=clean(group.name),
                points=own,
                faces=triangulate(own, inverse, sizes),
                normals=normals[used[:, 2]] if has_normals else None,
                uv=None if own_uv is None else own_uv * (1.0, -1.0) + (0.0, 1.0),
                colors=None if colors is None else colors[used[:, 0]],
                material=order.get(group.material) if group.material is not None else None,
            )
        )
    return model


def _lines(path: Path) -> Iterator[bytes]:
    held = b""
    for line in lines_of(path):
        if line.rstrip().endswith(b"\\"):
            held += line.rstrip()[:-1] + b" "
            continue
        yield held + line if held else line
        held = b""


def _sound(
    groups: dict[tuple[str, str | None], _Group], table: Ints, count: int, path: Path, model: SourceModel
) -> list[tuple[Ints, Ints]]:
    """Return (corners, sizes) of each group's polygons, without those that are none."""
    if not groups:
        return []
    sizes = np.concatenate([np.array(group.sizes, dtype=np.int64) for group in groups.values()])
    rows = table[np.concatenate([np.array(group.corners, dtype=np.int64) for group in groups.values()])]
    if (sizes < 3).all():
        raise BadModel("malformed", f"{path.name}: its faces have fewer than three corners; export it again")
    keep = sound_polygons(rows[:, 0], sizes, count, model, path.name)
    owners = np.repeat(np.arange(len(groups)), [len(group.sizes) for group in groups.values()])
    corner_owners, corner_kept = np.repeat(owners, sizes), np.repeat(keep, sizes)
    return [(rows[(corner_owners == number) & corner_kept], sizes[(owners == number) & keep]) for number in range(len(groups))]


def _uv(polygons: Ints, used: Ints, sizes: Ints, uv: Floats, textured: bool, name: str, model: SourceModel) -> Floats | None:
    """Return texture coordinates of the `used` corners. Faces without any show the texture's corner, as in Blender."""
    given = used[:, 1] >= 0
    if len(uv) == 0 or not given.any() or not (textured or given.all()):
        return None
    if not given.all():
        without = np.zeros(len(sizes), dtype=np.bool_)
        without[np.repeat(np.arange(len(sizes)), sizes)[polygons[:, 1] < 0]] = True
        model.warn("uv_partial", f"{name}: {int(without.sum())} of {len(sizes)} faces have no place in the texture")
    return np.where(given[:, None], uv[np.maximum(used[:, 1], 0)], 0.0)


def _corner(word: bytes, counts: Corner, path: Path, number: int) -> Corner:
    """Return v, vt, vn from 0, -1 for what is not given. Negative numbers count back from the last one read."""
    fields = word.split(b"/")
    try:
        values = [int(field) if field else 0 for field in fields[:3]]
    except ValueError:
        raise BadModel("malformed", f"{path.name} line {number}: {clean(text_of(word))!r} is no corner of a face") from None
    values += [0] * (3 - len(values))
    v, vt, vn = (value - 1 if value > 0 else (count + value if value < 0 else -1) for value, count in zip(values, counts))
    return _bounded(v), _bounded(vt), _bounded(vn)


def _bounded(index: int) -> int:
    """An index that fits into an array: what is not there is not there."""
    return index if 0 <= index < 2**40 else -1


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
    """Return positions and colours (`v x y z r g b [a]`, sRGB; NaN at vertices without one), None where no vertex has one."""
    if not lines:
        return np.zeros((0, 3)), None
    table = _table(lines, "v", path)
    if table is None:
        rows = _numbers(lines, path, "v")
        if min(map(len, rows)) < 3:
            raise BadModel("malformed", f"{path.name}: a vertex with fewer than three numbers")
        nothing = np.full(3, np.nan)
        table = np.stack([row[:6] if len(row) >= 6 else np.concatenate([row[:3], nothing]) for row in rows])
    if table.shape[1] < 3:
        raise BadModel("malformed", f"{path.name}: a vertex with fewer than three numbers")
    rgb = table[:, 3:6]
    colors = linear_colors(rgb) if rgb.shape[1] == 3 and np.isfinite(rgb).all(axis=1).any() else None
    return np.ascontiguousarray(table[:, :3]), colors


Moved = tuple[tuple[float, ...], tuple[float, ...]]
"""Scale and offset of texture coordinates."""


def _read_materials(
    libraries: list[bytes], shelf: TextureShelf, model: SourceModel
) -> tuple[dict[str, Material], dict[str, Moved]]:
    """Return the materials of all libraries, and how those with options move their texture."""
    materials: dict[str, Material] = {}
    moved: dict[str, Moved] = {}
    for line in libraries:
        for name, library in mtl_libraries(line, shelf.references):
            if library.path is None:
                model.warn("material_library_missing", f"{name} is not in the model's folder; shown grey")
                continue
            for material, statements in _statements(library.path):
                if material in materials:
                    continue
                _, options = mtl_map(statements.get("map_kd", ""))
                made = _material(material, statements, shelf, model)
                materials[material], (scale, offset) = _with_options(made, options, model)
                if (scale, offset) != ((1.0, 1.0), (0.0, 0.0)):
                    moved[material] = scale, offset
    return materials, moved


def _with_options(made: Material, options: dict[str, list[str]], model: SourceModel) -> tuple[Material, Moved]:
    """Obey the options of a colour map: -s and -o as Blender and three.js do (uv * s + o), -clamp; the others are a warning."""

    def numbers(option: str, default: float) -> tuple[float, ...]:
        given = _numbers_of(" ".join(options.get(option, [])), len(options.get(option, []))) or []
        return tuple([*given[:2], *[default] * 2][:2])

    if options.get("-clamp") == ["on"] and made.base_texture is not None:
        made = replace(made, base_texture=replace(made.base_texture, wrap=(33071, 33071)))
    neutral = {"-t": [0.0] * 3, "-mm": [0.0, 1.0]}
    for option in sorted(set(options) - {"-s", "-o", "-clamp", "-bm", "-blendu", "-blendv", "-boost", "-texres", "-cc"}):
        if option not in neutral or _numbers_of(" ".join(options[option]), len(options[option])) != neutral[option]:
            model.warn("texture_option", f"material {made.name}: map_Kd {option} {' '.join(options[option])} is not obeyed")
    return made, (numbers("-s", 1.0), numbers("-o", 0.0))


def _statements(path: Path) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    for line in lines_of(path):
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
    maps = {kind: mtl_map(statements[kind])[0] for kind in MTL_MAPS if kind in statements}
    if "map_kd" in maps:
        base = shelf.by_reference(maps["map_kd"], unescape=False, opacity=_mask(maps, shelf))
        if base is not None:
            # Exporters write any Kd beside a map; every viewer shows the map alone.
            made = replace(made, base_texture=base, base_color=(1.0, 1.0, 1.0, 1.0))
        elif max(made.base_color[:3]) < 0.02:
            made = replace(made, base_color=Material().base_color)
    if "norm" in maps:
        made = replace(made, normal_texture=shelf.by_reference(maps["norm"], unescape=False))
    return shelf.surface(made, _opacity(statements), "map_d" in maps, 0.5 if "map_d" in maps else None)


def _opacity(statements: dict[str, str]) -> float:
    """Return `d`, or 1 - `Tr` where there is no `d`. `d -halo 0.5` counts as 0.5."""
    opacity = _numbers_of((statements.get("d") or "").replace("-halo", ""), 1)
    if opacity is None:
        clear = _numbers_of(statements.get("tr"), 1)
        opacity = None if clear is None else [1.0 - clear[0]]
    return 1.0 if opacity is None else opacity[0]


def _mask(maps: dict[str, str], shelf: TextureShelf) -> str | None:
    name = maps.get("map_d")
    return name if name is not None and shelf.references.find(name, unescape=False).path is not None else None
