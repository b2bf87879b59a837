"""The catalog task: rows for what was made, and the checks a run must pass.

Enters: a cohort whose stages are done. Leaves: rows in the catalog (an index of the records, which can be rebuilt), the cohort's
members, and a run that is complete only when its expectations hold.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from storage.artifacts import Artifact, ArtifactStore
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks import progress
from tasks.cohort import STAGES, Cohort, failure
from tasks.faults import for_show, time_can_heal
from tasks.page import artifact_name

log = logging.getLogger("dst")


@task(
    name="catalog",
    task_run_name="catalog {cohort.class_name}",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=time_can_heal,
    cache_policy=NO_CACHE,
)
def catalog(cohort: Cohort, run_id: str, *after: Any) -> dict[str, int]:
    """Write the rows of everything the cohort consists of, and make it the class's present cohort. Returns counts."""
    settings = Settings()
    store = settings.store
    rows = Catalog(settings.catalog, settings.store)
    started = time.monotonic()
    verdict_key = cohort.verdict_key(cohort.made(store))
    with progress.stage("catalog", cohort.class_name, 1) as bar:
        rows.index(_records(cohort, store, verdict_key))
        members = list(_members(cohort, store, verdict_key if store.has("verdict", verdict_key) else None))
        rows.set_cohort(cohort.class_name, cohort.recipe.name, run_id, members)
        bar.advance()
    counts = _counts(cohort, store, verdict_key, members)
    _show_in_prefect(cohort, members, store.find("verdict", verdict_key))
    log.info("catalog %s  %d rows  %.1f s", cohort.class_name, len(members), time.monotonic() - started)
    return counts


@task(name="check", task_run_name="check {cohort.class_name}", cache_policy=NO_CACHE)
def check(cohort: Cohort, run_id: str, counts: dict[str, int]) -> dict[str, Any]:
    """Let Great Expectations decide whether the run is complete or invalid; returns its findings."""
    from storage.expectations import check_run

    settings = Settings()
    with progress.stage("check", cohort.class_name, 1) as bar:
        found = check_run(settings.catalog, run_id, settings.store)
        bar.advance()
    for name in found.failed:
        log.warning("check   %s  %s", cohort.class_name, name)
    return {"success": found.success, "failed": [str(name) for name in found.failed], "docs": str(found.docs_path or "")}


def _records(cohort: Cohort, store: ArtifactStore, verdict_key: str) -> Iterator[Artifact]:
    wanted = [(stage, key) for stage in STAGES for key in sorted({planned.key(stage) for planned in cohort.samples})]
    for stage, key in [*wanted, ("verdict", verdict_key)]:
        artifact = store.find(stage, key)
        if artifact is not None:
            yield artifact


def _members(cohort: Cohort, store: ArtifactStore, verdict_key: str | None) -> Iterator[dict[str, Any]]:
    for planned in cohort.samples:
        failed = failure(store, planned)
        image = store.find("image", planned.image_key)
        made = image is not None and image.record.outcome == "made"
        if not made and failed is None:
            raise RuntimeError(f"{planned.sample} has neither an image nor a reason; start the run again")
        yield {
            "sample_id": str(planned.sample),
            "cad_id": planned.sample.cad_id,
            "view_index": planned.sample.view_index,
            "draw_index": planned.sample.draw_index,
            **{f"{stage}_key": planned.key(stage) for stage in STAGES if stage != "image"},
            "image_key": planned.image_key if made else None,
            "verdict_key": verdict_key if made else None,
            "status": "made" if made else "failed",
            "stage": failed[0] if failed else None,
            "reason": failed[1].record.reason if failed else None,
            "detail": failed[1].record.detail if failed else None,
        }


def _counts(cohort: Cohort, store: ArtifactStore, verdict_key: str, members: list[dict[str, Any]]) -> dict[str, int]:
    made = sum(member["status"] == "made" for member in members)
    verdicts = store.find("verdict", verdict_key)
    kept = int(verdicts.record.values["kept"]) if verdicts is not None else 0
    return {"asked": len(members), "made": made, "failed": len(members) - made, "kept": kept, "dropped": made - kept}


def _show_in_prefect(cohort: Cohort, members: list[dict[str, Any]], verdicts: Artifact | None) -> None:
    """Put the table of counts by stage and reason beside the run in the UI."""
    failed = Counter((str(m["stage"]), str(m["reason"])) for m in members if m["status"] != "made")
    table: list[dict[str, Any]] = []
    left = len(members)
    for stage in STAGES:
        reasons = [(reason, count) for (at, reason), count in failed.most_common() if at == stage]
        left -= sum(count for _, count in reasons)
        table += [{"stage": stage, "outcome": "made", "reason": "", "samples": left}]
        table += [{"stage": stage, "outcome": "failed", "reason": reason, "samples": count} for reason, count in reasons]
    if verdicts is not None:
        judged = Counter(str(row["reason"] or "") for row in json.loads(verdicts.path("verdicts.json").read_text()))
        for reason, count in sorted(judged.items(), key=lambda item: (item[0] != "", -item[1])):
            table.append({"stage": "verdict", "outcome": "dropped" if reason else "kept", "reason": reason, "samples": count})
    with for_show(f"the counts of {cohort.class_name}"):
        create_table_artifact(
            table,
            key=artifact_name(cohort.class_name, "counts"),
            description=f"{cohort.class_name}, recipe {cohort.recipe.name}: samples by stage and reason",
        )
