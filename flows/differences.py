"""What changed between two runs of a class: recipe, samples, captions, scores, verdicts, costs.

Enters: the names of two runs, or of a class for its last two. Leaves: Differences. Asks the catalog alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.catalog.catalog import Catalog
from storage.stages import STAGES
from tasks.plan.failures import GENERATE

Row = dict[str, Any]

_DECIDED = {1: "kept", 0: "dropped", None: "not judged"}


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What a run says otherwise than one before it."""

    runs: tuple[Row, Row]
    """The two runs' rows, the earlier one first."""
    recipe: tuple[Row, ...]
    """field, from, to: what of the recipes is not the same; a field that one does not have is None there."""
    samples: tuple[Row, ...]
    """change (added, gone, same, other image, made, failed), samples, example."""
    captions: tuple[Row, ...]
    """sample, from, to: of samples that both runs listed, those whose prompts are not the same."""
    scores: tuple[Row, ...]
    """score, changed (samples that both runs gave another value), mean_from, mean_to: over all that have one."""
    verdicts: tuple[Row, ...]
    """from, to (kept, dropped, not judged, with the reason), samples, example: of samples with another decision."""
    costs: tuple[Row, ...]
    """stage, and made, seconds and waited of either run; None where it did nothing there."""


def two_runs(catalog: Catalog, names: tuple[str, ...]) -> tuple[Row, Row]:
    """Return the rows of the runs that are meant: two ids, one id (and the run before it), or a class (and its last two runs).

    An id may be cut short. Raises ValueError for what is no run, several, or of two classes.
    """
    if len(names) == 2:
        first, second = (_named(catalog, name) for name in names)
        if first["class_name"] != second["class_name"]:
            said = " and ".join(f"{row['run_id'][:8]} is of {row['class_name']}" for row in (first, second))
            raise ValueError(f"runs of one class are compared, and {said}")
        return first, second
    (name,) = names
    if name in catalog.classes():
        last = _of_class(catalog, name)[:2]
        if len(last) < 2:
            raise ValueError(f'"{name}" has {len(last) or "no"} run{"s" * (not last)}; two are compared')
        return last[1], last[0]
    run = _named(catalog, name)
    of_class = _of_class(catalog, run["class_name"])
    before = of_class[[row["run_id"] for row in of_class].index(run["run_id"]) + 1 :]
    if not before:
        raise ValueError(f"run {run['run_id'][:8]} is the first of {run['class_name']}; say with which to compare it")
    return before[0], run


def between(catalog: Catalog, first: Row, second: Row) -> Differences:
    """Return what the second run says otherwise than the first."""
    rows = catalog.run_changes(first["run_id"], second["run_id"])
    both = [row for row in rows if row["change"] not in ("added", "gone")]
    captions = [
        {"sample": row["sample_id"], "from": row["prompt_from"], "to": row["prompt_to"]}
        for row in both
        if row["prompt_from"] != row["prompt_to"]
    ]
    decided = [(row["sample_id"], {"from": _decision(row, "from"), "to": _decision(row, "to")}) for row in both]
    return Differences(
        runs=(first, second),
        recipe=tuple(_recipe(first["recipe_specs"], second["recipe_specs"])),
        samples=tuple(_counted((row["sample_id"], {"change": row["change"]}) for row in rows)),
        captions=tuple(captions),
        scores=tuple(_scores(rows)),
        verdicts=tuple(_counted((sample, verdict) for sample, verdict in decided if verdict["from"] != verdict["to"])),
        costs=tuple(_costs(first, second)),
    )


def _named(catalog: Catalog, name: str) -> Row:
    found = [row for row in catalog.runs() if row["run_id"].startswith(name)]
    if len(found) > 1:
        raise ValueError(
            f'several runs begin with "{name}": {", ".join(row["run_id"][:12] for row in found[:4])}; say more of it'
        )
    if not found:
        raise ValueError(f'"{name}" is no run and no class; see: dst status')
    return found[0]


def _of_class(catalog: Catalog, class_name: str) -> list[Row]:
    """Return the runs of a class that were to make its cohort and have ended, the newest first."""
    return [row for row in catalog.runs(class_name, kind=GENERATE) if row["status"] != "running"]


def _recipe(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Row]:
    old, new = dict(_fields("", before)), dict(_fields("", after))
    for field in sorted({*old, *new}):
        if old.get(field) != new.get(field):
            yield {"field": field, "from": old.get(field), "to": new.get(field)}


def _fields(where: str, spec: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of everything in a recipe."""
    if isinstance(spec, Mapping):
        for name, value in spec.items():
            yield from _fields(f"{where}.{name}".lstrip("."), value)
    else:
        yield where, spec


def _counted(found: Iterable[tuple[str, Row]]) -> Iterator[Row]:
    """Yield what samples have in common, with how many they are and the first of them, the most common first."""
    counts: Counter[tuple[tuple[str, Any], ...]] = Counter()
    examples: dict[tuple[tuple[str, Any], ...], str] = {}
    for sample, what in found:
        said = tuple(what.items())
        counts[said] += 1
        examples.setdefault(said, sample)
    for said, count in counts.most_common():
        yield {**dict(said), "samples": count, "example": examples[said]}


def _decision(row: Row, side: str) -> str:
    if row[f"image_{side}"] is None:
        return f"failed at {row[f'failed_at_{side}']}: {row[f'reason_{side}']}"
    reason = row[f"drop_reason_{side}"]
    return _DECIDED[row[f"kept_{side}"]] + (f": {reason}" if reason else "")


def _scores(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield each score that either run has, with its means and how many samples it changed for."""
    names = [column.removesuffix("_from") for column in rows[0] if column.endswith("_from")] if rows else []
    for name in names[names.index("drop_reason") + 1 :] if names else ():
        pairs = [(row[f"{name}_from"], row[f"{name}_to"]) for row in rows]
        before, after = ([pair[side] for pair in pairs if pair[side] is not None] for side in (0, 1))
        if before or after:
            changed = sum(None not in pair and pair[0] != pair[1] for pair in pairs)
            yield {"score": name, "changed": changed, "mean_from": _mean(before), "mean_to": _mean(after)}


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _costs(first: Row, second: Row) -> Iterator[Row]:
    for stage in STAGES:
        row: Row = {"stage": stage}
        for name, of in (("made", "counts"), ("seconds", "seconds"), ("waited", "waited")):
            key = f"new_{stage}" if name == "made" else stage
            row |= {f"{name}_{side}": (run[of] or {}).get(key) for side, run in (("from", first), ("to", second))}
        if any(value for name, value in row.items() if name != "stage"):
            yield row
