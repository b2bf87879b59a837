"""What `dst cad add` does: choose and check the files of a folder, register them one by one, say what became of each.

Enters: the CAD models that a folder holds, and what the command says of them. Leaves: registrations, and lines on the terminal.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from storage.cad.folder import FoundModel
    from storage.cad.sidecar import Sidecar
    from storage.catalog.catalog import Catalog
    from tasks.intake.model import Registration
    from tasks.plan.place import Place

Axis = Literal["auto", "+x", "-x", "+y", "-y", "+z", "-z"]


@dataclass(frozen=True)
class Asked:
    """What the command says of all that it adds; None and auto: nothing."""

    class_name: str | None
    keywords: str | None
    up: Axis
    front: Axis
    licence: str | None
    symmetry: int | None

    def axes(self, model: FoundModel) -> tuple[str, str, str | None, bool]:
        """Return up, front, who says them, and whether that is a mere convention."""
        if (self.up, self.front) != ("auto", "auto"):
            return self.up, self.front, "dst cad add", False
        return model.up, model.front, model.axes_by, model.by_convention


def to_be_seen(found: Sequence[FoundModel]) -> list[FoundModel]:
    """Return what is to be added: of meshes for collisions, or for afar, only what a person at a terminal asks for."""
    stand_ins = [model for model in found if model.stands_in_for is not None]
    if not stand_ins:
        return list(found)
    for model in stand_ins[:8]:
        print(f"stand-in  {model.path}: by its name a mesh for collisions, or for afar, of {model.stands_in_for}")
    if len(stand_ins) > 8:
        print(f"          and {len(stand_ins) - 8} more")
    if sys.stdin.isatty():
        answer = input(f"add {'it' if len(stand_ins) == 1 else f'all {len(stand_ins)}'} as CAD models all the same? [y/N] ")
        if answer.strip().lower() in ("y", "yes"):
            return list(found)
    example = f'dst cad add "{stand_ins[0].path}" --class "{stand_ins[0].class_name or "NAME"}"'
    print(f"          left out; one of them alone is added by its name: {example}")
    return [model for model in found if model.stands_in_for is None]


def checked(found: Sequence[FoundModel], asked: Asked) -> tuple[list[tuple[FoundModel, str]], dict[Path, str]]:
    """Return what can be added, with its class, and what cannot, with the reason: all is checked before the first is added.

    Raises ValueError where nothing can, or what the command itself says makes no sense.
    """
    from models.cad.spec import CadSpec

    CadSpec(up=asked.up, front=asked.front)
    wanted, left_out, said = [], {}, set()
    for model in found:
        try:
            name = _class_of(model, asked.class_name)
            up, front, _, _ = asked.axes(model)
            CadSpec(up=up, front=front)
        except ValueError as error:
            if asked.class_name is not None or len(found) == 1:
                raise
            left_out[model.path] = str(error)
            continue
        wanted.append((model, name))
        if model.folder is not None and asked.class_name is None and model.folder not in said:
            said.add(model.folder)
            print(f'class     the folder "{model.folder}" is taken as class "{name}"')
    if not wanted:
        raise ValueError(next(iter(left_out.values()), "nothing is left to add"))
    return wanted, left_out


def registered(
    place: Place,
    wanted: Sequence[tuple[FoundModel, str]],
    asked: Asked,
    said: Mapping[str, Sidecar],
    left_out: dict[Path, str],
) -> list[Registration]:
    """Register CAD models one by one, say what became of each, and note in left_out what is no CAD file at all."""
    from models.cad.bad import BadModel
    from tasks.intake.model import absolute, register

    done = []
    for model, name in wanted:
        words = [*(asked.keywords.split(",") if asked.keywords is not None else model.keywords)]
        up, front, axes_by, by_convention = asked.axes(model)
        try:
            made = register(
                place,
                model.path,
                name,
                keywords=words or None,
                up=up,
                front=front,
                licence=asked.licence if asked.licence is not None else model.licence,
                name=model.name,
                said=said,
                symmetry=asked.symmetry if asked.symmetry is not None else model.symmetry,
                symmetry_origin="given" if asked.symmetry is not None else model.symmetry_origin,
                axes_by=axes_by,
                by_convention=by_convention,
            )
        except BadModel as error:
            if len(wanted) + len(left_out) == 1:
                raise
            left_out[model.path] = error.detail
            print(f"refused   {model.path}: {error.detail}")
            continue
        # A watched folder may have put it aside as a stand-in, and here a person asks for it.
        place.catalog.unquarantine(absolute(model.path))
        done.append(made)
        report(made)
    return done


def _class_of(model: FoundModel, given: str | None) -> str:
    from storage.cad.names import BadClassName, check_class_name

    name = given or model.class_name
    if name is None:
        raise ValueError(f'which class is {model.path}? say it: dst cad add "{model.path}" --class NAME')
    try:
        return check_class_name(name)
    except BadClassName as error:
        if given:
            raise
        raise BadClassName(
            f"{model.path.parent}: {error}; rename the folder, or say --class, or class = in its dst.toml"
        ) from None


def report(made: Registration) -> None:
    """Print what became of a CAD model; of one that is new: which axes were taken, and why, and how symmetric it was found."""
    said = f" ({made.reason}: {made.detail})" if made.status == "rejected" else f" ({made.detail})" if made.detail else ""
    print(f"{made.status:<9} {made.class_name}/{made.name}  {made.cad_id[:12]}{said}")
    if made.status in ("added", "changed") and made.row is not None:
        from tasks.intake.orientation import ASSUMED, axes_line

        print(f"          {axes_line(made.row)}")
        if made.row["symmetry"] is not None:
            print(f"          {symmetry_line(made.row)}")
        for doubt in made.row["orientation_doubts"] or ():
            print(f"          doubt: {doubt}")
        if made.row["orientation_doubts"] and made.row["orientation"] == ASSUMED:
            name = f'"{made.class_name}/{made.name}"'
            print(f"          look at it: dst cad show {name}; if it is right: dst cad align {name} --ok")
    for warning in made.warnings:
        print(f"          {warning}")


def symmetry_line(row: Mapping[str, Any]) -> str:
    """Return in one line how symmetric a CAD model is about its upright axis, and how sure that is."""
    times = {0: "any turn", 1: "none"}.get(row["symmetry"], f"{row['symmetry']}-fold")
    return f"symmetry {times} ({row['symmetry_origin']}{': ' + row['symmetry_detail'] if row['symmetry_detail'] else ''})"


def sum_up(catalog: Catalog, registered: Sequence[Registration], left_out: Mapping[Path, str]) -> None:
    """Print what became of several files, and what a class says: who is unlike the others, what a single CAD model costs."""
    from storage.report.verdict import ONE_CAD_MODEL
    from tasks.intake.orientation import doubts_of

    alone = []
    for class_name in sorted({made.class_name for made in registered}):
        rows = catalog.cad_models(class_name)
        for row in rows:
            for doubt in doubts_of({**row, "orientation_doubts": None}, rows):
                print(f'doubt     {class_name}/{row["cad_name"]}: {doubt}; look: dst cad show "{class_name}/{row["cad_name"]}"')
        if len(rows) == 1:
            alone.append(class_name)
    if alone:
        said = ONE_CAD_MODEL if len(alone) == 1 else ONE_CAD_MODEL.replace("This class", "Each of these classes", 1)
        print(f"{', '.join(alone)}: {said}")
    for path, reason in left_out.items():
        print(f"left out  {path}: {reason}")
    counts = Counter(made.status for made in registered) + Counter({"left out": len(left_out)})
    if counts.total() > 1:
        print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
