"""The address of a catalog in a file, whatever the folders on the way to it are called.

Enters: a path. Leaves: a URL that SQLAlchemy reads back as that path. Blanks, umlauts and quotes need nothing; a `%` would begin
an escape and a `?` the options.
"""

from __future__ import annotations

from pathlib import Path


def of_file(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"
