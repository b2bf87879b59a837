"""What a place for bytes must be able to do, so that an artifact store can stand on it: a folder, object storage, memory.

Enters: groups of named files as bytes. Leaves: the same bytes by name. A name is a path without a beginning slash, such as
`image/ab/abcd.../image.png`; a group is what lies under one path, `image/ab/abcd...`, and is there as a whole or not at all.

A place that cannot rename writes the last file of a group last, on the condition that it is not there, and takes a group
without it for absent: the store puts its record last.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class NoRoom(OSError):
    """Nothing more can be written. What was there is as it was, and nothing half-written stays behind."""


class Blobs(Protocol):
    """A place for bytes."""

    @property
    def where(self) -> str:
        """The place, as a person knows it: a path or an address. No other place has the same."""

    @property
    def folder(self) -> Path | None:
        """The folder of this machine in which names are paths; None where the bytes are elsewhere."""

    def put(self, group: str, files: Mapping[str, bytes]) -> bool:
        """Write a group once and all at once, proof against loss of power. False: it is there already and stays as it is.

        Raises NoRoom.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write one small file, over what it was before."""

    def get(self, name: str) -> bytes:
        """Return a file's bytes. Raises FileNotFoundError."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None where it is missing."""

    def local(self, name: str) -> AbstractContextManager[Path]:
        """Give a file of this machine with these bytes, to be read inside the context only. Raises FileNotFoundError."""

    def names(self, path: str) -> list[str]:
        """Return what lies directly under a path (the last parts of names), in order; nothing where there is no such path."""

    def age_s(self, group: str) -> float:
        """Return how long ago a group was written, in seconds. Raises FileNotFoundError."""

    def move(self, group: str, to: str) -> bool:
        """Give a group another path; False where it is not there (any more)."""

    def remove(self, group: str) -> None:
        """Delete a group, all at once; one that is not there is no error."""

    def sweep(self, older_than_s: float, every_s: float = 0.0) -> int:
        """Delete what killed writers left unfinished, at once where that is sure, else at this age; return how many they were.

        every_s: where looking is dear, nothing is done if somebody has looked so recently.
        """

    def try_writing(self) -> None:
        """Raise, in one line, where nothing can be written, too little, or not as a store needs it."""
