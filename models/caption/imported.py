"""Captions that somebody else wrote, such as the published ones of 3D-DST.

Enters: the text that was chosen for a sample when its cohort was planned. Leaves: that text as its caption, word for word. Which
captions there are is pinned in the spec by their digest. (Section 3.2 of the paper: its captions come from a language model.)
"""

from __future__ import annotations

from dataclasses import dataclass

from models.caption.protocol import Caption, CaptionRefused

MOST_CHARACTERS = 4000
"""Longer texts are no captions."""


@dataclass(frozen=True, kw_only=True)
class ImportedCaptionSpec:
    """Captions as imported with `dst import captions`. Where a CAD model has some of its own, its samples take those."""

    captioner: str = "imported"
    """Tells this spec from the other captioners'."""
    origin: str = ""
    """Whose captions: the name they were imported under."""
    revision: str = ""
    """Digest of all captions of the class from this origin; empty: those that are there when the run is planned."""
    negative_prompt: str = ""
    """Negative prompt of every sample."""

    def __post_init__(self) -> None:
        if self.captioner != "imported":
            raise ValueError(f'caption captioner is "{self.captioner}"; there is "imported", and without one the grammar writes')
        if not self.origin:
            raise ValueError('imported captions need their origin, as in [caption] captioner = "imported", origin = "3d-dst"')


def quote(spec: ImportedCaptionSpec, class_name: str, prompt: str | None) -> Caption:
    """Return the caption that `prompt` is. Raises CaptionRefused where there is none, or none that a person would call so."""
    text = " ".join((prompt or "").split())
    if not text:
        raise CaptionRefused("no_caption", f"{spec.origin} has no caption for this sample of {class_name}")
    if len(text) > MOST_CHARACTERS:
        raise CaptionRefused("caption_too_long", f"a caption of {spec.origin} has {len(text)} characters")
    return Caption(
        prompt=text,
        negative_prompt=spec.negative_prompt,
        words={"class_name": class_name},
        captioner=f"imported: {spec.origin}",
        revision=spec.revision,
    )
