"""A folder that is written in pieces and appears whole: what every export is written into.

Enters: files and finished pieces. Leaves: the folder under its name, or nothing under it. Until it is complete it grows in
`.NAME.part` beside its place; a writer that is killed finds there what it had finished and goes on behind it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from storage.blobs.folder import sync_folder


class FolderTaken(ValueError):
    """The folder holds something else, or somebody else is writing it; one line."""


class UnfinishedFolder:
    """The unfinished folder of one export."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.place = out.parent / f".{out.name}.part"
        self.content = self.place / "content"
        self._pieces = self.place / "pieces"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one writer; one that fails before it has finished a piece leaves nothing.

        Raises FolderTaken, and ValueError in one line for a disk that is full or a folder that may not be written.
        """
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            with (self.place / "lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise FolderTaken(f"another process is exporting to {self.out}; wait for it, or end it") from None
                try:
                    yield
                finally:
                    if not any(self._pieces.glob("*.json")):
                        shutil.rmtree(self.place, ignore_errors=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ValueError(f"no space left for {self.out}; free some and start again: what is written stays") from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise FolderTaken(f"{self.out} cannot be written ({error.strerror}: {error.filename})") from error
            raise

    def belong(self, identity: Mapping[str, Any]) -> None:
        """Make this the folder of one export. What another export left in it is removed."""
        said = json.dumps(identity, sort_keys=True)
        noted = self.place / "identity.json"
        if not noted.exists() or noted.read_text() != said:
            for path in (self.content, self._pieces):
                shutil.rmtree(path, ignore_errors=True)
            self._durably(noted, said.encode())
        self.content.mkdir(exist_ok=True)
        self._pieces.mkdir(exist_ok=True)

    # -- files ---------------------------------------------------------------------------------------------------------

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the export (`name` is relative, its folders are made), synced to disk."""
        with self.open(name) as file:
            file.write(data)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Write one file of the export as a stream; it is synced to disk when the body ends."""
        path = self.content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    # -- pieces --------------------------------------------------------------------------------------------------------

    def finished(self, number: int) -> bool:
        """Say whether a piece was finished, by this writer or by one before it."""
        return self._piece(number).exists()

    def finish(self, number: int, entries: list[Any]) -> None:
        """Note that all files of a piece are written, with what its index entries say (JSON types)."""
        self._durably(self._piece(number), json.dumps(entries, ensure_ascii=False, allow_nan=False).encode())

    def entries(self) -> Iterator[Any]:
        """Yield the index entries of all pieces, in order, one piece in memory at a time."""
        for path in sorted(self._pieces.glob("*.json")):
            yield from json.loads(path.read_bytes())

    def commit(self) -> None:
        """Give the export its name, all at once. Raises FolderTaken where something has taken it since."""
        for folder, _, _ in os.walk(self.content):
            sync_folder(Path(folder))
        try:
            self.content.rename(self.out)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise FolderTaken(f"{self.out} has been filled by somebody else; give another folder: nothing is lost") from error
            raise
        sync_folder(self.out.parent)
        shutil.rmtree(self.place, ignore_errors=True)

    def _piece(self, number: int) -> Path:
        return self._pieces / f"{number:08d}.json"

    def _durably(self, path: Path, data: bytes) -> None:
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


def empty(out: Path) -> bool:
    """Say whether an export can be given this name: nothing there, or a folder with nothing in it. Raises FolderTaken."""
    if not out.exists():
        return True
    if not out.is_dir():
        raise FolderTaken(f"{out} is a file; an export is a folder: give another name")
    return not any(out.iterdir())
