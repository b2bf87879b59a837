"""Files that a CAD file refers to: material libraries, buffers, textures.

Enters: a path and a reference as the file spells it. Leaves: a path inside the model's folder, or the reason why there is none.
A reference never leads outside: not by `..`, not by an absolute path, not by a link, not to a device, not to a network.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from models.cad.bad import BadModel

_MESH_FOLDERS = {"models", "meshes", "mesh", "source"}
_TEXTURE_FOLDERS = ("", "images", "textures", "texture", "tex", "maps", "materials/textures", "materials")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_JSON = 256 * 2**20

MTL_MAPS = (
    "map_kd",
    "map_d",
    "map_ka",
    "map_ks",
    "map_ke",
    "map_bump",
    "bump",
    "norm",
    "map_pr",
    "map_pm",
    "map_ns",
    "disp",
    "refl",
)


@dataclass(frozen=True)
class Found:
    """Where a reference leads: a path, or None with the reason."""

    path: Path | None
    reason: str = ""
    """texture_missing, reference_outside, reference_remote or reference_malformed (`texture_moved` beside a path)."""


class References:
    """Resolves the references of one model file.

    The model's folder is the one its file lies in; where that is called `models`, `meshes` or `source` (ShapeNet, Gazebo,
    Sketchfab keep textures beside such a folder) it is the one above.
    """

    def __init__(self, model: Path) -> None:
        self.folder = model.absolute().parent
        above = self.folder.parent
        self.root = (above if self.folder.name.lower() in _MESH_FOLDERS and above != self.folder else self.folder).resolve()

    def find(self, reference: str, unescape: bool = True) -> Found:
        """Return where `reference` leads. A wrong folder is forgiven when the file of that name lies in the model's folder."""
        text = (unquote(reference, errors="surrogateescape") if unescape else reference).strip().strip('"').replace("\\", "/")
        if not text or "\0" in text or len(text) > 1024 or "\n" in text:
            return Found(None, "reference_malformed")
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
        if scheme and scheme[1].lower() in ("http", "https", "ftp", "data"):
            return Found(None, "reference_remote")
        elsewhere = scheme is not None or re.match(r"[A-Za-z]:|/", text) is not None
        if not elsewhere:
            path = self._inside(self.folder / text)
            if path is not None:
                return Found(path)
        name = text.rsplit("/", 1)[-1]
        if name in ("", ".", ".."):
            return Found(None, "reference_malformed")
        for folder in dict.fromkeys((self.folder, *(self.root / sub for sub in _TEXTURE_FOLDERS))):
            moved = self._by_name(folder, name)
            if moved is not None:
                return Found(moved, "texture_moved")
        outside = ".." in text.split("/") or text.startswith("/") or (scheme is not None and scheme[1].lower() == "file")
        return Found(None, "reference_outside" if outside else "texture_missing")

    def _inside(self, path: Path) -> Path | None:
        try:
            real = path.resolve()
            return path if real.is_relative_to(self.root) and real.is_file() else None
        except (OSError, RuntimeError):
            # Too long a name, a loop of links, no permission: for the model the file is not there.
            return None

    def _by_name(self, folder: Path, name: str) -> Path | None:
        exact = self._inside(folder / name)
        if exact is not None:
            return exact
        try:
            names = sorted(entry.name for entry in folder.iterdir() if entry.name.lower() == name.lower())
        except OSError:
            return None
        return self._inside(folder / names[0]) if names else None


def referenced_files(path: Path) -> list[Path]:
    """Return the files that the model at `path` refers to and that are there, each once, in order of reference.

    Reads no more than the references: safe to call outside the worker. Raises BadModel for a file that is not there or not
    what its suffix says.
    """
    return _files(path, _all(path))


def referenced_and_missing(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files that the model at `path` refers to and that are there, and the names of those that are not there (yet)."""
    missing: list[str] = []

    def noting() -> Iterator[tuple[str, Found]]:
        for name, found in _all(path):
            if found.reason == "texture_missing":
                missing.append(name)
            yield name, found

    return _files(path, noting()), list(dict.fromkeys(missing))


def _all(path: Path) -> Iterator[tuple[str, Found]]:
    """Yield every reference of a model as its file spells it, with where it leads."""
    suffix = path.suffix.lower()
    references = References(path)
    if suffix == ".obj":
        yield from _of_obj(path, references)
    elif suffix in (".glb", ".gltf"):
        yield from ((uri, references.find(uri)) for uri in _uris_of_gltf(path))
    elif suffix == ".dae":
        yield from ((uri, references.find(uri)) for uri in uris_of_collada(path.read_bytes()))
    elif suffix == ".ply":
        yield from ((name, references.find(name, unescape=False)) for name in _textures_of_ply(path))


def _files(path: Path, references: Iterator[tuple[str, Found]]) -> list[Path]:
    try:
        own = path.resolve()
        found = [reference.path for _, reference in references]
        return list(dict.fromkeys(file for file in found if file is not None and file.resolve() != own))
    except FileNotFoundError:
        raise BadModel("missing_file", f"no such file: {path}") from None
    except OSError as error:
        raise BadModel("unreadable", f"{path} cannot be read: {error.strerror or error}") from None


def text_of(line: bytes) -> str:
    """Return a line of a text format as a string that can name any file, whatever encoding it was written in."""
    return line.decode("utf-8", errors="surrogateescape").strip()


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of an OBJ or MTL file, with any line ends (an old Mac's too), without a byte order mark."""
    with open(path, "rb") as file:
        if file.read(3) != BYTE_ORDER_MARK:
            file.seek(0)
        for line in file:
            if b"\r" in line[:-2]:
                yield from line.splitlines(keepends=True)
            else:
                yield line


def mtl_libraries(line: bytes, references: References) -> list[tuple[str, Found]]:
    """Return what a `mtllib` line names: one file whose name may hold spaces, or several."""
    text = text_of(line.split(None, 1)[1]) if len(line.split(None, 1)) > 1 else ""
    whole = references.find(text, unescape=False)
    if whole.path is not None or " " not in text:
        return [(text, whole)]
    return [(name, references.find(name, unescape=False)) for name in text.split()]


def mtl_map(rest: str) -> tuple[str, dict[str, list[str]]]:
    """Return the file name of an MTL map statement, and its options (-s 1 1 1, -bm 0.5, -clamp on) with their words."""
    counts = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2}
    words = rest.replace("\t", " ").split(" ")
    options: dict[str, list[str]] = {}
    while words and words[0].startswith("-") and len(words) > 1:
        option = words.pop(0).lower()
        taken = options.setdefault(option, [])
        while words and len(taken) < counts.get(option, 1) and (option not in counts or re.fullmatch(r"[-+.\deE]*", words[0])):
            taken += filter(None, [words.pop(0)])
    return " ".join(words).strip(), options


def _of_obj(path: Path, references: References) -> Iterator[tuple[str, Found]]:
    libraries = [line for line in lines_of(path) if line.lstrip()[:6] == b"mtllib"]
    for line in libraries:
        for name, library in mtl_libraries(line, references):
            yield name, library
            if library.path is None:
                continue
            for statement in lines_of(library.path):
                words = text_of(statement).split(None, 1)
                if len(words) == 2 and words[0].lower() in MTL_MAPS:
                    texture = mtl_map(words[1])[0]
                    yield texture, references.find(texture, unescape=False)


def gltf_document(data: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    """Return a .gltf or .glb file's JSON and its binary chunk. Raises BadModel (truncated, malformed)."""
    binary = b""
    text = data
    if data[:4] == b"glTF":
        if len(data) < 20:
            raise BadModel("truncated", f"{path.name} ends inside its header; export it again")
        version, length, size = struct.unpack_from("<III", data, 4)
        if version != 2:
            raise BadModel("old_version", f"{path.name} is glTF {version}; export it as glTF 2")
        if length > len(data) or 20 + size > len(data):
            raise BadModel("truncated", f"{path.name} has {len(data)} of {max(length, 20 + size)} bytes; copy or export it again")
        text = data[20 : 20 + size]
        rest = 20 + size
        if rest + 8 <= len(data):
            (count,) = struct.unpack_from("<I", data, rest)
            if rest + 8 + count > len(data):
                raise BadModel("truncated", f"{path.name} ends inside its binary chunk; copy or export it again")
            binary = data[rest + 8 : rest + 8 + count]
    elif path.suffix.lower() == ".glb":
        raise BadModel("malformed", f"{path.name} is no GLB file: it does not begin with glTF")
    if len(text) > _MAX_JSON:
        raise BadModel("malformed", f"{path.name} has a JSON part of {len(text)} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadModel("malformed", f"{path.name} is not valid glTF: {error}") from None
    if not isinstance(document, dict):
        raise BadModel("malformed", f"{path.name} is not valid glTF: no object at its top")
    return document, binary


def data_uri(uri: str) -> bytes | None:
    """Return the bytes of a data: URI, None if it is none or damaged."""
    if not uri.startswith("data:") or "," not in uri:
        return None
    head, body = uri.split(",", 1)
    try:
        if not head.endswith(";base64"):
            return unquote_to_bytes(body)
        # Some writers break base64 into lines, some leave out its padding.
        text = re.sub(r"\s", "", unquote(body)).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _uris_of_gltf(path: Path) -> Iterator[str]:
    document, _ = gltf_document(path.read_bytes(), path)
    for kind in ("buffers", "images"):
        entries = document.get(kind)
        for entry in entries if isinstance(entries, list) else []:
            uri = entry.get("uri") if isinstance(entry, dict) else None
            if isinstance(uri, str) and not uri.startswith("data:"):
                yield uri


def uris_of_collada(data: bytes) -> list[str]:
    """Return what the images of a COLLADA file name, in order, without parsing XML."""
    library = re.search(rb"<library_images\b.*?</library_images>", data, re.DOTALL)
    names = re.findall(rb"<init_from\b[^>]*>(?:\s*<ref\b[^>]*>)?([^<]*)<", library[0]) if library else []
    return [re.sub(r"&amp;", "&", text_of(name)) for name in names if name.strip()]


def _textures_of_ply(path: Path) -> Iterator[str]:
    with open(path, "rb") as file:
        head = file.read(65536).split(b"end_header")[0]
    yield from ply_textures(head)


def ply_textures(head: bytes) -> list[str]:
    """Return the textures that a PLY header names, in order."""
    lines = [text_of(line).split(None, 2) for line in head.splitlines()]
    return [words[2] for words in lines if len(words) == 3 and words[0] == "comment" and words[1].lower() == "texturefile"]
