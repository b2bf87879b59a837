"""The spec of the training world: light to import, hashed into the identity of each shard.

The training world stands in for photographs. The paper (section 3.2) starts from Stable Diffusion, which was trained on
photographs; the embedded generator is trained from nothing, on pictures of this world.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from models.kinds import Spec

STAGE = "world"
VERSION = 2

EVALUATION_SEED = 10_000
"""First parametric CAD seed that is reserved: never trained on. 10000.. evaluate, 20000.. are the demo's."""


@dataclass(frozen=True, kw_only=True)
class WorldCad(Spec):
    """A registered CAD model that joins the world."""

    class_name: str
    """Its class, as captions say it."""
    cad_id: str
    """sha256 of its source."""
    cad_key: str
    """Key of its canonical GLB."""
    keywords: tuple[str, ...] = ()
    """Words about it, for captions."""


@dataclass(frozen=True, kw_only=True)
class WorldSpec(Spec):
    """One training world: everything that changes its pixels, words and poses."""

    classes: tuple[str, ...] = ()
    """Parametric classes, dealt round robin; empty means all of models.cad.parametric.TRAINED_CLASSES."""
    cad_models: tuple[WorldCad, ...] = ()
    """Registered CAD models: each of their classes is dealt like a parametric one, beside it where it has the same name."""
    seed: int = 0
    """Another seed gives other CAD models, poses and appearances."""
    resolution: int = 128
    """Side of the pictures in pixels."""
    supersampling: int = 2
    """Rays along a side of each pixel of the appearance; edges, depth and mask always take one through the pixel's centre."""
    views_per_shard: int = 64
    """Views (CAD model and pose) of a shard."""
    appearances: int = 4
    """Pictures of each view: its geometry passes are made once and relit."""
    cad_seeds: int = 1000
    """CAD models a class: parametric seeds 0 .. cad_seeds - 1."""
    lens_mm: float = 35.0
    """Focal length."""
    sensor_mm: float = 32.0
    """Sensor width: with the lens the field of view, as in the official renders."""
    distance: float = 1.5
    """Mean distance of the camera in longest sides. With its spread below, the object's longest side as seen fills 60 to 85 % of
    the frame in two thirds of the views, and none is cropped, as in product photographs."""
    distance_sd: float = 0.1
    """Standard deviation of the distance before it is truncated; the official 0.5 shows many objects 40 pixels wide at 128."""
    distance_range: tuple[float, float] = (-0.1, 0.2)
    """Truncation of the distance, relative to its mean."""
    distractor_share: float = 0.15
    """Share of the views with other objects in the background."""
    low_share: float = 0.25
    """Share of the views whose elevation is drawn around the horizon as widely as the paper's strategy 1, from below included."""
    full_share: float = 0.0
    """Share of the shards whose pictures are full scenes rendered by Blender; the others are shaded from rays. A shard is of one
    kind: evenly spread over the indices, so that any prefix has its share."""
    full_samples: int = 16
    """Paths for each pixel of a full scene, before it is denoised."""
    full_distractor_share: float = 0.4
    """As distractor_share, of full scenes."""

    def __post_init__(self) -> None:
        if self.resolution < 16 or self.supersampling < 1:
            raise ValueError("a world needs a resolution of at least 16 pixels and a supersampling of at least 1")
        if not 1 <= self.cad_seeds <= EVALUATION_SEED:
            raise ValueError(f"cad_seeds is {self.cad_seeds}: take 1 to {EVALUATION_SEED}, those after are kept for evaluation")
        if self.views_per_shard < 1 or self.appearances < 1:
            raise ValueError("a shard needs at least one view and one appearance of it")
        for name in ("distractor_share", "low_share", "full_share", "full_distractor_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: a share lies within [0, 1]")
        if not 1 <= self.full_samples <= 4096:
            raise ValueError(f"full_samples is {self.full_samples}: it must be 1 to 4096")

    @property
    def pictures_per_shard(self) -> int:
        """Pictures of one shard."""
        return self.views_per_shard * self.appearances

    def full(self, index: int) -> bool:
        """Return whether the shard of this index holds full scenes."""
        # Rounded, so that 0.1 times 10 is one shard in every arithmetic.
        return math.floor(round((index + 1) * self.full_share, 9)) > math.floor(round(index * self.full_share, 9))

    def identity(self, index: int) -> dict[str, Any]:
        """Return all that the bytes of one shard follow from, as JSON types.

        Fields that change only shards of the other kind are left out, and so is `cad_models` while it is empty: shards that were
        made before the field existed are still found.
        """
        kind = "full" if self.full(index) else "traced"
        fields = {name: value for name, value in dataclasses.asdict(self).items() if not name.startswith("full_")}
        if not self.cad_models:
            del fields["cad_models"]
        if kind == "full":
            fields |= {"full_samples": self.full_samples, "full_distractor_share": self.full_distractor_share}
        plain: dict[str, Any] = json.loads(json.dumps(fields))
        return {"stage": STAGE, "version": VERSION, "kind": kind, "index": index, "spec": plain}
