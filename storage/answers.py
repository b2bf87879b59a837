"""Answers that were paid for: what a server said to a question, kept under the question's digest.

Enters: a folder. Leaves: a mapping from digests to JSON, a file each, written at once; what cannot be read counts as not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from storage.folders import write_whole


class Answers(MutableMapping[str, dict[str, Any]]):
    """The answers in a folder, which is made with the first of them. Threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, digest: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise KeyError(digest)
        return self.folder / digest[:2] / f"{digest}.json"

    def __getitem__(self, digest: str) -> dict[str, Any]:
        try:
            said = json.loads(self._file(digest).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise KeyError(digest) from None
        if not isinstance(said, dict):
            raise KeyError(digest)
        return said

    def __setitem__(self, digest: str, said: dict[str, Any]) -> None:
        write_whole(self._file(digest), json.dumps(said, ensure_ascii=False).encode())

    def __delitem__(self, digest: str) -> None:
        try:
            self._file(digest).unlink()
        except OSError:
            raise KeyError(digest) from None

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self.folder.glob("??/*.json")))

    def __len__(self) -> int:
        return sum(1 for _ in self)
