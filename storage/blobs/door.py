"""The door to places for bytes: which module opens which kind of address.

Enters: a URL. Leaves: Blobs. A new kind of place is one new module and one line here.
"""

from __future__ import annotations

import pkgutil
from urllib.parse import urlsplit

from storage.blobs.protocol import Blobs

PLACES = {
    "file": "storage.blobs.folder:at_url",
    "s3": "storage.blobs.s3:at_url",
}
"""The scheme of a URL -> what opens it, `package.module:function`, called with the URL."""


def open_blobs(url: str) -> Blobs:
    """Return the place that a URL names. Raises ValueError, in one line, for a scheme that nobody opens."""
    scheme = urlsplit(url).scheme
    if scheme not in PLACES:
        raise ValueError(
            f'no store can be opened at "{url}"; its address begins with {", ".join(f"{name}://" for name in PLACES)}'
        )
    blobs: Blobs = pkgutil.resolve_name(PLACES[scheme])(url)
    return blobs
