"""What a CAD model is called wherever it lies: the digest of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_BLOCK = 2**20


def cad_id(path: Path, referenced: Iterable[Path] = ()) -> str:
    """Return the sha256 over the bytes of a source file and of each file it refers to, in order of reference: 64 hex digits.

    For a file without references it is what `sha256sum` prints.
    """
    digest = hashlib.sha256()
    for file in (path, *referenced):
        with open(file, "rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
