"""The artifact store: the truth about what was made.

Enters: a key, named files as bytes and a record of how they came to be. Leaves: those files and `record.json` under
`<stage>/<k1k2>/<key>/`, written once and all at once: either the whole artifact is there or nothing is. Where that is, a folder
or elsewhere, only `storage.blobs` knows: others name an artifact by stage and key, and its files by their addresses.

A record with `outcome` "failed" has no files. It says that this key was tried and cannot be made, and why, so that a hopeless
mesh costs its time once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from storage import keys
from storage.blobs.folder import FolderBlobs
from storage.blobs.protocol import Blobs, NoRoom
from storage.folders import NoRoomLeft
from storage.readcache import ReadCache

RECORD = "record.json"
_DAMAGED = ".damaged"
_GENERATION = ".generation"
_COUNTS = ".counts"
_ADDRESS = re.compile(
    r"(?P<stage>\w[\w-]{0,63})/(?P<start>\w\w)/(?P<key>(?P=start)\w{0,126})/(?P<name>\w[\w.-]{0,126})", re.ASCII
)


class ArtifactError(RuntimeError):
    """Base of what can be wrong with an artifact."""


class MissingArtifact(ArtifactError):
    """No artifact has this key."""


class DamagedArtifact(ArtifactError):
    """A file of the artifact is missing, truncated or altered: its digest is not the recorded one."""


class MissingFile(DamagedArtifact):
    """A file of the artifact is missing."""


class StoreFull(ArtifactError, NoRoomLeft):
    """The store has no room left. Nothing half-written stays behind."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How an artifact came to be: everything the catalog's rows are made from."""

    key: str
    """64 hex digits, see storage.keys.artifact_key."""
    stage: str
    """The stage that made it, see storage.stages."""
    version: int
    """The stage's VERSION when it was made."""
    spec: dict[str, Any]
    """The spec that was obeyed, as JSON."""
    inputs: dict[str, Any]
    """Keys of the artifacts that went in and the identity of what came out: what was hashed besides the spec."""
    outcome: Literal["made", "failed"] = "made"
    """failed: tried, hopeless, no files."""
    reason: str | None = None
    """For failed: a short name that reports count by, such as `empty_edge_map`."""
    detail: str | None = None
    """For failed: one line for a person."""
    values: dict[str, Any] = field(default_factory=dict)
    """What was found out while making it (annotation, caption, seed, scores), as JSON."""
    runtime: dict[str, Any] = field(default_factory=dict)
    """What changes speed or place only (device, batch shape, threads, versions, seconds): recorded, never hashed."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """name -> {"sha256", "bytes"}; filled in by the store."""
    created_at: str = ""
    """UTC, ISO 8601; filled in by the store."""


@dataclass(frozen=True)
class Artifact:
    """A stored artifact. Its files are asked of the store."""

    record: Record

    @property
    def key(self) -> str:
        return self.record.key


class ArtifactStore:
    """Artifacts in a place for bytes; a path means that folder."""

    def __init__(self, blobs: Blobs | Path | str, cache: ReadCache | None = None) -> None:
        """cache: keeps what is read from a place that is elsewhere."""
        self.blobs: Blobs = FolderBlobs(blobs) if isinstance(blobs, (Path, str)) else blobs
        self.cache = cache

    @property
    def where(self) -> str:
        """The store's place as people know it, a path or an address; a file's is `{where}/{address}`."""
        return self.blobs.where

    # -- writing -------------------------------------------------------------------------------------------------------

    def put(self, record: Record, files: Mapping[str, bytes] | None = None) -> Artifact:
        """Write an artifact once. If the key is already there, what is there stays and is returned.

        Raises StoreFull when there is no room; the store is then as it was before.
        """
        files = dict(files or {})
        if record.outcome == "failed" and (files or not record.reason):
            raise ValueError("a failed artifact has a reason and no files")
        record = dataclasses.replace(
            record,
            files={name: {"sha256": keys.digest(data), "bytes": len(data)} for name, data in sorted(files.items())},
            created_at=record.created_at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        text = json.dumps(dataclasses.asdict(record), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        try:
            # The record last: a place without renaming commits by it.
            written = self.blobs.put(at(record.stage, record.key), {**files, RECORD: text.encode()})
        except NoRoom as error:
            raise StoreFull(f"no space left for artifacts in {self.where}; free some and start again: {error}") from error
        # Where somebody else finished the same key first: equal by construction, theirs stays.
        return Artifact(record) if written else self.get(record.stage, record.key)

    def set_aside(self, stage: str, key: str) -> None:
        """Move a damaged artifact (or a failed one that is to be tried again) out of the way; nothing is deleted."""
        if self.blobs.move(at(stage, key), f"{_DAMAGED}/{stage}-{key}-{time.time_ns()}"):
            self.renew_generation()

    def times_set_aside(self, stage: str, key: str) -> int:
        """Return how often an artifact of this key was moved out of the way."""
        return sum(name.startswith(f"{stage}-{key}-") for name in self.blobs.names(_DAMAGED))

    def sweep(self, older_than_s: float = 3600.0, every_s: float = 0.0) -> int:
        """Remove what killed writers left unfinished; return how many that were. every_s: see Blobs.sweep."""
        return self.blobs.sweep(older_than_s, every_s)

    def try_writing(self) -> None:
        """Raise, in one line, where nothing can be written, too little, or not as a store needs it."""
        self.blobs.try_writing()

    # -- reading -------------------------------------------------------------------------------------------------------

    def has(self, stage: str, key: str) -> bool:
        """Say whether a complete artifact (made or failed) has this key: its record and every recorded file, by size."""
        return self.find(stage, key) is not None

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return the artifact if it is there with all its files at their recorded sizes, else None.

        Digests are not computed (see `read` and `verify`), so this is cheap enough to plan thousands of samples with.
        """
        try:
            artifact = self.get(stage, key)
        except (MissingArtifact, DamagedArtifact):
            return None
        group = at(stage, key)
        files = artifact.record.files.items()
        return artifact if all(self.blobs.size(f"{group}/{name}") == facts["bytes"] for name, facts in files) else None

    def is_damaged(self, stage: str, key: str) -> bool:
        """Say whether something lies under this key that `find` does not take for an artifact."""
        return bool(self.blobs.names(at(stage, key))) and self.find(stage, key) is None

    def get(self, stage: str, key: str) -> Artifact:
        """Return the artifact by its record alone. Raises MissingArtifact or DamagedArtifact (unreadable record)."""
        group = at(stage, key)
        try:
            record = Record(**json.loads(self.blobs.get(f"{group}/{RECORD}")))
        except FileNotFoundError:
            if self.blobs.names(group):
                raise DamagedArtifact(f"{stage} {key[:12]}: its record is missing in {self.where}/{group}") from None
            raise MissingArtifact(f"no {stage} artifact {key[:12]} in {self.where}") from None
        except (ValueError, TypeError) as error:
            raise DamagedArtifact(f"{stage} {key[:12]}: its record cannot be read: {error}") from error
        if record.key != key or record.stage != stage:
            raise DamagedArtifact(f"{stage} {key[:12]}: its record is of {record.stage} {record.key[:12]}")
        return Artifact(record)

    def read(self, artifact: Artifact, name: str) -> bytes:
        """Return one file's bytes, checked against the recorded digest. Raises DamagedArtifact, naming the file."""
        address, facts = self.address(artifact, name), artifact.record.files[name]

        def load() -> bytes:
            try:
                data = self.blobs.get(address)
            except FileNotFoundError:
                raise self._missing(address) from None
            self._compare(address, facts, len(data), keys.digest(data))
            return data

        return self.cache.read(facts["sha256"], load) if self.cache else load()

    @contextmanager
    def local(self, artifact: Artifact, name: str) -> Iterator[Path]:
        """Give a path of this machine with one file's bytes, checked as by `read`, for libraries that need one.

        It is to be read only, and inside the context only. Raises DamagedArtifact, naming the file.
        """
        if self.cache:
            # A file of its own, since another process may make room in the cache meanwhile.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, name)
                path.write_bytes(self.read(artifact, name))
                yield path
            return
        with self._local(self.address(artifact, name), artifact.record.files[name]) as path:
            yield path

    def verify(self, artifact: Artifact) -> None:
        """Read every file and compare digests. Raises DamagedArtifact, naming the first file that differs."""
        for name, facts in artifact.record.files.items():
            self.check(self.address(artifact, name), facts)

    def check(self, address: str, facts: Mapping[str, Any], *, digest: bool = True) -> None:
        """Compare one file with what is recorded of it (`sha256`, `bytes`), without `digest` by its size alone.

        Raises MissingFile or DamagedArtifact, in one line that says which file and what is wrong.
        """
        size = self.blobs.size(address)
        if size is None:
            raise self._missing(address)
        if size != facts["bytes"]:
            raise DamagedArtifact(f"{self.where}/{address} has {size} bytes, its record says {facts['bytes']}")
        if digest:
            with self._local(address, facts):
                pass

    def sound(self, stage: str, key: str) -> Artifact | None:
        """Return the artifact if every digest is right; set a damaged one aside and return None, so that it is made again."""
        try:
            artifact = self.get(stage, key)
            self.verify(artifact)
        except MissingArtifact:
            return None
        except DamagedArtifact:
            self.set_aside(stage, key)
            return None
        return artifact

    @contextmanager
    def _local(self, address: str, facts: Mapping[str, Any]) -> Iterator[Path]:
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self.blobs.local(address))
                with open(path, "rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                    self._compare(address, facts, file.tell(), found)
            except FileNotFoundError:
                raise self._missing(address) from None
            yield path

    def _missing(self, address: str) -> MissingFile:
        return MissingFile(f"{self.where}/{address} is missing")

    def _compare(self, address: str, facts: Mapping[str, Any], size: int, found: str) -> None:
        if size != facts["bytes"] or found != facts["sha256"]:
            raise DamagedArtifact(f"{self.where}/{address} is not what was written (digest differs)")

    # -- everything there is -------------------------------------------------------------------------------------------

    def stages(self) -> list[str]:
        """Return the stages of which anything was ever stored, the catalog's journal among them, in order."""
        return [name for name in self.blobs.names("") if not name.startswith(".")]

    def keys(self, stage: str) -> Iterator[str]:
        """Yield the keys of a stage under which anything lies, artifact or not, in order."""
        for start in self.blobs.names(stage):
            if len(start) == 2:
                yield from self.blobs.names(f"{stage}/{start}")

    def records(self, stage: str | None = None) -> Iterator[Artifact]:
        """Yield every readable artifact (of one stage), in order of stage and key."""
        for name in [stage] if stage else self.stages():
            for key in self.keys(name):
                try:
                    yield self.get(name, key)
                except (MissingArtifact, DamagedArtifact):
                    continue

    def aside(self) -> list[str]:
        """Return the paths of what was set aside, for `names`, `size`, `age_s` and `remove`."""
        return [f"{_DAMAGED}/{name}" for name in self.blobs.names(_DAMAGED)]

    def names(self, path: str) -> list[str]:
        """Return the files that lie under a path (see `at`), recorded or not, in order."""
        return self.blobs.names(path)

    def size(self, path: str) -> int:
        """Return what the files under a path take, in bytes."""
        return sum(self.blobs.size(f"{path}/{name}") or 0 for name in self.blobs.names(path))

    def age_s(self, path: str) -> float:
        """Return how long ago what lies under a path was written. Raises FileNotFoundError."""
        return self.blobs.age_s(path)

    def remove(self, path: str) -> None:
        """Delete what lies under a path. Whoever does so renews the generation when it is done."""
        self.blobs.remove(path)

    # -- addresses -----------------------------------------------------------------------------------------------------

    def address(self, artifact: Artifact | Record, name: str) -> str:
        """Return where a file lies in the store, such as `render/ab/abcd.../rgba.png`: what the catalog's file columns hold."""
        record = artifact.record if isinstance(artifact, Artifact) else artifact
        return f"{at(record.stage, record.key)}/{name}"

    def at_address(self, address: str) -> tuple[Artifact, str]:
        """Return the artifact and the name of the file that an address means. Raises ArtifactError where there is none."""
        parts = _ADDRESS.fullmatch(address)
        if parts is not None:
            artifact = self.get(parts["stage"], parts["key"])
            if parts["name"] in artifact.record.files:
                return artifact, parts["name"]
        raise MissingArtifact(f'"{address}" is no address of a file in {self.where}')

    def open_address(self, address: str) -> bytes:
        """Return the bytes of the file at an address, checked as by `read`. Raises ArtifactError where there is none."""
        return self.read(*self.at_address(address))

    def link(self, page: Path) -> str:
        """Return the link from an HTML page to the store, to which `/` and an address are added.

        Beside a folder it is relative, so that it stays right when both move together; else it is that of `dst serve`.
        """
        if self.blobs.folder is None:
            return "/artifacts"
        return quote(os.path.relpath(self.blobs.folder, page.absolute().parent).replace(os.sep, "/"))

    def holds(self, path: Path) -> bool:
        """Say whether a path of this machine lies in the store, where nobody else writes."""
        folder = self.blobs.folder
        return folder is not None and path.resolve().is_relative_to(folder.resolve())

    # -- what outlives processes ---------------------------------------------------------------------------------------

    @property
    def generation(self) -> str:
        """A name that changes whenever artifacts went away, mixed into Prefect's cache keys.

        Prefect's results outlive deleted artifacts; with a new generation none of them is served any more.
        """
        try:
            return self.blobs.get(_GENERATION).decode().strip()
        except FileNotFoundError:
            return "0"

    def renew_generation(self) -> None:
        """Make every cached Prefect result stale."""
        self.blobs.write(_GENERATION, f"{time.time_ns():x}".encode())

    def count(self, name: str) -> int:
        """Return what a counter stands at, over all processes and machines that share the store; 0 where nobody counted."""
        return len(self.blobs.names(f"{_COUNTS}/{name}"))

    def add_to_count(self, name: str) -> int:
        """Count one more under a name and return what the counter stands at."""
        # One file each: two that count at once need no lock.
        self.blobs.write(f"{_COUNTS}/{name}/{uuid.uuid4().hex}", b"")
        return self.count(name)


def at(stage: str, key: str) -> str:
    """Return the path under which an artifact lies in a store, there or not."""
    return f"{stage}/{key[:2]}/{key}"
