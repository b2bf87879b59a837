"""What was read of a collection, so that an import that was stopped goes on and nothing is read twice.

Enters: a file's path, size and time of change, and a digest of what was said about it. Leaves: what became of it when it was last
read. One JSON line for each file, appended as it is done; a line that a kill cut short is not there. The ledger only saves time:
without it everything is read again, with the same outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """The ledger at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._torn = False
        if path.is_file():
            self._torn = not path.read_bytes().endswith(b"\n")
            for line in path.read_bytes().split(b"\n"):
                try:
                    entry = json.loads(line)
                    self._known[(entry["path"], entry["class_name"])] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def find(self, path: Path, class_name: str, said: str) -> Mapping[str, Any] | None:
        """Return what became of a file that has not changed since, about which the same was said; None: it is to be read."""
        entry = self._known.get((str(path), class_name))
        return entry if entry is not None and entry["said"] == said and entry["stamp"] == stamp(path) else None

    def note(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append what became of files: path, class_name, said, stamp, and whatever else is worth knowing."""
        lines = [json.dumps(entry, sort_keys=True) for entry in entries]
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            # A line that a kill cut short ends here, so that it spoils no other.
            file.write(("\n" if self._torn else "").encode() + "".join(f"{line}\n" for line in lines).encode())
        self._torn = False
        for line in lines:
            entry = json.loads(line)
            self._known[(entry["path"], entry["class_name"])] = entry


def stamp(path: Path) -> list[int] | None:
    """Return size and time of change of a file, None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return [facts.st_size, facts.st_mtime_ns]
