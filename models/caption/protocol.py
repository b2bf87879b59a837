"""What a captioner is: a request goes in, a prompt with its origin comes out. Section 3.2 of the paper.

Enters: a CaptionRequest: what is known of a sample before it is rendered. Leaves: a Caption. Each kind of captioner is a module
with a spec and a class; models.caption.kinds lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

from models.kinds import KindSpec
from models.sample import SampleId

Taken = MutableMapping[str, str]
"""Prompt in lower case -> the sample that has it."""


@dataclass(frozen=True, kw_only=True)
class CaptionSpec(KindSpec):
    """How prompts are written; each kind adds its own fields."""

    version: ClassVar[int]
    """Raised whenever the same spec and request give another caption."""
    uses_device: ClassVar[bool] = False
    """Whether it runs a network on the machine's one device, so that only one may work at a time."""
    counts_tokens: ClassVar[bool] = False
    """Whether its captions depend on how the generator's own tokenizer cuts them, and so on which generator it is."""

    def pinned(self) -> Self:
        """Return the spec with everything filled in that determines a caption: a model's commit, a file's digest."""
        return self

    def lacking(self, means: Means) -> str | None:
        """Return, in one line, what is missing to write captions here now and what to do; None where nothing is."""
        return None


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a captioner may work with. Nothing in it changes what is asked for, so no key holds it."""

    device: str = "cpu"
    """torch device of a language model: auto, cpu, cuda, ..."""
    threads: int = 0
    """torch threads; 0 leaves them."""
    batch: int = 8
    """Captions written together by a model of our own."""
    url: str = ""
    """Address of an OpenAI-compatible server; empty: the client's own default."""
    key: str = field(default="", repr=False)
    """What the server asks for; empty: nothing."""
    connections: int = 8
    """Requests to the server at the same time."""
    prices: tuple[float, float] = (0.0, 0.0)
    """What a million tokens asked and answered cost, in whatever money."""
    answered: MutableMapping[str, dict[str, Any]] = field(default_factory=dict)
    """Digest of a request to the server -> its answer: what was paid for once is not paid for again."""


class CaptionRefused(ValueError):
    """No caption could be made of a request: an expected misfortune, `reason` goes into the sample's row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """Short snake-case name, e.g. `caption_too_long`."""
        self.detail = detail
        """One line for people."""


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """All that a captioner may know of a sample: nothing of its render or controls, so that neither is needed."""

    sample: SampleId
    """Whose caption this is; all randomness comes from it."""
    class_name: str
    """The class as people write it, e.g. `coffee mug`."""
    keywords: tuple[str, ...] = ()
    """The CAD model's keywords, as its owner typed them."""
    azimuth_deg: float
    """The view's azimuth in [0, 360): 0 looks at the front, 90 at the object's own left."""
    elevation_deg: float
    """The view's elevation in [-90, 90]."""
    written: str | None = None
    """The imported caption that was chosen for this sample; None where there is none."""
    most_tokens: int | None = None
    """The longest prompt that the generator takes, in CLIP's tokens without start and end; None: it sets no limit."""
    count: Callable[[str], int] | None = None
    """Tokens that the generator's own tokenizer makes of a text, without start and end; None where it was not asked for."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt and where it comes from."""

    prompt: str
    """What the picture shall show."""
    negative_prompt: str
    """What it shall not show; may be empty."""
    words: dict[str, Any]
    """What the prompt says, field by field: class_name, keywords, colour, material, scene, light, viewpoint; None = unsaid."""
    captioner: str
    """The captioner's name, e.g. `grammar`."""
    revision: str
    """Which grammar, which model or which captions."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What writing it took, in JSON types: tokens, cost, answers refused with their reasons. Empty where nothing is to say."""


class Captioner(Protocol):
    """A kind of captioner at work; it is called with its spec and Means."""

    def captions(self, requests: Sequence[CaptionRequest], taken: Taken) -> Iterator[Caption | CaptionRefused]:
        """Yield the caption of each request, in order, or why there is none.

        taken: the captions of the class so far. A captioner that looks at it writes no caption of another sample again, and adds
        its own.
        """


class OneByOne:
    """Base of captioners whose captions know nothing of each other: equal requests get equal captions."""

    def caption(self, request: CaptionRequest) -> Caption:
        """Return the caption of one sample. Raises CaptionRefused."""
        raise NotImplementedError

    def captions(self, requests: Sequence[CaptionRequest], taken: Taken) -> Iterator[Caption | CaptionRefused]:
        """Yield the caption of each request, in order, or why there is none."""
        for request in requests:
            try:
                yield self.caption(request)
            except CaptionRefused as refusal:
                yield refusal
