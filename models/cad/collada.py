"""COLLADA (.dae), read by pycollada: geometry and materials, no animation.

Enters: a path. Leaves: a SourceModel in the scene's root frame, with the up axis that the file declares. Skins
stand in their bind pose.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.cad.bad import BadModel
from models.cad.polygons import bridged, sound_polygons, triangulate
from models.cad.rows import distinct
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, clean, linear, linear_rgb
from models.cad.textures import TextureShelf

_UP = {"X_UP": "+x", "Y_UP": "+y", "Z_UP": "+z"}
_COUNTED = re.compile(rb"<(?:\w+:)?(?:triangles|polylist|polygons|trifans|tristrips)\b[^>]*?\bcount\s*=\s*[\"'](\d{1,18})[\"']")
# What pycollada raises on files that break its expectations, besides its own DaeError.
_TROUBLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError, ZeroDivisionError)


def count_faces(path: Path, limit: int) -> int:
    """Return how many faces the file's elements claim."""
    return sum(int(count) for count in _COUNTED.findall(path.read_bytes()))


def read_collada(path: Path, max_faces: int) -> SourceModel:
    """Return the model in a COLLADA file. Raises BadModel."""
    import collada

    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:2] == b"PK":
        # Entities are how XML bombs are built, archives how others are; no exporter writes the former.
        raise BadModel(
            "malformed", f"{path.name} is not plain UTF-8 COLLADA (it has a DOCTYPE, or is an archive); export it again"
        )
    model = SourceModel()
    try:
        # pycollada prints tracebacks of its own accord.
        with contextlib.redirect_stderr(io.StringIO()):
            data = _with_bridges(data, model) if b"ph>" in data else data
            document = collada.Collada(io.BytesIO(data), ignore=[collada.common.DaeError])
        scene = document.scene or (document.scenes[0] if len(document.scenes) else None)
        if scene is None:
            raise BadModel("no_faces", f"{path.name} has no scene; export the mesh itself")
        model.declared_up = _UP.get(str(document.assetInfo.upaxis))
        reader = _Reader(path, model, max_faces)
        counted: dict[int, int] = {}
        if sum(_count(node, counted, 0) for node in scene.nodes) > max_faces:
            raise BadModel("too_many_faces", f"{path.name} has more than {max_faces} faces; simplify it or raise --max-faces")
        for node in scene.nodes:
            reader.walk(node, np.eye(4), str(getattr(node, "name", "") or path.stem), 0)
    except collada.common.DaeError as error:
        raise BadModel("malformed", f"{path.name} is not valid COLLADA: {clean(str(error), 160)}; export it again") from None
    except _TROUBLE as error:
        if isinstance(error, BadModel):
            raise
        what = f"{type(error).__name__}: {clean(str(error), 120)}"
        raise BadModel("malformed", f"{path.name} is not valid COLLADA ({what}); export it again") from None
    for ignored in document.errors:
        model.warn("collada", clean(str(ignored), 160))
    return model


class _Reader:
    def __init__(self, path: Path, model: SourceModel, max_faces: int) -> None:
        self.path = path
        self.model = model
        self.shelf = TextureShelf(path, model)
        self.max_faces = max_faces
        self.faces = 0
        self.visited = 0
        self._materials: dict[str, int] = {}

    def walk(self, node: Any, above: Floats, name: str, depth: int) -> None:
        """Collect what hangs below `node`. Instances of instances are bounded, as they can multiply without end."""
        import collada.scene as scene

        self.visited += 1
        if depth > 256 or self.visited > 1_000_000:
            raise BadModel("too_deep", f"{self.path.name} has a scene of more than a million nodes or 256 levels; flatten it")
        if isinstance(node, scene.NodeNode):
            self.walk(node.node, above, name, depth + 1)
        elif isinstance(node, scene.Node):
            matrix = above @ np.asarray(node.matrix, dtype=np.float64)
            for child in node.children:
                self.walk(child, matrix, str(node.name or name), depth + 1)
        elif isinstance(node, scene.GeometryNode):
            self.geometry(node.geometry, node.materials, above, name)
        elif isinstance(node, scene.ControllerNode):
            controller = node.controller
            if hasattr(controller, "bind_shape_matrix"):
                self.geometry(
                    controller.geometry, node.materials, np.asarray(controller.bind_shape_matrix, dtype=np.float64), name
                )
            elif hasattr(controller, "source_geometry"):
                self.geometry(controller.source_geometry, node.materials, above, name)

    def geometry(self, geometry: Any, bound: list[Any], matrix: Floats, name: str) -> None:
        """Add one placed geometry, a part for each of its primitives."""
        symbols = {material.symbol: material for material in bound}
        self.model.place(matrix)
        for primitive in geometry.primitives:
            if primitive.vertex is None or not hasattr(primitive, "vertex_index"):
                self.model.warn("no_surface", f"{clean(name)}: a primitive without positions is left out")
                continue
            sizes = _sizes(primitive)
            if sizes is None:
                self.model.warn("no_surface", f"{clean(name)}: lines are left out")
                continue
            self.faces += int(np.maximum(sizes - 2, 0).sum())
            if self.faces > self.max_faces:
                raise BadModel(
                    "too_many_faces", f"{self.path.name} has more than {self.max_faces} faces; simplify it or raise --max-faces"
                )
            node = symbols.get(primitive.material)
            material = None if node is None or node.target is None else self.material(node.target)
            self.model.parts.append(self.part(primitive, sizes, matrix, name, material, node))

    def part(self, primitive: Any, sizes: Ints, matrix: Floats, name: str, material: int | None, node: Any) -> SourcePart:
        vertex = np.asarray(primitive.vertex, dtype=np.float64)
        columns = [np.asarray(primitive.vertex_index, dtype=np.int64).reshape(-1)]
        keep = sound_polygons(columns[0], sizes, len(vertex), self.model, f"{self.path.name}, {clean(name)}")
        normal = _source(primitive.normal, primitive.normal_index, columns, 3)
        uv_set = self._uv_set(primitive, node)
        uv = None
        if uv_set < len(primitive.texcoordset):
            uv = _source(primitive.texcoordset[uv_set], primitive.texcoord_indexset[uv_set], columns, 2)
        color = None
        for entry in primitive.sources.get("COLOR", [])[:1]:
            indices = np.asarray(primitive.index, dtype=np.int64)[..., entry[0]]
            color = _source(entry[4].data, indices, columns, 3)
        corners, sizes = np.stack(columns, axis=1)[np.repeat(keep, sizes)], sizes[keep]
        first, inverse = distinct(corners)
        used = corners[first]
        column = iter(range(1, len(columns)))
        normals = None if normal is None else normal[used[:, next(column)]]
        texture = None if uv is None else uv[used[:, next(column)]] * (1.0, -1.0) + (0.0, 1.0)
        colors = None if color is None else color[used[:, next(column)]]
        points = vertex[used[:, 0]]
        faces = triangulate(points, inverse, sizes)
        turn = matrix[:3, :3]
        mirrored = bool(np.linalg.det(turn) < 0)
        if normals is not None:
            a, b, c = turn
            normals = normals @ np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)]).T * (-1.0 if mirrored else 1.0)
        return SourcePart(
            name=clean(name),
            points=points @ turn.T + matrix[:3, 3],
            faces=faces[:, ::-1] if mirrored else faces,
            normals=normals,
            uv=texture,
            colors=None if colors is None else np.concatenate([linear(colors), np.ones((len(colors), 1))], axis=1),
            material=material,
        )

    def _uv_set(self, primitive: Any, node: Any) -> int:
        """Return which of the primitive's coordinate sets the material's texture is bound to."""
        diffuse = getattr(node.target.effect, "diffuse", None) if node is not None and node.target is not None else None
        symbol = getattr(diffuse, "texcoord", None)
        wanted = next((bound[2] for bound in getattr(node, "inputs", []) if bound[0] == symbol and bound[1] == "TEXCOORD"), None)
        sets = [entry[3] for entry in primitive.sources.get("TEXCOORD", [])]
        return sets.index(str(wanted)) if str(wanted) in sets else 0

    def material(self, target: Any) -> int:
        """Return the number of a material of the file, made when first met."""
        if target.id in self._materials:
            return self._materials[target.id]
        effect = target.effect
        made = Material(name=clean(str(target.name or target.id)))
        shininess = getattr(effect, "shininess", None)
        if isinstance(shininess, (int, float)) and np.isfinite(shininess) and shininess > 0:
            made = replace(made, roughness=round(float(np.clip(1.0 - (min(shininess, 1000.0) / 1000.0) ** 0.5, 0.2, 1.0)), 4))
        diffuse = effect.diffuse
        opacity, mask = self._opacity(effect, made.name)
        if hasattr(diffuse, "sampler"):
            image = str(diffuse.sampler.surface.image.path)
            texture = self.shelf.by_reference(image, opacity=None if mask == image else mask)
            if texture is not None:
                texture = replace(texture, wrap=_wrap(diffuse.sampler))
                made = replace(made, base_texture=texture, base_color=(1.0, 1.0, 1.0, 1.0))
        elif diffuse is not None and len(diffuse) >= 3 and np.isfinite(np.asarray(diffuse, dtype=np.float64)).all():
            made = replace(made, base_color=(*linear_rgb(np.asarray(diffuse, dtype=np.float64)), 1.0))
        made = self.shelf.surface(made, opacity, blended=mask is not None)
        self._materials[target.id] = len(self.model.materials)
        self.model.materials.append(made)
        return self._materials[target.id]

    def _opacity(self, effect: Any, name: str) -> tuple[float, str | None]:
        """Return how opaque an effect is, and the image whose alpha cuts it out.

        Files that do not say which way they count are often wrong about it: theirs is a warning and no reason to hide a part.
        """
        transparent, share = effect.transparent, effect.transparency
        share = float(share) if isinstance(share, (int, float)) and np.isfinite(share) else 1.0
        node = effect.xmlnode.find(".//{*}transparent") if transparent is not None else None
        said = None if node is None else node.get("opaque")
        if hasattr(transparent, "sampler"):
            if said not in (None, "A_ONE"):
                self.model.warn("transparency_dropped", f"material {name}: its {clean(said)} picture; shown opaque")
                return 1.0, None
            return 1.0, str(transparent.sampler.surface.image.path)
        if transparent is None or len(transparent) < 3:
            return 1.0, None
        red, green, blue, alpha = (float(value) for value in (*transparent[:3], *transparent[3:4], 1.0)[:4])
        opacity = 1.0 - share * (0.212671 * red + 0.71516 * green + 0.072169 * blue) if said == "RGB_ZERO" else share * alpha
        return opacity if said is not None else max(opacity, 0.03), None


def _wrap(sampler: Any) -> tuple[int, int]:
    """Return glTF's codes for how COLLADA's sampler goes on outside its picture."""
    codes = {"CLAMP": 33071, "BORDER": 33071, "NONE": 33071, "MIRROR": 33648}
    found = [sampler.xmlnode.find(".//{*}" + name) for name in ("wrap_s", "wrap_t")]
    s, t = (codes.get((node.text or "").strip() if node is not None else "", 10497) for node in found)
    return s, t


def _with_bridges(data: bytes, model: SourceModel) -> bytes:
    """Write each polygon with holes (`ph`) as one that runs around them too: pycollada knows no holes and drops it."""
    from collada.xmlutil import etree

    root = etree.fromstring(data)
    for mesh in root.iterfind(".//{*}geometry/{*}mesh"):
        for polygons in mesh.iterfind("{*}polygons"):
            inputs = polygons.findall("{*}input")
            stride = 1 + max(int(entry.get("offset", 0)) for entry in inputs)
            (vertex,) = (entry for entry in inputs if entry.get("semantic") == "VERTEX")
            points = _positions(mesh, vertex.get("source"))
            for holed in polygons.findall("{*}ph"):
                rings = [np.array((ring.text or "").split(), dtype=np.int64).reshape(-1, stride) for ring in holed]
                places = [points[ring[:, int(vertex.get("offset", 0))]] for ring in rings]
                rows = np.concatenate(rings)
                try:
                    rows = rows[bridged(places[0], places[1:])]
                except ValueError as error:
                    rows = rings[0]
                    model.warn("hole_dropped", f"a polygon of {clean(vertex.get('source'))} has {error}; shown filled")
                flat = etree.SubElement(polygons, holed.tag[: -len("ph")] + "p")
                flat.text = " ".join(map(str, rows.reshape(-1)))
                polygons.remove(holed)
    return bytes(etree.tostring(root))


def _positions(mesh: Any, vertices: str) -> Floats:
    """Return the points that `vertices` of a mesh names, (N, 3)."""
    (node,) = (entry for entry in mesh.iterfind("{*}vertices") if "#" + entry.get("id") == vertices)
    (source,) = (entry.get("source") for entry in node if entry.get("semantic") == "POSITION")
    (found,) = (entry for entry in mesh.iterfind("{*}source") if "#" + entry.get("id") == source)
    accessor = found.find(".//{*}accessor")
    start, stride = int(accessor.get("offset", 0)), int(accessor.get("stride", 3))
    values = np.array(found.find("{*}float_array").text.split(), dtype=np.float64)[start:]
    return values[: len(values) // stride * stride].reshape(-1, stride)[:, :3]


def _count(node: Any, known: dict[int, int], depth: int) -> int:
    """Return how many faces hang below a node, each instanced node counted once and multiplied: bombs cost nothing."""
    import collada.scene as scene

    if depth > 256:
        raise BadModel("too_deep", "it has a scene of more than 256 levels; flatten it")
    if isinstance(node, scene.NodeNode):
        return _count(node.node, known, depth + 1)
    if isinstance(node, scene.GeometryNode):
        return sum(len(primitive) for primitive in node.geometry.primitives)
    if isinstance(node, scene.Node):
        if id(node) not in known:
            known[id(node)] = sum(_count(child, known, depth + 1) for child in node.children)
        return known[id(node)]
    return 0


def _sizes(primitive: Any) -> Ints | None:
    """Return the polygons' corner counts, None for lines and points."""
    import collada.polylist as polylist
    import collada.triangleset as triangleset

    if isinstance(primitive, triangleset.TriangleSet):
        return np.full(len(primitive.vertex_index), 3, dtype=np.int64)
    if isinstance(primitive, polylist.Polylist):
        sizes = np.asarray(primitive.vcounts, dtype=np.int64)
        if sizes.sum() != len(primitive.vertex_index):
            raise ValueError("polygon sizes that do not add up")
        return sizes
    return None


def _source(values: Any, indices: Any, columns: list[Ints], width: int) -> Floats | None:
    """Note the indices as one more column, if they fit; return the values."""
    if values is None or indices is None:
        return None
    table = np.asarray(values, dtype=np.float64)
    flat = np.asarray(indices, dtype=np.int64).reshape(-1)
    if table.ndim != 2 or table.shape[1] < width or len(flat) != len(columns[0]) or not len(flat):
        return None
    if flat.min() < 0 or flat.max() >= len(table):
        return None
    columns.append(flat)
    return table[:, :width]
