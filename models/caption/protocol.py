"""What a captioner is: a request goes in, a prompt with its origin comes out. Section 3.2 of the paper.

Enters: a CaptionRequest: what is known of a sample before it is rendered. Leaves: a Caption. Each kind of captioner is a module
with a spec and a class; models.caption.kinds lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from models.kinds import KindSpec
from models.sample import SampleId


@dataclass(frozen=True, kw_only=True)
class CaptionSpec(KindSpec):
    """How prompts are written; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and request give another caption."""


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
    """All that a captioner may know of a sample: nothing of its render or controls, so that neither is needed."""

    sample: SampleId
    """Whose caption this is; all randomness comes from it."""
    class_name: str
    """The class as people write it, e.g. `coffee mug`."""
    keywords: tuple[str, ...] = ()
    """The CAD model's keywords, as its owner typed them."""
    azimuth_deg: float
    """The view's azimuth in [0, 360): 0 looks at the front, 90 at the object's own left."""
    elevation_deg: float
    """The view's elevation in [-90, 90]."""
    written: str | None = None
    """The imported caption that was chosen for this sample; None where there is none."""
    most_tokens: int | None = None
    """The longest prompt that the generator takes, in CLIP's tokens without start and end; None: it sets no limit."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt and where it comes from."""

    prompt: str
    """What the picture shall show."""
    negative_prompt: str
    """What it shall not show; may be empty."""
    words: dict[str, Any]
    """What the prompt says, field by field: class_name, keywords, colour, material, scene, light, viewpoint; None = unsaid."""
    captioner: str
    """The captioner's name, e.g. `grammar`."""
    revision: str
    """Which grammar, which model or which captions."""


class Captioner(Protocol):
    """A kind of captioner at work; it is called with its spec. Equal requests get equal captions, whatever was asked before."""

    def caption(self, request: CaptionRequest) -> Caption:
        """Return the caption of one sample. Raises CaptionRefused."""
