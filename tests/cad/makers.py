"""CAD files for the tests: one small shape with a front, written in every format without the code under test."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BOX_QUADS = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])


def box(low: tuple[float, ...], high: tuple[float, ...]) -> NDArray[np.float64]:
    (x0, y0, z0), (x1, y1, z1) = low, high
    return np.array(
        [[x0, y0, z0], [x1, y0, z0], [x1, y1, z0], [x0, y1, z0], [x0, y0, z1], [x1, y0, z1], [x1, y1, z1], [x0, y1, z1]]
    )


def wedge() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A body of 2 x 4 x 1 with a low nose at -y (front) and a small fin at +x (its left): points, quads. Up is +z."""
    points = np.concatenate(
        [box((-1, -1, 0), (1, 3, 1)), box((-0.5, -1.5, 0), (0.5, -1, 0.4)), box((1, 0, 0.2), (1.2, 0.3, 0.6))]
    )
    return points, np.concatenate([BOX_QUADS + 8 * i for i in range(3)])


def triangles(quads: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def turned(points: NDArray[np.float64], up: str, front: str) -> NDArray[np.float64]:
    """Points of a shape with front -y and up +z, written so that `up` and `front` hold instead."""
    axes = {sign + name: np.eye(3)["xyz".index(name)] * (1 if sign == "+" else -1) for name in "xyz" for sign in "+-"}
    z, y = axes[up], -axes[front]
    return points @ np.stack([np.cross(y, z), y, z])


def picture(color: tuple[int, int, int] = (200, 30, 30), size: int = 8, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), color).save(out, kind)
    return out.getvalue()


def gigapixel_png() -> bytes:
    """A PNG whose header claims 60000 x 60000 pixels and that ends there."""
    import zlib

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk


def write_obj(path: Path, up: str = "+y", front: str = "+z", mtl: str | None = None, texture: str | None = None) -> Path:
    points, quads = wedge()
    lines = [f"mtllib {mtl}"] if mtl else []
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in turned(points, up, front)]
    lines += [f"vt {u} {v}" for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
    lines += ["usemtl paint"] if mtl else []
    lines += ["f " + " ".join(f"{corner + 1}/{i + 1}" for i, corner in enumerate(quad)) for quad in quads]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    if mtl and texture is not None:
        (path.parent / mtl).write_text(f"newmtl paint\nKd 0.5 0.5 0.5\nmap_Kd {texture}\n")
    return path


def write_stl(path: Path, up: str = "+z", front: str = "-y", text: bool = False) -> Path:
    points, quads = wedge()
    corners = turned(points, up, front)[triangles(quads)].astype("<f4")
    if text:
        facets = [
            "facet normal 0 0 0\nouter loop\n"
            + "".join("vertex {:f} {:f} {:f}\n".format(*tuple(p)) for p in c)
            + "endloop\nendfacet"
            for c in corners
        ]
        path.write_text("solid wedge\n" + "\n".join(facets) + "\nendsolid wedge\n")
        return path
    rows = np.zeros(len(corners), dtype=[("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    rows["c"] = corners
    path.write_bytes(b"solid by its first word only".ljust(80) + struct.pack("<I", len(rows)) + rows.tobytes())
    return path


def write_off(path: Path) -> Path:
    points, quads = wedge()
    rows = [
        "OFF",
        f"{len(points)} {len(quads)} 0",
        *(" ".join(map(str, p)) for p in points),
        *(f"4 {a} {b} {c} {d}" for a, b, c, d in quads),
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


def write_ply(path: Path, text: bool = False, colors: bool = False, order: str = "<") -> Path:
    points, quads = wedge()
    kind = "ascii" if text else ("binary_little_endian" if order == "<" else "binary_big_endian")
    head = ["ply", f"format {kind} 1.0", f"element vertex {len(points)}", *(f"property float {axis}" for axis in "xyz")]
    head += [f"property uchar {name}" for name in ("red", "green", "blue")] if colors else []
    head += [f"element face {len(quads)}", "property list uchar int vertex_indices", "end_header\n"]
    if text:
        shade = " 255 0 0" if colors else ""
        body = "".join(f"{x} {y} {z}{shade}\n" for x, y, z in points) + "".join(
            "4 " + " ".join(map(str, quad)) + "\n" for quad in quads
        )
        path.write_text("\n".join(head) + body)
        return path
    shade_bytes = bytes((255, 0, 0)) if colors else b""
    data = b"".join(struct.pack(order + "3f", *p) + shade_bytes for p in points)
    data += b"".join(struct.pack(order + "B4i", 4, *quad) for quad in quads)
    path.write_bytes("\n".join(head).encode() + data)
    return path


def write_dae(path: Path, declared: str = "Z_UP", texture: str | None = None) -> Path:
    points, quads = wedge()
    faces = " ".join(f"{corner} {i}" for quad in quads for i, corner in enumerate(quad))
    image = f'<library_images><image id="img"><init_from>{texture}</init_from></image></library_images>' if texture else ""
    color = '<texture texture="s" texcoord="UV"/>' if texture else "<color>0.8 0.1 0.1 1</color>"
    params = (
        '<newparam sid="f"><surface type="2D"><init_from>img</init_from></surface></newparam>'
        '<newparam sid="s"><sampler2D><source>f</source></sampler2D></newparam>'
        if texture
        else ""
    )
    path.write_text(f"""<?xml version="1.0" encoding="utf-8"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="0.01" name="cm"/><up_axis>{declared}</up_axis></asset>{image}
<library_effects><effect id="e"><profile_COMMON>{params}<technique sid="t">
<lambert><diffuse>{color}</diffuse></lambert></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m" name="paint"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="{points.size}">{" ".join(map(str, points.reshape(-1)))}</float_array>
<technique_common><accessor source="#pa" count="{len(points)}" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<source id="u"><float_array id="ua" count="8">0 0 1 0 1 1 0 1</float_array>
<technique_common><accessor source="#ua" count="4" stride="2"><param name="S" type="float"/>
<param name="T" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<polylist material="sym" count="{len(quads)}"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#u" offset="1" set="0"/><vcount>{"4 " * len(quads)}</vcount><p>{faces}</p></polylist>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="vs"><node id="n"><translate>5 6 7</translate><instance_geometry url="#g"><bind_material>
<technique_common><instance_material symbol="sym" target="#m">
<bind_vertex_input semantic="UV" input_semantic="TEXCOORD" input_set="0"/></instance_material>
</technique_common></bind_material></instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#vs"/></scene></COLLADA>
""")
    return path


class Gltf:
    """A glTF file under construction: arrays in, one mesh of the wedge (y-up, front +z) out, open to any change."""

    def __init__(self) -> None:
        points, quads = wedge()
        self.binary = bytearray()
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "accessors": [],
            "bufferViews": [],
        }
        self.position = self.array(turned(points, "+y", "+z").astype(np.float32), "VEC3")
        self.indices = self.array(triangles(quads).reshape(-1).astype(np.uint16), "SCALAR")
        self.json["meshes"] = [{"primitives": [{"attributes": {"POSITION": self.position}, "indices": self.indices}]}]
        self.json["nodes"] = [{"mesh": 0, "name": "wedge"}]

    def view(self, data: bytes) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data
        return len(self.json["bufferViews"]) - 1

    def array(self, values: NDArray[Any], kind: str, **more: Any) -> int:
        component = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}[values.dtype.name]
        entry = {"bufferView": self.view(values.tobytes()), "componentType": component, "count": len(values), "type": kind}
        self.json["accessors"].append(entry | more)
        return len(self.json["accessors"]) - 1

    def textured(self, image: dict[str, Any]) -> Gltf:
        """Give the mesh a material whose image is `image`."""
        primitive = self.json["meshes"][0]["primitives"][0]
        primitive["attributes"]["TEXCOORD_0"] = self.array(np.random.default_rng(0).random((24, 2)).astype(np.float32), "VEC2")
        primitive["material"] = 0
        self.json["materials"] = [
            {"name": "paint", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}
        ]
        self.json["textures"] = [{"source": 0}]
        self.json["images"] = [image]
        return self

    def glb(self, path: Path) -> Path:
        binary = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
        text = json.dumps(self.json | {"buffers": [{"byteLength": len(binary)}]}).encode()
        text += b" " * (-len(text) % 4)
        total = 28 + len(text) + len(binary)
        path.write_bytes(
            struct.pack("<4sIII4s", b"glTF", 2, total, len(text), b"JSON")
            + text
            + struct.pack("<I4s", len(binary), b"BIN\0")
            + binary
        )
        return path

    def gltf(self, path: Path, uri: str = "wedge.bin") -> Path:
        path.with_name("wedge.bin").write_bytes(bytes(self.binary))
        path.write_text(json.dumps(self.json | {"buffers": [{"byteLength": len(self.binary), "uri": uri}]}))
        return path


def canonical_points(glb: bytes) -> NDArray[np.float64]:
    """All vertices of a GLB as the canonical frame has them, read by trimesh."""
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(glb), file_type="glb")
    return np.asarray(scene.to_geometry().vertices) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])


def document(glb: bytes) -> dict[str, Any]:
    """A GLB's JSON."""
    size = struct.unpack_from("<I", glb, 12)[0]
    found: dict[str, Any] = json.loads(glb[20 : 20 + size])
    return found
