"""Watching: what is new, changed, broken or gone in the watched folders and at the sources of registered CAD models.

Enters: settings (which folders), the catalog, a memory of the last look. Leaves: registered CAD models, quarantined files with
a reason, marks on CAD models whose file was replaced or has gone. Nothing is deleted: what was made stays traceable. Bytes are
read only of files whose size or time has changed since the last look. Knows no Prefect.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.cad.bad import BadModel
from models.cad.references import referenced_and_missing
from storage.cad.digest import cad_id as digest_of
from storage.cad.folder import FoundModel, Refuse, scan
from storage.cad.names import BadClassName, check_class_name
from storage.cad.sidecar import BadSidecar
from storage.catalog.catalog import Catalog
from storage.keys import canonical_json, digest, plain
from storage.settings import Settings
from tasks import progress
from tasks.intake import orientation
from tasks.intake.model import Registration, identify, moment, register
from tasks.plan.place import Place

log = logging.getLogger("dst")

GONE = "source_gone"
"""Reason on a CAD model whose file is not there any more. Its GLB is in the store, so it stays in its class."""
BAD_CLASS = "bad_class_name"
BAD_SIDECAR = "bad_sidecar"
STAND_IN = "stand_in"
"""Reason on a mesh for collisions, or for afar, beside the one that is meant to be seen."""
PATIENCE = 12
"""A file whose references are missing, or that is shorter than it says, is given so many settling times to become whole."""
LOOKS_AT_MOST = 3
"""How often one look waits for files that are being written before it leaves them to the next."""


@dataclass(kw_only=True)
class WatchReport:
    """What one look found."""

    registered: list[Registration] = field(default_factory=list)
    """CAD models that are new or changed."""
    refused: dict[Path, str] = field(default_factory=dict)
    """Files that were quarantined or rejected now -> reason."""
    replaced: list[str] = field(default_factory=list)
    """cad_id of CAD models whose file holds other bytes now."""
    gone: list[str] = field(default_factory=list)
    """cad_id of CAD models whose file has gone since the last look."""
    back: list[str] = field(default_factory=list)
    """cad_id of CAD models whose file is there again."""
    waiting: list[Path] = field(default_factory=list)
    """Files that somebody is still writing."""
    new: list[Path] = field(default_factory=list)
    """What a look that changes nothing would have read."""
    unchanged: int = 0
    """Files that were as they had been."""
    classes: set[str] = field(default_factory=set)
    """Classes of the watched folders."""

    @property
    def changed(self) -> bool:
        """Whether anything was found."""
        return bool(self.registered or self.refused or self.replaced or self.gone or self.back)


def look(settings: Settings, dry: bool = False) -> WatchReport:
    """Look at everything that is watched; register what is new. dry: only say what would be read."""
    catalog = Catalog(settings.catalog, settings.store)
    if not dry:
        catalog.migrate()
        if not settings.watch:
            # So that a person sees where files belong.
            settings.watched[0].mkdir(parents=True, exist_ok=True)
    elif not catalog.exists:
        return WatchReport(new=[model.path for model in _watched(settings, WatchReport(), lambda path, error: None)])
    watcher = _Watcher(settings, catalog, dry)
    watcher.look()
    for _ in range(LOOKS_AT_MOST if not dry else 0):
        if not watcher.seen.waiting or not watcher.worth_waiting:
            break
        time.sleep(settings.watch_settle_s)
        watcher.look()
    if not dry:
        watcher.mark()
        watcher.remember()
    return watcher.seen


def refused(catalog: Catalog, class_name: str | None = None) -> list[dict[str, Any]]:
    """Return every file that was refused, with or without a cad_id: class, path, reason, detail, since when."""
    rejected = [(row, row["source"], row["added_at"]) for row in catalog.cad_models(class_name, status="rejected")]
    quarantined = [(row, row["path"], row["found_at"]) for row in catalog.quarantined(class_name)]
    rows = [
        {"class": row["class_name"] or "", "file": file, "reason": row["reason"], "detail": row["detail"], "since": at[:19]}
        for row, file, at in (*rejected, *quarantined)
    ]
    return sorted(rows, key=lambda row: (row["class"], row["file"]))


class _Watcher:
    """One look, with what it remembers of the last."""

    def __init__(self, settings: Settings, catalog: Catalog, dry: bool) -> None:
        self.settings, self.place, self.catalog, self.dry = settings, Place.of(settings), catalog, dry
        self.seen = WatchReport()
        self.worth_waiting = False
        self._memory_path = settings.root / "scan" / "seen.json"
        self._before = _read(self._memory_path)
        self._now: dict[str, Any] = {}
        self._rows = catalog.cad_models(status=None)
        self._status = {(row["class_name"], row["source"], row["cad_id"]): row["status"] for row in self._rows}
        self._quarantined = {row["path"]: row for row in catalog.quarantined(origin="watch")}
        self._bad_sidecars: set[str] = set()

    def look(self) -> None:
        """Look once at every file that was not dealt with yet."""
        self.seen.waiting.clear()
        self.worth_waiting = False
        models = {_key(model): (model, True) for model in _watched(self.settings, self.seen, self._refuse)}
        models = {_key(model): (model, False) for model in self._sources()} | models
        todo = [(*found, key) for key, found in models.items() if key not in self._now and not self._as_before(key, *found)]
        if self.dry:
            self.seen.new = [model.path for model, _, _ in todo]
        elif todo:
            with progress.stage("scan", "watched", len(todo)) as bar:
                for model, watched, key in todo:
                    self._take(model, watched, key)
                    bar.advance()

    def mark(self) -> None:
        """Mark CAD models whose file has gone, is there again, or lies in another class's folder now."""
        elsewhere = {_path(key) for key, entry in self._now.items() if entry["watched"]}
        for key, entry in self._before.items():
            if entry["watched"] and not self._now.get(key, {}).get("watched") and _path(key) in elsewhere:
                self._moved(key, entry)
        self._tell_apart()
        for row in self.catalog.cad_models():
            there = Path(row["source"]).is_file()
            if there and row["reason"] == GONE:
                self.catalog.mark_cad_model(row["class_name"], row["cad_id"], reason=None, detail=None)
                self.seen.back.append(row["cad_id"])
            elif not there and row["reason"] != GONE:
                detail = f"{row['source']} is not there since {moment(time.time())[:19]}; what was made from it stays"
                self.catalog.mark_cad_model(row["class_name"], row["cad_id"], reason=GONE, detail=detail)
                self.seen.gone.append(row["cad_id"])
                log.warning("%s/%s: its file has gone: %s", row["class_name"], row["cad_name"], row["source"])
        for path, row in self._quarantined.items():
            understood = row["reason"] == BAD_SIDECAR and path not in self._bad_sidecars
            if understood or not Path(path).exists():
                self.catalog.unquarantine(path)

    def remember(self) -> None:
        """Write down what was seen, for the next look."""
        self._memory_path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._memory_path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(self._now, indent=0, sort_keys=True))
        temporary.replace(self._memory_path)

    # -- what there is -------------------------------------------------------------------------------------------------

    def _sources(self) -> Iterator[FoundModel]:
        """Yield registered CAD models at their sources, as far as those are there: one that was replaced is registered anew.

        Those of a collection are the import's, which knows more of them (see flows.collected).
        """
        for row in self._rows:
            path = Path(row["source"])
            if row["status"] in ("ok", "rejected") and row["collection"] is None and path.is_file():
                yield FoundModel(
                    path=path,
                    class_name=row["class_name"],
                    keywords=tuple(row["keywords"]),
                    up=row["up"],
                    front=row["front"],
                    axes_by=row["orientation_why"],
                    by_convention=row["orientation"] == orientation.ASSUMED,
                    licence=row["licence"],
                    name=row["cad_name"],
                )

    def _as_before(self, key: str, model: FoundModel, watched: bool) -> bool:
        """Say whether a file and all it refers to are as at the last look, and remember it."""
        entry = self._before.get(key)
        if entry is None or entry["said"] != _said(model) or _stamps(entry["files"]) != entry["files"]:
            return False
        if entry["missing"]:
            # What it lacked may have come meanwhile.
            files, missing, _ = _references(model.path)
            if missing != entry["missing"] or _stamps([model.path, *files]) != entry["files"]:
                return False
        self._now[key] = {**entry, "watched": watched}
        self.seen.unchanged += 1
        return True

    # -- one file ------------------------------------------------------------------------------------------------------

    def _take(self, model: FoundModel, watched: bool, key: str) -> None:
        """Register one file, unless somebody is still writing it."""
        files, missing, truncated = _references(model.path)
        stamps = _stamps([model.path, *files])
        if not stamps:
            return
        settle = self.settings.watch_settle_s
        partial = bool(missing) or truncated
        if time.time() - _written(stamps) < (settle * PATIENCE if partial else settle):
            self.seen.waiting.append(model.path)
            self.worth_waiting |= not partial
            return
        cad_id = self._register(model, files, watched)
        if _stamps(stamps) == stamps:
            self._now[key] = {"files": stamps, "missing": missing, "said": _said(model), "cad_id": cad_id, "watched": watched}

    def _register(self, model: FoundModel, files: list[Path], watched: bool) -> str | None:
        """Register a file and mark what it was before; return its cad_id, None where it was quarantined."""
        known = self._quarantined.get(_name(model.path))
        bytes_digest: str | None = None
        if model.stands_in_for is not None and not any(row["source"] == _name(model.path) for row in self._rows):
            detail = f"looks like a stand-in for {model.stands_in_for}; add it all the same: dst cad add"
            self._quarantine(model.path, STAND_IN, f'{detail} "{model.path}" --class "{model.class_name}"', model.class_name)
            return None
        try:
            class_name = _class_of(model)
            bytes_digest = digest_of(model.path, files)
            if known is not None and known["digest"] == bytes_digest:
                return None
            if self._is(model, bytes_digest, ("removed",) if watched else ("ok", "rejected", "removed")):
                return bytes_digest
            made = register(
                self.place,
                model.path,
                class_name,
                keywords=model.keywords or None,
                up=model.up,
                front=model.front,
                axes_by=model.axes_by,
                by_convention=model.by_convention,
                licence=model.licence,
                name=model.name,
                symmetry=model.symmetry,
                symmetry_origin=model.symmetry_origin,
            )
        except BadClassName as error:
            self._quarantine(model.path, BAD_CLASS, str(error), model.class_name)
            return None
        except BadModel as error:
            self._quarantine(model.path, error.reason, error.detail, model.class_name, bytes_digest)
            return None
        except OSError as error:
            self._quarantine(model.path, "unreadable", f"cannot be read: {error.strerror or error}", model.class_name)
            return None
        if known is not None:
            self.catalog.unquarantine(_name(model.path))
        if made.status == "rejected":
            self._note_rejected(model.path, made)
        elif made.status != "known":
            self.seen.registered.append(made)
            log.info("%s/%s  %s  %s", made.class_name, made.name, made.cad_id[:12], made.status)
        self._replaced(model.path, made)
        return made.cad_id

    def _is(self, model: FoundModel, cad_id: str, statuses: Sequence[str]) -> bool:
        """Say whether a source still holds the bytes it was registered with, as a CAD model of one of these statuses."""
        return self._status.get((model.class_name, _name(model.path), cad_id)) in statuses

    def _note_rejected(self, path: Path, made: Registration) -> None:
        again = any((row["class_name"], row["cad_id"]) == (made.class_name, made.cad_id) for row in self._rows)
        if not again:
            self.seen.refused[path] = f"{made.reason}: {made.detail}"
            log.warning("%s/%s  rejected: %s", made.class_name, made.name, made.detail)

    def _replaced(self, path: Path, made: Registration) -> None:
        """Mark what a file was before it got other bytes. Where another file has the old ones, that is its source now."""
        for row in self._rows:
            here = (row["class_name"], row["source"]) == (made.class_name, _name(path))
            if not here or row["cad_id"] == made.cad_id or row["status"] not in ("ok", "rejected"):
                continue
            if (twin := self._twin(row, path)) is not None:
                self.catalog.mark_cad_model(row["class_name"], row["cad_id"], source=twin)
                continue
            self._mark_replaced(row["class_name"], row["cad_id"], f"{path} is CAD model {made.cad_id[:12]}")

    def _tell_apart(self) -> None:
        """Where several CAD models of a class have one file for their source, leave the one whose bytes it has."""
        by_file: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.catalog.cad_models():
            by_file.setdefault((row["class_name"], row["source"]), []).append(row)
        for (class_name, source), rows in by_file.items():
            if len(rows) > 1 and Path(source).is_file():
                try:
                    there = identify(Path(source))
                except BadModel:
                    continue
                for row in rows:
                    if row["cad_id"] != there and any(other["cad_id"] == there for other in rows):
                        self._mark_replaced(class_name, row["cad_id"], f"{source} is CAD model {there[:12]}")

    def _moved(self, key: str, entry: Mapping[str, Any]) -> None:
        """Mark a CAD model whose file lies in another class now."""
        for row in self._rows:
            same = (_key_of(row["class_name"], row["source"]), row["cad_id"]) == (key, entry["cad_id"])
            if same and row["status"] in ("ok", "rejected"):
                self._mark_replaced(row["class_name"], row["cad_id"], f"{row['source']} is of another class")

    def _mark_replaced(self, class_name: str, cad_id: str, what: str) -> None:
        detail = f"{what} since {moment(time.time())[:19]}; what was made from this one stays"
        self.catalog.mark_cad_model(class_name, cad_id, status="replaced", reason="replaced", detail=detail)
        self.seen.replaced.append(cad_id)
        log.info("%s/%s  replaced", class_name, cad_id[:12])

    def _twin(self, row: Mapping[str, Any], path: Path) -> str | None:
        """Return another file of the class with the bytes of a CAD model, or None."""
        for key, entry in {**self._before, **self._now}.items():
            same = entry["cad_id"] == row["cad_id"] and key.startswith(_key_of(row["class_name"], ""))
            if same and _path(key) != _name(path) and _stamps(entry["files"]) == entry["files"]:
                return _path(key)
        return None

    def _refuse(self, path: Path, error: BadSidecar) -> None:
        self._bad_sidecars.add(_name(path))
        if not self.dry:
            self._quarantine(path, BAD_SIDECAR, str(error), None)

    def _quarantine(self, path: Path, reason: str, detail: str, class_name: str | None, bytes_digest: str | None = None) -> None:
        known = self._quarantined.get(_name(path))
        if known is not None and (known["reason"], known["detail"], known["digest"]) == (reason, detail, bytes_digest):
            return
        (size, modified), *_ = _stamps([path]).values() or [(None, time.time_ns())]
        row = self.catalog.quarantine(
            _name(path),
            reason=reason,
            detail=detail,
            origin="watch",
            class_name=class_name,
            digest=bytes_digest,
            size=size,
            modified_at=moment((modified or 0) / 1e9),
        )
        self._quarantined[_name(path)] = row
        self.seen.refused[path] = f"{reason}: {detail}"
        log.warning("%s  quarantined: %s", path, detail)


def _watched(settings: Settings, seen: WatchReport, refuse: Refuse) -> list[FoundModel]:
    found: list[FoundModel] = []
    for folder in settings.watched:
        if folder.is_dir():
            found += scan(folder, refuse=refuse)
        else:
            log.debug("the watched folder %s is not there", folder)
    seen.classes.update(model.class_name for model in found if model.class_name is not None)
    return found


def _class_of(model: FoundModel) -> str:
    if model.class_name is None:
        raise BadClassName(f"{model.path} lies in no class's folder; move it into a subfolder that is called as its class is")
    try:
        return check_class_name(model.class_name)
    except BadClassName as error:
        raise BadClassName(f"{error}; rename the folder, or say class = in its dst.toml") from None


def _references(path: Path) -> tuple[list[Path], list[str], bool]:
    """Return the files that a model refers to, the names of those that are missing, and whether it is shorter than it says."""
    try:
        return *referenced_and_missing(path), False
    except BadModel as error:
        return [], [], error.reason == "truncated"


def _stamps(files: Iterable[Path | str]) -> dict[str, list[int]]:
    """Return file -> size and time of the last change, nanoseconds; {} when one of them is not there."""
    stamps: dict[str, list[int]] = {}
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            return {}
        stamps[_name(file)] = [stat.st_size, stat.st_mtime_ns]
    return stamps


def _written(files: Iterable[str]) -> float:
    """Return when the last of some files was written or put into place: a copy may carry an old time, its inode does not."""
    moments = [0.0]
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            return time.time()
        moments.append(max(stat.st_mtime, stat.st_ctime))
    return max(moments)


def _said(model: FoundModel) -> str:
    """Return a name for what folders and sidecars say about a file."""
    return digest(canonical_json(plain({name: value for name, value in vars(model).items() if name != "path"})).encode())[:16]


def _key(model: FoundModel) -> str:
    return _key_of(model.class_name or "", _name(model.path))


def _key_of(class_name: str, name: str) -> str:
    return f"{class_name}|{name}"


def _path(key: str) -> str:
    return key.split("|", 1)[1]


def _name(path: Path | str) -> str:
    return os.fsencode(os.path.abspath(path)).decode("utf-8", errors="replace")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        # A cache: without it files are read once more.
        return {}
