"""`dst status`: how far every class is, what runs, what is scheduled, and what to type next.

Enters: what flows.overview found, which is what the state page shows as well. Leaves: tables on a terminal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows import estimate
from flows.commands.terminal import print_rows
from flows.overview import overview
from flows.pending import class_status
from flows.table import table
from storage.report.state import ClassState, Ended, Going, Scheduled
from storage.settings import Settings
from tasks.plan.place import Place

Row = dict[str, Any]


def status(settings: Settings) -> None:
    """Print classes, their stages, failures, runs that go on, and runs that Prefect has scheduled. Raises CatalogMissing."""
    statuses = class_status(Place.of(settings), every_recipe=True)
    now = overview(settings, statuses)
    print_rows([_class(one) for one in now.classes], "classes")
    print_rows(table(statuses), "stages")
    print_rows(
        [
            {
                "class": one.class_name,
                "recipe": one.recipe,
                "failed at": failed.stage,
                "reason": failed.reason,
                "samples": failed.samples,
                "to try them again": failed.retry,
            }
            for one in now.classes
            for failed in one.failures
        ],
        "failed samples",
    )
    print_rows([_going(run) for run in now.going], "running")
    print_rows([_scheduled(run) for run in now.scheduled], "scheduled and running in Prefect")
    if now.silence:
        print(now.silence)
    print_rows([_ended(run) for run in now.ended], "last runs")
    if now.refused:
        print(f"{now.refused} file{'s' * (now.refused != 1)} refused; see: dst cad list --rejected")


def _class(one: ClassState) -> Row:
    return {
        "class": one.class_name,
        "recipe": one.recipe,
        "state": f"{one.standing}{': ' if one.why else ''}{'; '.join(one.why)}",
        "yield": "" if one.kept_share is None else f"{one.kept_share:.0%}",
        "last run": _last_run(one),
        "cost": _cost(one),
    }


def _last_run(one: ClassState) -> str:
    if one.run is None:
        return ""
    ended = f" {_local(one.run.finished_at)}" if one.run.finished_at else ""
    # What a run died of is among the reasons why its class is stale, if that is its status there.
    reason = f": {one.run.reason}" if one.run.reason and one.run.reason not in "; ".join(one.why) else ""
    return f"{one.run.status}{ended}{reason}"


def _cost(one: ClassState) -> str:
    if not one.cost_s:
        return ""
    each = f", {one.cost_each_s:.1f} s a kept image" if one.cost_each_s is not None else ""
    return f"{estimate.duration(one.cost_s)}{each}"


def _going(run: Going) -> Row:
    return {
        **_asked(run),
        "since": _local(run.since),
        "heartbeat": run.heartbeat,
        "done": f"{run.done} of {run.samples} images" if run.done is not None else "",
        "to go": f"about {estimate.duration(run.to_go_s)}" if run.to_go_s is not None else "",
    }


def _ended(run: Ended) -> Row:
    return {**_asked(run), "status": run.status, "reason": run.reason, "finished": _local(run.finished_at)}


def _asked(run: Going | Ended) -> Row:
    """Return what a run was asked for."""
    return {
        "run": run.run_id[:8],
        "kind": run.kind,
        "class": run.class_name,
        "recipe": run.recipe,
        "samples": run.samples,
    }


def _scheduled(run: Scheduled) -> Row:
    return {"name": run.name, "state": run.state, "when": _local(run.when), "flow run": run.flow_run}


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}" if moment else ""
