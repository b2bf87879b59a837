"""`dst status`: how far every class is, what runs, what is scheduled, and what to type next.

Enters: catalog, store and, where there is one that answers at once, the Prefect server. Leaves: tables on a terminal. Starts
nothing, imports nothing heavy.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flows import estimate, recipes
from flows.commands.terminal import print_rows
from flows.pending import ClassStatus, class_status
from flows.prefect_env import server
from flows.table import table
from storage.catalog.liveness import death
from storage.settings import Settings
from tasks.plan.place import Place

PATIENCE_S = 1.0
"""How long a Prefect server may take to say what is scheduled."""
SHOWN = 12
"""Runs listed."""

Row = dict[str, Any]


def status(settings: Settings) -> None:
    """Print classes by stage, failures, runs that go on, and runs that Prefect has scheduled. Raises CatalogMissing."""
    place = Place.of(settings)
    catalog = place.catalog
    statuses = class_status(place, every_recipe=True)
    print_rows(table(statuses), "classes")
    _print_failures(statuses)
    runs = catalog.runs(limit=200)
    going = [row for row in runs if row["status"] == "running"]
    if going:
        print_rows([_going(place, row, statuses) for row in going], "running")
    waiting, silence = scheduled(settings)
    if waiting:
        print_rows(waiting, "scheduled and running in Prefect")
    elif silence:
        print(silence)
    print_rows([_ended(row) for row in runs if row["status"] != "running"][:8], "last runs")
    refused = len(catalog.quarantined())
    if refused:
        print(f"{refused} file{'s' * (refused != 1)} refused; see: dst cad list --rejected")


def scheduled(settings: Settings) -> tuple[list[Row], str]:
    """Return the flow runs that Prefect has scheduled or has running, or none and why they are not known.

    Not known is no error: without a server there is nothing to say, and one that does not answer in a second is not waited for.
    """
    api = server(settings)
    if not api:
        return [], ""
    body = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": SHOWN,
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
        {
            "name": row["name"],
            "state": row.get("state_name") or row.get("state_type"),
            "when": _local(row.get("start_time") or row.get("expected_start_time")),
            "flow run": row["id"],
        }
        for row in found
    ], ""


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


def _going(place: Place, run: Row, statuses: Sequence[ClassStatus]) -> Row:
    status = next((s for s in statuses if s.run_id == run["run_id"]), None)
    dead = death(run)
    to_go = seconds_to_go(place, status, run["started_at"]) if status and not dead else None
    done = f"{status.stage('image').done} of {status.samples} images" if status else ""
    return {
        **_asked(run),
        "since": _local(run["started_at"]),
        "heartbeat": dead or f"{_age(run['heartbeat_at']):.0f} s ago",
        "done": done,
        "to go": f"about {estimate.duration(to_go)}" if to_go is not None else "",
    }


def _asked(run: Row) -> Row:
    """Return what a run was asked for."""
    return {
        "run": run["run_id"][:8],
        "kind": run["kind"],
        "class": run["class_name"],
        "recipe": run["recipe"],
        "samples": run["samples"],
    }


def _ended(run: Row) -> Row:
    return {
        **_asked(run),
        "status": run["status"],
        "reason": run["reason"],
        "finished": _local(run["finished_at"]),
    }


def _print_failures(statuses: Sequence[ClassStatus]) -> None:
    rows = [
        {
            "class": status.class_name,
            "recipe": status.recipe,
            "failed at": stage,
            "reason": reason,
            "samples": count,
            # Tried again is what the class's last run was to make.
            "to try them again": f'dst retry "{status.class_name}" --stage {stage} --reason {reason}' if status.last else "",
        }
        for status in statuses
        for (stage, reason), count in status.failures.items()
    ]
    if rows:
        print_rows(rows, "failed samples")


def _age(moment: str | None) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() if moment else float("nan")


def _local(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}" if moment else ""
