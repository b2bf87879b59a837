"""The generator `finished-render`: renders in the training world's materials and surroundings, without diffusion.

Enters: ImageRequests with the words of a caption, a render's annotation and mask, and a CAD model. Leaves: GeneratedImages on
which the annotation is exact. In the paper renders with backgrounds reach 87.50 where 3D-DST reaches 88.96 (ImageNet-100,
DeiT-S): the honest baseline.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from models.image.protocol import GeneratedImage, ImageRequest, ImageSpec, Progress, unusable
from models.world.spec import WorldSpec

if TYPE_CHECKING:
    from models.world.geometry import RayModel

STRAY = 0.02
"""Share of the object's pixels by which a finished render may differ from the render's mask: rounding at outlines."""


@dataclass(frozen=True, kw_only=True)
class FinishedRenderSpec(ImageSpec):
    """Finished renders: the paper's baseline of renders with backgrounds (recipe `render-world`)."""

    implementation: ClassVar[str] = "models.image.finished:FinishedRenders"
    version: ClassVar[int] = 2

    kind: Literal["finished-render"] = "finished-render"
    resolution: int = 512
    """Width and height of the image in pixels."""
    supersampling: int = 2
    """Rays along a side of each pixel."""
    distractor_share: float = 0.15
    """Share of the views with other objects in the background."""

    def __post_init__(self) -> None:
        self.world()

    def world(self) -> WorldSpec:
        """Return the world that the renders are finished in."""
        return WorldSpec(resolution=self.resolution, supersampling=self.supersampling, distractor_share=self.distractor_share)

    @property
    def model_id(self) -> str:
        return "render-world"


class FinishedRenders:
    """Finishes renders one after the other; the CAD model of the last one stays loaded."""

    batch = 1

    def __init__(self, spec: FinishedRenderSpec, device: str = "cpu", threads: int = 1, batch: int = 1) -> None:
        """Device, threads and batch are what any generator is called with; this one makes image after image in one thread."""
        self.spec = spec
        self._loaded: tuple[str, RayModel] | None = None

    @property
    def runtime(self) -> dict[str, Any]:
        """What equal bytes depend on besides the spec."""
        return {"device": "cpu", "machine": platform.machine(), "threads": 1, "numpy": np.__version__}

    def generate(self, requests: Sequence[ImageRequest], progress: Progress | None = None) -> list[GeneratedImage]:
        """Return the finished render of each request, in order. Raises ValueError when one lacks its mask or its CAD model.

        An image's reason is `outline_differs` where it shows the object in other pixels than the render's mask (holes cut by a
        texture, for one): the annotation would not be true of it.
        """
        made: dict[int, GeneratedImage] = {}
        # CAD model by CAD model, so that each is loaded once.
        for index in sorted(range(len(requests)), key=lambda i: requests[i].sample.cad_id):
            made[index] = self._finish(requests[index])
            if progress:
                progress(len(made), len(requests))
        return [made[index] for index in range(len(requests))]

    def resampled(self, spec: FinishedRenderSpec) -> FinishedRenders:
        """Return what obeys another spec; there are no weights."""
        return FinishedRenders(spec)

    def _finish(self, request: ImageRequest) -> GeneratedImage:
        from models.world.finished import finish, seed

        if request.mask is None or request.cad is None:
            raise ValueError(f"{request.sample}: a finished render takes its render's mask and its CAD model")
        sample, mask = request.sample, request.mask()
        made = finish(self._model(request.cad()), sample, request.annotation, request.words, self.spec.world())
        reason = unusable(made.rgb.astype(np.float32) / 255.0)
        if mask.shape == made.mask.shape:
            stray = int(((made.mask > 0) != (mask > 0)).sum())
            reason = reason or ("outline_differs" if stray > 3 + STRAY * int((mask > 0).sum()) else None)
        return GeneratedImage(sample=sample, rgb=None if reason else made.rgb, seed=seed(sample), attempt=0, reason=reason)

    def _model(self, glb: bytes) -> RayModel:
        """Return a canonical GLB's RayModel: the loaded one only where the bytes are the same, for it may be aligned anew."""
        from models.world.glb import load

        digest = hashlib.sha256(glb).hexdigest()
        if self._loaded is None or self._loaded[0] != digest:
            self._loaded = (digest, load(glb))
        return self._loaded[1]
