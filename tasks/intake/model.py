"""Taking CAD models in: what `dst cad add`, `dst cad align`, the demo and the cad task share.

Enters: a file somebody named, with what is said about it. Leaves: a cad artifact (a canonical GLB, or the reason why there is
none) and a row of the catalog. (3D-DST, section 3.1.)
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from models.cad.bad import BadModel
from models.cad.intake import PASSING, canonicalise_isolated
from models.cad.references import referenced_files
from models.cad.spec import STAGE, VERSION, CadSpec
from storage.artifacts import Artifact, ArtifactStore, Record
from storage.cad.digest import cad_id as digest_of
from storage.cad.layouts import name_of
from storage.cad.names import check_class_name
from storage.cad.sidecar import Sidecar, keywords_of
from storage.catalog.catalog import Catalog
from storage.keys import artifact_key, plain
from tasks import stopping
from tasks.intake import orientation
from tasks.plan.place import Place

MODEL = "model.glb"

_OF_THE_TASK = ("source_gone", "not_registered", "other_version")

_AT_THE_DOOR = ("missing_file", "not_a_file", "unknown_format", "blend_refused", "unreadable", "empty_file")
"""Refused before there is anything to keep a row of."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What became of a CAD model that was handed in."""

    cad_id: str
    """sha256 of the source and of what it refers to."""
    class_name: str
    """Its class."""
    name: str
    """What people call it."""
    status: Literal["added", "known", "changed", "rejected"]
    """known: the same bytes were there already, said to be the same. changed: what is said about them has changed."""
    reason: str | None = None
    """For rejected: a short name that reports count by."""
    detail: str | None = None
    """One line for a person."""
    cad_key: str | None = None
    """Key of the cad artifact."""
    warnings: tuple[str, ...] = ()
    """What a person should know about an accepted one."""
    row: Mapping[str, Any] | None = None
    """As the catalog has it, or is to have it."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is said about a CAD model that is handed in; None and auto where nobody says anything."""

    keywords: tuple[str, ...] | None = None
    """Words for the captions."""
    up: str = "auto"
    """The source axis that points up."""
    front: str = "auto"
    """The source axis that the front faces."""
    turn: tuple[tuple[float, float, float], ...] | None = None
    """A further rotation, see CadSpec."""
    axes_by: str | None = None
    """Who says the axes, where somebody does."""
    by_convention: bool = False
    """It is a collection's convention that says them, and no person who looked."""
    licence: str | None = None
    """As its author puts it."""
    name: str | None = None
    """What people call it."""
    collection: str | None = None
    """Where it is published: shapenet, objaverse, ..."""
    uid: str | None = None
    """What it is called there."""
    symmetry: int | None = None
    """Rotational symmetry about the upright axis: 1 none, n-fold, 0 any turn; None: looked for in pictures of it turned."""
    symmetry_origin: str | None = None
    """`given` for this model or `class` for all of its class."""
    camera: Mapping[str, Any] | None = None
    """What its list asks of the camera: models.render.spec.ViewpointSpec.asked."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A CAD model that was read, and what is still to be written."""

    registration: Registration
    """What became of it."""
    artifact: Artifact | None = None
    """To be indexed; None: nothing has changed."""
    row: dict[str, Any] | None = None
    """For Catalog.add_cad_models."""


def register(
    place: Place,
    path: Path | str,
    class_name: str,
    keywords: Sequence[str] | None = None,
    up: str = "auto",
    front: str = "auto",
    licence: str | None = None,
    name: str | None = None,
    said: Mapping[str, Sidecar] | None = None,
    symmetry: int | None = None,
    symmetry_origin: str | None = None,
    axes_by: str | None = None,
    by_convention: bool = False,
) -> Registration:
    """Take the CAD model at `path` into a class: canonicalise it in a worker, write artifact and row.

    said: cad_id -> what a list of CAD models says, for what the other arguments leave open. axes_by, by_convention: see
    Description.
    The same bytes again are `known`; other keywords, licence, axes or symmetry said about them are `changed`. What nobody says
    stays as an earlier registration or `dst cad align` said; a symmetry that nobody ever gave is looked for in the mesh. Raises
    BadModel for what is no CAD file at all, ValueError for a class name or axes that make no sense; a CAD file that cannot be
    used is `rejected`, with a row.
    """
    class_name = check_class_name(class_name)
    words = None if keywords is None else keywords_of(tuple(keywords), "--keywords")
    CadSpec(up=up, front=front)
    path = absolute(path)
    cad_id = identify(path)
    catalog = place.catalog
    catalog.migrate()
    listed = (said or {}).get(cad_id, Sidecar())
    if (up, front) == ("auto", "auto"):
        up, front = listed.up or "auto", listed.front or "auto"
        axes_by = axes_by if (up, front) == ("auto", "auto") else "a list of orientations"
    if symmetry is None:
        symmetry, symmetry_origin = listed.symmetry, "given"
    words_said = Description(
        keywords=listed.keywords if words is None else words,
        up=up,
        front=front,
        axes_by=axes_by,
        by_convention=by_convention,
        licence=listed.licence if licence is None else licence,
        name=name,
        symmetry=symmetry,
        symmetry_origin=None if symmetry is None else symmetry_origin or "given",
    )
    prepared = prepare(place, path, cad_id, class_name, words_said, _row(catalog, class_name, cad_id))
    if prepared.artifact is not None and prepared.row is not None:
        catalog.index([prepared.artifact])
        catalog.add_cad_model(**prepared.row)
    return prepared.registration


def prepare(
    place: Place, path: Path, cad_id: str, class_name: str, said: Description, before: Mapping[str, Any] | None
) -> Prepared:
    """Read a CAD model and say what the catalog has to be told; write its artifact, but no row.

    path: absolute. before: the catalog's row of these bytes in this class, None if there is none. Raises ValueError for axes and
    symmetries that make no sense.
    """
    source = os.fsencode(path).decode("utf-8", errors="replace")
    spec = CadSpec(up=said.up, front=said.front, turn=said.turn)
    if before is not None and spec == CadSpec():
        spec = spec_of(before)
    same_axes = before is not None and spec == spec_of(before)
    artifact = canonical(place, path, cad_id, spec, again=True)
    record = artifact.record
    made = record.outcome == "made"
    row = catalog_row(class_name, cad_id, spec, record) | {
        "source": source,
        "cad_name": said.name or name_of(path),
        "keywords": said.keywords or (),
        "licence": said.licence,
        "collection": said.collection,
        "uid": said.uid,
        "camera": None if said.camera is None else dict(said.camera),
    }
    row |= symmetry_of(place, artifact, said, before)
    row |= orientation.columns(place, artifact, spec, said, before, same_axes)
    if before is not None:
        same = before["status"] == row["status"] and before["cad_key"] == row["cad_key"]
        row |= {"source": before["source"] if Path(before["source"]).exists() else source, "cad_name": before["cad_name"]}
        row["keywords"] = before["keywords"] if said.keywords is None else said.keywords
        row["licence"] = before["licence"] if said.licence is None else said.licence
        unchanged = ("licence", "symmetry", "symmetry_origin", "collection", "uid", "camera", "orientation", "orientation_doubts")
        still = all(row[name] is None or plain(row[name]) == before[name] for name in unchanged)
        still = still and list(row["keywords"]) == list(before["keywords"])
        if same and still and row["source"] == before["source"] and made:
            where = "" if before["source"] == source else f", from {before['source']}"
            known = Registration(
                cad_id=cad_id,
                class_name=class_name,
                name=str(before["cad_name"]),
                status="known",
                detail=f'{path.name}: the same bytes are in class "{class_name}" already{where}',
                cad_key=record.key,
                warnings=tuple(record.values.get("warnings", ())),
                row=before,
            )
            return Prepared(registration=known)
    status: Literal["added", "changed", "rejected"] = "rejected" if not made else ("added" if before is None else "changed")
    registration = Registration(
        cad_id=cad_id,
        class_name=class_name,
        name=str(row["cad_name"]),
        status=status,
        reason=record.reason,
        detail=record.detail,
        cad_key=record.key,
        warnings=tuple(record.values.get("warnings", ())),
        row=row,
    )
    return Prepared(registration=registration, artifact=artifact, row=row)


def symmetry_of(place: Place, artifact: Artifact, said: Description, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the columns of the symmetry: as said now, as given before, else found in pictures of the canonical mesh turned."""
    from models.cad import symmetry
    from models.symmetry import check

    names = ("symmetry", "symmetry_origin", "symmetry_detail")
    if said.symmetry is not None:
        return dict(zip(names, (check(said.symmetry), said.symmetry_origin or "given", "said by a person")))
    if before is not None and before["symmetry"] is not None:
        same = before["cad_key"] == artifact.key
        # What a person gave holds whatever the axes; what was found, as long as the mesh and the way of finding are the same.
        if before["symmetry_origin"] not in FOUND or (same and before["symmetry_origin"] == symmetry.METHOD):
            return {name: before[name] for name in names}
    found = None
    if artifact.record.outcome == "made":
        with place.store.local(artifact, MODEL) as glb:
            found = symmetry.find(glb)
    return dict(zip(names, (None, None, None) if found is None else (found.times, symmetry.METHOD, found.detail)))


def align(place: Place, class_name: str, cad_id: str, up: str, front: str) -> Registration:
    """Give a registered CAD model other axes: a new canonical artifact; the old one, and what was made from it, stay.

    The axes say all: a further turn that a list gave before is gone. Raises ValueError if it is not registered or its source has
    gone or changed.
    """
    spec = CadSpec(up=up, front=front)
    catalog = place.catalog
    row = _row(catalog, class_name, cad_id)
    if row is None:
        raise ValueError(f'no CAD model {cad_id[:12]} in class "{class_name}"; see: dst cad list')
    path = source_of(row)
    artifact = canonical(place, path, cad_id, spec, again=True)
    catalog.index([artifact])
    kept = {name: row[name] for name in ("source", "cad_name", "keywords", "licence")}
    said = Description(up=up, front=front, axes_by=BY_ALIGN)
    kept |= symmetry_of(place, artifact, said, row) | orientation.columns(place, artifact, spec, said, row, spec == spec_of(row))
    if row["alignment"] is not None:
        kept["alignment"] = UNTURNED
    aligned = catalog.add_cad_model(**(catalog_row(class_name, cad_id, spec, artifact.record) | kept))
    return Registration(
        cad_id=cad_id,
        class_name=class_name,
        name=str(row["cad_name"]),
        status="changed" if artifact.record.outcome == "made" else "rejected",
        reason=artifact.record.reason,
        detail=artifact.record.detail,
        cad_key=artifact.key,
        warnings=tuple(artifact.record.values.get("warnings", ())),
        row=aligned,
    )


BY_ALIGN = "dst cad align"
"""In the column `orientation_why`."""

FOUND = ("mesh", "views")
"""In the column `symmetry_origin`: nobody gave it. `mesh` is how versions before models.cad.symmetry.METHOD looked."""

UNTURNED = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""In the column `alignment`: a turn was said before and is no longer."""


def spec_of(row: Mapping[str, Any]) -> CadSpec:
    """Return the cad stage's spec of a registered CAD model."""
    turn = row["alignment"]
    return CadSpec(up=row["up"], front=row["front"], turn=None if turn is None or plain(turn) == plain(UNTURNED) else turn)


def canonical(place: Place, path: Path, cad_id: str, spec: CadSpec, again: bool = False) -> Artifact:
    """Return the cad artifact of a source file, made if it is not in the store (or damaged there).

    again: try once more what failed for a reason that another time or machine may not have.
    """
    store: ArtifactStore = place.store
    key = cad_key(cad_id, spec)
    there = store.sound(STAGE, key)
    if there is not None and again and there.record.reason in (*PASSING, *_OF_THE_TASK):
        store.set_aside(STAGE, key)
        there = None
    return there if there is not None else store.put(*make(place, path, cad_id, spec))


def make(place: Place, path: Path, cad_id: str, spec: CadSpec) -> tuple[Record, dict[str, bytes]]:
    """Return the record and the files of the cad artifact of a source file: made, or failed with a reason."""
    record = Record(
        key=cad_key(cad_id, spec), stage=STAGE, version=VERSION, spec=plain(spec.spelled()), inputs={"cad_id": cad_id}
    )
    started = time.monotonic()
    try:
        model = canonicalise_isolated(path, spec, place.max_faces, place.mesh_timeout_s, between=stopping.heed)
    except BadModel as error:
        return replace(record, outcome="failed", reason=error.reason, detail=error.detail), {}
    runtime = {"seconds": round(time.monotonic() - started, 3), "source": os.fsencode(path).decode("utf-8", errors="replace")}
    return replace(record, values=plain(model.facts), runtime=runtime), {MODEL: model.glb}


def cad_key(cad_id: str, spec: CadSpec) -> str:
    """Return the key of the cad artifact."""
    return artifact_key(STAGE, VERSION, spec.spelled(), {"cad_id": cad_id})


def source_of(row: dict[str, Any]) -> Path:
    """Return a registered CAD model's source file. Raises ValueError if it has gone or holds other bytes by now."""
    path = Path(row["source"])
    again = f'add it again: dst cad add PATH --class "{row["class_name"]}"'
    if not path.is_file():
        raise ValueError(f"the source of CAD model {row['cad_id'][:12]} has gone from {path}; put it back, or {again}")
    if identify(path) != row["cad_id"]:
        raise ValueError(f"{path} or a file it refers to has changed since CAD model {row['cad_id'][:12]} was added; {again}")
    return path


def catalog_row(class_name: str, cad_id: str, spec: CadSpec, record: Record) -> dict[str, Any]:
    """Return what the catalog is told about a CAD model, as far as its artifact says it."""
    made = record.outcome == "made"
    return {
        "class_name": class_name,
        "cad_id": cad_id,
        "up": spec.up,
        "front": spec.front,
        "alignment": spec.turn,
        "cad_key": record.key,
        "facts": record.values,
        "status": "ok" if made else "rejected",
        "reason": record.reason,
        "detail": record.detail,
    }


def moment(seconds: float) -> str:
    """Return seconds since 1970 as rows say a time: UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def absolute(path: Path | str) -> Path:
    """Return a path a person named, absolute; links in it stay what they are."""
    return Path(os.path.abspath(Path(path).expanduser()))


def identify(path: Path) -> str:
    """Return the cad_id of a file. Raises BadModel for what is no CAD file at all."""
    from models.cad.parse import check_file

    check_file(path)
    try:
        referenced = referenced_files(path)
    except BadModel as error:
        if error.reason in _AT_THE_DOOR:
            raise
        # Too damaged to say what it refers to: its own bytes are its name, and the worker will say what is wrong.
        referenced = []
    return digest_of(path, referenced)


def _row(catalog: Catalog, class_name: str, cad_id: str) -> dict[str, Any] | None:
    rows = catalog.cad_models(class_name, status=None, cad_id=cad_id)
    return next((row for row in rows if row["status"] != "removed"), None)
