"""Finished renders of any CAD model: the training world's materials, grounds and skies around it, without diffusion.

Enters: a RayModel, a sample, its render's annotation and the words of its caption. Leaves: an RGB image on which that annotation
is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.render.viewpoint import Pose
from models.sample import SampleId
from models.world import geometry, shading
from models.world.picture import cast, centre_passes
from models.world.scene import Look, sample_look, sample_words
from models.world.spec import WorldSpec


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One finished render."""

    rgb: NDArray[np.uint8]
    """(H, W, 3) sRGB."""
    look: Look
    """Its appearance, words included."""
    mask: NDArray[np.uint8]
    """(H, W) 255 where the pixel's centre shows the object, else 0."""


def finish(
    model: geometry.RayModel, sample: SampleId, annotation: Mapping[str, Any], words: Mapping[str, Any], world: WorldSpec
) -> Finished:
    """Return the finished render of `sample`, seen as its render's `annotation` says, with the appearance its `words` ask for.

    `words` may hold colour, material, scene and light as keys of the shared vocabulary; what is missing or None is drawn from the
    sample's identity. A textured CAD model of which the words say neither colour nor material keeps its own; where they do, it is
    dyed: light and dark of its textures stay, so that painted windows and seams do. `world` gives resolution, supersampling and
    the share of views with distractors; the lens is the render's own.
    """
    pose = Pose(**{name: float(annotation[name]) for name in ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")})
    focal = float(annotation["K"][0][0]) / float(annotation["width"])
    world = dataclasses.replace(world, lens_mm=focal, sensor_mm=1.0)
    passes = cast(world, model, sample.view, pose)
    look = sample_look(np.random.default_rng(seed(sample)), pose.azimuth_deg, complete(sample, words))
    if model.paint is not None and not (words.get("colour") or words.get("material")):
        passes = dataclasses.replace(passes, body=np.zeros_like(passes.body))
    mask = centre_passes(passes, world.resolution).mask
    return Finished(rgb=shading.picture(passes, look, world.resolution), look=look, mask=mask)


def seed(sample: SampleId) -> int:
    """Return the seed of a sample's appearance, for its record."""
    return sample.seed("look")


def complete(sample: SampleId, words: Mapping[str, Any]) -> dict[str, str]:
    """Return colour, material, scene and light: the given ones, and for missing ones the sample's own that go with them."""
    rng = sample.rng("look-words")
    drawn = sample_words(rng)
    given = {name: str(words[name]) for name in drawn if words.get(name)}
    whole = drawn | given
    if whole["light"] not in vocabulary.lights_of(whole["scene"]):
        if "light" in given and "scene" in given:
            raise ValueError(f"there is no light {whole['light']!r} in the scene {whole['scene']!r}")
        if "scene" in given:
            whole["light"] = str(rng.choice(vocabulary.lights_of(whole["scene"])))
        else:
            whole["scene"] = str(rng.choice([name for name in vocabulary.SCENES if whole["light"] in vocabulary.lights_of(name)]))
    if whole["material"] == "wooden":
        # Wood is brown whatever the colour word.
        whole["colour"] = "brown"
    return whole
