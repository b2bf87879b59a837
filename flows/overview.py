"""Everything at one glance: how far each class is and why it is stale, what runs, what is scheduled, what ended and how.

Enters: catalog, store and, where there is one that answers at once, the Prefect server. Leaves: the State that `dst status`
prints and the state page shows. Starts nothing, imports nothing heavy.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flows import estimate, recipes
from flows.pending import ClassStatus, class_status, stale
from flows.prefect_env import server
from storage.catalog import journal
from storage.catalog.catalog import Catalog
from storage.catalog.liveness import death, seconds_since
from storage.report.state import ClassState, Ended, Failed, Going, LastRun, Scheduled, StageCount, Standing, State
from storage.settings import Settings
from tasks.plan import pages
from tasks.plan.place import Place

PATIENCE_S = 1.0
"""How long a Prefect server may take to say what is scheduled."""
SHOWN = 12
"""Runs of Prefect's that are listed."""
ENDED = 8
"""Runs that ended that are listed."""
_ASKED = 100
"""Runs that Prefect is asked for: of a schedule it has made several ahead."""
_LOOKED_AT = 200
"""The newest runs, among which those that go on are looked for."""

Row = Mapping[str, Any]


def overview(settings: Settings, statuses: Sequence[ClassStatus] | None = None) -> State:
    """Return how everything is. statuses: those of all classes and recipes, where they are at hand. Raises CatalogMissing."""
    place = Place.of(settings)
    catalog = place.catalog
    if statuses is None:
        statuses = class_status(place, every_recipe=True)
    runs = catalog.runs(limit=_LOOKED_AT)
    going = [row for row in runs if row["status"] == "running"]
    by_run = {status.run_id: status for status in statuses if status.run_id is not None}
    now = catalog.now()
    to_go = {row["run_id"]: _to_go(place, by_run.get(row["run_id"]), row, now) for row in going}
    costs = _costs(catalog)
    waiting, silence = scheduled(settings)
    return State(
        at=journal.now(),
        classes=tuple(
            _class(place, status, costs.get((status.class_name, str(status.recipe)), 0.0), to_go.get(str(status.run_id)), now)
            for status in statuses
        ),
        going=tuple(_going(row, by_run.get(row["run_id"]), to_go[row["run_id"]], now) for row in going),
        scheduled=tuple(waiting),
        silence=silence,
        ended=tuple(_ended(row) for row in runs if row["status"] != "running")[:ENDED],
        refused=len(catalog.quarantined()),
    )


def scheduled(settings: Settings) -> tuple[list[Scheduled], str]:
    """Return the flow runs that Prefect has scheduled or has running, or none and why they are not known.

    Not known is no error: without a server there is nothing to say, and one that does not answer in a second is not waited for.
    """
    api = server(settings)
    if not api:
        return [], ""
    body = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": _ASKED,
    }
    request = urllib.request.Request(
        f"{api.rstrip('/')}/flow_runs/filter", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    if auth := settings.api_auth.get_secret_value():
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            found = json.load(answer)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        return [], f"the Prefect server at {api} does not say what is scheduled: {getattr(error, 'reason', error)}"
    return [
        Scheduled(
            name=row["name"],
            state=str(row.get("state_name") or row.get("state_type") or ""),
            when=row.get("start_time") or row.get("expected_start_time") or "",
            flow_run=row["id"],
        )
        for row in _next_of_each(found)[:SHOWN]
    ], ""


def _next_of_each(rows: Sequence[Row]) -> list[Row]:
    """Return flow runs, in order of time, without those that a schedule has made behind its next one."""
    known: set[str] = set()
    left = []
    for row in rows:
        ahead = bool(row.get("auto_scheduled")) and row.get("state_type") == "SCHEDULED"
        if not (ahead and row["deployment_id"] in known):
            left.append(row)
        if ahead:
            known.add(row["deployment_id"])
    return left


def seconds_to_go(place: Place, status: ClassStatus, started_at: str) -> float | None:
    """Return how long a run still takes, from its own pace and what a sample cost before; None before anything was done."""
    missing = {stage.stage: stage.pending for stage in status.stages}
    elapsed = (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds()
    costs = estimate.costs(place, recipes.recorded(status.recipe_specs))
    ahead, unknown = costs.seconds_for(missing)
    behind, _ = costs.seconds_for(status.fresh)
    made = sum(status.fresh.values())
    if unknown or not costs.seconds:
        return elapsed / made * sum(missing.values()) if made else None
    # Today may be slower or faster than before: this run's own pace tells, once it has made a little.
    pace = min(max(elapsed / behind, 0.2), 5.0) if behind and made > len(status.stages) else 1.0
    return ahead * pace


def _to_go(place: Place, status: ClassStatus | None, run: Row, now: str) -> float | None:
    return seconds_to_go(place, status, run["started_at"]) if status is not None and not death(run, now) else None


def _costs(catalog: Catalog) -> dict[tuple[str, str], float]:
    """Return (class, recipe) -> seconds of work that its runs took."""
    sql = "SELECT class_name, recipe, sum(seconds) AS seconds FROM costs GROUP BY class_name, recipe"
    return {(row["class_name"], row["recipe"]): float(row["seconds"] or 0.0) for row in catalog.rows(sql)}


def _class(place: Place, status: ClassStatus, cost_s: float, to_go_s: float | None, now: str) -> ClassState:
    failed, standing = sum(status.failures.values()), _standing(status, now)
    decided = status.kept + status.dropped
    return ClassState(
        class_name=status.class_name,
        recipe=status.recipe or "",
        last=status.last,
        standing=standing,
        why=tuple(stale(status)) if standing == "stale" else (),
        cad_models=status.cad_models,
        rejected=status.rejected,
        samples=status.samples,
        made=status.stage("image").done,
        kept=status.kept,
        dropped=status.dropped,
        not_judged=status.not_judged,
        failed=failed,
        pending=status.pending,
        kept_share=status.kept / (decided + failed) if decided else None,
        stages=tuple(StageCount(stage=s.stage, done=s.done, pending=s.pending, failed=s.failed) for s in status.stages),
        failures=tuple(_failed(status, stage, reason, count) for (stage, reason), count in status.failures.items()),
        run=_last_run(place, status.run, now) if status.run else None,
        to_go_s=to_go_s,
        cost_s=cost_s,
        cost_each_s=cost_s / status.kept if cost_s and status.kept else None,
    )


def _standing(status: ClassStatus, now: str) -> Standing:
    if status.recipe is None:
        return "never run"
    if status.run_status == "running" and not death(status.run, now):
        return "running"
    return "stale" if stale(status) or status.pending else "fresh"


def _failed(status: ClassStatus, stage: str, reason: str, count: int) -> Failed:
    # Tried again is what the class's last run was to make.
    retry = f'dst retry "{status.class_name}" --stage {stage} --reason {reason}' if status.last else ""
    return Failed(stage=stage, reason=reason, samples=count, retry=retry)


def _last_run(place: Place, run: Row, now: str) -> LastRun:
    dead = death(run, now) if run["status"] == "running" else None
    page = pages.report_path(place.home, run["run_id"])
    return LastRun(
        run_id=run["run_id"],
        status="crashed" if dead else run["status"],
        reason=dead or run["reason"] or "",
        started_at=run["started_at"],
        finished_at=run["finished_at"] or "",
        report=f"reports/{page.name}" if page.exists() else "",
        url=run["flow_run_url"] or "",
    )


def _going(run: Row, status: ClassStatus | None, to_go_s: float | None, now: str) -> Going:
    return Going(
        run_id=run["run_id"],
        kind=run["kind"],
        class_name=run["class_name"],
        recipe=run["recipe"],
        samples=run["samples"],
        since=run["started_at"],
        heartbeat=death(run, now) or f"{seconds_since(run['heartbeat_at'] or run['started_at'], now):.0f} s ago",
        done=status.stage("image").done if status else None,
        to_go_s=to_go_s,
    )


def _ended(run: Row) -> Ended:
    return Ended(
        run_id=run["run_id"],
        kind=run["kind"],
        class_name=run["class_name"],
        recipe=run["recipe"],
        samples=run["samples"],
        status=run["status"],
        reason=run["reason"] or "",
        finished_at=run["finished_at"] or "",
    )
