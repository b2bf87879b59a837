"""Sidecars: what a person knows about a CAD model and its file does not say.

    up = "+z"
    front = "-y"
    keywords = ["hatchback", "city car"]
    licence = "CC BY 4.0"
    symmetry = 1

Enters: `<model>.dst.toml` beside a model (`car.obj.dst.toml` or `car.dst.toml`), or `dst.toml` in a folder, which speaks for
everything below it and may also name the class. Leaves: a Sidecar. Nearer ones win, field by field.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FOLDER_FILE = "dst.toml"
SUFFIX = ".dst.toml"
_AXES = ("+x", "-x", "+y", "-y", "+z", "-z", "auto")
_FIELDS = ("up", "front", "keywords", "licence", "class", "symmetry")


class BadSidecar(ValueError):
    """A sidecar that cannot be understood; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What sidecars say; None where they say nothing."""

    up: str | None = None
    """The source axis that points up: +x ... -z."""
    front: str | None = None
    """The source axis that the front faces."""
    keywords: tuple[str, ...] | None = None
    """Words for the captions."""
    licence: str | None = None
    """As its author puts it."""
    class_name: str | None = None
    """The class of what lies below."""
    symmetry: int | None = None
    """Rotational symmetry about the upright axis: 1 none, n looks the same after a turn of 360 / n degrees, 0 after any turn."""

    def under(self, nearer: Sidecar) -> Sidecar:
        """Return both, the nearer one winning wherever it says something."""
        said = {name: value for name, value in vars(nearer).items() if value is not None}
        if {"up", "front"} & set(said):
            # One orientation is one statement: half of it from here and half from there would be nobody's.
            said = {"up": nearer.up, "front": nearer.front, **said}
        return replace(self, **said)


def read_sidecar(path: Path) -> Sidecar:
    """Return what the file says. Raises BadSidecar."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSidecar(f"{path}: not valid TOML: {error}") from None
    return _sidecar(fields, path)


def _sidecar(fields: Mapping[str, Any], path: Path) -> Sidecar:
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise BadSidecar(f"{path}: no such field {', '.join(unknown)}; there are {', '.join(_FIELDS)}")
    for axis in ("up", "front"):
        if fields.get(axis, "auto") not in _AXES:
            raise BadSidecar(f"{path}: {axis} is {fields[axis]!r}; choose one of {', '.join(_AXES)}")
    symmetry = fields.get("symmetry")
    if symmetry is not None and (isinstance(symmetry, bool) or not isinstance(symmetry, int) or not 0 <= symmetry <= 360):
        raise BadSidecar(f"{path}: symmetry is {symmetry!r}; it is 1 (none), 2, 3, ... (that many times a turn) or 0 (any turn)")
    return Sidecar(
        symmetry=symmetry,
        up=fields.get("up"),
        front=fields.get("front"),
        keywords=keywords_of(fields["keywords"], path) if "keywords" in fields else None,
        licence=_text(fields, "licence", path),
        class_name=_text(fields, "class", path),
    )


def read_orientations(path: Path) -> dict[str, Sidecar]:
    """Return cad_id -> what a list of CAD models says about each: for collections that cannot be written to.

    One table for each cad_id, with the fields of a sidecar. Raises BadSidecar, FileNotFoundError.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSidecar(f"{path}: not valid TOML: {error}") from None
    for cad_id, fields in tables.items():
        if not isinstance(fields, dict):
            raise BadSidecar(f'{path}: {cad_id} stands outside of a table; each begins with ["<cad_id>"]')
    return {cad_id: _sidecar(fields, path) for cad_id, fields in tables.items()}


def sidecar_of_folder(folder: Path) -> Sidecar:
    """Return what a folder's own dst.toml says; an empty one if there is none."""
    path = folder / FOLDER_FILE
    return read_sidecar(path) if path.is_file() else Sidecar()


def sidecar_of_model(model: Path) -> Sidecar:
    """Return what the file beside a model says; an empty one if there is none."""
    for path in (model.with_name(model.name + SUFFIX), model.with_name(model.stem + SUFFIX)):
        if path.is_file():
            return read_sidecar(path)
    return Sidecar()


def keywords_of(value: Any, where: Path | str) -> tuple[str, ...]:
    """Return keywords given as a list, or as one text with commas. Raises BadSidecar for anything else."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise BadSidecar(f'{where}: keywords are a list of texts, such as ["hatchback", "city car"]')
    cleaned = (" ".join("".join(c if c.isprintable() else " " for c in word).split()) for word in words)
    return tuple(dict.fromkeys(word[:80] for word in cleaned if word))


def _text(fields: Mapping[str, Any], name: str, path: Path) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise BadSidecar(f"{path}: {name} is a text, not {value!r}")
    return value
