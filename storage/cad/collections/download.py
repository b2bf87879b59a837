"""Objaverse models from their publishers, through their own `objaverse` package. Only on request, never by default.

Enters: uids, a folder. Leaves: the GLBs and their annotations in that folder, in the package's own layout, which
storage.cad.collections.layouts.objaverse reads. What is there is not fetched again.
"""

from __future__ import annotations

import http.client
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

from storage.cad.collections.entry import BadCollection


def download(root: Path, uids: Sequence[str], processes: int = 1) -> list[str]:
    """Fetch models and annotations; return the uids that Objaverse does not have. Raises BadCollection."""
    try:
        import objaverse
    except ImportError:
        raise BadCollection("downloading needs Objaverse's own package: pip install 'dst-platform[objaverse]'") from None
    # The package keeps everything below this one folder, by default in the user's home.
    objaverse._VERSIONED_PATH = str(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = objaverse._load_object_paths()
            wanted = [uid for uid in uids if uid in known]
            if wanted:
                objaverse.load_annotations(wanted)
                objaverse.load_objects(wanted, download_processes=processes)
    except (OSError, http.client.HTTPException, EOFError, zlib.error, ValueError) as error:
        said = str(getattr(error, "reason", error)).splitlines()[0][:200]
        raise BadCollection(
            f"Objaverse cannot be downloaded now ({said}); what has come stays in {root}, start again to go on"
        ) from None
    return [uid for uid in uids if uid not in known]
