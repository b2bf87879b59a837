"""glTF 2 and GLB: geometry and materials; animations, cameras and lights are left out, skins and shape keys applied as saved.

Enters: a path. Leaves: a SourceModel in the scene's root frame, one part for each primitive of each mesh node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.bad import BadModel
from models.cad.polygons import sound_polygons
from models.cad.references import data_uri, gltf_document
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, Texture, clean
from models.cad.textures import TextureShelf

_COMPONENTS: dict[int, Any] = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_OBEYED = ("KHR_mesh_quantization", "KHR_texture_transform", "EXT_mesh_gpu_instancing", "EXT_texture_webp")
_NO_SHAPE = ("KHR_materials_", "KHR_lights_", "KHR_animation_", "KHR_xmp", "EXT_lights_")
"""Extensions that shape no mesh: what they add to a material or scene is left out, as docs/cad_files.md says."""


def count_faces(path: Path, limit: int) -> int:
    """Return how many triangles the scene's nodes hold together, from the JSON alone."""
    with _by_schema(path):
        document = _Document(path, SourceModel())
        document.limit = 16 * limit + 2**20
        return _count_faces(document)


def _count_faces(document: _Document) -> int:
    total = 0
    for index, _ in document.placed():
        for primitive in document.entries(document.nodes[index].get("mesh"), "meshes").get("primitives", []):
            if primitive.get("mode", 4) in (4, 5, 6):
                accessor = primitive.get("indices", primitive.get("attributes", {}).get("POSITION"))
                count = int(document.entries(accessor, "accessors").get("count", 0))
                total += count // 3 if primitive.get("mode", 4) == 4 else max(count - 2, 0)
    return total


def read_gltf(path: Path, max_faces: int) -> SourceModel:
    """Return the model in a .gltf or .glb file. Raises BadModel."""
    model = SourceModel()
    with _by_schema(path):
        document = _Document(path, model)
        document.limit = 16 * max_faces + 2**20
        model.materials = [document.material(entry) for entry in document.json.get("materials", [])]
        for index, matrix in document.placed():
            model.place(matrix)
            model.parts += document.mesh_parts(index, matrix)
    return model


@contextmanager
def _by_schema(path: Path) -> Iterator[None]:
    """Turn what Python says of a file that breaks glTF's schema into a BadModel; which entry it is, is Python's word."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, BadModel):
            raise
        what = f"{type(error).__name__}: {clean(str(error))}"
        raise BadModel("malformed", f"{path.name} is not valid glTF ({what}); export it again") from None


class _Document:
    """One file: its JSON, buffers and node graph."""

    def __init__(self, path: Path, model: SourceModel) -> None:
        self.path = path
        self.model = model
        self.shelf = TextureShelf(path, model)
        self.json, self._binary = gltf_document(path.read_bytes(), path)
        self.limit = 2**31
        self._buffers: dict[int, bytes] = {}
        self._textures: dict[int, Texture | None] = {}
        self._globals: dict[int, Floats] = {}
        self.nodes: list[dict[str, Any]] = self.json.get("nodes", [])
        for name in self.json.get("extensionsRequired", []):
            if name in _COMPRESSED:
                raise BadModel("compressed", f"{path.name} needs {name}; export it without mesh compression")
            if name not in _OBEYED and not str(name).startswith(_NO_SHAPE):
                raise BadModel(
                    "extension_required", f"{path.name} needs {clean(str(name))}, which is not read; export it without"
                )

    def bad(self, what: str) -> BadModel:
        return BadModel("malformed", f"{self.path.name}: {what}; export it again")

    def entries(self, index: Any, kind: str) -> dict[str, Any]:
        """Return entry `index` of a list of the file."""
        found = self.json.get(kind, [])
        if not isinstance(index, int) or not 0 <= index < len(found) or not isinstance(found[index], dict):
            raise self.bad(f"it refers to {kind} {index!r} of {len(found)}")
        entry: dict[str, Any] = found[index]
        return entry

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def placed(self) -> list[tuple[int, Floats]]:
        """Return (node, matrix to the root) of every node with a mesh, in order of the tree."""
        scenes = self.json.get("scenes", [])
        if scenes:
            roots = self.entries(self.json.get("scene", 0), "scenes").get("nodes", [])
        else:
            children = {child for node in self.nodes for child in node.get("children", [])}
            roots = [i for i in range(len(self.nodes)) if i not in children]
        found = []
        stack = [(root, np.eye(4)) for root in reversed(roots)]
        while stack:
            index, above = stack.pop()
            node = self.entries(index, "nodes")
            if index in self._globals:
                # glTF demands a tree; a second parent or a ring would multiply the model without end.
                raise self.bad(f"node {index} hangs in the tree twice")
            matrix = above @ _local(node)
            self._globals[index] = matrix
            if "mesh" in node:
                found += [(index, matrix @ own) for own in self._instances(node)]
            stack += [(child, matrix) for child in reversed(node.get("children", []))]
        return found

    def _instances(self, node: dict[str, Any]) -> list[Floats]:
        """Return where a node's mesh stands below the node: once, or as often as EXT_mesh_gpu_instancing says."""
        instancing = node.get("extensions", {}).get("EXT_mesh_gpu_instancing")
        if instancing is None:
            return [np.eye(4)]
        given = {name: self.accessor(index) for name, index in instancing["attributes"].items()}
        moved = {name.lower(): given[name] for name in ("TRANSLATION", "ROTATION", "SCALE") if name in given}
        count = min((len(values) for values in moved.values()), default=0)
        return [_local({name: values[i] for name, values in moved.items()}) for i in range(count)]

    # -- meshes --------------------------------------------------------------------------------------------------------

    def mesh_parts(self, index: int, matrix: Floats) -> list[SourcePart]:
        """Return the parts of one mesh node, in the root frame."""
        node = self.nodes[index]
        mesh = self.entries(node["mesh"], "meshes")
        weights = node.get("weights", mesh.get("weights", []))
        parts = []
        for primitive in mesh.get("primitives", []):
            name = clean(str(node.get("name") or mesh.get("name") or f"node {index}"))
            if primitive.get("mode", 4) not in (4, 5, 6):
                self.model.warn("no_surface", f"{name}: lines and points are left out")
                continue
            attributes = primitive.get("attributes", {})
            if "POSITION" not in attributes:
                self.model.warn("no_surface", f"{name}: a primitive without positions is left out")
                continue
            if any(name in primitive.get("extensions", {}) for name in _COMPRESSED) and (
                "bufferView" not in self.entries(attributes["POSITION"], "accessors")
            ):
                raise BadModel("compressed", f"{self.path.name} has compressed meshes; export it without mesh compression")
            points = self.accessor(attributes["POSITION"]).astype(np.float64)
            normals = self.accessor(attributes["NORMAL"]).astype(np.float64) if "NORMAL" in attributes else None
            for weight, target in zip(weights, primitive.get("targets", [])):
                if weight and "POSITION" in target:
                    points = points + weight * self.accessor(target["POSITION"])
                if weight and normals is not None and "NORMAL" in target:
                    normals = normals + weight * self.accessor(target["NORMAL"])
            faces = self._faces(primitive, len(points), name)
            flipped = False
            if "skin" in node and "JOINTS_0" in attributes and "WEIGHTS_0" in attributes:
                points, normals = self._at_rest(node["skin"], attributes, points, normals)
            else:
                points = points @ matrix[:3, :3].T + matrix[:3, 3]
                flipped = bool(np.linalg.det(matrix[:3, :3]) < 0)
                normals = None if normals is None else normals @ _cofactor(matrix[:3, :3]).T
                if flipped and normals is not None:
                    normals = -normals
            material = primitive.get("material")
            uv, colors = self._surface(primitive, material, name)
            parts.append(
                SourcePart(
                    name=name,
                    points=points,
                    faces=faces[:, ::-1] if flipped else faces,
                    normals=self._fitting(normals, points, f"{name}: its normals"),
                    uv=self._fitting(uv, points, f"{name}: its texture coordinates"),
                    colors=self._fitting(colors, points, f"{name}: its colours"),
                    material=material if isinstance(material, int) and material < len(self.json.get("materials", [])) else None,
                )
            )
        return parts

    def _fitting(self, values: Floats | None, points: Floats, what: str) -> Floats | None:
        if values is None or len(values) == len(points):
            return values
        self.model.warn("attribute_dropped", f"{what} are {len(values)} for {len(points)} vertices; left out")
        return None

    def _faces(self, primitive: dict[str, Any], count: int, name: str) -> Ints:
        if "indices" in primitive:
            indices = self.accessor(primitive["indices"]).reshape(-1).astype(np.int64)
        else:
            indices = np.arange(count, dtype=np.int64)
        mode = primitive.get("mode", 4)
        if mode == 4:
            faces = indices[: len(indices) // 3 * 3].reshape(-1, 3)
            if len(indices) % 3:
                self.model.warn("short_faces", f"{name}: its last face has fewer than three corners; left out")
        elif len(indices) < 3:
            faces = np.zeros((0, 3), np.int64)
        elif mode == 6:
            faces = np.stack([np.repeat(indices[:1], len(indices) - 2), indices[1:-1], indices[2:]], axis=1)
        else:
            faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
            faces[1::2] = faces[1::2][:, [1, 0, 2]]
        whole = np.full(len(faces), 3, dtype=np.int64)
        return faces[sound_polygons(faces.reshape(-1), whole, count, self.model, f"{self.path.name}, {name}")]

    def _at_rest(
        self, skin_index: Any, attributes: dict[str, Any], points: Floats, normals: Floats | None
    ) -> tuple[Floats, Floats | None]:
        """Apply a skin as its joints stand in the file. A skinned node's own place does not count, as glTF says."""
        skin = self.entries(skin_index, "skins")
        joints = [self._globals.get(joint, np.eye(4)) for joint in skin["joints"]]
        matrices = np.stack(joints)
        if "inverseBindMatrices" in skin:
            inverse = self.accessor(skin["inverseBindMatrices"]).astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
            matrices = matrices @ inverse[: len(matrices)]
        which, weights = [], []
        for i in range(8):
            if f"JOINTS_{i}" not in attributes or f"WEIGHTS_{i}" not in attributes:
                break
            which.append(self.accessor(attributes[f"JOINTS_{i}"], raw=True).astype(np.int64))
            weights.append(self.accessor(attributes[f"WEIGHTS_{i}"]).astype(np.float64))
        indices, shares = np.concatenate(which, axis=1), np.concatenate(weights, axis=1)
        total = shares.sum(axis=1, keepdims=True)
        shares = np.where(total > 0, shares / np.where(total > 0, total, 1.0), 0.0)
        shares[total[:, 0] <= 0, 0] = 1.0
        blended = np.zeros((len(points), 4, 4))
        for column in range(indices.shape[1]):
            blended += shares[:, column, None, None] * matrices[indices[:, column]]
        moved = np.einsum("nij,nj->ni", blended[:, :3, :3], points) + blended[:, :3, 3]
        turned = None if normals is None else np.einsum("nij,nj->ni", blended[:, :3, :3], normals)
        return moved, turned

    def _surface(self, primitive: dict[str, Any], material: Any, part: str) -> tuple[Floats | None, Floats | None]:
        """Return texture coordinates (as the base colour texture uses them) and linear vertex colours."""
        attributes = primitive["attributes"]
        info: dict[str, Any] = {}
        entry: dict[str, Any] = {}
        if isinstance(material, int):
            entry = self.entries(material, "materials")
            info = _base_color_info(entry) or entry.get("emissiveTexture") or {}
        transform = info.get("extensions", {}).get("KHR_texture_transform", {})
        name = f"TEXCOORD_{transform.get('texCoord', info.get('texCoord', 0))}"
        uv = self.accessor(attributes[name])[:, :2].astype(np.float64) if name in attributes else None
        if uv is not None and transform:
            angle = float(transform.get("rotation", 0.0))
            scale, offset = np.array(transform.get("scale", (1.0, 1.0))), np.array(transform.get("offset", (0.0, 0.0)))
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            uv = (uv * scale) @ turn.T + offset
        colors = None
        if "COLOR_0" in attributes:
            colors = self.accessor(attributes["COLOR_0"]).astype(np.float64)
            if colors.shape[1] == 3:
                colors = np.concatenate([colors, np.ones((len(colors), 1))], axis=1)
            if entry.get("alphaMode", "OPAQUE") != "OPAQUE" and colors[:, 3].min(initial=1.0) < 0.99:
                self.model.warn("transparency_dropped", f"{part}: the alpha of its vertices; shown opaque")
                colors[:, 3] = 1.0
        return uv, colors

    # -- buffers -------------------------------------------------------------------------------------------------------

    def accessor(self, index: Any, raw: bool = False) -> NDArray[Any]:
        """Return an accessor as (count, width); integers that stand for fractions become fractions unless `raw`."""
        entry = self.entries(index, "accessors")
        kind, width, count = _COMPONENTS[entry["componentType"]], _WIDTHS[entry["type"]], int(entry["count"])
        if not 0 <= count <= self.limit:
            raise BadModel("too_many_faces", f"{self.path.name} claims {count} vertices in one mesh; simplify it")
        if "bufferView" in entry:
            values = self._view(entry["bufferView"], int(entry.get("byteOffset", 0)), count, width, kind)
        else:
            values = np.zeros((count, width), dtype=kind)
        if "sparse" in entry:
            sparse = entry["sparse"]
            amount = int(sparse["count"])
            where, what = sparse["indices"], sparse["values"]
            indices = self._view(
                where["bufferView"], int(where.get("byteOffset", 0)), amount, 1, _COMPONENTS[where["componentType"]]
            ).reshape(-1)
            values = values.copy()
            values[indices] = self._view(what["bufferView"], int(what.get("byteOffset", 0)), amount, width, kind)
        if entry.get("normalized") and not raw and kind is not np.float32:
            values = np.maximum(values.astype(np.float64) / np.iinfo(kind).max, -1.0)
        return values

    def _view(self, index: Any, offset: int, count: int, width: int, kind: Any) -> NDArray[Any]:
        view = self.entries(index, "bufferViews")
        data = self._buffer(view["buffer"])
        size = np.dtype(kind).itemsize * width
        stride = int(view.get("byteStride", 0)) or size
        start = int(view.get("byteOffset", 0)) + offset
        end = start + (count - 1) * stride + size if count else start
        if offset < 0 or start < 0 or stride < 1 or end > len(data):
            raise BadModel("truncated", f"{self.path.name}: its data end before its mesh does; copy or export it again")
        if count == 0:
            return np.zeros((0, width), dtype=kind)
        rows = np.lib.stride_tricks.as_strided(np.frombuffer(data, np.uint8, offset=start), (count, size), (stride, 1))
        values: NDArray[Any] = np.ascontiguousarray(rows).view(np.dtype(kind).newbyteorder("<")).reshape(count, width)
        return values

    def _buffer(self, index: Any) -> bytes:
        if index not in self._buffers:
            uri = self.entries(index, "buffers").get("uri")
            if uri is None:
                data: bytes | None = self._binary
            elif str(uri).startswith("data:"):
                data = data_uri(uri)
            else:
                found = self.shelf.references.find(str(uri))
                if found.path is None:
                    raise BadModel(
                        "missing_buffer", f"{self.path.name} needs {clean(str(uri))}, which is not in the model's folder"
                    )
                data = found.path.read_bytes()
            if data is None:
                raise self.bad(f"buffer {index} is damaged")
            self._buffers[index] = data
        return self._buffers[index]

    # -- materials -----------------------------------------------------------------------------------------------------

    def material(self, entry: dict[str, Any]) -> Material:
        """Return one material; the older specular-glossiness kind becomes its nearest metallic-roughness one."""
        name = clean(str(entry.get("name", "")))
        extensions = entry.get("extensions", {})
        made = Material(name=name, base_color=(1.0, 1.0, 1.0, 1.0), metallic=1.0, roughness=1.0)
        glossy = extensions.get("KHR_materials_pbrSpecularGlossiness")
        pbr = entry.get("pbrMetallicRoughness", {})
        if glossy is not None and not pbr:
            made = replace(
                made,
                base_color=_floats(glossy.get("diffuseFactor"), (1.0, 1.0, 1.0, 1.0)),
                metallic=0.0,
                roughness=1.0 - float(glossy.get("glossinessFactor", 1.0)) * 0.8,
            )
        else:
            made = replace(
                made,
                base_color=_floats(pbr.get("baseColorFactor"), (1.0, 1.0, 1.0, 1.0)),
                metallic=float(pbr.get("metallicFactor", 1.0)),
                roughness=float(pbr.get("roughnessFactor", 1.0)),
                metallic_roughness_texture=self._texture(pbr.get("metallicRoughnessTexture")),
            )
        emissive = _floats(entry.get("emissiveFactor"), (0.0, 0.0, 0.0))
        mode = entry.get("alphaMode", "OPAQUE")
        base = self._texture(_base_color_info(entry))
        opacity, cutoff = made.base_color[3], None
        if float(extensions.get("KHR_materials_transmission", {}).get("transmissionFactor", 0.0)) > 0.01:
            self.model.warn("transparency_dropped", f"material {name} lets light through; shown opaque")
        if mode == "MASK":
            # The factor multiplies the texture's alpha, which the cutoff is compared with.
            cutoff = float(entry.get("alphaCutoff", 0.5)) / max(opacity, 1e-6)
            made = replace(made, hidden=cutoff > 1.0 and opacity < 1.0)
        elif mode == "BLEND":
            whole = 0.5 if base is not None and opacity >= 0.99 else None
            made = self.shelf.surface(replace(made, base_texture=base), opacity, whole=whole)
            cutoff = made.cutoff
        normal = entry.get("normalTexture")
        return replace(
            made,
            base_color=(*made.base_color[:3], 1.0),
            base_texture=base,
            emissive=emissive,
            emissive_texture=self._texture(entry.get("emissiveTexture")) if max(emissive) > 0 else None,
            normal_texture=self._texture(normal),
            normal_scale=float(normal.get("scale", 1.0)) if isinstance(normal, dict) else 1.0,
            cutoff=cutoff,
        )

    def _texture(self, info: dict[str, Any] | None) -> Texture | None:
        if info is None:
            return None
        entry = self.entries(info["index"], "textures")
        source = entry.get("extensions", {}).get("EXT_texture_webp", {}).get("source", entry.get("source"))
        if source is None:
            self.model.warn("texture_unreadable", f"texture {info['index']} is of a kind that cannot be read; shown without it")
            return None
        if source not in self._textures:
            self._textures[source] = self._image(source)
        made = self._textures[source]
        if made is None or "sampler" not in entry:
            return made
        sampler = self.entries(entry["sampler"], "samplers")
        return replace(made, wrap=(int(sampler.get("wrapS", 10497)), int(sampler.get("wrapT", 10497))))

    def _image(self, index: Any) -> Texture | None:
        image = self.entries(index, "images")
        name = str(image.get("name") or f"image {index}")
        if "bufferView" in image:
            view = self.entries(image["bufferView"], "bufferViews")
            data = self._view(image["bufferView"], 0, int(view["byteLength"]), 1, np.uint8).tobytes()
            return self.shelf.from_bytes(data, name)
        uri = str(image.get("uri", ""))
        if uri.startswith("data:"):
            found = data_uri(uri)
            if found is None:
                self.model.warn("texture_unreadable", f"{clean(name)} has a damaged data URI; shown without it")
            return None if found is None else self.shelf.from_bytes(found, name)
        return self.shelf.by_reference(uri)


def _base_color_info(entry: dict[str, Any]) -> dict[str, Any] | None:
    pbr = entry.get("pbrMetallicRoughness", {})
    glossy = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
    info: dict[str, Any] | None = pbr.get("baseColorTexture") or glossy.get("diffuseTexture")
    return info


def _floats(value: Any, default: tuple[float, ...]) -> Any:
    if value is None:
        return default
    numbers = tuple(float(v) for v in value)
    if len(numbers) != len(default) or not np.isfinite(numbers).all():
        raise ValueError(f"a colour of {len(numbers)} numbers")
    return numbers


def _local(node: dict[str, Any]) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = (float(v) for v in node.get("rotation", (0.0, 0.0, 0.0, 1.0)))
    norm = (x * x + y * y + z * z + w * w) or 1.0
    x, y, z, w = (v / norm**0.5 for v in (x, y, z, w))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1.0, 1.0, 1.0)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _cofactor(matrix: Floats) -> Floats:
    """The matrix that normals follow: inverse transpose times determinant, which exists for flat scalings too."""
    a, b, c = matrix
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
