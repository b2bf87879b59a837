"""The cad task: every CAD model of a shard as a canonical GLB.

Enters: a shard of samples of registered CAD models. Leaves: their canonical GLBs in the store (3D-DST section 3.1). They were
made when the models were registered; one that is missing or damaged is made again from its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from models.cad.bad import BadModel
from models.cad.spec import STAGE, VERSION
from storage.artifacts import Record
from storage.catalog.catalog import Catalog
from storage.keys import plain
from storage.settings import Settings
from tasks import intake
from tasks.caching import shard_task
from tasks.cohort import Planned, Shard
from tasks.recipe import Recipe
from tasks.shard import Finished, ShardReport, caused_by, fill


@shard_task("cad")
def cad(shard: Shard, recipe: Recipe, *after: Any) -> ShardReport:
    """See to it that every CAD model of the shard has its canonical GLB."""
    settings = Settings()

    def make(missing: Sequence[Planned]) -> Iterator[Finished]:
        rows = {row["cad_id"]: row for row in Catalog(settings.catalog, settings.store).cad_models(shard.class_name, status=None)}
        for planned in missing:
            row = rows[planned.sample.cad_id]
            spec = intake.spec_of(row)
            try:
                source = intake.source_of(row)
            except ValueError as error:
                gone = Record(
                    key=planned.cad_key,
                    stage=STAGE,
                    version=VERSION,
                    spec=plain(spec.spelled()),
                    inputs={"cad_id": planned.sample.cad_id},
                    outcome="failed",
                    reason="missing_file",
                    detail=str(error),
                    values=caused_by(error),
                )
                yield gone, {}
                continue
            record, files = intake.make(settings, source, planned.sample.cad_id, spec)
            yield (record if files else replace(record, values={"error": BadModel.__name__})), files

    return fill("cad", shard, settings.store, make)
