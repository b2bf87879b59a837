"""The captioner `imported`: quotes captions that somebody else wrote, such as the published ones of 3D-DST.

Enters: the text that was chosen for a sample when its cohort was planned. Leaves: that text as its caption, word for word. Which
captions there are is pinned in the spec by their digest. (Section 3.2 of the paper: its captions come from a language model.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.caption.protocol import Caption, CaptionRefused, CaptionRequest, CaptionSpec, Means, OneByOne

MOST_CHARACTERS = 4000
"""Longer texts are no captions."""


@dataclass(frozen=True, kw_only=True)
class ImportedSpec(CaptionSpec):
    """Captions as imported with `dst import captions`. Where a CAD model has some of its own, its samples take those."""

    implementation: ClassVar[str] = "models.caption.imported:ImportedCaptioner"
    version: ClassVar[int] = 1

    kind: Literal["imported"] = "imported"
    origin: str = ""
    """Whose captions: the name they were imported under."""
    revision: str = ""
    """Digest of all captions of the class from this origin; empty: those that are there when the run is planned."""
    negative_prompt: str = ""
    """Negative prompt of every sample."""

    def __post_init__(self) -> None:
        if not self.origin:
            raise ValueError('imported captions need their origin, as in [caption] kind = "imported", origin = "3d-dst"')


class ImportedCaptioner(OneByOne):
    """Quotes the imported caption that a request carries."""

    def __init__(self, spec: ImportedSpec, means: Means | None = None) -> None:
        """means: not needed."""
        self.spec = spec

    def caption(self, request: CaptionRequest) -> Caption:
        """Return the caption. Raises CaptionRefused where there is none, or none that a person would call so."""
        text = " ".join((request.written or "").split())
        origin = self.spec.origin
        if not text:
            raise CaptionRefused("no_caption", f"{origin} has no caption for this sample of {request.class_name}")
        if len(text) > MOST_CHARACTERS:
            raise CaptionRefused("caption_too_long", f"a caption of {origin} has {len(text)} characters")
        return Caption(
            prompt=text,
            negative_prompt=self.spec.negative_prompt,
            words={"class_name": request.class_name},
            captioner=f"imported: {origin}",
            revision=self.spec.revision,
        )
