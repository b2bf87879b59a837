"""The verdict task: which images kept the pose they were made for.

Enters: every image of a cohort with its pose. Leaves: one score and one decision a sample (3D-DST section 3.4, the K-fold
consistency filter), over the whole cohort, since what is usual can only be learned from all of it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from prefect import task

from models.verdict import spec as verdict_spec
from storage.artifacts import ArtifactStore, Record
from storage.images import from_png
from storage.keys import plain
from storage.settings import Settings
from tasks import progress
from tasks.caching import ByVerdictKey
from tasks.cohort import Cohort, Planned
from tasks.shard import Finished, ShardReport

log = logging.getLogger("dst")


@task(name="verdict", task_run_name="verdict {cohort.class_name}", cache_policy=ByVerdictKey(), persist_result=True)
def verdict(cohort: Cohort, *after: Any) -> ShardReport:
    """Judge every image of the cohort. What was judged before under the same key is kept."""
    store = Settings().store
    made = cohort.made(store)
    started = time.monotonic()
    if not made:
        return _report(cohort, started, failed={"no_images": 1})
    key = cohort.verdict_key(made)
    if store.has("verdict", key):
        return _report(cohort, started, kept=1)
    with progress.stage("verdict", cohort.class_name, 100) as bar:
        record, files = _judged(cohort, made, key, lambda done, total: bar.advance(100 * done // total - bar.done))
    store.put(record, files)
    decided = record.values
    log.info(
        "verdict %s  %d kept  %d dropped  %.1f s",
        cohort.class_name,
        decided["kept"],
        decided["dropped"],
        time.monotonic() - started,
    )
    return _report(cohort, started, made=1)


def _judged(cohort: Cohort, made: Sequence[Planned], key: str, tell: Callable[[int, int], None]) -> Finished:
    from models.verdict.kcf import score

    settings = Settings()
    store = settings.store
    spec = cohort.recipe.verdict
    began = time.monotonic()
    views = [store.get("render", planned.render_key).record.values for planned in made]
    # One picture at a time: those of a large cohort together would not fit into memory.
    seen = [_seen(store, planned, view["box"], spec) for planned, view in zip(made, views, strict=True)]
    verdicts = score(
        images=np.stack([cut for cut, _ in seen]),
        poses=np.array([[view["azimuth_deg"], view["elevation_deg"], view["inplane_deg"]] for view in views]),
        cad_ids=[planned.sample.cad_id for planned in made],
        spec=spec,
        progress=tell,
        symmetry=np.array([planned.symmetry for planned in made]),
        edge_scores=np.array([edges for _, edges in seen]),
    )
    rows = [
        {"sample_id": str(planned.sample), "image_key": planned.image_key, **row}
        for planned, row in zip(made, verdicts.rows(), strict=True)
    ]
    record = Record(
        key=key,
        stage=verdict_spec.STAGE,
        version=verdict_spec.VERSION,
        spec=plain(spec),
        inputs=cohort.verdict_inputs(made),
        values=verdicts.summary(),
        runtime={"threads": settings.torch_threads, "seconds": round(time.monotonic() - began, 2)},
    )
    return record, {"verdicts.json": json.dumps(rows, indent=1, sort_keys=True).encode()}


def _seen(store: ArtifactStore, planned: Planned, box: Sequence[float], spec: verdict_spec.VerdictSpec) -> tuple[Any, float]:
    """Return what the filter looks at of one image, and how well the image shows its edges."""
    from models.verdict.crop import crop
    from models.verdict.shape import edge_score

    image = _picture(store, "image", planned)
    return crop(image, box, spec.side, spec.margin), edge_score(image, _picture(store, "edge", planned))


def _picture(store: ArtifactStore, stage: str, planned: Planned) -> Any:
    return from_png(store.read(store.get(stage, planned.key(stage)), f"{stage}.png"))


def _report(cohort: Cohort, started: float, made: int = 0, kept: int = 0, failed: dict[str, int] | None = None) -> ShardReport:
    seconds = round(time.monotonic() - started, 3)
    return ShardReport(
        stage="verdict", shard=cohort.class_name, made=made, kept=kept, failed=failed or {}, blocked=0, seconds=seconds
    )
