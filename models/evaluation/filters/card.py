"""The benchmark in words: tables of what each filter is worth, as Markdown.

Enters: figures from models.evaluation.filters.table. Leaves: Markdown for a terminal, a page, and the card of the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.card import filled
from models.evaluation.filters import planted
from models.evaluation.filters.table import whole

PLOT, COSTS = "kinds.png", "costs.png"
"""Files that the card shows."""

WORDS: Mapping[str, str] = {
    "view_small": "another view, 15 to 30 degrees off",
    "view_large": "another view, 30 degrees and more off",
    "mirrored": "mirrored",
    "cropped": "cropped to a corner of the object",
    "moved": "shifted by a quarter of the picture",
    "half_hidden": "half hidden",
    "second_object": "a second object before it",
    "blurred": "blurred",
    "noisy": "noisy",
    "black": "all but black",
    "other_cad": "another CAD model of the class, same view",
    "other_class": "another class, same view",
    "label_turned": "label off by 180 degrees",
    "label_off": "label off by 40 degrees",
    "control_off": "control switched off",
    "control_weak": "control at 0.3 of its strength",
    "front_for_back": "painted from behind",
    "opposite_prompt": "prompt of the opposite view",
    "wrong_class_prompt": "prompt of another class",
    "ambiguous_outline": "outline alone, painted from the side that has the same one",
    "systematic_quarter": "whole CAD model turned by 90 degrees",
    "systematic_half": "whole CAD model turned by 180 degrees",
    "own": "the generator's own failures, by the panel",
    "bad": "people say bad",
}
"""Kinds of failure in words."""


def tables(figures: Mapping[str, Any]) -> str:
    """Return all tables."""
    rows = figures["rows"]
    parts = [overall(rows)]
    if "kcf-official" not in rows:
        parts.append(published(figures["paper"]))
    if figures["goals"]:
        parts.append(_goals(figures["goals"]))
    kinds = [kind for kind in WORDS if any(kind in row["by_kind"] for row in rows.values())]
    parts.append(_grouped("AUROC by kind of failure", "by_kind", kinds, rows, WORDS))
    for group, title in (("by_viewpoint", "viewpoint"), ("by_class", "class"), ("by_share", "share of failures")):
        names = list(dict.fromkeys(name for row in rows.values() for name in row[group]))
        if len(names) > 1:
            parts.append(_grouped(f"AUROC by {title}", group, names, rows, {}))
    return "\n\n".join(parts)


def overall(rows: Mapping[str, Any]) -> str:
    """Return the table of a line for each filter."""
    head = (
        "filter",
        "AUROC (95 %)",
        "average precision",
        "precision, 90 % of good kept",
        "good lost, 90 % of failures removed",
        "judged",
        "whole CAD models (AUROC)",
        "s a set",
        "s of teaching a class",
        "image passes",
    )
    lines = []
    for name, row in rows.items():
        told, cost = row["all"], row.get("cost")
        interval = f" ({_number(told['interval'][0])} to {_number(told['interval'][1])})" if told.get("interval") else ""
        lines.append(
            [
                name,
                f"{_number(told['auroc'])}{interval}",
                *(
                    _number(told[figure])
                    for figure in ("average_precision", "precision_at_90_kept", "lost_at_90_removed", "judged")
                ),
                _number(row.get("systematic", {}).get("auroc")),
                *(
                    ("-", "-", "-")
                    if cost is None
                    else (
                        f"{cost['seconds']:.1f}",
                        f"{cost['teaching_seconds']:.1f}",
                        f"{cost['passes'] + cost['teaching_passes']:,.0f}",
                    )
                ),
            ]
        )
    return _table(head, lines)


def published(paper: Mapping[str, float]) -> str:
    """Return what the published filter would cost at its full size."""
    return filled(
        f"`kcf-official` at its full size (ResNet-50 at 256 px) was not run: {paper['passes']:,.0f} image passes for a set of "
        f"{paper['images']:.0f} images, {paper['seconds'] / 3600:.0f} h on two cores, **extrapolated**. `--official` adds its "
        "row, on a machine with a GPU."
    )


def _goals(goals: Sequence[Mapping[str, Any]]) -> str:
    lines = [[goal["goal"], goal["asked"], _number(goal["found"]), "yes" if goal["reached"] else "**no**"] for goal in goals]
    return _table(("goal for the ensemble", "asked", "found", "reached"), lines)


def _grouped(title: str, group: str, names: Sequence[str], rows: Mapping[str, Any], words: Mapping[str, str]) -> str:
    lines = []
    for name in names:
        told = [row[group].get(name, {}) for row in rows.values()]
        count = max((one.get("failures", 0) for one in told), default=0)
        kept = " (right edges)" if name in planted.EDGES_KEPT else ""
        lines.append([f"{words.get(name, name)}{kept}", str(count), *(_number(one.get("auroc")) for one in told)])
    return _table((title, "failures", *rows), lines)


def card(figures: Mapping[str, Any], command: str) -> str:
    """Return the report: how it was made, tables, plots."""
    spec = figures["spec"]
    images = sum(one["images"] for one in figures["sets"].values())
    how = (
        f"{len(figures['sets'])} sets, {images} images: {', '.join(spec['classes'])}, each {spec['cad_models']} CAD "
        f"models that no training saw in {spec['views']} views, painted by the embedded generator in 8 steps. In one set a share "
        f"of {', '.join(f'{rate:.0%}' for rate in spec['rates'])} of the images fails, all kinds in equal parts; in the last, "
        f"{spec['systematic']:.0%} of the CAD models stand wrong. Seed {spec['seed']}. Images in which a panel of readouts, "
        "which no filter sees, reads another pose or class are the generator's own failures; those about which it is not of one "
        "mind count neither way, nor do wrong prompts that it sees nothing of. Seconds are processor time on one core."
    )
    return f"""# What filters are worth

    {command}

{filled(how)}

{tables(figures)}

![AUROC by kind of failure and filter]({PLOT})

![what filters cost and what they lose]({COSTS})
"""


def costs(figures: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return row -> (seconds of a set with teaching, share of good images lost at 90 % of failures removed)."""
    return {
        name: (whole(row["cost"]), row["all"]["lost_at_90_removed"])
        for name, row in figures["rows"].items()
        if row.get("cost") and row["all"]["lost_at_90_removed"] is not None
    }


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruled = ["|" + "|".join("---" for _ in head) + "|"]
    return "\n".join([f"| {' | '.join(head)} |", *ruled, *(f"| {' | '.join(line)} |" for line in lines)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.2f}"
