"""Bytes in a folder of a POSIX file system.

Enters: groups of files. Leaves: folders of files. What is being written lies in `.unfinished` and is renamed when all of it is on
the disk, so that a writer may be killed, or the power fail, at any moment.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from storage.blobs.protocol import NoRoom
from storage.folders import is_full, try_folder
from storage.keys import digest

_UNFINISHED = ".unfinished"


class FolderBlobs:
    """A place for bytes (see storage.blobs.protocol) whose names are paths below a folder, made when something is written."""

    def __init__(self, folder: Path | str) -> None:
        self.folder: Path = Path(folder).absolute()
        # Joined as text: thousands of artifacts are looked up to plan a run.
        self.where = str(self.folder)

    def put(self, group: str, files: Mapping[str, bytes]) -> bool:
        target = f"{self.where}/{group}"
        with self._unfinished() as temporary:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            for name, data in files.items():
                _write_synced(f"{temporary}/{name}", data)
            sync_folder(temporary)
            try:
                os.rename(temporary, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                # Somebody else finished the same group first.
                return False
            sync_folder(os.path.dirname(target))
        return True

    def write(self, name: str, data: bytes) -> None:
        target = f"{self.where}/{name}"
        with self._unfinished() as temporary:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _write_synced(f"{temporary}/file", data)
            os.replace(f"{temporary}/file", target)
            sync_folder(os.path.dirname(target))

    def get(self, name: str) -> bytes:
        with open(f"{self.where}/{name}", "rb") as file:
            return file.read()

    def size(self, name: str) -> int | None:
        try:
            return os.stat(f"{self.where}/{name}").st_size
        except FileNotFoundError:
            return None

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield path

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(f"{self.where}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def age_s(self, group: str) -> float:
        return time.time() - os.stat(f"{self.where}/{group}").st_mtime

    def move(self, group: str, to: str) -> bool:
        target = f"{self.where}/{to}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            os.rename(f"{self.where}/{group}", target)
        except FileNotFoundError:
            return False
        return True

    def remove(self, group: str) -> None:
        # First out of sight, as a whole; what then stays of it when this process is killed is swept.
        with self._unfinished() as temporary:
            self.move(group, f"{os.path.relpath(temporary, self.where)}/removed")

    def try_writing(self) -> None:
        try_folder(self.folder)

    def sweep(self, older_than_s: float, every_s: float = 0.0) -> int:
        swept = 0
        for name in self.names(_UNFINISHED):
            path = f"{self.where}/{_UNFINISHED}/{name}"
            pid = name.split("-")[0]
            # Another machine (or container) that shares the folder has processes of its own: only age tells of them.
            dead = pid.isdigit() and name.startswith(_mine(int(pid))) and not os.path.exists(f"/proc/{pid}")
            try:
                old = time.time() - os.stat(path).st_mtime > older_than_s
            except FileNotFoundError:
                # Finished, or swept by somebody else, since it was listed.
                continue
            if dead or old:
                shutil.rmtree(path, ignore_errors=True)
                swept += 1
        return swept

    @contextmanager
    def _unfinished(self) -> Iterator[str]:
        """Give a folder to write in that is gone afterwards, whatever happens. Raises NoRoom for a full disk."""
        temporary = ""
        try:
            os.makedirs(f"{self.where}/{_UNFINISHED}", exist_ok=True)
            temporary = tempfile.mkdtemp(dir=f"{self.where}/{_UNFINISHED}", prefix=_mine(os.getpid()))
            os.chmod(temporary, 0o755)
            yield temporary
        except OSError as error:
            if is_full(error):
                raise NoRoom(str(error)) from error
            raise
        finally:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)


def at_url(url: str) -> FolderBlobs:
    """Return the folder that a `file://` URL names. Raises ValueError for one that names something else besides."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f'"{url}" names no folder: it is file:// and an absolute path, as in file:///srv/artifacts (# is %23, ? %3F)'
        )
    return FolderBlobs(url2pathname(parts.path))


def _mine(pid: int) -> str:
    """Return how unfinished folders begin that a process of this machine writes."""
    return f"{pid}-{digest(socket.gethostname().encode())[:8]}-"


def _write_synced(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path | str) -> None:
    """See to it that the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
