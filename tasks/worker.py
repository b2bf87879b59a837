"""What a process that runs tasks keeps for all: its warm renderer, its loaded generator and captioner, who listens to progress.

One owner for each thing that is made once a process, so that a thread, a Dask worker and a Ray worker behave alike. What must be
known in every process, such as how often a CAD model has killed a renderer, is in the store.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.caption.protocol import Captioner, CaptionSpec
    from models.image.protocol import Generator, ImageSpec
    from models.render.pool import RenderPool
    from tasks.plan.place import Place

listeners: list[Callable[[Any], None]] = []
"""Who is told whenever a stage has moved, see tasks.progress."""
_starting = threading.Lock()
_painting = threading.Lock()
_renderers: dict[tuple[int, float], RenderPool] = {}
"""By how many they are and how long a CAD model may take: a place with other settings gets renderers of its own."""
_generator: tuple[Any, Generator] | None = None
_captioner: tuple[Any, Captioner] | None = None
_captions: dict[tuple[str, str], dict[str, str]] = {}


def renderer(place: Place) -> RenderPool:
    """Return this process's warm renderer for a place, started when first asked for and closed when the process ends."""
    from models.render.pool import RenderPool

    asked = (max(1, place.renderers // place.sharing), place.mesh_timeout_s)
    with _starting:
        if asked not in _renderers:
            _renderers[asked] = RenderPool(*asked).__enter__()
            atexit.register(_renderers[asked].__exit__, None, None, None)
        return _renderers[asked]


@contextmanager
def generator(spec: ImageSpec, place: Place) -> Iterator[Generator]:
    """Hold the device while the body runs and yield the generator of a spec, loaded once a process.

    One model on one device: shards take turns, so that memory and byte-for-byte identity do not depend on how many run.
    """
    from models.image.kinds import GENERATORS

    global _generator
    with turn(spec, place):
        runtime: dict[str, Any] = {"device": place.device, "threads": place.threads, "batch": place.batch}
        loaded = (spec.weights, runtime)
        if _generator is None or _generator[0] != loaded:
            # The old one's memory first: two of Stable Diffusion do not fit beside each other.
            _generator = None
            _generator = (loaded, GENERATORS.load(spec, **runtime))
        yield _generator[1].resampled(spec)


@contextmanager
def captioner(spec: CaptionSpec, place: Place) -> Iterator[Captioner]:
    """Yield the captioner of a spec, loaded once a process, and hold the device while the body runs if it takes one."""
    from models.caption.kinds import CAPTIONERS

    global _captioner
    with turn(spec, place):
        held, loaded = _captioner, (spec, place.home, place.device, place.threads, place.llm_url)
        if held is None or held[0] != loaded:
            # The old one's memory first.
            _captioner = None
            held = _captioner = (loaded, CAPTIONERS.load(spec, means=place.means))
        yield held[1]


def captions_of(place: Place, class_name: str) -> dict[str, str]:
    """Return this process's captions of a class: prompt in lower case -> sample, begun with those of the catalog.

    Shards of a class that are written at the same time share it, so that none repeats another's.
    """
    asked = (place.store.where, class_name)
    with _starting:
        if asked not in _captions:
            _captions[asked] = {prompt.casefold(): sample for prompt, sample in place.catalog.prompts(class_name)}
        return _captions[asked]


@contextmanager
def turn(spec: ImageSpec | CaptionSpec, place: Place) -> Iterator[None]:
    """Wait for the device that a spec's generator works on and hold it while the body runs; nothing is held for one without."""
    if not spec.uses_device:
        yield
        return
    from models.device import pick_device
    from tasks import slots

    name = slots.device(pick_device(place.device))
    with slots.turn(_painting, name), slots.slot(name, of=1):
        yield
