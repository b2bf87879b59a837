"""Reads any CAD file: a path in, a SourceModel out, or BadModel with a reason.

Faces are counted before anything is built, from headers or by scanning: a file that claims ten million of them is refused at
once.
"""

from __future__ import annotations

from pathlib import Path

from models.cad.bad import BadModel
from models.cad.references import referenced_files
from models.cad.source import SourceModel
from models.cad.spec import FORMATS

__all__ = ["BadModel", "check_file", "parse", "referenced_files"]


def check_file(path: Path) -> None:
    """Raise BadModel unless `path` is a file of a format that can be read."""
    suffix = path.suffix.lower()
    if suffix == ".blend":
        raise BadModel(
            "blend_refused", f"{path.name}: .blend files can run code and are not read; export it as .glb from Blender"
        )
    if not path.exists():
        raise BadModel("missing_file", f"no such file: {path}")
    if not path.is_file():
        raise BadModel("not_a_file", f"{path} is not a file")
    if suffix not in FORMATS:
        raise BadModel(
            "unknown_format", f"{path.name}: {suffix or 'no suffix'} is not read; convert it to one of {' '.join(FORMATS)}"
        )
    if path.stat().st_size == 0:
        raise BadModel("empty_file", f"{path.name} is empty; copy or export it again")


def parse(path: Path, max_faces: int) -> SourceModel:
    """Return what the file at `path` holds. Raises BadModel."""
    check_file(path)
    suffix = path.suffix.lower()
    try:
        # One import for each format, so that only the one that is read is paid for.
        if suffix == ".obj":
            from models.cad.obj import count_faces
            from models.cad.obj import read_obj as read
        elif suffix in (".glb", ".gltf"):
            from models.cad.gltf import count_faces
            from models.cad.gltf import read_gltf as read
        elif suffix == ".dae":
            from models.cad.collada import count_faces
            from models.cad.collada import read_collada as read
        elif suffix == ".ply":
            from models.cad.ply import count_faces
            from models.cad.ply import read_ply as read
        else:
            from models.cad.soup import count_faces
            from models.cad.soup import read_soup as read
        _refuse_above(count_faces(path, max_faces), max_faces, path)
        model = read(path, max_faces)
    except OSError as error:
        raise BadModel("unreadable", f"{path} cannot be read: {error.strerror or error}") from None
    _refuse_above(sum(len(part.faces) for part in model.parts), max_faces, path)
    if not any(len(part.faces) for part in model.parts):
        raise BadModel("no_faces", f"{path.name} has no faces; export the mesh itself, with triangles or polygons")
    return model


def _refuse_above(count: int, limit: int, path: Path) -> None:
    if count > limit:
        raise BadModel("too_many_faces", f"{path.name} has more than {limit} faces; simplify it or raise --max-faces")
