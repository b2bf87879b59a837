"""The cad task: every CAD model of a shard as a canonical GLB.

Enters: a shard of samples of registered CAD models. Leaves: their canonical GLBs in the store (3D-DST section 3.1). They were
made when the models were registered; one that is missing or damaged is made again from its source.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from models.cad.bad import BadModel
from models.cad.spec import STAGE, VERSION
from storage.artifacts import Record
from storage.keys import plain
from tasks.caching import shard_task
from tasks.intake import model
from tasks.plan.cohort import Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe
from tasks.shard import Finished, Missing, StageReport, fill


@shard_task("cad")
def cad(place: Place, shard: Shard, recipe: Recipe, *after: Any) -> StageReport:
    """See to it that every CAD model of the shard has its canonical GLB."""

    def make(todo: Sequence[Missing]) -> Generator[Finished]:
        rows = {row["cad_id"]: row for row in place.catalog.cad_models(shard.class_name, status=None)}
        for missing in todo:
            cad_id = missing.planned.sample.cad_id
            spec = model.spec_of(rows[cad_id])
            record = Record(
                key=missing.key,
                stage=STAGE,
                version=VERSION,
                spec=plain(spec.spelled()),
                inputs={"cad_id": cad_id},
                outcome="failed",
            )
            if model.cad_key(cad_id, spec) != missing.key:
                detail = f"what an earlier version made of it has gone; read it again: dst cad add {rows[cad_id]['source']}"
                yield replace(record, reason="other_version", detail=detail), {}
                continue
            try:
                source = model.source_of(rows[cad_id])
            except ValueError as error:
                yield replace(record, reason="missing_file", detail=str(error), values={"error": type(error).__name__}), {}
                continue
            record, files = model.make(place, source, cad_id, spec)
            yield (record if files else replace(record, values={"error": BadModel.__name__})), files

    return fill("cad", shard, recipe, place, make)
