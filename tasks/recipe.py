"""A recipe: all specs of a run.

What a recipe says changes pixels and is hashed, spec by spec, into the keys of what is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.caption.spec import CaptionSpec
from models.edge import EdgeSpec
from models.image.spec import ImageSpec
from models.render.spec import RenderSpec
from models.verdict.spec import VerdictSpec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All specs of a run, one for each stage behind the cad stage (whose spec belongs to the CAD model)."""

    name: str
    """What people call it."""
    render: RenderSpec
    """Viewpoints, camera, light and quality."""
    edge: EdgeSpec
    """Where the 3D visual prompt comes from."""
    caption: CaptionSpec
    """How prompts are written."""
    image: ImageSpec
    """The generator and its settings."""
    verdict: VerdictSpec
    """The filter and its threshold."""
