"""The live pages' HTML: empty frames that their scripts fill, and fill again, from JSON (storage.live).

Leaves: the state page and the gallery of pictures as they land. Scripts are the pages' own, named by their digest; pictures and
JSON come from the same server.
"""

from __future__ import annotations

from storage.report.feed import UNTAGGED
from storage.report.page import environment, frame


def state() -> str:
    """Return the page of all classes: fresh or stale and why, yield, last run, cost."""
    return environment().get_template("state.html").render(**frame("state.js", "live.css"))


def pictures(token: str) -> str:
    """Return the gallery of pictures as they land. token: what its tags are sent with."""
    return environment().get_template("pictures.html").render(token=token, untagged=UNTAGGED, **frame("pictures.js", "live.css"))
