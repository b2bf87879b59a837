"""BadModel: the exception that every reader raises when it refuses a CAD file."""

from __future__ import annotations


class BadModel(ValueError):
    """A CAD file that cannot become a CAD model: a short reason to count by, and one line that says what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[BadModel], tuple[str, str]]:
        return BadModel, (self.reason, self.detail)
