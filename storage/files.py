"""What people look at in a browser: reports, sheets, Data Docs, galleries and pictures of the store, and their addresses.

Enters: paths below the home folder. Leaves: addresses, for files of a few kinds from a few folders and for nothing else: the
catalog, Prefect's database and results are in the same home and are never shown. See storage.fileserver, which serves them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

FOLDERS = ("reports", "sheets", "validation", "gallery")
"""The folders of a home that can be looked at."""
ARTIFACTS = "artifacts"
"""Where the artifacts of the store have their addresses, wherever their bytes lie."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".glb": "model/gltf-binary",
}
"""What is shown, by the end of its name."""


def url_of(base: str, root: Path, path: Path) -> str | None:
    """Return the address of a file of the home under a server's base address; None where it is not shown."""
    if not base or path.suffix not in TYPES or not path.is_relative_to(root):
        return None
    inside = path.relative_to(root)
    return f"{base.rstrip('/')}/{quote(inside.as_posix())}" if inside.parts[0] in (*FOLDERS, ARTIFACTS) else None
