"""A file or a folder becomes a list of CAD models to register.

Enters: a path a person named. Leaves: FoundModel for every mesh file at or below it, in order of path, with what folders,
sidecars and collections say about each. Folders and files that begin with `_` or `.` are passed over; links to folders are not
followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storage.cad.layouts import class_of_folder, name_of, orientation_of
from storage.cad.names import spelled
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
    axes_by: str | None = None
    """Which sidecar, or whose convention, says up and front."""
    by_convention: bool = False
    """It is a convention: no person who looked."""
    licence: str | None = None
    """From sidecars."""
    name: str = ""
    """What people call it."""
    symmetry: int | None = None
    """From sidecars."""
    symmetry_origin: str | None = None
    """`given` for this model, or `class` for all of its folder."""
    folder: str | None = None
    """The folder that names the class, where the class is spelled otherwise."""
    stands_in_for: str | None = None
    """The name of the mesh beside it that is meant to be seen, where this one is for collisions or for afar."""


_STAND_IN = re.compile(
    r"(?i)(^(ucx|ubx|ucp|usp)_.+|.+[ _.-](v?hacd|coacd|collisions?|colliders?|coll?|convex|convex[ _-]?hull|hull|physics|phys|"
    r"proxy|lod[ _-]?[1-9])([ _.-]?\d+)?)$"
)
"""Stems of meshes for collisions (V-HACD's, CoACD's, Unreal's and Gazebo's ways) and of coarser levels of detail."""

_STAND_INS = {"collision", "collisions", "collider", "colliders", "coll", "convex", "vhacd", "physics"}
"""Folders of such meshes."""

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
    found = _told_apart(found)
    if not found and refuse is None:
        raise ValueError(f"no CAD model in {path}; read are {' '.join(formats)}")
    return found


def scan_each(paths: Sequence[Path]) -> list[FoundModel]:
    """Return the CAD models at or below several paths, such as a shell makes of `*.obj`, each once; as `scan` does."""
    found = {model.path.absolute(): model for path in paths for model in scan(path)}
    # Named together they are looked at together; one that is named alone is what a person wants.
    return list(found.values()) if len(paths) == 1 else _told_apart(list(found.values()))


def _told_apart(found: list[FoundModel]) -> list[FoundModel]:
    """Return the same, those marked that stand in for another one beside them."""
    shown: dict[Path, list[FoundModel]] = {}
    for model in found:
        if not _stands_in(model.path):
            # Folders such as meshes/ and visual/ stand beside collision/.
            for folder in (model.path.parent, model.path.parent.parent):
                shown.setdefault(folder, []).append(model)
    return [replace(model, stands_in_for=_seen(model.path, shown)) if _stands_in(model.path) else model for model in found]


def _stands_in(path: Path) -> bool:
    return bool(_STAND_IN.match(path.stem)) or path.parent.name.lower() in _STAND_INS


def _seen(path: Path, shown: dict[Path, list[FoundModel]]) -> str | None:
    """Return the name of the mesh that a stand-in is for: one whose name begins its own, else the first there is, if any."""
    own_folder = path.parent.name.lower() in _STAND_INS
    beside = [model.path for model in shown.get(path.parent.parent if own_folder else path.parent, ())]
    if not own_folder:
        beside = [other for other in beside if other.parent == path.parent]
    begun = [other for other in beside if path.stem.lower().removeprefix("ucx_").startswith(other.stem.lower())]
    return next((other.name for other in begun or beside), None)


def _found(path: Path, above: Sidecar, folder: str | None) -> FoundModel:
    own = sidecar_of_model(path)
    says = above.under(own)
    convention = orientation_of(path.absolute())
    up, front = says.up, says.front
    by_convention = up is None and front is None and convention is not None
    axes_by = None if (up, front) == (None, None) else "a sidecar"
    if by_convention:
        assert convention is not None
        up, front, axes_by = convention.up, convention.front, convention.whose
    named = says.class_name or (spelled(class_of_folder(folder)) if folder else None)
    return FoundModel(
        path=path,
        class_name=named,
        folder=folder if folder and says.class_name is None and named != class_of_folder(folder) else None,
        keywords=says.keywords or (),
        up=up or "auto",
        front=front or "auto",
        axes_by=axes_by,
        by_convention=by_convention,
        licence=says.licence,
        name=name_of(path.absolute()),
        symmetry=says.symmetry,
        symmetry_origin=None if says.symmetry is None else "class" if own.symmetry is None else "given",
    )
