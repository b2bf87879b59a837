"""What a PNG says about itself, so that a picture on its own can be traced.

Only what identifies the picture: never time, host, run or verdict, so that equal pictures are equal files.
"""

from __future__ import annotations

from typing import Any

from storage.keys import canonical_json

NAME = "dst"
"""Keyword of the iTXt chunk."""


def passport(stage: str, key: str, **facts: Any) -> dict[str, str]:
    """Return the texts that go into a PNG: one JSON object under NAME."""
    return {NAME: canonical_json({"stage": stage, "key": key, **facts})}
