"""The published CAD list: which CAD models make up a class, how each is turned, from where and from how far it is looked at.

    synset,model,distance,azimuth,elevation,strength,sampling
    n02690373,1a04e3eab45ca15dd86060f189eb133,1.5,0,0,1,1

Enters: the CSV. Leaves: its rows, classes by name. `symmetry` may be a further column. 3D-DST, section 3.1 and its released list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.cad.collections.entry import OutsideCollection, check_uid
from storage.cad.collections.synsets import class_of_synset
from storage.cad.collections.table import number, read_table, whole

COLUMNS = ("synset", "model", "distance", "azimuth", "elevation", "strength", "sampling")
EXAMPLE = ",".join(COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One row of the list."""

    line: int
    """Where it stands."""
    class_name: str
    """The synset's class."""
    model: str
    """What the CAD model is called in its collection."""
    azimuth: float
    """Alignment offset in degrees, about the upright axis."""
    elevation: float
    """Alignment offset in degrees, up and down."""
    camera: Mapping[str, Any]
    """distance, strategy and strength, as far as the row says them."""
    symmetry: int | None = None
    """Rotational symmetry about the upright axis, where the list has such a column."""


def read_cad_list(path: Path, taxonomy: Mapping[str, str] | None = None) -> list[Listed]:
    """Return the rows of a CAD list. Raises BadCollection naming the first line that is wrong: then nothing of it counts."""

    def read(line: int, row: Mapping[str, str]) -> Listed:
        class_name = class_of_synset(row["synset"], taxonomy)
        if class_name is None:
            raise ValueError(f'no synset "{row["synset"][:40]}" is known; say the class by name instead')
        try:
            check_uid(row["model"], folders=True)
        except OutsideCollection as error:
            raise ValueError(str(error)) from None
        asked = {
            "distance": number(row, "distance", 0.1, 100),
            "strategy": whole(row, "sampling", 1, 5),
            "strength": whole(row, "strength", 1, 2),
        }
        return Listed(
            line=line,
            class_name=class_name,
            model=row["model"],
            azimuth=number(row, "azimuth", -360, 360) or 0.0,
            elevation=number(row, "elevation", -180, 180) or 0.0,
            camera={name: value for name, value in asked.items() if value is not None},
            symmetry=whole(row, "symmetry", 0, 360),
        )

    return read_table(path, COLUMNS, read, EXAMPLE)
