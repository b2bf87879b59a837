"""`dst diff`: what changed between two runs.

Enters: two runs, one (and the run before it), or a class (and its last two). Leaves: tables on a terminal, or JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any, Literal

from flows.commands.terminal import print_rows
from flows.differences import Differences, between, two_runs
from storage.catalog.catalog import Catalog
from storage.settings import Settings

SHOWN = 5
"""Captions that a terminal shows; --format json has all."""


def diff(settings: Settings, names: Sequence[str], format: Literal["text", "json"]) -> None:
    """Print what changed between two runs. Raises ValueError in one line, and CatalogMissing."""
    catalog = Catalog(settings.catalog, settings.store)
    found = between(catalog, *two_runs(catalog, tuple(names)))
    if format == "json":
        json.dump(_plain(found), sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        _print(found)


def _plain(found: Differences) -> dict[str, Any]:
    rows = dataclasses.asdict(found)
    return rows | {"runs": [{**_said(run), "flow_run_url": run["flow_run_url"]} for run in found.runs]}


def _said(run: dict[str, Any]) -> dict[str, Any]:
    names = ("run_id", "class_name", "recipe", "samples", "status", "reason", "started_at", "finished_at")
    return {name: run[name] for name in names}


def _print(found: Differences) -> None:
    first, second = found.runs
    rows = [{"": side, **_said(run), "run_id": run["run_id"][:8]} for side, run in (("from", first), ("to", second))]
    for row in rows:
        row |= {name: str(row[name] or "")[:19] for name in ("started_at", "finished_at")}
    print_rows(rows, "runs")
    print_rows(found.recipe, "recipe")
    print_rows(found.samples, "samples")
    print_rows(found.captions[:SHOWN], f"captions: {len(found.captions)} are others")
    print_rows(found.scores, "scores")
    print_rows(found.verdicts, "verdicts")
    print_rows(found.costs, "costs")
    same = all(row["change"] == "same" for row in found.samples)
    if same and not (found.recipe or found.captions or found.verdicts or any(row["changed"] for row in found.scores)):
        print("the same recipe, samples, captions, scores and verdicts")
