"""Whole collections of CAD models into the catalog: in parallel, in batches, and on from where it was stopped.

Enters: a collection's entries, and rows of the published CAD list where there is one. Leaves: for each model an artifact and a
row, or a row of the quarantine with the reason. Nothing is read twice: what was read is remembered by path, size and time of
change, and equal bytes are told by their digest. Knows no Prefect. (3D-DST, section 3.1.)
"""

from __future__ import annotations

import csv
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.cad.alignment import turn_of
from models.cad.bad import BadModel
from models.cad.intake import PASSING
from models.render.spec import ViewpointSpec
from storage.cad.collections import layouts
from storage.cad.collections.entry import BadCollection, Entry, OutsideCollection, check_inside
from storage.cad.collections.ledger import Ledger, stamp
from storage.cad.collections.published import Listed
from storage.cad.names import check_class_name
from storage.catalog.catalog import Catalog
from storage.keys import canonical_json, digest
from tasks import progress
from tasks.intake.model import Description, Prepared, absolute, identify, moment, prepare
from tasks.plan.place import Place

log = logging.getLogger("dst")

BATCH = 100
"""Models whose rows are written in one transaction: a catalog is opened that seldom."""
BATCH_S = 5.0
"""Rows wait no longer than this."""
_Z_UP = (".stl", ".ply", ".off")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A CAD model to import, with all that is said about it."""

    path: Path
    """Its mesh file, absolute."""
    class_name: str
    """The class it is to join."""
    said: Description
    """Names, words, axes, turn, camera, symmetry."""


@dataclass(frozen=True, kw_only=True)
class NotThere:
    """A row of the list whose model is not there."""

    class_name: str
    model: str
    line: int


@dataclass
class ImportReport:
    """What an import came to."""

    counts: Counter[str] = field(default_factory=Counter)
    """added, known, changed, remembered (not looked at again), duplicate, rejected, quarantined -> how many."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why models were rejected or quarantined."""
    duplicates: list[tuple[Path, str]] = field(default_factory=list)
    """Files with the bytes of another one, and which."""
    refused: list[tuple[Path, str]] = field(default_factory=list)
    """Files that were rejected or quarantined, and why."""


# -- what is wanted ----------------------------------------------------------------------------------------------------


def of_collection(found: Iterable[Entry], classes: Sequence[str], limit: int | None) -> list[Candidate]:
    """Return what to import of a collection: of these classes (all, if none), at most `limit` CAD models of each.

    Where the collection sorts its models into no classes, a single class given is the class of all. Raises BadCollection.
    """
    wanted: list[Candidate] = []
    unsorted = 0
    there: Counter[str] = Counter()
    stand_ins: list[Path] = []
    for entry in found:
        if entry.stands_in_for is not None:
            stand_ins.append(entry.path)
            continue
        name = entry.class_name
        if name is None:
            unsorted += 1
            if len(classes) != 1:
                continue
            name = classes[0]
        there[name] += 1
        if (classes and name not in classes) or (limit is not None and there[name] > limit):
            continue
        wanted.append(Candidate(path=absolute(entry.path), class_name=check_class_name(name), said=_said(entry)))
    if stand_ins:
        named = f"{', '.join(path.name for path in stand_ins[:4])}{', ...' if len(stand_ins) > 4 else ''}"
        log.warning("%d files are for collisions or afar, beside a mesh to be seen, and left out: %s", len(stand_ins), named)
    strange = [name for name in classes if name not in there]
    if strange:
        close = ", ".join(sorted(there)[:12]) or "none"
        raise BadCollection(f'the collection has no class "{strange[0]}"; it has: {close}{", ..." if len(there) > 12 else ""}')
    if not wanted and unsorted:
        raise BadCollection(f"the collection does not say which class its {unsorted} models are; say it: --class NAME, or --list")
    return _once(wanted)


def of_list(
    rows: Sequence[Listed], found: Iterable[Entry], classes: Sequence[str], limit: int | None
) -> tuple[list[Candidate], list[NotThere]]:
    """Return what a CAD list wants of a collection, and its rows whose models are not there. Raises BadCollection.

    Its axes are the official code's, its offsets a turn after them, its distance and sampling what the camera is asked for.
    """
    for row in rows:
        try:
            ViewpointSpec().asked(row.camera)
        except ValueError as error:
            raise BadCollection(f"line {row.line} of the list: {error}; nothing was done") from None
    strange = [name for name in classes if name not in {row.class_name for row in rows}]
    if strange:
        raise BadCollection(f'the list has no class "{strange[0]}"')
    by_name: dict[str, Entry] = {}
    for entry in found:
        by_name[entry.uid] = entry
        if entry.collection == "folder":
            by_name.setdefault(str(Path(entry.uid).with_suffix("")), entry)
    wanted: list[Candidate] = []
    missing: list[NotThere] = []
    there: Counter[str] = Counter()
    for row in rows:
        if classes and row.class_name not in classes:
            continue
        there[row.class_name] += 1
        if limit is not None and there[row.class_name] > limit:
            continue
        listed = by_name.get(row.model)
        if listed is None or not listed.path.is_file():
            missing.append(NotThere(class_name=row.class_name, model=row.model, line=row.line))
            continue
        up, front = ("+z", "+y") if listed.path.suffix.lower() in _Z_UP else layouts.OFFICIAL_AXES
        said = replace(
            _said(listed),
            uid=row.model,
            up=up,
            front=front,
            turn=turn_of(row.azimuth, row.elevation),
            axes_by="the CAD list",
            by_convention=False,
            camera=dict(row.camera) or None,
        )
        if row.symmetry is not None:
            said = replace(said, symmetry=row.symmetry, symmetry_origin="given")
        wanted.append(Candidate(path=absolute(listed.path), class_name=check_class_name(row.class_name), said=said))
    return _once(wanted), missing


def _once(wanted: Sequence[Candidate]) -> list[Candidate]:
    """Return each file once in a class, as it is first spoken of."""
    first: dict[tuple[Path, str], Candidate] = {}
    for model in wanted:
        first.setdefault((model.path, model.class_name), model)
    if len(first) < len(wanted):
        log.warning("%d models are named again in their class; what is said of them first counts", len(wanted) - len(first))
    return list(first.values())


def _said(entry: Entry) -> Description:
    return Description(
        keywords=entry.keywords or None,
        up=entry.up,
        front=entry.front,
        axes_by=entry.axes_by,
        by_convention=entry.by_convention,
        licence=entry.licence,
        name=entry.name,
        collection=entry.collection,
        uid=entry.uid,
        symmetry=entry.symmetry,
        symmetry_origin=entry.symmetry_origin,
    )


def still_missing(catalog: Catalog, missing: Sequence[NotThere]) -> list[NotThere]:
    """Return those whose models no other collection has brought in either."""
    if not missing or not catalog.exists:
        return list(missing)
    there = catalog.published()
    return [row for row in missing if (row.class_name, row.model) not in there]


def write_missing(path: Path, missing: Sequence[NotThere]) -> Path:
    """Write which models of a list are not there; return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("class", "model", "line"))
        table.writerows((row.class_name, row.model, row.line) for row in missing)
    return path


# -- the work ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One model after it was read, before anything is written about it."""

    wanted: Candidate
    stamp: list[int] | None
    prepared: Prepared | None = None
    status: str = ""
    cad_id: str | None = None
    reason: str | None = None
    detail: str | None = None


def bring_in(place: Place, name: str, root: Path, wanted: Sequence[Candidate], again: bool = False) -> ImportReport:
    """Import CAD models; return what became of them. What an earlier import has read, and is unchanged, is not opened.

    name: the collection's; root: its folder, outside of which no file is opened. again: read once more what was refused before.
    """
    return _Import(place, name, root, again).run(wanted)


class _Import:
    def __init__(self, place: Place, name: str, root: Path, again: bool) -> None:
        self.place, self.name, self.root, self.again = place, name, root, again
        self.catalog = place.catalog
        self.catalog.migrate()
        self.ledger = Ledger(place.home / "imports" / f"{name}.jsonl")
        self.known = {
            (row["class_name"], row["cad_id"]): row for row in self.catalog.cad_models(status=None) if row["status"] != "removed"
        }
        self.quarantined = {row["path"] for row in self.catalog.quarantined()}
        self.report = ImportReport()
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, str], Path] = {}

    def run(self, wanted: Sequence[Candidate]) -> ImportReport:
        todo = [model for model in wanted if not self._remembered(model)]
        with progress.stage("import", self.name, len(wanted), done=len(wanted) - len(todo)) as bar:
            done: list[_Read] = []
            last = time.monotonic()
            try:
                for read in self._reading(todo):
                    done.append(read)
                    bar.advance()
                    if len(done) >= BATCH or time.monotonic() - last > BATCH_S:
                        self._write(done)
                        done, last = [], time.monotonic()
            finally:
                # Also when a person interrupts: what was read is not read again.
                self._write(done)
        return self.report

    def _remembered(self, model: Candidate) -> bool:
        entry = self.ledger.find(model.path, model.class_name, _spelled(model))
        if entry is None:
            return False
        status, cad_id = entry["status"], entry.get("cad_id")
        if status == "quarantined":
            remembered = str(model.path) in self.quarantined and not self.again
        else:
            remembered = (model.class_name, cad_id) in self.known and not (self.again and status == "rejected")
        if remembered and status == "duplicate":
            self.report.counts["duplicate"] += 1
        elif remembered:
            self.report.counts["remembered"] += 1
            if status != "quarantined":
                self._taken.setdefault((model.class_name, str(cad_id)), model.path)
        return remembered

    def _reading(self, todo: Sequence[Candidate]) -> Iterator[_Read]:
        """Read models in parallel and yield them as they are finished; few wait, so that an interrupt ends soon."""
        workers = self.place.renderers
        rest = iter(todo)
        pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="import")
        going: set[Future[_Read]] = set()
        try:
            while True:
                while len(going) < 2 * workers and (model := next(rest, None)) is not None:
                    going.add(pool.submit(self._read, model))
                if not going:
                    return
                finished, going = wait(going, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, model: Candidate) -> _Read:
        seen = stamp(model.path)
        try:
            check_inside(self.root, model.path)
            cad_id = identify(model.path)
        except BadModel as error:
            return _Read(wanted=model, stamp=seen, status="quarantined", reason=error.reason, detail=error.detail)
        except OutsideCollection as error:
            return _Read(wanted=model, stamp=seen, status="quarantined", reason="outside_collection", detail=str(error))
        key = (model.class_name, cad_id)
        with self._lock:
            first = self._taken.setdefault(key, model.path)
        if first != model.path:
            return _Read(wanted=model, stamp=seen, status="duplicate", cad_id=cad_id, detail=str(first))
        prepared = prepare(self.place, model.path, cad_id, model.class_name, model.said, self.known.get(key))
        return _Read(
            wanted=model,
            stamp=seen,
            prepared=prepared,
            status=prepared.registration.status,
            cad_id=cad_id,
            reason=prepared.registration.reason,
            detail=prepared.registration.detail,
        )

    def _write(self, done: Sequence[_Read]) -> None:
        """Write the rows of a batch, then remember it: a kill in between costs a look at these files, nothing else."""
        prepared = [read.prepared for read in done if read.prepared is not None]
        self.catalog.index([made.artifact for made in prepared if made.artifact is not None])
        rows = self.catalog.add_cad_models([made.row for made in prepared if made.row is not None])
        self.known.update({(row["class_name"], row["cad_id"]): row for row in rows})
        for read in done:
            self._count(read)
            path = str(read.wanted.path)
            if read.status == "quarantined":
                self.catalog.quarantine(
                    path,
                    reason=str(read.reason),
                    detail=read.detail,
                    class_name=read.wanted.class_name,
                    origin="import",
                    size=None if read.stamp is None else read.stamp[0],
                    modified_at=None if read.stamp is None else moment(read.stamp[1] / 1e9),
                )
                self.quarantined.add(path)
            elif path in self.quarantined:
                self.catalog.unquarantine(path)
                self.quarantined.discard(path)
        self.ledger.note(
            {
                "path": str(read.wanted.path),
                "class_name": read.wanted.class_name,
                "said": _spelled(read.wanted),
                "stamp": read.stamp,
                "status": read.status,
                "cad_id": read.cad_id,
            }
            for read in done
            if read.reason not in PASSING
        )

    def _count(self, read: _Read) -> None:
        report, path = self.report, read.wanted.path
        report.counts[read.status] += 1
        if read.status in ("rejected", "quarantined"):
            report.reasons[str(read.reason)] += 1
            report.refused.append((path, f"{read.reason}: {read.detail}"))
        elif read.status == "duplicate":
            report.duplicates.append((path, str(read.detail)))
        elif read.status == "known" and read.cad_id is not None:
            source = self.known[(read.wanted.class_name, read.cad_id)]["source"]
            if source != os.fsencode(path).decode("utf-8", errors="replace"):
                report.duplicates.append((path, source))


def _spelled(model: Candidate) -> str:
    """Return a digest of what is said about a model: said otherwise, it is looked at again."""
    who = ("axes_by", "by_convention")
    said: Mapping[str, Any] = {name: value for name, value in vars(model.said).items() if value is not None and name not in who}
    return digest(canonical_json(said).encode())[:32]
