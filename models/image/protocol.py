"""What a generator is: a sample's prompt, controls or render go in, an image comes out.

Enters: ImageRequests. Leaves: GeneratedImages, each a function of its own request alone. Each kind of generator is a module with
a spec and a class; models.image.kinds lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.kinds import KindSpec
from models.sample import SampleId

Progress = Callable[[float, int], None]
"""Called with (images done, images asked for), also between two steps of a batch, whose images count by the share of their steps
that is done; what it raises ends the work."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec(KindSpec):
    """A generator and how it is used; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and request give other pixels."""
    uses_device: ClassVar[bool] = False
    """Whether it runs networks on the machine's one device, so that only one may work at a time."""
    most_tokens: ClassVar[int | None] = None
    """The longest prompt its text encoder takes, in CLIP's tokens without start and end; None: it reads no prompt."""

    of_controls_size: ClassVar[bool] = False
    """Whether its images are as large as the controls, and so as the renders."""

    resolution: int
    """Width and height of the image, pixels."""

    @property
    def model_id(self) -> str:
        """What made an image, as its row says it."""
        return self.kind

    @property
    def model_revision(self) -> str:
        """Which revision of it."""
        return str(self.version)

    @property
    def weights(self) -> str:
        """Names what must be loaded: a generator can be `resampled` to every other spec of the same weights."""
        return f"{self.model_id}@{self.model_revision}"

    def pinned(self) -> Self:
        """Return the spec with every revision filled in: the form that is hashed, recorded and obeyed."""
        return self

    def lacking(self) -> str | None:
        """Return, in one line, what is missing on this machine to paint with it and what to do; None where nothing is."""
        return None

    def count(self, prompt: str) -> int:
        """Return how many tokens its text encoder makes of a prompt, without start and end; words where it reads none."""
        return len(prompt.split())

    def check(self, controls: Mapping[str, int]) -> None:
        """Raise ValueError, in one line, when the generator cannot obey controls of these kinds (kind -> channels) together."""


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One image to make. A kind of generator takes what it needs; what is a function is read from the store only when called."""

    sample: SampleId
    """Whose image it is; the seed follows from it."""
    prompt: str = ""
    """What to show."""
    negative_prompt: str = ""
    """What not to show."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """What the prompt says, field by field (see Caption.words)."""
    controls: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Kind of control -> (H, W) or (H, W, C) of the spec's resolution."""
    annotation: Mapping[str, Any] = field(default_factory=dict)
    """What the render's record says: pose, K, width, ..."""
    mask: Callable[[], NDArray[np.uint8]] | None = None
    """Returns the render's mask (H, W), not 0 on the object."""
    cad: Callable[[], bytes] | None = None
    """Returns the canonical GLB of the CAD model."""


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One image, or why there is none."""

    sample: SampleId
    rgb: NDArray[np.uint8] | None
    """(H, W, 3), or None with a reason."""
    seed: int
    """Seed of the last attempt."""
    attempt: int
    """0, or 1 after an unusable first image."""
    batch: int = 0
    """Images that it was painted together with, itself among them: fewer than asked for where memory was short. 0: by itself."""
    reason: str | None = None
    """Short snake-case name, such as those that `unusable` gives."""


class Generator(Protocol):
    """A kind of generator at work; it is called with its spec, device, threads and batch."""

    @property
    def spec(self) -> ImageSpec:
        """What it obeys, pinned."""

    @property
    def batch(self) -> int:
        """How many requests it is best given at once."""

    @property
    def runtime(self) -> dict[str, Any]:
        """What equal bytes depend on besides the spec: machine, device, versions, ..."""

    def generate(self, requests: Sequence[ImageRequest], progress: Progress | None = None) -> list[GeneratedImage]:
        """Return one GeneratedImage for each request, in order."""

    def resampled(self, spec: Any) -> Generator:
        """Return a generator that obeys another spec of the same weights, without loading them again.

        Raises ValueError when the spec names other weights.
        """


def unusable(picture: NDArray[np.float32]) -> str | None:
    """Return why a picture (H, W, 3) in 0..1 is unusable, or None: not finite, black, or the same colour all over."""
    if not np.isfinite(picture).all():
        return "nan_image"
    if picture.max() < 4.0 / 255.0:
        return "black_image"
    if float(np.ptp(picture, axis=(0, 1)).max()) < 2.0 / 255.0:
        return "constant_image"
    return None
