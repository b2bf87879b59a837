"""What a captioner is: a request goes in, a prompt with its origin comes out.

The grammar captioner is one; language models, local or behind a server, implement the same protocol. Section 3.2 of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from models.sample import SampleId


class CaptionRefused(ValueError):
    """No caption could be made of a request: an expected misfortune, `reason` goes into the sample's row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """Short snake-case name, e.g. `caption_too_long`."""
        self.detail = detail
        """One line for people."""


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """All that a captioner may know of a sample: nothing of its render or edges, so captions need neither."""

    sample: SampleId
    """Whose caption this is; all randomness comes from it."""
    class_name: str
    """The class as people write it, e.g. `coffee mug`."""
    keywords: tuple[str, ...]
    """The CAD model's keywords, as its owner typed them."""
    azimuth_deg: float
    """The view's azimuth in [0, 360): 0 looks at the front, 90 at the object's own left."""
    elevation_deg: float
    """The view's elevation in [-90, 90]."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt and where it comes from."""

    prompt: str
    """What the picture shall show; at most 77 CLIP tokens with start and end."""
    negative_prompt: str
    """What it shall not show; may be empty."""
    words: dict[str, Any]
    """What the prompt says, field by field: class_name, keywords, colour, material, scene, light, viewpoint; None = unsaid."""
    captioner: str
    """The captioner's name, e.g. `grammar`."""
    revision: str
    """Which grammar or which model."""


class Captioner(Protocol):
    """Makes captions; the same caption for the same request, whatever was asked before."""

    @property
    def revision(self) -> str:
        """Which grammar or which model, for the record."""
        ...

    def caption(self, request: CaptionRequest) -> Caption:
        """Return the caption of one sample. Raises CaptionRefused."""
        ...
