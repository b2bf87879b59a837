"""The catalog task: rows for what was made, and the checks a run must pass.

Enters: a cohort whose stages are done. Leaves: rows in the catalog (an index of the records, which can be rebuilt), the cohort's
members, and a run that is complete only when its expectations hold.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from storage.artifacts import Artifact, ArtifactStore
from storage.stages import OF_A_SAMPLE
from tasks import progress
from tasks.faults import artifact_name, for_show, time_can_heal
from tasks.plan.cohort import Cohort, failure
from tasks.plan.pages import docs_path
from tasks.plan.place import Place

log = logging.getLogger("dst")


@task(
    name="catalog",
    task_run_name="catalog {cohort.class_name}",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=time_can_heal,
    cache_policy=NO_CACHE,
)
def catalog(place: Place, cohort: Cohort, run_id: str, *after: Any) -> dict[str, int]:
    """Write the rows of everything the cohort consists of, and make it the class's present cohort. Returns counts."""
    store, rows = place.store, place.catalog
    started = time.monotonic()
    judged = cohort.judged(cohort.made(store))
    with progress.stage("catalog", cohort.class_name, 1) as bar:
        rows.index(records(cohort, store, judged))
        verdict = store.find("verdict", judged["verdict", ""])
        members = list(_members(cohort, store, None if verdict is None else verdict.key))
        if missing := len(cohort.samples) - len(members):
            raise RuntimeError(f"{missing} samples have neither an image nor a reason; start the run again")
        rows.set_cohort(cohort.class_name, cohort.recipe.name, run_id, members)
        bar.advance()
    _show_in_prefect(cohort, members, _decisions(store, verdict))
    log.info("catalog %s  %d rows  %.1f s", cohort.class_name, len(members), time.monotonic() - started)
    made = sum(member["status"] == "made" for member in members)
    said = verdict.record.values if verdict is not None else {"kept": 0, "dropped": 0, "not_judged": made}
    decided = {name: int(said[name]) for name in ("kept", "dropped", "not_judged")}
    return {"asked": len(members), "made": made, "failed": len(members) - made, **decided}


@task(name="check", task_run_name="check {cohort.class_name}", cache_policy=NO_CACHE)
def check(place: Place, cohort: Cohort, run_id: str, *after: Any) -> dict[str, Any]:
    """Let Great Expectations decide whether the run is complete or invalid; returns its findings."""
    from storage.expectations import check_run

    with progress.stage("check", cohort.class_name, 1) as bar:
        found = check_run(place.catalog_url, run_id, place.store, docs=docs_path(place.home, run_id))
        bar.advance()
    for name in found.failed:
        log.warning("check   %s  %s", cohort.class_name, name)
    return {"success": found.success, "failed": [str(name) for name in found.failed], "docs": str(found.docs_path or "")}


def records(cohort: Cohort, store: ArtifactStore, judged: Mapping[tuple[str, str], str] | None = None) -> Iterator[Artifact]:
    """Yield what there is of a cohort's artifacts, and of those over all of its images together where `judged` names them."""
    wanted = [(stage, key) for stage in OF_A_SAMPLE for key in sorted(cohort.keys(stage))]
    for stage, key in [*wanted, *((stage, key) for (stage, _), key in (judged or {}).items())]:
        artifact = store.find(stage, key)
        if artifact is not None:
            yield artifact


def note_finished(place: Place, cohort: Cohort, run_id: str | None) -> dict[str, int]:
    """Write the rows of what there is of a cohort that was not finished, and note the samples that are; return counts.

    run_id: whose samples they are; None for a run that lists none. The class's present cohort stays what it is.
    """
    store, rows = place.store, place.catalog
    judged = cohort.judged(cohort.made(store))
    rows.index(records(cohort, store, judged))
    verdict = store.find("verdict", judged["verdict", ""])
    members = list(_members(cohort, store, None if verdict is None else verdict.key))
    if run_id is not None:
        rows.add_to_run(cohort.class_name, cohort.recipe.name, run_id, members)
    made = sum(member["status"] == "made" for member in members)
    return {"asked": len(cohort.samples), "made": made, "failed": len(members) - made}


def _members(cohort: Cohort, store: ArtifactStore, verdict_key: str | None) -> Iterator[dict[str, Any]]:
    """Yield the members of a cohort that have an image, or failed."""
    for planned in cohort.samples:
        failed = failure(store, planned)
        image = store.find("image", planned.key("image"))
        made = image is not None and image.record.outcome == "made"
        if not made and failed is None:
            continue
        yield {
            "sample_id": str(planned.sample),
            "cad_id": planned.sample.cad_id,
            "view_index": planned.sample.view_index,
            "draw_index": planned.sample.draw_index,
            **{f"{stage}_key": planned.key(stage) for stage in OF_A_SAMPLE if stage != "image"},
            "controls": dict(planned.keys["control"]),
            "image_key": planned.key("image") if made else None,
            "verdict_key": verdict_key if made else None,
            "status": "made" if made else "failed",
            "stage": failed[0] if failed else None,
            "reason": failed[1].record.reason if failed else None,
            "detail": failed[1].record.detail if failed else None,
        }


def _decisions(store: ArtifactStore, verdict: Artifact | None) -> list[dict[str, Any]]:
    return [] if verdict is None else list(json.loads(store.read(verdict, "verdicts.json")))


_SAID = {True: "kept", False: "dropped", None: "not judged"}


def _show_in_prefect(cohort: Cohort, members: Sequence[Mapping[str, Any]], decisions: Sequence[Mapping[str, Any]]) -> None:
    """Put the table of counts by stage and reason beside the run in the UI."""
    failed = Counter((str(m["stage"]), str(m["reason"])) for m in members if m["status"] != "made")
    table: list[dict[str, Any]] = []
    left = len(members)
    for stage in OF_A_SAMPLE:
        reasons = [(reason, count) for (at, reason), count in failed.most_common() if at == stage]
        left -= sum(count for _, count in reasons)
        table += [{"stage": stage, "outcome": "made", "reason": "", "samples": left}]
        table += [{"stage": stage, "outcome": "failed", "reason": reason, "samples": count} for reason, count in reasons]
    outcomes = Counter((_SAID[row["kept"]], row["reason"] or "") for row in decisions)
    for (outcome, reason), count in sorted(outcomes.items(), key=lambda item: (item[0][0] != "kept", -item[1])):
        table.append({"stage": "verdict", "outcome": outcome, "reason": reason, "samples": count})
    with for_show(f"the counts of {cohort.class_name}"):
        create_table_artifact(
            table,
            key=artifact_name(cohort.class_name, "counts"),
            description=f"{cohort.class_name}, recipe {cohort.recipe.name}: samples by stage and reason",
        )
