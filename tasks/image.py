"""The image task: pictures that obey their controls and show what their captions say.

Enters: a shard of samples with render, controls and caption. Leaves: one PNG a sample, which carries what identifies it (3D-DST
section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.control.protocol import ControlSpec
from models.image.protocol import ImageRequest
from storage.artifacts import ArtifactStore
from storage.images import from_png, to_png
from tasks import progress, stopping, waiting, worker
from tasks.ahead import ahead
from tasks.caching import shard_task
from tasks.control import drawn
from tasks.passport import passport
from tasks.plan.cohort import Planned, Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill

if TYPE_CHECKING:
    from models.image.protocol import GeneratedImage


@shard_task("image", first_delay_s=5)
def image(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Make the images of a shard."""
    store = place.store

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        with worker.generator(recipe.image, place) as generator:

            def paint(heed: Callable[[], None]) -> Iterator[tuple[Sequence[Missing], list[GeneratedImage], dict[str, Any]]]:
                for start in range(0, len(todo), generator.batch):
                    clock, batch = waiting.Stopwatch(), todo[start : start + generator.batch]

                    def tell(done: float, asked: int, batch_index: int = start) -> None:
                        heed()
                        stopping.heed()
                        progress.underway(asked, done / asked, batch_index)

                    pictures = generator.generate([_request(store, missing.planned, recipe.controls) for missing in batch], tell)
                    # What was made together took each the same.
                    worked, _ = clock.lap()
                    yield batch, pictures, generator.runtime | {"seconds": round(worked / len(batch), 3)}

            with ahead(paint) as painted:
                for batch, pictures, runtime in painted:
                    for missing, picture in zip(batch, pictures, strict=True):
                        yield _finished(missing, store, picture, runtime | ({"batch": picture.batch} if picture.batch else {}))

    return fill("image", shard, recipe, place, make)


def _request(store: ArtifactStore, planned: Planned, specs: Mapping[str, ControlSpec]) -> ImageRequest:
    rendered = store.get("render", planned.key("render"))
    said = _caption(store, planned)
    return ImageRequest(
        sample=planned.sample,
        prompt=said["prompt"],
        negative_prompt=said["negative_prompt"],
        words=said.get("words") or {},
        controls={kind: drawn(store, key, specs[kind]) for kind, key in planned.keys["control"].items()},
        annotation=rendered.record.values,
        mask=lambda: from_png(store.read(rendered, "mask.png")),
        cad=lambda: store.read(store.get("cad", planned.key("cad")), "model.glb"),
    )


def _caption(store: ArtifactStore, planned: Planned) -> dict[str, Any]:
    return store.get("caption", planned.key("caption")).record.values


def _finished(missing: Missing, store: ArtifactStore, picture: GeneratedImage, runtime: dict[str, Any]) -> Finished:
    made: dict[str, Any] = {
        "seed": picture.seed,
        "attempt": picture.attempt,
        "model_id": missing.recipe.image.model_id,
        "model_revision": missing.recipe.image.model_revision,
    }
    if picture.rgb is None:
        sample = missing.planned.sample
        detail = f"{sample}: {picture.reason} in {picture.attempt + 1} attempts, last seed {picture.seed}"
        return missing.record(outcome="failed", reason=picture.reason, detail=detail, values=made, runtime=runtime), {}
    seen = {"mean": round(float(picture.rgb.mean()), 4), "std": round(float(picture.rgb.std()), 4)}
    return (
        missing.record(values=made | seen, runtime=runtime),
        {"image.png": to_png(picture.rgb, _passport(missing, store, picture))},
    )


def _passport(missing: Missing, store: ArtifactStore, picture: GeneratedImage) -> dict[str, str]:
    recipe, planned = missing.recipe, missing.planned
    return passport(
        "image",
        missing.key,
        sample=str(planned.sample),
        identity=planned.sample,
        annotation=store.get("render", planned.key("render")).record.values,
        caption=_caption(store, planned),
        keys={stage: keys.get("", keys) for stage, keys in planned.keys.items()},
        specs={
            "render": planned.render_spec(recipe),
            "control": recipe.controls,
            "caption": recipe.caption,
            "image": recipe.image,
        },
        seed=picture.seed,
        attempt=picture.attempt,
    )
