"""The table of the benchmark: what each judge was worth and what it cost.

Enters: the sets and what each row's judge said of them. Leaves: figures in JSON types; the goals and whether they are reached.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.evaluation.filters import score
from models.evaluation.filters.judging import SUM, YARDSTICK, Judged, Row, summed
from models.evaluation.filters.panel import truth
from models.evaluation.filters.sets import FilterSet
from models.evaluation.filters.spec import FiltersSpec

FRONT_AND_BACK = ("label_turned", "front_for_back", "opposite_prompt", "systematic_half")
"""Kinds in which front and back are exchanged."""
BEST = "ensemble"
"""The row that goals are held against the yardstick for."""
PAPER_SECONDS = 1.0
"""An image's way forward and back through ResNet-50 at 256 x 256 pixels on two cores, measured once; a third of it is forward."""


def images_of(made: Sequence[FilterSet], own: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the truth, a row for each image of each set in their order. own: an image's name -> what the panel says."""
    return [
        {
            "set": one.name,
            "class": one.class_name,
            "part": one.part,
            "image": f"{index:04d}.png",
            "name": shown.name,
            "viewpoint": shown.case.kind,
            "failure": truth(shown, own),
        }
        for one in made
        for index, shown in enumerate(one.shown)
    ]


def figures(
    spec: FiltersSpec,
    made: Sequence[FilterSet],
    rows: Sequence[Row],
    judged: Mapping[str, Sequence[Judged]],
    own: Mapping[str, str],
    draws: int = 200,
) -> dict[str, Any]:
    """Return all figures. judged: row -> what its judge said of each set, in order. own: what the panel says."""
    images = images_of(made, own)
    suspect = {row.name: [row.suspect(one.scores) for one in judged[row.name]] for row in rows}
    if {"kcf", "fidelity"} <= set(suspect):
        pairs = zip(suspect["kcf"], suspect["fidelity"], strict=True)
        suspect[SUM] = [summed(pair) for pair in pairs]
    costs = {row.name: cost(judged[row.name]) for row in rows}
    if SUM in suspect:
        costs[SUM] = _together([costs["kcf"], costs["fidelity"]])
    measured = {
        name: score.measure(images, np.concatenate(values), draws) | {"cost": costs[name]} for name, values in suspect.items()
    }
    out: dict[str, Any] = {
        "spec": dataclasses.asdict(spec),
        "sets": {one.name: _counts([image["failure"] for image in images if image["set"] == one.name]) for one in made},
        "rows": measured,
        "not_judged": {row.name: _why(judged[row.name]) for row in rows},
        "paper": _paper(made),
    }
    out["goals"] = goals(out["rows"])
    told: dict[str, Any] = plain(out)
    return told


def _counts(failures: Sequence[str]) -> dict[str, Any]:
    counts = Counter(failures)
    return {"images": len(failures), "sound": counts.pop("", 0), "failures": dict(sorted(counts.items()))}


def cost(judged: Sequence[Judged]) -> dict[str, float]:
    """Return what judging a set costs on average, and teaching a class once: processor seconds and passes."""
    taught = [one for one in judged if one.teaching_passes or one.teaching_seconds]
    return {
        "seconds": float(np.mean([one.seconds for one in judged])),
        "passes": float(np.mean([one.passes for one in judged])),
        "teaching_seconds": float(np.mean([one.teaching_seconds for one in taught])) if taught else 0.0,
        "teaching_passes": float(np.mean([one.teaching_passes for one in taught])) if taught else 0.0,
    }


def _together(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(sum(one[name] for one in costs)) for name in costs[0]}


def whole(cost: Mapping[str, float]) -> float:
    """Return the seconds of one set, teaching included."""
    return cost["seconds"] + cost["teaching_seconds"]


def _paper(made: Sequence[FilterSet]) -> dict[str, float]:
    """Return what the published network would cost on the average set: extrapolated, never run here."""
    from models.verdict.kcf_official import KcfOfficialSpec

    spec = KcfOfficialSpec()
    count = float(np.mean([len(one.shown) for one in made]))
    steps = spec.folds * spec.epochs * count * (spec.folds - 1) / spec.folds
    return {"images": count, "passes": 3 * steps + count, "seconds": PAPER_SECONDS * (steps + count / 3)}


def _why(judged: Sequence[Judged]) -> str | None:
    return next((one.not_judged for one in judged if one.not_judged), None)


def goals(rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the goals of one run: what is asked, what was found, whether that is reached."""
    if BEST not in rows:
        return []
    best, kinds = rows[BEST], rows[BEST]["by_kind"]
    planted = {kind: float(told["auroc"]) for kind, told in kinds.items() if kind != "own"}
    weakest = min(planted, key=lambda kind: planted[kind])
    sides = {kind: planted[kind] for kind in FRONT_AND_BACK if kind in planted}
    asked = [
        ("AUROC over all planted kinds", "at least 0.98", best["all"]["auroc"], best["all"]["auroc"] >= 0.98),
        (f"AUROC of the weakest kind, {weakest}", "at least 0.90", planted[weakest], planted[weakest] >= 0.90),
    ]
    asked += [(f"AUROC of {kind}", "at least 0.90", value, value >= 0.90) for kind, value in sides.items()]
    lost = best["all"]["lost_at_90_removed"]
    asked.append(("good images lost at 90 % of failures removed", "at most 0.05", lost, lost <= 0.05))
    if YARDSTICK in rows:
        below = behind(best, rows[YARDSTICK])
        asked.append((f"rows in which {YARDSTICK} is not beaten", "none", float(len(below)), not below))
        share = whole(best["cost"]) / max(whole(rows[YARDSTICK]["cost"]), 1e-9)
        asked.append((f"processor time, of that of {YARDSTICK}", "at most 0.10", share, share <= 0.10))
    return [{"goal": goal, "asked": wish, "found": found, "reached": bool(ok)} for goal, wish, found, ok in asked]


def behind(best: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the kinds, viewpoints, classes and shares in which `best` has no greater AUROC than `other`."""
    found = [] if best["all"]["auroc"] > other["all"]["auroc"] else ["all"]
    for group in ("by_kind", "by_viewpoint", "by_class", "by_share"):
        pairs = {name: (told["auroc"], other[group][name]["auroc"]) for name, told in best[group].items()}
        # Where nothing failed there is nothing to compare.
        found += [name for name, (ours, theirs) in pairs.items() if ours is not None and ours <= theirs]
    return found


def plain(value: Any) -> Any:
    """Return the figures as JSON holds them: no NaN, four digits."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), 4)
    return value
