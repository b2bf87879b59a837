"""The cad stage's spec: which way a source file's axes point.

Enters: nothing. Leaves: CadSpec, and the axes that a file format's convention gives where the spec says `auto`. Imports nothing
heavy, so that a command can plan with it. (3D-DST, section 3.1: CAD models are aligned to one canonical pose for each class.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from models.kinds import Spec

STAGE = "cad"
VERSION = 2

AXES = ("+x", "-x", "+y", "-y", "+z", "-z")

FORMATS = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off", ".dae")
"""Suffixes of the files that can be read."""

_UP_OF_FORMAT = {".obj": "+y", ".glb": "+y", ".gltf": "+y", ".dae": "+y", ".ply": "+z", ".stl": "+z", ".off": "+z"}

_FRONT_OF_UP = {"+y": "+z", "+z": "-y", "+x": "+z", "-y": "+z", "-z": "-y", "-x": "+z"}
"""Front where only up is known: glTF's convention for y-up files, Blender's and most scanners' for z-up ones."""


@dataclass(frozen=True, kw_only=True)
class CadSpec(Spec):
    """How a source file's axes become the canonical ones (front -y, up +z, longest side 1, centred)."""

    up: str = "auto"
    """The source axis that points up: +x -x +y -y +z -z, or auto for the format's convention."""
    front: str = "auto"
    """The source axis that the object's front faces, spelled as `up`."""
    turn: tuple[tuple[float, float, float], ...] | None = None
    """A further rotation (3x3, rows) of what the axes give, where axes alone cannot say it: canonical = turn @ axes @ source."""

    def __post_init__(self) -> None:
        if self.turn is not None:
            object.__setattr__(self, "turn", _rotation(self.turn))
        for name, axis in (("up", self.up), ("front", self.front)):
            if axis not in (*AXES, "auto"):
                raise ValueError(f"{name} is {axis!r}; choose one of {', '.join(AXES)} or auto")
        if "auto" not in (self.up, self.front) and self.up[1] == self.front[1]:
            raise ValueError(f"up {self.up} and front {self.front} lie on one line; they have to be at right angles")

    def spelled(self) -> dict[str, Any]:
        """Return the spec as records and keys spell it: a turn that nobody gave is not there, so it changes no key."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if name != "turn" or value is not None}


def _rotation(rows: Sequence[Sequence[float]]) -> tuple[tuple[float, float, float], ...]:
    """Return the matrix with one spelling on every machine (9 decimals). Raises ValueError unless it is a rotation."""
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        raise ValueError("turn is a rotation: 3 rows of 3 numbers")
    (a, b, c), (d, e, f), (g, h, i) = ((float(x), float(y), float(z)) for x, y, z in rows)
    lengths = [a * a + b * b + c * c, d * d + e * e + f * f, g * g + h * h + i * i]
    across = [a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i]
    handed = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    off = [*(length - 1.0 for length in lengths), *across, handed - 1.0]
    if not all(abs(value) <= 1e-6 for value in off):
        raise ValueError("turn is no rotation: its rows must be of length 1, at right angles and right-handed")
    return tuple((round(x, 9) + 0.0, round(y, 9) + 0.0, round(z, 9) + 0.0) for x, y, z in ((a, b, c), (d, e, f), (g, h, i)))


def resolve_axes(spec: CadSpec, suffix: str, declared_up: str | None = None) -> tuple[str, str]:
    """Return (up, front) with every `auto` replaced: by what the file declares (COLLADA's up_axis), else by its format.

    Where only one of the two was given and the convention's other lies on the same line, the next sensible axis is taken.
    """
    convention = declared_up or _UP_OF_FORMAT[suffix]
    up = spec.up
    if up == "auto":
        up = convention
        if spec.front != "auto" and spec.front[1] == up[1]:
            up = "+z" if up[1] == "y" else "+y"
    front = spec.front if spec.front != "auto" else _FRONT_OF_UP[up]
    return up, front


_PROGRAMS = {
    ".obj": "OBJ says nothing of axes; most programs write +y up",
    ".glb": "glTF is +y up and faces +z",
    ".gltf": "glTF is +y up and faces +z",
    ".dae": "COLLADA is +y up where it says nothing",
    ".ply": "PLY says nothing of axes; scanners mostly write +z up",
    ".stl": "STL says nothing of axes; most parts are drawn +z up",
    ".off": "OFF says nothing of axes; taken as +z up",
}


def why_axes(spec: CadSpec, suffix: str, declared_up: str | None = None, turned: bool = False) -> str:
    """Return in one line why a file's axes are what `resolve_axes` makes of them.

    turned: nodes of the file turn all of it, which was done before.
    """
    up, front = resolve_axes(spec, suffix, declared_up)
    if "auto" not in (spec.up, spec.front):
        return "said"
    if spec.up != "auto":
        return "up is said, front follows"
    because = f"the file declares {declared_up} up" if declared_up else _PROGRAMS[suffix]
    if spec.front != "auto":
        because = f"front is said; {because}" if up == (declared_up or _UP_OF_FORMAT[suffix]) else "front is said, up follows"
    elif suffix not in (".glb", ".gltf"):
        because += f", front {front} goes with it"
    return because + ("; a matrix in the file turns all of it, and was obeyed" if turned else "")
