"""Writes GLBs: one file that contains everything, the same bytes for the same model.

Enters: parts in glTF's axes and materials. Leaves: bytes.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.source import Material, SourcePart, Texture

_ARRAY, _ELEMENTS = 34962, 34963


class _Writer:
    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0", "generator": "3D-DST cad"}}
        self.binary = bytearray()
        self._images: dict[bytes, int] = {}

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        found: list[dict[str, Any]] = self.json.setdefault(kind, [])
        if kind in ("samplers", "textures") and entry in found:
            return found.index(entry)
        found.append(entry)
        return len(found) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        entry: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        if target is not None:
            entry["target"] = target
        self.binary += data
        return self.add("bufferViews", entry)

    def accessor(self, values: NDArray[Any], kind: str, bounds: bool = False) -> int:
        component = {"uint16": 5123, "uint32": 5125, "float32": 5126}[values.dtype.name]
        entry: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(values).tobytes(), _ELEMENTS if kind == "SCALAR" else _ARRAY),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            entry["min"], entry["max"] = values.min(axis=0).tolist(), values.max(axis=0).tolist()
        return self.add("accessors", entry)

    def texture(self, texture: Texture) -> int:
        if texture.data not in self._images:
            entry = {"bufferView": self.view(texture.data), "mimeType": texture.mime}
            self._images[texture.data] = self.add("images", entry)
        sampler = {"wrapS": texture.wrap[0], "wrapT": texture.wrap[1], "magFilter": 9729, "minFilter": 9987}
        return self.add("textures", {"source": self._images[texture.data], "sampler": self.add("samplers", sampler)})

    def material(self, material: Material) -> int:
        pbr: dict[str, Any] = {
            "baseColorFactor": list(material.base_color),
            "metallicFactor": material.metallic,
            "roughnessFactor": material.roughness,
        }
        # Both sides: CAD files wind their faces as they like, and no face may vanish.
        entry: dict[str, Any] = {"name": material.name, "doubleSided": True, "pbrMetallicRoughness": pbr}
        if material.base_texture:
            pbr["baseColorTexture"] = {"index": self.texture(material.base_texture)}
        if material.metallic_roughness_texture:
            pbr["metallicRoughnessTexture"] = {"index": self.texture(material.metallic_roughness_texture)}
        if material.normal_texture:
            entry["normalTexture"] = {"index": self.texture(material.normal_texture), "scale": material.normal_scale}
        if max(material.emissive) > 0:
            entry["emissiveFactor"] = list(material.emissive)
            if material.emissive_texture:
                entry["emissiveTexture"] = {"index": self.texture(material.emissive_texture)}
        if material.cutoff is not None:
            entry["alphaMode"], entry["alphaCutoff"] = "MASK", material.cutoff
        return self.add("materials", entry)

    def primitive(self, part: SourcePart) -> dict[str, Any]:
        attributes = {"POSITION": self.accessor(part.points.astype(np.float32), "VEC3", bounds=True)}
        if part.normals is not None:
            attributes["NORMAL"] = self.accessor(part.normals.astype(np.float32), "VEC3")
        if part.uv is not None:
            attributes["TEXCOORD_0"] = self.accessor(part.uv.astype(np.float32), "VEC2")
        if part.colors is not None:
            attributes["COLOR_0"] = self.accessor(np.clip(part.colors, 0.0, 1.0).astype(np.float32), "VEC4")
        narrow = len(part.points) < 65535
        indices = part.faces.reshape(-1).astype(np.uint16 if narrow else np.uint32)
        return {"attributes": attributes, "indices": self.accessor(indices, "SCALAR"), "material": part.material, "mode": 4}


def write_glb(parts: list[SourcePart], materials: list[Material]) -> bytes:
    """Return a GLB of `parts` (each with a material), those of one name together in one node, in order of appearance."""
    writer = _Writer()
    for material in materials:
        writer.material(material)
    named: dict[str, list[SourcePart]] = {}
    for part in parts:
        named.setdefault(part.name, []).append(part)
    for name, group in named.items():
        mesh = writer.add("meshes", {"name": name, "primitives": [writer.primitive(part) for part in group]})
        writer.add("nodes", {"name": name, "mesh": mesh})
    writer.add("scenes", {"nodes": list(range(len(writer.json["nodes"])))})
    writer.json["scene"] = 0
    writer.binary += b"\0" * (-len(writer.binary) % 4)
    writer.json["buffers"] = [{"byteLength": len(writer.binary)}]
    text = json.dumps(writer.json, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(writer.binary)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(writer.binary), b"BIN\0"),
            bytes(writer.binary),
        )
    )
