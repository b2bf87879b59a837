"""Which way CAD models face, who says so, and what speaks against it.

Enters: a canonical CAD model with what is said about it, or the rows of a class. Leaves: the columns orientation (assumed, set or
confirmed), orientation_why and orientation_doubts; lines for whoever adds CAD models, looks at them or starts a run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.cad.spec import STAGE, CadSpec, why_axes
from storage.artifacts import Artifact
from storage.catalog.catalog import Catalog
from storage.keys import plain
from storage.stages import FILE
from tasks.plan.place import Place

if TYPE_CHECKING:
    from tasks.intake.model import Description

ASSUMED, SET, CONFIRMED = "assumed", "set", "confirmed"
_MOST_NAMED = 6


def columns(
    place: Place, artifact: Artifact, spec: CadSpec, said: Description, before: Mapping[str, Any] | None, same_axes: bool
) -> dict[str, Any]:
    """Return the columns of the orientation of a CAD model that was read.

    before: the catalog's row of it, None if there is none; same_axes: whether its axes are what they were there.
    """
    if artifact.record.outcome != "made":
        return dict.fromkeys(("orientation", "orientation_why", "orientation_doubts"))
    by_a_person = ((said.up, said.front) != ("auto", "auto") or said.axes_by is not None) and not said.by_convention
    found = {"orientation": SET if by_a_person else ASSUMED, "orientation_why": said.axes_by or _why(artifact, spec)}
    if before is not None and same_axes and before["orientation"] in (SET, CONFIRMED, None if by_a_person else ASSUMED):
        found = {name: before[name] or found[name] for name in found}
    if before is not None and before["cad_key"] == artifact.key and before["orientation_doubts"] is not None:
        return {**found, "orientation_doubts": before["orientation_doubts"]}
    from models.cad.orientation import doubts

    with place.store.local(artifact, FILE[STAGE]) as glb:
        return {**found, "orientation_doubts": doubts(glb, artifact.record.values["canonical_from_source"])}


def _why(artifact: Artifact, spec: CadSpec) -> str:
    facts = artifact.record.values
    # Artifacts of earlier versions do not say it.
    return str(facts.get("axes") or why_axes(spec, os.path.splitext(str(facts["source_name"]))[1].lower()))


def axes_line(row: Mapping[str, Any]) -> str:
    """Return in one line which axes of its file a CAD model's row takes for up and front, and why."""
    facts = row["facts"] or {}
    turned = ", then turned" if row["alignment"] is not None else ""
    orientation = row["orientation"] or ASSUMED
    why = f": {row['orientation_why']}" if row["orientation_why"] else ""
    return f"up {facts.get('up', row['up'])}, front {facts.get('front', row['front'])}{turned} ({orientation}{why})"


def doubts_of(row: Mapping[str, Any], class_rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines that speak against the orientation of a CAD model; class_rows: usable CAD models of its class."""
    from models.cad.orientation import sides, unlike_others

    of_class = {
        other["cad_id"]: sides(facts["extents"], facts["canonical_from_source"], _turned(other))
        for other in class_rows
        if (facts := other["facts"] or {}).get("canonical_from_source")
    }
    unlike = unlike_others(of_class).get(row["cad_id"])
    return [*(row["orientation_doubts"] or ()), *filter(None, [unlike])]


def _turned(row: Mapping[str, Any]) -> bool:
    return row["alignment"] is not None and plain(row["alignment"]) != [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def confirm(catalog: Catalog, row: Mapping[str, Any]) -> dict[str, Any]:
    """Note that a person looked at a CAD model and found that it stands and faces as it is taken to; return its row.

    Raises ValueError for one that cannot be used.
    """
    if row["status"] != "ok":
        raise ValueError(f"{row['class_name']}/{row['cad_name']} is {row['status']}: there is nothing to confirm")
    why = str(row["orientation_why"] or "said")
    # Only its row changes: its key is that of its axes.
    return catalog.mark_cad_model(row["class_name"], row["cad_id"], orientation=CONFIRMED, orientation_why=why)


def unconfirmed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a run of these CAD models says first: which of them face a way that nobody has said or confirmed."""
    assumed = [row for row in rows if (row["orientation"] or ASSUMED) == ASSUMED]
    if not assumed:
        return []
    doubted = [(row, said) for row in assumed if (said := doubts_of(row, rows))]
    first = [row for row, _ in doubted] + [row for row in assumed if row not in [one for one, _ in doubted]]
    names = ", ".join(str(row["cad_name"]) for row in first[:_MOST_NAMED]) + (", ..." if len(first) > _MOST_NAMED else "")
    one = f"{first[0]['class_name']}/{first[0]['cad_name']}"
    lines = [
        f'nobody has confirmed which way {len(assumed)} of {len(rows)} CAD models face: {names}; look: dst cad show "{one}", '
        f'then: dst cad align "{one}" --ok (or --up, --front)'
    ]
    lines += [f"{row['cad_name']}  {axes_line(row)}; {'; '.join(said)}" for row, said in doubted[:_MOST_NAMED]]
    return lines
