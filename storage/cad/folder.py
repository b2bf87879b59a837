"""A file or a folder becomes a list of CAD models to register.

Enters: a path a person named. Leaves: FoundModel for every mesh file at or below it, in order of path, with what folders,
sidecars and collections say about each. Folders and files that begin with `_` or `.` are passed over; links to folders are not
followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.cad.layouts import class_of_folder, name_of, orientation_of
from storage.cad.sidecar import FOLDER_FILE, BadSidecar, Sidecar, sidecar_of_folder, sidecar_of_model

FORMATS = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off", ".dae")
"""Suffixes that count as CAD models in a folder (models.cad.spec has the same; a test compares them)."""


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A mesh file and what is known about it before it is opened."""

    path: Path
    """Where it lies."""
    class_name: str | None = None
    """From a sidecar or the first folder below the one scanned; None: neither."""
    keywords: tuple[str, ...] = ()
    """From sidecars."""
    up: str = "auto"
    """From sidecars or the collection's convention."""
    front: str = "auto"
    """Likewise."""
    licence: str | None = None
    """From sidecars."""
    name: str = ""
    """What people call it."""
    symmetry: int | None = None
    """From sidecars."""
    symmetry_origin: str | None = None
    """`given` for this model, or `class` for all of its folder."""


Refuse = Callable[[Path, BadSidecar], None]
"""Is told of a folder's sidecar, or a model whose sidecar, cannot be understood."""


def scan(path: Path, formats: Sequence[str] = FORMATS, refuse: Refuse | None = None) -> list[FoundModel]:
    """Return the CAD models at or below `path`. Raises ValueError when there are none, and BadSidecar.

    refuse: hears of bad sidecars instead, and what they speak for is left out; then an empty folder is no error either.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if not path.is_dir():
        return [_found(path, sidecar_of_folder(path.absolute().parent), None)]
    found: list[FoundModel] = []
    said: dict[Path, Sidecar] = {}
    for folder_name, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if name[0] not in "_.")
        folder = Path(folder_name)
        try:
            said[folder] = said.get(folder.parent, Sidecar()).under(sidecar_of_folder(folder))
        except BadSidecar as error:
            if refuse is None:
                raise
            refuse(folder / FOLDER_FILE, error)
            subfolders.clear()
            continue
        below = folder.relative_to(path).parts
        for name in sorted(files):
            if name[0] not in "_." and Path(name).suffix.lower() in formats:
                try:
                    found.append(_found(folder / name, said[folder], below[0] if below else None))
                except BadSidecar as error:
                    if refuse is None:
                        raise
                    refuse(folder / name, error)
    if not found and refuse is None:
        raise ValueError(f"no CAD model in {path}; read are {' '.join(formats)}")
    return found


def _found(path: Path, above: Sidecar, folder: str | None) -> FoundModel:
    own = sidecar_of_model(path)
    says = above.under(own)
    convention = orientation_of(path.absolute())
    up, front = says.up, says.front
    if up is None and front is None and convention is not None:
        up, front = convention.up, convention.front
    return FoundModel(
        path=path,
        class_name=says.class_name or (class_of_folder(folder) if folder else None),
        keywords=says.keywords or (),
        up=up or "auto",
        front=front or "auto",
        licence=says.licence,
        name=name_of(path.absolute()),
        symmetry=says.symmetry,
        symmetry_origin=None if says.symmetry is None else "class" if own.symmetry is None else "given",
    )
