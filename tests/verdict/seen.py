"""Evidence that lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.control.protocol import ControlSpec
from models.sample import SampleId


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One image as judges see it (models.verdict.protocol.Evidence)."""

    sample: SampleId
    picture: NDArray[np.uint8]
    annotation: Mapping[str, Any]
    symmetry: int = 1
    controls: Mapping[str, ControlSpec] = field(default_factory=dict)
    drawn: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    caption: str = ""
    keywords: tuple[str, ...] = ()
    rendered: Mapping[str, Any] = field(default_factory=dict)
    """mask, depth and normals, as far as the image has a render."""

    @property
    def class_name(self) -> str:
        return self.sample.class_name

    @classmethod
    def of(cls, picture: NDArray[np.uint8], pose: Sequence[float], cad_id: str = "ab" * 32, index: int = 0, **more: Any) -> Seen:
        """Return an image at a pose of azimuth, elevation and in-plane angle; `more`: what else its annotation says."""
        angles = dict(zip(("azimuth_deg", "elevation_deg", "inplane_deg"), map(float, pose), strict=True))
        sample = SampleId(class_name="car", cad_id=cad_id, view_index=index)
        return cls(sample=sample, picture=picture, annotation={**angles, **more})

    def image(self) -> NDArray[np.uint8]:
        """Return the image."""
        return self.picture

    def control(self, kind: str) -> NDArray[np.uint8]:
        """Return a control."""
        return self.drawn[kind]

    def mask(self) -> Any:
        """Return where the object is."""
        return self.rendered.get("mask")

    def depth(self) -> Any:
        """Return its depth."""
        return self.rendered.get("depth")

    def normals(self) -> Any:
        """Return its normals."""
        return self.rendered.get("normals")
