"""The caption task: one prompt a sample.

Enters: class, keywords and pose of each sample; no pixels (3D-DST section 3.2). Leaves: the prompt, its words, and who wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any

from models.caption.protocol import Caption, CaptionRefused, CaptionRequest
from storage.keys import plain
from tasks import stopping, worker
from tasks.caching import shard_task
from tasks.plan.cohort import Planned, Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill


@shard_task("caption")
def caption(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Write the prompts of a shard."""
    from models.render.viewpoint import sample_view

    def request(planned: Planned) -> CaptionRequest:
        view = sample_view(planned.render_spec(recipe).viewpoint, planned.sample.view)
        return CaptionRequest(
            sample=planned.sample,
            class_name=planned.sample.class_name,
            keywords=planned.keywords,
            azimuth_deg=view.azimuth_deg,
            elevation_deg=view.elevation_deg,
            written=planned.written,
            most_tokens=recipe.image.most_tokens,
            count=recipe.image.count if recipe.caption.counts_tokens else None,
        )

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        taken = worker.captions_of(place, shard.class_name) if recipe.caption.counts_tokens else {}
        with worker.captioner(recipe.caption, place) as captioner:
            written = captioner.captions([request(missing.planned) for missing in todo], taken)
            for missing, caption in zip(todo, written, strict=True):
                stopping.heed()
                yield _finished(missing, caption)

    return fill("caption", shard, recipe, place, make)


def _finished(missing: Missing, caption: Caption | CaptionRefused) -> Finished:
    if isinstance(caption, CaptionRefused):
        return missing.failed(caption.reason, caption.detail, type(caption).__name__)
    written = plain(caption)
    values = {**written, "captioner_revision": written.pop("revision")}
    if not caption.facts:
        del values["facts"]
    text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
    return missing.record(values=values), {"caption.json": text.encode()}
