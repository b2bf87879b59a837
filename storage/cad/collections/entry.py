"""A CAD model of a collection, before its file is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NAMES = ("shapenet", "objaverse", "omniobject3d", "toys4k", "folder")
"""The collections whose layouts are known; `folder` is anybody's own."""


class BadCollection(ValueError):
    """A folder, list or table that is not what it should be; one line that says where and what to do."""


class OutsideCollection(BadCollection):
    """A name that leads to a file outside of its collection."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A CAD model as its collection names it."""

    collection: str
    """One of NAMES."""
    uid: str
    """What it is called there, as the published CAD list writes it."""
    path: Path
    """Its mesh file."""
    class_name: str | None
    """As the collection sorts it; None where it does not."""
    name: str
    """What people call it."""
    keywords: tuple[str, ...] = ()
    """Words of the collection's own about it."""
    licence: str | None = None
    """As the collection says it."""
    up: str = "auto"
    """The collection's convention, where it has one."""
    front: str = "auto"
    """Likewise."""
    axes_by: str | None = None
    """Who says them."""
    by_convention: bool = False
    """It is a convention: no person who looked."""
    stands_in_for: str | None = None
    """For plain folders: the name of the mesh that is meant to be seen where this one is for collisions or for afar."""
    symmetry: int | None = None
    """From sidecars, for plain folders."""
    symmetry_origin: str | None = None
    """Likewise."""


def check_inside(root: Path, path: Path) -> Path:
    """Return `path`. Raises OutsideCollection if it, or a link on its way, leads out of `root`."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise OutsideCollection(f"{path} leads out of its collection {root}; copy the file into it")
    return path


_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,199}")


def check_uid(uid: str, folders: bool = False) -> str:
    """Return `uid` if it can be a model's name inside a collection (with folders: a path in it). Raises OutsideCollection."""
    parts = uid.split("/") if folders else [uid]
    if not all(_UID.fullmatch(part) and ".." not in part for part in parts):
        shown = "".join(c if c.isprintable() else "?" for c in uid[:80])
        raise OutsideCollection(f'"{shown}" cannot be the name of a CAD model inside a collection')
    return uid
