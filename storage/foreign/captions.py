"""Captions that others wrote, as a CSV.

    synset,model,caption
    n02690373,1a04e3eab45ca15dd86060f189eb133,a white airliner over the sea at dusk

Enters: the file. Leaves: rows of class, CAD model (where the file says it) and caption. The class may also be given for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.cad.collections.entry import BadCollection, OutsideCollection, check_uid
from storage.cad.collections.synsets import class_of_synset
from storage.cad.collections.table import read_table
from storage.cad.names import check_class_name

CAPTION = ("caption", "prompt", "text")
CLASS = ("synset", "class", "class_name", "category")
MODEL = ("model", "uid", "cad_uid", "shape_id")
EXAMPLE = "synset,model,caption"
LONGEST = 4000
"""Characters."""


def read_captions(path: Path, class_name: str | None = None) -> list[dict[str, Any]]:
    """Return rows of class_name, cad_uid (None where the file has none) and prompt. Raises BadCollection, FileNotFoundError.

    class_name: of all rows, for files without such a column; otherwise only its rows are returned.
    """
    given = None if class_name is None else check_class_name(class_name)

    def read(line: int, row: Mapping[str, str]) -> dict[str, Any]:
        said = next((row[name] for name in CLASS if row.get(name)), None)
        named = class_of_synset(said) if said else given
        if named is None:
            raise ValueError(f'no synset "{said[:40]}" is known' if said else "says no class; give one for all: --class NAME")
        model = next((row[name] for name in MODEL if row.get(name)), None)
        if model is not None:
            try:
                check_uid(model, folders=True)
            except OutsideCollection as error:
                raise ValueError(str(error)) from None
        prompt = " ".join("".join(c if c.isprintable() else " " for c in row["caption"]).split())
        if not prompt:
            raise ValueError("has no caption")
        if len(prompt) > LONGEST:
            raise ValueError(f"has a caption of {len(prompt)} characters; at most {LONGEST} are one")
        return {"class_name": named, "cad_uid": model, "prompt": prompt}

    rows = read_table(path, [CAPTION] if given else [CAPTION, CLASS], read, EXAMPLE)
    wanted = [row for row in rows if given is None or row["class_name"] == given]
    if not wanted:
        there = sorted({row["class_name"] for row in rows})
        raise BadCollection(
            f'{path} has no captions of class "{given}"; it has: {", ".join(there[:12])}{", ..." if len(there) > 12 else ""}'
        )
    return wanted
