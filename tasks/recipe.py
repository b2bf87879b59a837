"""A recipe: all specs of a run.

What a recipe says changes pixels and is hashed, spec by spec, into the keys of what is made.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from models.caption.imported import ImportedCaptionSpec
from models.caption.spec import CaptionSpec
from models.edge import EdgeSpec
from models.image.spec import ImageSpec, pinned
from models.render.spec import RenderSpec
from models.verdict.spec import VerdictSpec
from models.world.spec import FinishedSpec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All specs of a run, one for each stage behind the cad stage (whose spec belongs to the CAD model)."""

    name: str
    """What people call it."""
    render: RenderSpec
    """Viewpoints, camera, light and quality."""
    edge: EdgeSpec
    """Where the 3D visual prompt comes from."""
    caption: CaptionSpec | ImportedCaptionSpec
    """How prompts are written."""
    image: ImageSpec | FinishedSpec
    """The generator and its settings; or how renders are finished without one."""
    verdict: VerdictSpec
    """The filter and its threshold."""

    def pinned(self) -> Recipe:
        """Return the recipe with the generator's revision filled in: for a folder, the digest of its weights."""
        return dataclasses.replace(self, image=pinned(self.image)) if isinstance(self.image, ImageSpec) else self
