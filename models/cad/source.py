"""What is read from a CAD file, whatever its format: parts, materials, textures.

The readers (obj, gltf, collada, ply, soup) make a SourceModel; models.cad.canonical turns it into a canonical GLB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.colour import to_linear

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Texture:
    """An image as a file's bytes, checked to decode."""

    data: bytes
    """PNG or JPEG."""
    mime: str
    """image/png or image/jpeg."""
    wrap: tuple[int, int] = (10497, 10497)
    """glTF's codes for s and t: 10497 repeat, 33071 clamp, 33648 mirrored repeat."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Metallic-roughness, as in glTF; colours linear."""

    name: str = ""
    base_color: tuple[float, float, float, float] = (0.6, 0.6, 0.6, 1.0)
    """Linear RGB and alpha; multiplies the texture."""
    metallic: float = 0.0
    """0 to 1."""
    roughness: float = 0.6
    """0 to 1."""
    emissive: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Linear RGB."""
    base_texture: Texture | None = None
    """sRGB."""
    metallic_roughness_texture: Texture | None = None
    """Roughness in green, metallic in blue."""
    normal_texture: Texture | None = None
    """Tangent space, y up."""
    normal_scale: float = 1.0
    """Strength of the normal texture."""
    emissive_texture: Texture | None = None
    """sRGB."""
    cutoff: float | None = None
    """Texels with less alpha than this are holes; None: the surface is whole."""
    hidden: bool = False
    """Fully transparent: what is made of it is left out, as it would hide the object if it were shown."""


@dataclass(frozen=True, kw_only=True)
class SourcePart:
    """A triangle mesh with one material, in the source file's root frame."""

    name: str
    """As the file names it."""
    points: Floats
    """(N, 3)."""
    faces: Ints
    """(M, 3) indices into points."""
    normals: Floats | None = None
    """(N, 3), not necessarily of unit length; None: the file has none."""
    uv: Floats | None = None
    """(N, 2), v downwards as in glTF."""
    colors: Floats | None = None
    """(N, 4), linear."""
    material: int | None = None
    """Index into the model's materials; None: the file names none."""


@dataclass(kw_only=True)
class SourceModel:
    """All that was read from one file."""

    parts: list[SourcePart] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Facts a person should know, each `short_name: what`."""
    declared_up: str | None = None
    """The up axis the file itself declares (COLLADA), else None."""
    turned: bool | None = None
    """Matrices in the file turn all of it, so that a mesh's own axes are others; None: there are no matrices."""

    def place(self, matrix: Floats) -> None:
        """Note the matrix (4x4) of a mesh that is placed by one."""
        lengths = np.maximum(np.linalg.norm(matrix[:3, :3], axis=0), 1e-300)
        turns = bool((np.diag(matrix[:3, :3]) / lengths < 0.9).any())
        self.turned = turns if self.turned is None else self.turned and turns

    def warn(self, name: str, what: str) -> None:
        """Note a fact once."""
        text = f"{name}: {clean(what, 200)}"
        if text not in self.warnings:
            self.warnings.append(text)


def clean(name: str, length: int = 80) -> str:
    """Return a file's name for a thing as printable text of at most `length` characters."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in name[:length]).strip()


def linear(srgb: Floats) -> Floats:
    """Return linear values of sRGB ones in 0..1: colours of old formats are meant as they look on a screen."""
    return to_linear(np.clip(srgb, 0.0, 1.0))


def linear_colors(rgb: Floats, white: float | None = None) -> Floats:
    """Return (N, 4) linear colours of sRGB ones, NaN where one is no number. `white`: 1 or 255; None: as the numbers look."""
    sound = rgb[np.isfinite(rgb)]
    if white is None:
        # One number above 1 among fractions is a bright colour or a mistake: bytes are most of them above 1, or whole.
        above, between = sound > 1.0, (sound > 0.0) & (sound < 1.0)
        white = 255.0 if above.sum() > between.sum() and (sound.max() > 2.0 or (sound == np.rint(sound)).all()) else 1.0
    shades = np.where(np.isfinite(rgb), rgb, np.nan) / white
    # A bright colour is cut to white; a number far out is no colour.
    shades[np.abs(shades) > 2.0] = np.nan
    return np.concatenate([linear(shades), np.ones((len(rgb), 1))], axis=1)


def linear_rgb(color: Floats | list[float] | tuple[float, ...]) -> tuple[float, float, float]:
    """Return one sRGB colour as three linear numbers, rounded so that they print the same everywhere."""
    values = linear(np.asarray(color, dtype=np.float64)[:3])
    return (round(float(values[0]), 6), round(float(values[1]), 6), round(float(values[2]), 6))
