"""What shall be said in captions: the caption stage's spec."""

from __future__ import annotations

from dataclasses import dataclass, fields

from models.caption import vocabulary

STAGE = "caption"
VERSION = 1
"""Raised whenever the same spec and sample give another prompt."""


@dataclass(frozen=True, kw_only=True)
class CaptionSpec:
    """Which words a caption is drawn from and how often each kind is said. Prompts of one sample differ only where these do."""

    grammar: int = 1
    """Revision of the grammar's phrasings; only the present one, 1, exists."""
    keyword_share: float = 1.0
    """Share of captions that name the CAD model's keywords."""
    colour_share: float = 0.9
    """Share of captions with a colour."""
    material_share: float = 0.7
    """Share of captions with a material."""
    scene_share: float = 0.9
    """Share of captions that say where the object stands."""
    light_share: float = 0.9
    """Share of captions that say how it is lit."""
    viewpoint_share: float = 0.9
    """Share of captions that say from where it is seen."""
    colours: tuple[str, ...] = tuple(vocabulary.COLOURS)
    """Colour words to draw from."""
    materials: tuple[str, ...] = vocabulary.MATERIALS
    """Material words to draw from."""
    scenes: tuple[str, ...] = tuple(vocabulary.SCENES)
    """Scene words to draw from."""
    lights: tuple[str, ...] = tuple(vocabulary.LIGHTS)
    """Light words to draw from, each only where the scene allows it (no sunset in a studio)."""
    max_keywords: int = 3
    """At most so many keywords of a CAD model are said, a fresh choice for each sample."""
    suffix: str = ""
    """Said at the end of every prompt, e.g. `highly detailed, sharp focus` for Stable Diffusion."""
    negative_prompt: str = ""
    """Negative prompt of every sample; the embedded generator is trained with the empty one."""

    def __post_init__(self) -> None:
        if self.grammar != 1:
            raise ValueError(f"caption grammar {self.grammar} does not exist; the only one is 1")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name} is {value}; it is a share and lies between 0 and 1")
        known = {
            "colours": vocabulary.COLOURS,
            "materials": vocabulary.MATERIALS,
            "scenes": vocabulary.SCENES,
            "lights": vocabulary.LIGHTS,
        }
        for name, words in known.items():
            chosen = getattr(self, name)
            strange = [word for word in chosen if word not in words]
            if strange:
                raise ValueError(f"caption {name} has no word {strange[0]!r}; known are: {', '.join(words)}")
            if not chosen:
                raise ValueError(f"caption {name} is empty; set {name[:-1]}_share to 0 to leave it unsaid")
        if self.max_keywords < 0:
            raise ValueError(f"max_keywords is {self.max_keywords}; it must be 0 or more")
