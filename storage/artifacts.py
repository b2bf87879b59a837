"""The artifact store: the truth about what was made.

Enters: a key, named files as bytes and a record of how they came to be. Leaves: a folder `<stage>/<k1k2>/<key>/` with those
files and `record.json`, written once and all at once: either the whole folder is there or nothing is.

A record with `outcome` "failed" has no files. It says that this key was tried and cannot be made, and why, so that a hopeless
mesh costs its time once.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from storage import keys

RECORD = "record.json"
_UNFINISHED = ".unfinished"
_DAMAGED = ".damaged"


class ArtifactError(RuntimeError):
    """Base of what can be wrong with an artifact."""


class MissingArtifact(ArtifactError):
    """No artifact has this key."""


class DamagedArtifact(ArtifactError):
    """A file of the artifact is missing, truncated or altered: its digest is not the recorded one."""


class StoreFull(ArtifactError):
    """The disk has no room left. Nothing half-written stays behind."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How an artifact came to be: everything the catalog's rows are made from."""

    key: str
    """64 hex digits, see storage.keys.artifact_key."""
    stage: str
    """cad, render, edge, caption, image or verdict."""
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
    """A stored artifact: its record and the folder its files lie in."""

    record: Record
    folder: Path

    @property
    def key(self) -> str:
        return self.record.key

    def path(self, name: str) -> Path:
        """Return the path of one of its files (not checked; see ArtifactStore.read)."""
        return self.folder / name


class ArtifactStore:
    """Artifacts in a folder of a POSIX file system."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    # -- writing -------------------------------------------------------------------------------------------------------

    def put(self, record: Record, files: Mapping[str, bytes] | None = None) -> Artifact:
        """Write an artifact once. If the key is already there, what is there stays and is returned.

        Raises StoreFull when the disk is full; the store is then as it was before.
        """
        files = dict(files or {})
        if record.outcome == "failed" and (files or not record.reason):
            raise ValueError("a failed artifact has a reason and no files")
        record = dataclasses.replace(
            record,
            files={name: {"sha256": keys.digest(data), "bytes": len(data)} for name, data in sorted(files.items())},
            created_at=record.created_at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        folder = self.folder(record.stage, record.key)
        workspace = self.root / _UNFINISHED
        temporary: Path | None = None
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=workspace, prefix=_mine(os.getpid())))
            temporary.chmod(0o755)
            for name, data in files.items():
                _write_synced(temporary / name, data)
            text = json.dumps(dataclasses.asdict(record), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
            _write_synced(temporary / RECORD, text.encode())
            sync_folder(temporary)
            try:
                temporary.rename(folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                # Somebody else finished the same key first: equal by construction, theirs stays.
                return self.get(record.stage, record.key)
            temporary = None
            sync_folder(folder.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"no space left for artifacts in {self.root}; free some and start again: {error}") from error
            raise
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        return Artifact(record, folder)

    def set_aside(self, stage: str, key: str) -> None:
        """Move a damaged artifact (or a failed one that is to be tried again) out of the way; nothing is deleted."""
        folder = self.folder(stage, key)
        bin_ = self.root / _DAMAGED
        bin_.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(bin_ / f"{stage}-{key}-{time.time_ns()}")
        except FileNotFoundError:
            return
        self.renew_generation()

    def times_set_aside(self, stage: str, key: str) -> int:
        """Return how often an artifact of this key was moved out of the way."""
        return len(list((self.root / _DAMAGED).glob(f"{stage}-{key}-*")))

    def sweep(self, older_than_s: float = 3600.0) -> int:
        """Remove what killed writers left unfinished; return how many folders that were."""
        swept = 0
        for folder in (self.root / _UNFINISHED).glob("*"):
            pid = folder.name.split("-")[0]
            # Another machine (or container) that shares the store has processes of its own: only age tells of them.
            dead = pid.isdigit() and folder.name.startswith(_mine(int(pid))) and not Path(f"/proc/{pid}").exists()
            try:
                age_s = time.time() - folder.stat().st_mtime
            except FileNotFoundError:
                # Finished, or swept by somebody else, since it was listed.
                continue
            if dead or age_s > older_than_s:
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

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
        for name, facts in artifact.record.files.items():
            try:
                if artifact.path(name).stat().st_size != facts["bytes"]:
                    return None
            except FileNotFoundError:
                return None
        return artifact

    def get(self, stage: str, key: str) -> Artifact:
        """Return the artifact by its record alone. Raises MissingArtifact or DamagedArtifact (unreadable record)."""
        folder = self.folder(stage, key)
        try:
            fields = json.loads((folder / RECORD).read_bytes())
            record = Record(**fields)
        except FileNotFoundError:
            if folder.exists():
                raise DamagedArtifact(f"{stage} {key[:12]}: its record is missing in {folder}") from None
            raise MissingArtifact(f"no {stage} artifact {key[:12]} in {self.root}") from None
        except (ValueError, TypeError) as error:
            raise DamagedArtifact(f"{stage} {key[:12]}: its record cannot be read: {error}") from error
        if record.key != key or record.stage != stage:
            raise DamagedArtifact(f"{stage} {key[:12]}: its record is of {record.stage} {record.key[:12]}")
        return Artifact(record, folder)

    def read(self, artifact: Artifact, name: str) -> bytes:
        """Return one file's bytes, checked against the recorded digest. Raises DamagedArtifact, naming the file."""
        try:
            data = artifact.path(name).read_bytes()
        except FileNotFoundError:
            raise DamagedArtifact(f"{artifact.record.stage} {artifact.key[:12]}: file {name} is missing") from None
        expected = artifact.record.files[name]
        if len(data) != expected["bytes"] or keys.digest(data) != expected["sha256"]:
            raise DamagedArtifact(
                f"{artifact.record.stage} {artifact.key[:12]}: {artifact.path(name)} is not what was written (digest differs)"
            )
        return data

    def verify(self, artifact: Artifact) -> None:
        """Read every file and compare digests. Raises DamagedArtifact, naming the first file that differs."""
        for name in artifact.record.files:
            self.read(artifact, name)

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

    def records(self, stage: str | None = None) -> Iterator[Artifact]:
        """Yield every readable artifact (of one stage), in order of stage and key."""
        for stage_folder in sorted(self.root.glob(stage or "[!.]*")):
            for folder in sorted(stage_folder.glob("??/*")):
                try:
                    yield self.get(stage_folder.name, folder.name)
                except (MissingArtifact, DamagedArtifact):
                    continue

    # -- generation ----------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> str:
        """A name that changes whenever artifacts went away, mixed into Prefect's cache keys.

        Prefect's results outlive deleted artifacts; with a new generation none of them is served any more.
        """
        try:
            return (self.root / ".generation").read_text().strip()
        except FileNotFoundError:
            return "0"

    def renew_generation(self) -> None:
        """Make every cached Prefect result stale."""
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f".generation.{os.getpid()}"
        temporary.write_text(f"{time.time_ns():x}")
        temporary.replace(self.root / ".generation")

    def folder(self, stage: str, key: str) -> Path:
        """Return the folder an artifact lies in, there or not."""
        return self.root / stage / key[:2] / key


def _mine(pid: int) -> str:
    """Return how unfinished folders begin that a process of this machine writes."""
    return f"{pid}-{keys.digest(socket.gethostname().encode())[:8]}-"


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
