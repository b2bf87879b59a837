"""What was read from a store elsewhere, kept in a folder of this machine up to a size.

Enters: bytes by their SHA-256. Leaves: the same bytes, without asking the store. What is kept under a digest can be no other, so
nothing here is ever out of date; a file that went bad on this disk is read again. Any number of processes share the folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from storage.folders import write_whole
from storage.keys import digest

_SHARE = 0.8
"""Of the size that is left when there is too much: what was read the longest ago goes first."""
_LOOK_EVERY = 64 << 20
"""Bytes that one process keeps before it looks at how much there is: other processes keep some too."""


class ReadCache:
    """A folder of files called after their digests."""

    def __init__(self, folder: Path, most: int) -> None:
        """folder: made when something is kept; most: bytes that it may hold, exceeded by at most _LOOK_EVERY a process."""
        self.folder, self.most = folder, most
        self._since_look = _LOOK_EVERY

    def read(self, sha256: str, load: Callable[[], bytes]) -> bytes:
        """Return the bytes with this digest, from here or else as `load` gives them, which raises where it has others."""
        path = self.folder / sha256[:2] / sha256
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            if digest(data) == sha256:
                os.utime(path)
                return data
        return self._keep(path, load())

    def _keep(self, path: Path, data: bytes) -> bytes:
        """Keep bytes; a disk without room keeps none, and nobody has to know."""
        if len(data) > self.most:
            return data
        with contextlib.suppress(OSError):
            write_whole(path, data)
            self._since_look += len(data)
            if self._since_look >= min(_LOOK_EVERY, self.most):
                self._since_look = 0
                self._make_room()
        return data

    def _make_room(self) -> None:
        """Delete what was read the longest ago until there is room again."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                found.append((about.st_mtime_ns, about.st_size, path))
        held = sum(size for _, size, _ in found)
        if held <= self.most:
            return
        for _, size, path in sorted(found):
            path.unlink(missing_ok=True)
            held -= size
            if held <= _SHARE * self.most:
                return
