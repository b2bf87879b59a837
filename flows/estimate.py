"""What work will cost: seconds and bytes, from what this machine's own past runs took.

Enters: a recipe and how many artifacts of each stage are missing. Leaves: seconds and bytes, or which stages nothing is known of.
A past run counts for the stages whose spec was the same; its wall time is shared out over its stages by their seconds of work, so
that Prefect and the report are part of what a sample costs. What it waited for others is not: another day nobody is in the way.
Runs before schema 0005 did not tell the two apart, and tell nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.catalog.catalog import Catalog
from storage.catalog.index import spec_key
from storage.keys import plain
from storage.stages import OF_A_SAMPLE
from tasks import stages
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe

_TELLING = ("complete", "invalid", "stopped", "failed")
"""Runs whose end is known: of one that was killed, only when that was found out."""
RUNS = 20
"""The newest runs with the same settings tell; older ones met another machine."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one artifact of each stage cost on this machine."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> wall seconds for one; a stage nothing is known of is not there."""
    bytes: Mapping[str, float] = field(default_factory=dict)
    """Stage -> bytes of one, likewise."""
    runs: int = 0
    """Past runs that told."""

    def seconds_for(self, missing: Mapping[str, int]) -> tuple[float, list[str]]:
        """Return the seconds for so many artifacts, and the stages of which nothing is known."""
        return _total(self.seconds, missing)

    def bytes_for(self, missing: Mapping[str, int]) -> tuple[float, list[str]]:
        """Return the bytes of so many artifacts, and the stages of which nothing is known."""
        return _total(self.bytes, {stage: count for stage, count in missing.items() if stage in OF_A_SAMPLE})


def costs(place: Place, recipe: Recipe) -> Costs:
    """Return what this machine's past runs say about a recipe, stage by stage.

    What is made of all images together is counted a sample, a readout as one; the CAD models are there already.
    """
    catalog = place.catalog
    if not catalog.exists:
        return Costs()
    tables = {stage.name: stage.obeys for stage in (*stages.OF_A_SAMPLE, *stages.OF_A_COHORT) if stage.obeys}
    wanted = {table: plain(getattr(recipe, table)) for table in tables.values()}
    over_images = {stage.name for stage in stages.OF_A_COHORT if stage.of_images}
    spent: dict[str, list[tuple[float, int]]] = {stage: [] for stage in tables}
    told = set()
    for run in catalog.runs():
        if run["host"] != platform.node() or run["status"] not in _TELLING or not run["seconds"] or run["waited"] is None:
            continue
        total = sum(run["seconds"].values())
        # Several shards can wait at once, and one while another works: all in all it took no less than it worked or was there.
        there = wall_s(run)
        wall = max(there - sum(run["waited"].values()), min(there, total))
        for stage, table in tables.items():
            counts = run["counts"] or {}
            made = counts.get(f"new_{stage}", 0)
            # A run that was broken off says what it made, and not of how many samples.
            count = counts.get("made", 0) if made and stage in over_images else made
            if count and total and run["recipe_specs"].get(table) == wanted[table] and len(spent[stage]) < RUNS:
                spent[stage].append((wall * run["seconds"].get(stage, 0.0) / total, count))
                told.add(run["run_id"])
    seconds = {stage: sum(s for s, _ in runs) / sum(n for _, n in runs) for stage, runs in spent.items() if runs}
    sizes = {stage.name: _size(catalog, stage, recipe) for stage in stages.OF_A_SAMPLE if stage.name in seconds}
    return Costs(seconds=seconds, bytes={stage: size for stage, size in sizes.items() if size is not None}, runs=len(told))


def in_words(costs: Costs, missing: Mapping[str, int]) -> str:
    """Return time and disk for a person, and where the figures come from."""
    if not any(missing.values()):
        return "nothing to make"
    seconds, unknown = costs.seconds_for(missing)
    size, _ = costs.bytes_for(missing)
    if len(unknown) == len([stage for stage, count in missing.items() if count and stage != "cad"]):
        return "no estimate: this machine has no past run with these settings; dst run --preview makes one of 8 samples"
    words = f"about {duration(seconds)} and {disk(size)}, from {costs.runs} past run{'s' * (costs.runs != 1)} of this machine"
    return words + (f"; nothing is known here of: {', '.join(unknown)}" if unknown else "")


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def disk(size: float) -> str:
    """Return a number of bytes as people say it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"


def _total(each: Mapping[str, float], missing: Mapping[str, int]) -> tuple[float, list[str]]:
    wanted = {stage: count for stage, count in missing.items() if count and stage != "cad"}
    return sum(each.get(stage, 0.0) * count for stage, count in wanted.items()), [s for s in wanted if s not in each]


def _size(catalog: Catalog, stage: stages.Stage, recipe: Recipe) -> float | None:
    """Return the mean bytes of an artifact that was made under the recipe's spec, or specs, of a stage."""
    table = getattr(recipe, stage.obeys)
    specs = table.values() if isinstance(table, Mapping) else [table]
    sizes = [catalog.mean_bytes(stage.name, spec_key(stage.name, stage.version(spec), plain(spec))) for spec in specs]
    known = [size for size in sizes if size is not None]
    return sum(known) / len(known) if known else None


def wall_s(run: Mapping[str, Any]) -> float:
    """Return the seconds from a run's beginning to its end; 0 where the clock went back meanwhile."""
    spent = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    return max(0.0, spent.total_seconds())
