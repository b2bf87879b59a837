"""STL and OFF: triangles and polygons without materials.

Enters: a path. Leaves: a SourceModel with one part.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from models.cad.bad import BadModel
from models.cad.polygons import sound_polygons, triangulate
from models.cad.references import BYTE_ORDER_MARK
from models.cad.source import Floats, SourceModel, SourcePart, clean, linear_colors

_STL = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def count_faces(path: Path, limit: int) -> int:
    """Return how many faces the file claims (STL by its size or its words, OFF by its header)."""
    if path.suffix.lower() == ".off":
        return _off_header(path)[2]
    if _stl_is_binary(path):
        with open(path, "rb") as file:
            head = file.read(84)
        if len(head) < 84:
            raise BadModel("truncated", f"{path.name} ends inside its header; copy or export it again")
        return int(struct.unpack_from("<I", head, 80)[0])
    count = 0
    last = b""
    with open(path, "rb") as file:
        while block := file.read(2**24):
            joined = (last + block).lower()
            count += joined.count(b"endfacet")
            last = block[-7:]
            if count > limit:
                break
    return count


def read_soup(path: Path, max_faces: int) -> SourceModel:
    """Return the model in an STL or OFF file. Raises BadModel."""
    if path.suffix.lower() == ".off":
        return _read_off(path)
    model = SourceModel()
    points = _stl_binary(path, model) if _stl_is_binary(path) else _stl_text(path)
    distinct, inverse = _distinct(points)
    model.parts = [SourcePart(name=clean(path.stem), points=distinct, faces=inverse)]
    return model


def _distinct(corners: Floats) -> tuple[Floats, np.ndarray]:
    """Return the different points among (M, 3, 3) corners, and (M, 3) faces into them."""
    if not len(corners):
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    points, inverse = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return points, inverse.reshape(-1, 3).astype(np.int64)


# -- STL ---------------------------------------------------------------------------------------------------------------


def _stl_is_binary(path: Path) -> bool:
    """Text files begin with `solid`; so do some binary ones, which their length gives away."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(84)
    if len(head) == 84 and size == 84 + 50 * struct.unpack("<I", head[80:])[0]:
        return True
    return head.removeprefix(BYTE_ORDER_MARK).lstrip()[:5].lower() != b"solid" or b"\0" in head


def _stl_binary(path: Path, model: SourceModel) -> Floats:
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 80)[0]
    if 84 + 50 * count > len(data):
        raise BadModel("truncated", f"{path.name} has {(len(data) - 84) // 50} of {count} faces; copy or export it again")
    rows = np.frombuffer(data, _STL, count=count, offset=84)
    if b"COLOR=" in data[:80] or (count and ((rows["attribute"] & 0x8000) > 0).all()):
        # Two programs' ways of hiding colours in STL contradict each other in the order of red and blue.
        model.warn("colours_dropped", f"{path.name} has colours, which no two programs read alike from STL; shown grey")
    return rows["corners"].astype(np.float64)


def _stl_text(path: Path) -> Floats:
    words = path.read_bytes().lower().split()
    where = [i for i, word in enumerate(words) if word == b"vertex"]
    try:
        rows = np.array([[float(word) for word in words[i + 1 : i + 4]] for i in where], dtype=np.float64)
        return rows.reshape(-1, 3, 3)
    except ValueError:
        raise BadModel("malformed", f"{path.name} is not valid STL; export it again") from None


# -- OFF ---------------------------------------------------------------------------------------------------------------


def _off_header(path: Path) -> tuple[bytes, int, int]:
    """Return the kind (OFF, COFF, ...), the vertex and the face count. The counts may stand on the first line."""
    with open(path, "rb") as file:
        head = file.read(65536).removeprefix(BYTE_ORDER_MARK)
    words = [word for line in head.splitlines() for word in line.split(b"#")[0].split()][:4]
    try:
        kind = words[0].upper()
        if not kind.endswith(b"OFF"):
            # ModelNet has files whose first line reads OFF490 518 0.
            if not kind.startswith(b"OFF"):
                raise ValueError
            words = [b"OFF", words[0][3:], *words[1:]]
            kind = b"OFF"
        vertices, faces = int(words[1]), int(words[2])
        if min(vertices, faces) < 0 or kind not in (b"OFF", b"COFF", b"NOFF", b"CNOFF", b"STOFF"):
            raise ValueError
    except (ValueError, IndexError):
        raise BadModel("malformed", f"{path.name} does not begin like an OFF file; export it again") from None
    return kind, vertices, faces


def _read_off(path: Path) -> SourceModel:
    kind, vertices, faces = _off_header(path)
    lines = [line.split(b"#")[0].split() for line in path.read_bytes().removeprefix(BYTE_ORDER_MARK).splitlines()]
    rows = [words for words in lines if words]
    first = rows[0]
    skipped = 1 if len(first) > 1 else 2
    if len(rows) < skipped + vertices + faces:
        raise BadModel("truncated", f"{path.name} has {len(rows) - skipped} of {vertices + faces} lines; copy or export it again")
    normals_first = b"N" in kind
    try:
        table = [[float(word) for word in row] for row in rows[skipped : skipped + vertices]]
        points = np.array([row[:3] for row in table], dtype=np.float64).reshape(-1, 3)
        colors = None
        start = 6 if normals_first else 3
        if kind.startswith(b"C") and table and min(map(len, table)) >= start + 3:
            colors = linear_colors(np.array([row[start : start + 3] for row in table]))
        face_rows = rows[skipped + vertices : skipped + vertices + faces]
        polygons = [[int(word) for word in row[1 : int(row[0]) + 1]] for row in face_rows]
        after = [row[int(row[0]) + 1 :] for row in face_rows]
        own = [[float(word) for word in row[:3]] if len(row) >= 3 else [np.nan] * 3 for row in after]
    except ValueError:
        raise BadModel("malformed", f"{path.name} is not valid OFF: words where numbers belong; export it again") from None
    model = SourceModel()
    corners = np.array([corner for polygon in polygons for corner in polygon], dtype=np.int64)
    sizes = np.array([len(polygon) for polygon in polygons], dtype=np.int64)
    keep = sound_polygons(corners, sizes, len(points), model, path.name)
    corners, sizes = corners[np.repeat(keep, sizes)], sizes[keep]
    if colors is None and np.isfinite(own).any():
        # Colours of faces: each face gets vertices of its own.
        colors = np.repeat(linear_colors(np.array(own)[keep]), sizes, axis=0)
        points, corners = points[corners], np.arange(len(corners))
    elif colors is None and any(after):
        model.warn("colours_dropped", f"{path.name}: its faces' colours are numbers of a table that is not there; shown grey")
    model.parts = [SourcePart(name=clean(path.stem), points=points, faces=triangulate(points, corners, sizes), colors=colors)]
    return model
