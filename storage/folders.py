"""Folders that are written to: whether they can be, asked before any work is done, and how a file comes there as a whole.

Enters: a folder, or a file's bytes. Leaves: nothing or a file, or an error that a person understands. What rights, quotas and
read-only disks come to is only known by writing.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path

LEAST_FREE = 96 << 20
"""Bytes that a run finds free, or does not begin: Prefect's database and the catalog's log alone take some tens of millions."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class NoRoomLeft(RuntimeError):
    """A disk is full, or too full to begin on."""


def try_folder(folder: Path, least: int = LEAST_FREE) -> None:
    """Raise where a folder, which is made if it is not there, cannot be written to, or has less than `least` bytes free.

    Raises NoRoomLeft, or an OSError that names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(65536))
            file.flush()
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder)) from None
    except OSError as error:
        if is_full(error):
            raise NoRoomLeft(_full(folder)) from error
        said = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(
            error.errno, f"nothing can be written there ({said.lower()}); choose another folder with DST_HOME", str(folder)
        ) from None
    if shutil.disk_usage(folder).free < least:
        raise NoRoomLeft(_full(folder))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, over what it was before; whoever reads it meanwhile, or writes it too, never sees half of one.

    Its folder is made where there is none. Not proof against loss of power: what must be is an artifact of the store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_full(error: OSError) -> bool:
    """Say whether an error means that there is no room left."""
    return error.errno in _NO_ROOM


def _full(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    left = shutil.disk_usage(there).free >> 20
    return f"no space left in {folder}: {left} MB are free, and a run begins with {LEAST_FREE >> 20}; free some and start again"
