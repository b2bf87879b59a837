"""The caption task: one prompt a sample.

Enters: class, keywords and pose of each sample; no pixels (3D-DST section 3.2). Leaves: the prompt, its words, and who wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from models.caption.kinds import CAPTIONERS
from models.caption.protocol import CaptionRefused, CaptionRequest
from storage.keys import plain
from tasks.caching import shard_task
from tasks.plan.cohort import Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill


@shard_task("caption")
def caption(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """Write the prompts of a shard."""
    from models.render.viewpoint import sample_view

    captioner = CAPTIONERS.load(recipe.caption)

    def make(todo: Sequence[Missing]) -> Iterable[Finished]:
        for missing in todo:
            planned = missing.planned
            view = sample_view(planned.render_spec(recipe).viewpoint, planned.sample.view)
            request = CaptionRequest(
                sample=planned.sample,
                class_name=planned.sample.class_name,
                keywords=planned.keywords,
                azimuth_deg=view.azimuth_deg,
                elevation_deg=view.elevation_deg,
                written=planned.written,
                most_tokens=recipe.image.most_tokens,
            )
            try:
                written = plain(captioner.caption(request))
            except CaptionRefused as refusal:
                yield missing.failed(refusal.reason, refusal.detail, type(refusal).__name__)
                continue
            values = {**written, "captioner_revision": written.pop("revision")}
            text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
            yield missing.record(values=values), {"caption.json": text.encode()}

    return fill("caption", shard, recipe, place, make)
