"""What every format is: pieces that write files, and an end that writes the index over them.

Enters: an export (what is released, where to). Leaves: files in the release's folder. Each format is a module beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Protocol

from storage.artifacts import ArtifactError, ArtifactStore
from storage.export.folder import UnfinishedFolder
from storage.export.mesh import Mesh, read_glb
from storage.export.rows import LostFiles, SamplePictures
from storage.export.selection import Selection

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Export:
    """One release on its way into one folder."""

    name: str
    """The release."""
    selection: Selection
    """What is in it."""
    facts: dict[str, Any]
    """Its card."""
    folder: UnfinishedFolder
    """Where files go."""
    store: ArtifactStore
    """Where they come from."""
    catalog: Catalog
    """For what is said of CAD models."""

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """class_name -> 1, 2, ... in order of the names."""
        return {class_name: i for i, class_name in enumerate(self.selection.classes(), start=1)}

    @cached_property
    def object_ids(self) -> dict[tuple[str, str], int]:
        """(class_name, cad_id) -> 1, 2, ... in order."""
        return {model: i for i, model in enumerate(sorted(self.selection.figures.models), start=1)}

    def named(self, taken: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return, for formats that are tables, column -> (scores, name) or (controls, kind) of what the release's samples have.

        A score's column is called as it is, `score_NAME` where a column of `taken` is; a control's is `control_KIND`.
        """
        figures = self.selection.figures
        scores = {f"score_{name}" if name in taken else name: ("scores", name) for name in sorted(figures.scores)}
        return scores | {f"control_{kind}": ("controls", kind) for kind in sorted(figures.controls)}

    def mesh(self, model: tuple[str, str]) -> Mesh:
        """Return a CAD model in the canonical frame. Raises LostFiles."""
        key = str(self.selection.figures.models[model]["cad_key"])
        try:
            return read_glb(self.store.read(self.store.get("cad", key), "model.glb"))
        except (ArtifactError, KeyError) as error:
            raise LostFiles(
                f"the CAD model {model[1][:12]} of class {model[0]} is missing from the store or damaged; "
                f'make it again with: dst run "{model[0]}"'
            ) from error


class Format(Protocol):
    """A format: stateless, so that what a killed writer finished is worth as much as what this one does."""

    name: str
    """The word on the command line."""
    contents: str
    """Markdown for the card: what lies where, in which frame and unit."""
    loading: str
    """Python that loads the folder `OUT`; a test runs it."""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        """Write the files of some samples; return their entries for the index, as JSON types."""

    def finish(self, export: Export) -> None:
        """Write the index files over `export.folder.entries()`."""


def write_json(file: IO[bytes], value: Any) -> None:
    """Write a JSON text."""
    file.write(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n")


def write_list(file: IO[bytes], items: Iterable[Any]) -> None:
    """Write a JSON list, an item a line, without holding all of it."""
    file.write(b"[")
    for i, item in enumerate(items):
        file.write((",\n" if i else "\n").encode() + json.dumps(item, ensure_ascii=False, allow_nan=False).encode())
    file.write(b"\n]")


def write_mapping(file: IO[bytes], items: Iterable[tuple[str, Any]]) -> None:
    """Write a JSON object, an entry a line, without holding all of it."""
    file.write(b"{")
    for i, (name, value) in enumerate(items):
        text = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        file.write((",\n  " if i else "\n  ").encode() + text.encode())
    file.write(b"\n}\n")
