"""Bytes in memory: a place without files, without renaming, which knows folders only as beginnings of names."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from storage.blobs.protocol import NoRoom


class MemoryBlobs:
    """See storage.blobs.protocol. `room`: how many bytes there is room for."""

    folder = None

    def __init__(self, where: str = "memory://here", room: int = 1 << 40) -> None:
        self.where, self.room = where, room
        self.blobs: dict[str, bytes] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    def put(self, group: str, files: Mapping[str, bytes]) -> bool:
        *_, last = files
        with self._lock:
            if sum(map(len, [*self.blobs.values(), *files.values()])) > self.room:
                raise NoRoom("memory is full")
            if f"{group}/{last}" in self.blobs:
                return False
            for name, data in files.items():
                self._set(f"{group}/{name}", data)
            return True

    def write(self, name: str, data: bytes) -> None:
        with self._lock:
            self._set(name, data)

    def get(self, name: str) -> bytes:
        try:
            return self.blobs[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def size(self, name: str) -> int | None:
        return len(self.blobs[name]) if name in self.blobs else None

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        data = self.get(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name.rpartition("/")[2])
            path.write_bytes(data)
            yield path

    def names(self, path: str) -> list[str]:
        start = f"{path}/" if path else ""
        with self._lock:
            return sorted({name[len(start) :].split("/")[0] for name in self.blobs if name.startswith(start)})

    def age_s(self, group: str) -> float:
        with self._lock:
            written = [self._written[name] for name in self.blobs if name.startswith(f"{group}/")]
        if not written:
            raise FileNotFoundError(group)
        return time.time() - max(written)

    def move(self, group: str, to: str) -> bool:
        with self._lock:
            moved = [name for name in self.blobs if name.startswith(f"{group}/")]
            for name in moved:
                self._set(f"{to}{name[len(group) :]}", self.blobs.pop(name))
        return bool(moved)

    def remove(self, group: str) -> None:
        with self._lock:
            for name in [name for name in self.blobs if name.startswith(f"{group}/")]:
                del self.blobs[name]

    def try_writing(self) -> None:
        pass

    def sweep(self, older_than_s: float, every_s: float = 0.0) -> int:
        return 0

    def _set(self, name: str, data: bytes) -> None:
        self.blobs[name], self._written[name] = bytes(data), time.time()


def opened(url: str) -> MemoryBlobs:
    """Return the one memory that a URL names: what the door to places calls."""
    return _OPEN.setdefault(url, MemoryBlobs(url))


_OPEN: dict[str, MemoryBlobs] = {}
