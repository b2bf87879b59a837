"""The caption task: one prompt a sample.

Enters: class, keywords and pose of each sample; no pixels (3D-DST section 3.2). Leaves: the prompt, its words, and who wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from models.caption import spec as caption_spec
from models.caption.imported import ImportedCaptionSpec, quote
from storage.artifacts import Record
from storage.keys import plain
from storage.settings import Settings
from tasks.caching import shard_task
from tasks.cohort import Planned, Shard
from tasks.recipe import Recipe
from tasks.shard import Finished, ShardReport, caused_by, fill


@shard_task("caption")
def caption(shard: Shard, recipe: Recipe, *after: Any) -> ShardReport:
    """Write the prompts of a shard."""
    from models.caption.grammar import GrammarCaptioner
    from models.caption.protocol import CaptionRefused, CaptionRequest
    from models.render.viewpoint import sample_view

    spec = recipe.caption
    grammar = None if isinstance(spec, ImportedCaptionSpec) else GrammarCaptioner(spec)

    def make(missing: Sequence[Planned]) -> Iterable[Finished]:
        for planned in missing:
            view = sample_view(planned.render_spec(recipe).viewpoint, planned.sample.view)
            common = {
                "key": planned.caption_key,
                "stage": caption_spec.STAGE,
                "version": caption_spec.VERSION,
                "spec": plain(recipe.caption),
                "inputs": planned.caption_inputs(recipe),
            }
            request = CaptionRequest(
                sample=planned.sample,
                class_name=planned.sample.class_name,
                keywords=planned.keywords,
                azimuth_deg=view.azimuth_deg,
                elevation_deg=view.elevation_deg,
            )
            try:
                if isinstance(spec, ImportedCaptionSpec):
                    written = quote(spec, planned.sample.class_name, planned.prompt)
                else:
                    assert grammar is not None
                    written = grammar.caption(request)
            except CaptionRefused as refusal:
                cause = caused_by(refusal)
                yield Record(**common, outcome="failed", reason=refusal.reason, detail=refusal.detail, values=cause), {}
                continue
            values = plain(written)
            values["captioner_revision"] = values.pop("revision")
            text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
            yield Record(**common, values=values), {"caption.json": text.encode()}

    return fill("caption", shard, Settings().store, make)
