"""Seeded mutations of small CAD files: what bad exporters, editors and disks do to them.

Enters: a seed and a folder. Leaves: a file, the same for the same seed everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.cad.bad import BadModel
from models.cad.canonical import CanonicalModel, canonicalise
from models.cad.spec import CadSpec
from tests.cad import makers, odd
from tests.cad.differential import disagreements

NUMBER = re.compile(rb"(?<![\w.#/\"+-])-?\d+(?:\.\d+)?(?![\w.\"])")
VALUES = (b"nan", b"-1", b"0", b"1e9", b"99999", b"1", b"2", b"3", b"0.5", b"1e-9", b"inf", b"")


def triangles(path: Path) -> Path:
    """Cut the quads of an OBJ, text PLY or OFF: bent ones may be cut either way, and readers differ."""
    lines = []
    for line in path.read_text().splitlines():
        quad = re.fullmatch(r"(f|4) (\S+) (\S+) (\S+) (\S+)(.*)", line)
        line = re.sub(r"element face (\d+)", lambda found: f"element face {2 * int(found[1])}", line)
        line = (
            re.sub(r"^(\d+) (\d+) 0$", lambda found: f"{found[1]} {2 * int(found[2])} 0", line) if path.suffix == ".off" else line
        )
        if quad is None:
            lines.append(line)
            continue
        head, (a, b, c, d), rest = quad[1].replace("4", "3"), quad.groups()[1:5], quad[6]
        lines += [f"{head} {a} {b} {c}{rest}", f"{head} {a} {c} {d}{rest}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def red_obj(folder: Path) -> Path:
    return triangles(odd.obj(folder, odd.vertices(after=" 1 0.1 0") + odd.FACES + "\n"))


def two_obj(folder: Path) -> Path:
    return triangles(odd.helper_obj(folder, "d 1"))


def readable(path: Path) -> Path:
    """Return the file as other readers can read it (docs/cad_files.md): spaces and line ends they know, no byte order mark,
    OBJ's tables before its faces, its material named again for each object.
    """
    data = path.read_bytes()
    if b"\0" in data:
        return path
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\t", b" ")
    if path.suffix == ".obj":
        first, rest, material = [], [], b""
        for line in text.split(b"\n"):
            material = line if line.startswith(b"usemtl") else material
            # A face that counts back from the last vertex stays behind it.
            early = line.startswith((b"v", b"mtllib")) and b"f -" not in text and b" -1/" not in text
            (first if early else rest).extend([line, material] if line[:2] in (b"o ", b"g ") else [line])
        text = b"\n".join(first + rest)
    plain = path.with_name("readable" + path.suffix)
    plain.write_bytes(text)
    return plain


BASES: tuple[Callable[[Path], Path], ...] = (
    lambda folder: triangles(odd.textured_obj(folder, "map_Kd t.png")),
    lambda folder: triangles(makers.write_ply(folder / "model.ply", colors=True, text=True)),
    lambda folder: odd.Box(odd.quarters()).gltf(folder / "model.gltf"),
    lambda folder: odd.dae(folder, odd.TRIANGLES),
    lambda folder: makers.write_stl(folder / "model.stl"),
    red_obj,
    lambda folder: makers.write_ply(folder / "model.ply", colors=True),
    lambda folder: odd.Box().opaque_neighbour().glb(folder / "model.glb"),
    lambda folder: odd.dae(folder, odd.TRIANGLES, t_png=odd.quarters()),
    lambda folder: triangles(makers.write_off(folder / "model.off")),
    two_obj,
    lambda folder: makers.write_stl(folder / "model.stl", text=True),
    lambda folder: triangles(odd.face_coloured_ply(folder)),
)
"""Files to start from; the seed says which."""
FACE_COLOURED = len(BASES) - 1
SHAPE = ("triangles", "bounds", "area")


def mutated(seed: int, folder: Path) -> Path:
    """Write a small CAD file with one or two mutations; returns its path."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = BASES[seed % len(BASES)](folder)
    data = path.read_bytes()
    binary = b"\0" in data
    for _ in range(1 + int(rng.integers(2))):
        data = _bytes(data, rng) if binary else _text(data, rng)
    path.write_bytes(data)
    return path


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    # Behind the header, which is a text in most formats: a number, a bit, or the end.
    at = int(rng.integers(min(84, len(data) // 2), len(data) - 4))
    match int(rng.integers(4)):
        case 0:
            changed[at : at + 4] = np.float32(rng.choice([0, 1, -3, 1e9, np.nan])).tobytes()
        case 1:
            changed[at] ^= 1 << int(rng.integers(8))
        case 2:
            changed[at] = int(rng.integers(256))
        case _:
            # An index or a length that is one too many.
            changed[at] = (changed[at] + 1) % 256
    return bytes(changed)


def _text(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    at, other = (int(value) for value in rng.integers(len(lines), size=2))
    match int(rng.integers(12)):
        case 0 | 1 | 2 | 3:
            numbers = list(NUMBER.finditer(data))
            if not numbers:
                return data
            found = numbers[int(rng.integers(len(numbers)))]
            return data[: found.start()] + VALUES[int(rng.integers(len(VALUES)))] + data[found.end() :]
        case 4:
            del lines[at]
        case 5:
            lines.insert(other, lines[at])
        case 6:
            lines[at], lines[other] = lines[other], lines[at]
        case 7:
            words = lines[at].split(b" ")
            del words[int(rng.integers(len(words)))]
            lines[at] = b" ".join(words)
        case 8:
            return b"\xef\xbb\xbf" + data.removeprefix(b"\xef\xbb\xbf")
        case 9:
            return data.replace(b"\n", (b"\r\n", b"\r", b" \n")[int(rng.integers(3))])
        case 10:
            lines[at] = lines[at].replace(b" ", b"\t" if rng.integers(2) else b"  ")
        case _:
            lines[at] = lines[at] + b" 0.25"
    return b"\n".join(lines)


@dataclass
class Outcome:
    """What became of many mutations."""

    agreed: int = 0
    """Read without a warning, and another reader sees the same."""
    said: int = 0
    """Read with a warning."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused, by reason."""
    alone: list[int] = field(default_factory=list)
    """Seeds of files that nobody else reads."""
    differ: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    """Seed -> what each other reader sees instead, where none of them sees what we do."""


def _faces_before_materials(path: Path) -> bool:
    """Such faces are grey here; Blender gives them the material that comes next."""
    heads = [line[:2] for line in path.read_bytes().replace(b"\r", b"\n").split(b"\n")] if path.suffix == ".obj" else []
    return b"f " in heads and b"us" in heads and heads.index(b"f ") < heads.index(b"us")


def tried(seeds: Iterable[int], folder: Path) -> Outcome:
    """Read the mutations of `seeds` and compare those that were read without a word with what others read."""
    outcome = Outcome()
    silent: dict[Path, tuple[CanonicalModel, Path]] = {}
    numbers: dict[Path, int] = {}
    for seed in seeds:
        path = mutated(seed, folder / str(seed))
        try:
            made = canonicalise(path, CadSpec(), 100_000)
        except BadModel as error:
            outcome.refused[error.reason] += 1
            continue
        if made.facts["warnings"]:
            outcome.said += 1
            continue
        silent[path], numbers[path] = (made, readable(path)), seed
    for path, readers in disagreements(silent, folder).items():
        seed = numbers[path]
        if seed % len(BASES) == FACE_COLOURED or _faces_before_materials(path):
            # Colours that others do not know (docs/cad_files.md): only the shape is compared.
            readers = {name: [one for one in found if one.split(":")[0] in SHAPE] for name, found in readers.items()}
        if not readers:
            outcome.alone.append(seed)
        elif all(readers.values()):
            outcome.differ[seed] = readers
        else:
            outcome.agreed += 1
    return outcome
