"""Small CAD files that readers stumble over, one for each kind of trouble, written without the code under test.

Each is a box, or a box and what is special about it. Nothing of this is a damaged file: a person's program wrote it.
"""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cad import makers

BOX = makers.box((0, 0, 0), (1, 2, 0.5))
RED = (220, 30, 30)
FACES = "\n".join("f " + " ".join(str(corner + 1) for corner in quad) for quad in makers.BOX_QUADS)
PAINTED = "\n".join("f " + " ".join(f"{corner + 1}/{i + 1}" for i, corner in enumerate(quad)) for quad in makers.BOX_QUADS)
CORNERS = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
SIX = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 210, 30), (200, 30, 200), (30, 200, 200))


def vertices(points: np.ndarray = BOX, after: str = "") -> str:
    return "".join(f"v {x:g} {y:g} {z:g}{after}\n" for x, y, z in points)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def quarters(size: int = 64) -> bytes:
    """A picture whose quarters are red, green, blue and white, from the top left."""
    pixels = np.full((size, size, 3), 255, np.uint8)
    half = size // 2
    pixels[:half, :half], pixels[:half, half:], pixels[half:, :half] = (200, 20, 20), (20, 200, 20), (20, 20, 200)
    return png(pixels)


def leaf(clear: int = 0) -> bytes:
    """A picture whose left half is opaque green; the alpha of its right half is `clear`."""
    pixels = np.full((64, 64, 4), (30, 160, 30, 255), np.uint8)
    pixels[:, 32:, 3] = clear
    return png(pixels)


def write(path: Path, text: str | bytes, **others: str | bytes) -> Path:
    """Write a file and its neighbours, called a.mtl, t.png, ... by their keyword a_mtl, t_png, ..."""
    for name, content in {path.name: text, **{name.replace("_", "."): content for name, content in others.items()}}.items():
        path.with_name(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def obj(folder: Path, text: str | bytes, **others: str | bytes) -> Path:
    return write(folder / "model.obj", text, **others)


def textured_obj(folder: Path, mtl: str, faces: str = PAINTED) -> Path:
    text = f"mtllib a.mtl\n{vertices()}{CORNERS}usemtl m\n{faces}\n"
    return obj(folder, text, a_mtl=f"newmtl m\nKd 1 1 1\n{mtl}\n", t_png=quarters())


def helper_obj(folder: Path, clear: str) -> Path:
    """A red box inside a larger one whose material says `clear`."""
    around = "\n".join("f " + " ".join(str(corner + 9) for corner in quad) for quad in makers.BOX_QUADS)
    text = f"mtllib a.mtl\n{vertices()}{vertices(BOX * 3 - 1)}o thing\nusemtl red\n{FACES}\no helper\nusemtl air\n{around}\n"
    return obj(folder, text, a_mtl=f"newmtl red\nKd 0.8 0.05 0.05\nnewmtl air\nKd 0.5 0.5 0.5\n{clear}\n")


def face_coloured_ply(folder: Path, kind: str = "uchar", scale: float = 1.0) -> Path:
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\nelement face 6\n"
    head += "property list uchar int vertex_indices\n" + "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
    rows = [" ".join(f"{value:g}" for value in point) for point in BOX]
    rows += [f"4 {' '.join(map(str, q))} {' '.join(f'{v * scale:g}' for v in c)}" for q, c in zip(makers.BOX_QUADS, SIX)]
    return write(folder / "model.ply", head + "end_header\n" + "\n".join(rows) + "\n")


def face_coloured_off(folder: Path) -> Path:
    rows = ["OFF", "8 6 0", *(" ".join(map(str, point)) for point in BOX)]
    rows += [f"4 {' '.join(map(str, quad))} {' '.join(map(str, color))}" for quad, color in zip(makers.BOX_QUADS, SIX)]
    return write(folder / "model.off", "\n".join(rows) + "\n")


def ply(
    folder: Path, properties: str, rows: list[str], face: str = "", faces: list[str] | None = None, comment: str = ""
) -> Path:
    """A text PLY of the box with more `properties` and numbers at its vertices and faces."""
    head = f"ply\nformat ascii 1.0\n{comment}element vertex 8\nproperty float x\nproperty float y\nproperty float z\n{properties}"
    head += f"element face 6\nproperty list uchar int vertex_indices\n{face}end_header\n"
    points = [f"{x:g} {y:g} {z:g} {row}" for (x, y, z), row in zip(BOX, rows)]
    quads = [f"4 {' '.join(map(str, quad))} {row}" for quad, row in zip(makers.BOX_QUADS, faces or [""] * 6)]
    return write(folder / "model.ply", head + "\n".join(points + quads) + "\n")


COLORS = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
RED_ROWS = ["220 30 30"] * 8
UV_LIST = "property list uchar float texcoord\n"
UV_ROWS = ["8 0 0 1 0 1 1 0 1"] * 6


class Box(makers.Gltf):
    """A glTF file of one box, red or textured, which hangs at the root."""

    def __init__(self, picture: bytes | None = None, **material: object) -> None:
        super().__init__()
        corners = BOX[makers.BOX_QUADS].reshape(-1, 3).astype(np.float32)
        order = np.concatenate([np.array([0, 1, 2, 0, 2, 3]) + 4 * i for i in range(6)]).astype(np.uint16)
        self.primitive = {"attributes": {"POSITION": self.array(corners, "VEC3")}, "indices": self.array(order, "SCALAR")}
        self.json["meshes"] = [{"name": "box", "primitives": [self.primitive]}]
        self.json["nodes"] = [{"mesh": 0, "name": "box"}]
        self.primitive["material"] = 0
        pbr: dict[str, object] = {"metallicFactor": 0, "baseColorFactor": [0.8, 0.1, 0.1, 1]}
        if picture is not None:
            self.primitive["attributes"]["TEXCOORD_0"] = self.array(  # type: ignore[index]
                np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), (6, 1)), "VEC2"
            )
            self.json |= {"textures": [{"source": 0}], "images": [{"bufferView": self.view(picture), "mimeType": "image/png"}]}
            pbr |= {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 1, 1, 1]}
        self.json["materials"] = [{"name": "paint", "pbrMetallicRoughness": pbr} | material]

    def opaque_neighbour(self) -> Box:
        """Add the same box once more beside it, in plain blue."""
        blue = {"name": "blue", "pbrMetallicRoughness": {"metallicFactor": 0, "baseColorFactor": [0.1, 0.1, 0.8, 1]}}
        self.json["materials"].append(blue)
        self.json["meshes"].append({"name": "other", "primitives": [self.primitive | {"material": 1}]})
        self.json["nodes"].append({"mesh": 1, "name": "other", "translation": [3, 0, 0]})
        self.json["scenes"] = [{"nodes": [0, 1]}]
        return self

    def with_legs(self, required: bool = True) -> Box:
        """Put it on four instances of a leg."""
        at = np.array([[0, -1, 0], [0, -1, 2], [4, -1, 0], [4, -1, 2]], np.float32)
        attributes = {"TRANSLATION": self.array(at, "VEC3")}
        leg = {"mesh": 0, "scale": [0.2, 0.5, 0.2], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
        self.json["nodes"].append(leg)
        self.json["scenes"] = [{"nodes": [0, 1]}]
        self.json["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
        if required:
            self.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
        return self


def broken_lines_gltf(folder: Path, line: str = "\n", mark: bytes = b"") -> Path:
    box = Box()
    path = box.gltf(folder / "model.gltf")
    text = base64.b64encode(bytes(box.binary)).decode().rstrip("=")
    uri = "data:application/octet-stream;base64," + line.join(text[i : i + 60] for i in range(0, len(text), 60))
    path = box.gltf(path, uri=uri)
    path.write_bytes(mark + path.read_bytes())
    return path


def dae(folder: Path, primitive: str, points: np.ndarray = BOX, effect: str = "", params: str = "", **others: bytes) -> Path:
    """A COLLADA file of one mesh with texture coordinates 0 to 3 (the corners) and the `primitive`'s XML."""
    numbers = " ".join(f"{value:g}" for value in np.asarray(points).reshape(-1))
    sampler = (
        '<newparam sid="f"><surface type="2D"><init_from>img</init_from></surface></newparam>'
        f'<newparam sid="s"><sampler2D><source>f</source>{params}</sampler2D></newparam>'
    )
    text = makers.write_dae(folder / "model.dae", texture="t.png" if others else None).read_text()
    start, end = text.index('<source id="p">'), text.index('<source id="u">')
    params3 = "".join(f'<param name="{axis}" type="float"/>' for axis in "XYZ")
    source = f'<source id="p"><float_array id="pa" count="{np.asarray(points).size}">{numbers}</float_array><technique_common>'
    source += f'<accessor source="#pa" count="{len(points)}" stride="3">{params3}</accessor>'
    text = text[:start] + source + "</technique_common></source>\n" + text[end:]
    start, end = text.index("<polylist"), text.index("</polylist>") + len("</polylist>")
    text = text[:start] + primitive + text[end:]
    text = text.replace("</diffuse>", f"</diffuse>{effect}") if effect else text
    if params:
        start, end = text.index('<newparam sid="f">'), text.rindex("</newparam>") + len("</newparam>")
        text = text[:start] + sampler + text[end:]
    return write(folder / "model.dae", text, **others)


INPUTS = '<input semantic="VERTEX" source="#v" offset="0"/><input semantic="TEXCOORD" source="#u" offset="1" set="0"/>'
QUADS = " ".join(f"{corner} {i}" for quad in makers.BOX_QUADS for i, corner in enumerate(quad))
POLYLIST = f'<polylist material="sym" count="6">{INPUTS}<vcount>{"4 " * 6}</vcount><p>{QUADS}</p></polylist>'
CORNERS_OF_TRIANGLES = [f"{quad[i]} {i}" for quad in makers.BOX_QUADS for i in (0, 1, 2, 0, 2, 3)]
TRIANGLES = f'<triangles material="sym" count="12">{INPUTS}<p>{" ".join(CORNERS_OF_TRIANGLES)}</p></triangles>'
WALL = np.concatenate(
    [
        [(0, 0, 0), (4, 0, 0), (4, 0, 3), (0, 0, 3)],
        *([(x, 0, 1), (x, 0, 2), (x + 0.8, 0, 2), (x + 0.8, 0, 1)] for x in (1, 2.2)),
        [(0, 0.2, 0), (4, 0.2, 0), (4, 0.2, 0.3)],
    ]
)
HOLED = (
    '<polygons material="sym" count="2"><input semantic="VERTEX" source="#v" offset="0"/>'
    "<ph><p>0 1 2 3</p><h>4 5 6 7</h><h>8 9 10 11</h></ph><p>12 13 14</p></polygons>"
)


def stl_with_colours(folder: Path) -> Path:
    path = makers.write_stl(folder / "model.stl")
    data = bytearray(path.read_bytes())
    for face in range(struct.unpack_from("<I", data, 80)[0]):
        struct.pack_into("<H", data, 84 + 50 * face + 48, 0x8000 | 31)
    path.write_bytes(bytes(data))
    return path
