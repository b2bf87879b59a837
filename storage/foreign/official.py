"""Images in the layout of the official code, as it writes and releases them.

    [train/]<synset>/<model>/image_dst/000_00.png      the images; other folders of images are read as well
    [train/]<synset>/<model>/annotation/000.npy        the pose of view 000
    [train/]<synset>/prompts.json                      model -> image -> prompt

Enters: its folder. Leaves: one entry for each image, with what its annotation says. Those are pickles, which can run code when
numpy loads them: here they are read by an unpickler that knows numbers, texts and arrays of numbers, and nothing else.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from storage.cad.collections.entry import BadCollection, check_inside
from storage.cad.collections.layouts import read_json
from storage.cad.collections.synsets import class_of_synset
from storage.cad.names import check_class_name

NO_IMAGES = ("annotation", "depth", "image_render", "mask", "normal")
"""Folders beside the images that hold something else; renders are no generated images."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_VIEW = re.compile(r"(\d+)(?:_(\d+))?")
_MOST_BYTES = 2**20


class BadAnnotation(ValueError):
    """An annotation that cannot be read; its image has no pose."""


@dataclass(frozen=True, kw_only=True)
class ForeignImage:
    """An image that others made, before it is opened."""

    path: Path
    """Where it lies."""
    class_name: str
    """The class of its synset folder."""
    cad_uid: str
    """The CAD model's name: its folder."""
    folder: str
    """The folder of images it lies in, such as image_dst."""
    caption: str | None
    """From prompts.json."""
    annotation: Path
    """Where its pose should be."""


def images(root: Path, class_name: str | None = None, folder: str | None = None) -> Iterator[ForeignImage]:
    """Yield the images below `root` in order of path (of one class, of one folder's name). Raises BadCollection.

    root: the data set, its split, one synset's folder, or a folder of CAD models when `class_name` says what they are.
    """
    if not root.is_dir():
        raise BadCollection(f"no such folder: {root}; give the folder that has train/<synset>/<model>/image_dst/000_00.png")
    given = None if class_name is None else check_class_name(class_name)
    found = False
    for models, name in _classes(root, given):
        prompts = read_json(models / "prompts.json") if (models / "prompts.json").is_file() else {}
        if not isinstance(prompts, dict):
            raise BadCollection(f"{models / 'prompts.json'} is no JSON object of model -> image -> prompt")
        for model in _folders(models):
            said = prompts.get(model.name)
            for place in _folders(model):
                if place.name in NO_IMAGES or (folder is not None and place.name != folder):
                    continue
                for path in sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES and _VIEW.fullmatch(p.stem)):
                    found = True
                    view = _VIEW.fullmatch(path.stem)
                    assert view is not None
                    caption = said.get(path.stem) if isinstance(said, Mapping) else None
                    yield ForeignImage(
                        path=check_inside(root, path),
                        class_name=name,
                        cad_uid=model.name,
                        folder=place.name,
                        caption=" ".join(str(caption).split()) or None if caption is not None else None,
                        annotation=model / "annotation" / f"{view[1]}.npy",
                    )
    if not found:
        wanted = f' of class "{given}"' if given else ""
        raise BadCollection(f"{root} holds no images{wanted} in the official layout: train/<synset>/<model>/image_dst/000_00.png")


def _classes(root: Path, given: str | None) -> Iterator[tuple[Path, str]]:
    """Yield (folder of CAD models, class) for the data set, a split, or a single class's folder."""
    if _is_class(root):
        name = class_of_synset(root.name) if given is None else given
        if name is None:
            raise BadCollection(f'no synset "{root.name}" is known; say the class: --class NAME')
        yield root, name
        return
    for below in _folders(root):
        if not _is_class(below):
            yield from _classes_of_split(below, given)
            continue
        name = class_of_synset(below.name)
        if given is None and name is None:
            raise BadCollection(f'no synset "{below.name}" is known; import it alone: {below} --class NAME')
        if name is not None and (given is None or name == given):
            yield below, name


def _classes_of_split(split: Path, given: str | None) -> Iterator[tuple[Path, str]]:
    if any(_is_class(below) for below in _folders(split)):
        yield from _classes(split, given)


def _is_class(folder: Path) -> bool:
    """Say whether a folder holds CAD models' folders, which hold folders of images or annotations."""
    return any(
        place.name == "annotation" or place.name.startswith("image") for model in _folders(folder) for place in _folders(model)
    )


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as found:
        return sorted(Path(entry.path) for entry in found if entry.is_dir() and entry.name[0] not in "._")


# -- annotations -------------------------------------------------------------------------------------------------------------


def read_annotation(path: Path) -> dict[str, Any]:
    """Return what an annotation says, as JSON types: numbers, texts and lists of numbers. Raises BadAnnotation.

    Angles are in radians (`theta`, `phi`, `camera_rotation`) or degrees (`azimuth`, `elevation`) as the official code has them.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadAnnotation(f"{path.name}: {error.strerror}") from None
    if data[:6] != b"\x93NUMPY" or len(data) > _MOST_BYTES or len(data) < 12:
        raise BadAnnotation(f"{path.name} is no numpy file of an annotation's size")
    long = data[6] > 1
    start = (12 if long else 10) + struct.unpack("<I" if long else "<H", data[8 : 12 if long else 10])[0]
    try:
        held = _Numbers(io.BytesIO(data[start:])).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise BadAnnotation(f"{path.name} holds what no annotation holds: {str(error).splitlines()[0][:120]}") from None
    said = held.value if isinstance(held, _Array) else held
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, dict):
        raise BadAnnotation(f"{path.name} is no dictionary of a pose")
    return {str(name): _plain(value) for name, value in said.items()}


def pose_of(said: Mapping[str, Any]) -> tuple[float, float, float, float, float, float]:
    """Return theta, phi and in-plane rotation (degrees), distance, and the offsets azimuth and elevation (degrees).

    Raises BadAnnotation for an annotation without a pose, or with one that no camera can have.
    """
    names = ("theta", "phi", "camera_rotation", "dist", "azimuth", "elevation")
    limits = (720.0, 360.0, 360.0, 100.0, 720.0, 720.0)
    values: list[float] = []
    for name, limit in zip(names, limits):
        value = said.get(name, 0.0 if name in ("camera_rotation", "azimuth", "elevation") else None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadAnnotation(f"the annotation says no {name}")
        number = math.degrees(value) if name in ("theta", "phi", "camera_rotation") else float(value)
        if not -limit <= number <= limit or (name == "dist" and number <= 0):
            raise BadAnnotation(f"the annotation's {name} is {value:g}")
        values.append(number)
    theta, phi, rotation, distance, azimuth, elevation = values
    return theta, phi, rotation, distance, azimuth, elevation


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


class _Array:
    """What a pickled numpy array is made of here: its numbers as nested lists, never an array."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, kind, fortran, data = state
        if kind.code == "O":
            self.value = list(data)
            return
        flat = kind.numbers(data)
        if math.prod(shape) != len(flat) or (fortran and len(shape) > 1 and len(flat) > 1):
            raise ValueError("an array of another order")
        self.value = _nested(flat, list(shape))


class _Kind:
    """A pickled numpy dtype: how many bytes make which number."""

    _FORMATS: ClassVar[Mapping[str, str]] = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "i2": "h", "u1": "B", "b1": "?"}

    def __init__(self, code: str, *_: Any) -> None:
        self.code = str(code)[:1] if str(code)[:1] == "O" else str(code)
        self.order = "<"

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def numbers(self, data: bytes) -> list[Any]:
        size = int(self.code[1:])
        return list(struct.unpack(f"{self.order}{len(data) // size}{self._FORMATS[self.code]}", data))


def _number(kind: _Kind, data: bytes) -> Any:
    (value,) = kind.numbers(data)
    return value


def _nested(flat: list[Any], shape: list[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = math.prod(shape[1:])
    return [_nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


class _Numbers(pickle.Unpickler):
    """Builds numbers, texts, dictionaries, and the stand-ins above; nothing of numpy or of anybody's is ever called."""

    _KNOWN: ClassVar[Mapping[str, Any]] = {
        "_reconstruct": _Array,
        "ndarray": _Array,
        "dtype": _Kind,
        "scalar": _number,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self._KNOWN:
            return self._KNOWN[name]
        raise pickle.UnpicklingError(f"{module}.{name}")
