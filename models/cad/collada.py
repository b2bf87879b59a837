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
from models.cad.polygons import triangulate
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
        for primitive in geometry.primitives:
            if primitive.vertex is None or not hasattr(primitive, "vertex_index"):
                continue
            sizes = _sizes(primitive)
            if sizes is None:
                continue
            self.faces += int((sizes - 2).sum())
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
        if columns[0].size and (columns[0].min() < 0 or columns[0].max() >= len(vertex)):
            raise BadModel("bad_index", f"{self.path.name}: a face refers to a vertex that is not there; export it again")
        normal = _source(primitive.normal, primitive.normal_index, columns, 3)
        uv_set = self._uv_set(primitive, node)
        uv = None
        if uv_set < len(primitive.texcoordset):
            uv = _source(primitive.texcoordset[uv_set], primitive.texcoord_indexset[uv_set], columns, 2)
        color = None
        for entry in primitive.sources.get("COLOR", [])[:1]:
            indices = np.asarray(primitive.index, dtype=np.int64)[..., entry[0]]
            color = _source(entry[4].data, indices, columns, 3)
        corners = np.stack(columns, axis=1)
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
        if hasattr(diffuse, "sampler"):
            texture = self.shelf.by_reference(str(diffuse.sampler.surface.image.path))
            if texture is not None:
                made = replace(made, base_texture=texture, base_color=(1.0, 1.0, 1.0, 1.0))
        elif diffuse is not None and len(diffuse) >= 3 and np.isfinite(np.asarray(diffuse, dtype=np.float64)).all():
            made = replace(made, base_color=(*linear_rgb(np.asarray(diffuse, dtype=np.float64)), 1.0))
        self._materials[target.id] = len(self.model.materials)
        self.model.materials.append(made)
        return self._materials[target.id]


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
        if sizes.sum() != len(primitive.vertex_index) or (len(sizes) and sizes.min() < 3):
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
