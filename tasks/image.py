"""The image task: pictures painted under the control of edges and prompts, or renders finished without a generator.

Enters: a shard of samples with render, edge map and caption. Leaves: one PNG a sample, which carries what identifies it (3D-DST
section 3.3).
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, singledispatch
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, Any

from models.image import spec as image_spec
from models.world.spec import FinishedSpec
from storage.artifacts import ArtifactStore, Record
from storage.images import from_png, to_png
from storage.keys import plain
from storage.settings import Settings
from tasks import slots
from tasks.caching import shard_task
from tasks.cohort import Planned, Shard
from tasks.passport import passport
from tasks.recipe import Recipe
from tasks.shard import Finished, ShardReport, fill

if TYPE_CHECKING:
    from models.image.pipeline import ControlNetGenerator, GeneratedImage

_lock = threading.Lock()


@lru_cache(maxsize=1)
def _generator(spec: image_spec.ImageSpec, device: str, threads: int, batch: int) -> ControlNetGenerator:
    """Load a generator once a process; loading Stable Diffusion takes longer than a shard of edges."""
    from models.image.pipeline import ControlNetGenerator

    return ControlNetGenerator(spec, device=device, threads=threads, batch=batch)


@shard_task("image", first_delay_s=5)
def image(shard: Shard, recipe: Recipe, *after: Any) -> ShardReport:
    """Make the images of a shard: painted by a generator, or finished renders, as the kind of the recipe's image spec says."""
    settings = Settings()
    store = settings.store

    def make(missing: Sequence[Planned]) -> Iterable[Finished]:
        for planned, picture, runtime in pictures(recipe.image, missing, settings):
            yield _finished(recipe, planned, store, picture, runtime)

    return fill("image", shard, store, make)


Pictures = Iterator[tuple[Planned, "GeneratedImage", dict[str, Any]]]
"""Samples, what was made for each, and what made it (recorded, never hashed)."""


@singledispatch
def pictures(spec: Any, missing: Sequence[Planned], settings: Settings) -> Pictures:
    """Yield the pictures of samples whose edges, captions and renders are in the store."""
    raise TypeError(f"no images come from a {type(spec).__name__}")


@pictures.register(image_spec.ImageSpec)
def _(spec: image_spec.ImageSpec, missing: Sequence[Planned], settings: Settings) -> Pictures:
    """Paint them under the control of edges and prompts."""
    from models.image.pipeline import ImageRequest, pick_device

    store = settings.store
    # One model on one device: shards take turns, so that memory and byte-for-byte identity do not depend on how many run.
    with _lock, slots.slot(slots.device(pick_device(settings.device)), of=1):
        generator = _generator(spec, settings.device, settings.torch_threads, settings.batch)
        for start in range(0, len(missing), settings.batch):
            began = time.monotonic()
            batch = missing[start : start + settings.batch]
            requests = [
                ImageRequest(
                    sample=planned.sample,
                    prompt=_caption(store, planned)["prompt"],
                    negative_prompt=_caption(store, planned)["negative_prompt"],
                    control=from_png(store.read(store.get("edge", planned.edge_key), "edge.png")),
                )
                for planned in batch
            ]
            painted = generator.generate(requests)
            seconds = (time.monotonic() - began) / len(batch)
            for planned, picture in zip(batch, painted):
                yield planned, picture, generator.runtime | {"seconds": round(seconds, 3)}


@pictures.register(FinishedSpec)
def _(spec: FinishedSpec, missing: Sequence[Planned], settings: Settings) -> Pictures:
    """Finish their renders in the training world's materials and surroundings: no diffusion."""
    from models.world import finished

    store = settings.store
    runtime = {"device": "cpu", "machine": platform.machine(), "threads": 1, "numpy": version("numpy")}
    for cad_key, group in groupby(missing, key=lambda planned: planned.cad_key):
        solid = finished.load(store.read(store.get("cad", cad_key), "model.glb"))
        for planned in group:
            began = time.monotonic()
            rendered = store.get("render", planned.render_key)
            picture = finished.image(
                solid,
                planned.sample,
                rendered.record.values,
                _caption(store, planned).get("words") or {},
                from_png(store.read(rendered, "mask.png")),
                spec,
            )
            yield planned, picture, runtime | {"seconds": round(time.monotonic() - began, 3)}


def _caption(store: ArtifactStore, planned: Planned) -> dict[str, Any]:
    return store.get("caption", planned.caption_key).record.values


def _finished(
    recipe: Recipe, planned: Planned, store: ArtifactStore, picture: GeneratedImage, runtime: dict[str, Any]
) -> Finished:
    record = Record(
        key=planned.image_key,
        stage=image_spec.STAGE,
        version=image_spec.VERSION,
        spec=plain(recipe.image),
        inputs=planned.image_inputs(),
        values={
            "seed": picture.seed,
            "attempt": picture.attempt,
            "model_id": recipe.image.model,
            "model_revision": recipe.image.revision,
        },
        runtime=runtime,
    )
    if picture.rgb is None:
        detail = f"{planned.sample}: {picture.reason} in {picture.attempt + 1} attempts, last seed {picture.seed}"
        failed = {**vars(record), "outcome": "failed", "reason": picture.reason, "detail": detail}
        return Record(**failed), {}
    mean, spread = float(picture.rgb.mean()), float(picture.rgb.std())
    record.values.update(mean=round(mean, 4), std=round(spread, 4))
    return record, {"image.png": to_png(picture.rgb, _passport(recipe, planned, store, record))}


def _passport(recipe: Recipe, planned: Planned, store: ArtifactStore, record: Record) -> dict[str, str]:
    return passport(
        "image",
        planned.image_key,
        sample=str(planned.sample),
        identity=planned.sample,
        annotation=store.get("render", planned.render_key).record.values,
        caption=_caption(store, planned),
        keys={stage: planned.key(stage) for stage in ("cad", "render", "edge", "caption", "image")},
        specs={"render": planned.render_spec(recipe), "edge": recipe.edge, "caption": recipe.caption, "image": recipe.image},
        seed=record.values["seed"],
        attempt=record.values["attempt"],
    )
