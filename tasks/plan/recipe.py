"""A recipe: all specs of a run.

What a recipe says changes pixels and is hashed, spec by spec, into the keys of what is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import kinds
from models.caption.kinds import CAPTIONERS
from models.caption.protocol import CaptionSpec
from models.control.kinds import CONTROLS
from models.control.protocol import ControlSpec
from models.image.kinds import GENERATORS
from models.image.protocol import ImageSpec
from models.kinds import BadSpec
from models.render.spec import RenderSpec
from models.verdict.spec import VerdictSpec, verdict_spec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All specs of a run, behind the cad stage (whose spec belongs to the CAD model)."""

    name: str
    """What people call it."""
    render: RenderSpec
    """Viewpoints, camera, light and quality."""
    controls: Mapping[str, ControlSpec]
    """What the generator must obey: kind -> spec, in order of kind. The paper: an edge map."""
    caption: CaptionSpec
    """How prompts are written."""
    image: ImageSpec
    """The generator and its settings."""
    verdict: VerdictSpec
    """What is measured of the images, and the rules that decide."""

    def __post_init__(self) -> None:
        if not self.controls:
            raise BadSpec(f"recipe {self.name} has no control; give it one, such as [controls.canny]")
        if list(self.controls) != sorted(self.controls):
            object.__setattr__(self, "controls", dict(sorted(self.controls.items())))
        self.image.check({kind: spec.channels for kind, spec in self.controls.items()})
        if self.image.of_controls_size and self.image.resolution != self.render.resolution:
            raise BadSpec(
                f"recipe {self.name}: renders of {self.render.resolution} pixels, images of {self.image.resolution}, but its "
                "generator paints on controls of its own size: say one resolution in [render] and in [image] (the embedded "
                "generator learned 128)"
            )

    def pinned(self) -> Recipe:
        """Return the recipe with all revisions filled in, of generator, captioner and judges: a folder has a digest."""
        return dataclasses.replace(self, image=self.image.pinned(), caption=self.caption.pinned(), verdict=self.verdict.pinned())


def read(said: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `said` (JSON types, a table a spec) spells out in full. Raises BadSpec."""
    where = f"recipe {said.get('name')}"
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name, table in said.items():
        if name not in known:
            raise BadSpec(f'{where} has no field "{name}"{kinds.meant(name, known)}; it has: {", ".join(known)}')
        if name != "name":
            kinds.as_table(table, f"{where}.{name}")
    if missing := [name for name in known if name not in said]:
        raise BadSpec(f"{where} is not whole: it lacks {', '.join(missing)}")
    if not isinstance(said["name"], str):
        raise BadSpec(f"{where}: its name is a text, not {said['name']!r}")
    return Recipe(
        name=said["name"],
        render=kinds.read(RenderSpec, said["render"], f"{where}.render"),
        controls={kind: _control(kind, spec, f"{where}.controls.{kind}") for kind, spec in said["controls"].items()},
        caption=CAPTIONERS.read(said["caption"], f"{where}.caption"),
        image=GENERATORS.read(said["image"], f"{where}.image"),
        verdict=verdict_spec(said["verdict"], f"{where}.verdict"),
    )


def _control(kind: str, said: Any, where: str) -> ControlSpec:
    """Return a control's spec; a recipe has at most one of each kind, so that its table is named after it."""
    spec = CONTROLS.read({"kind": kind, **kinds.as_table(said, where)}, where)
    if spec.kind != kind:
        raise BadSpec(f"{where} is of kind {kind!r} by its name, not {spec.kind!r}; say [controls.{spec.kind}] instead")
    return spec
