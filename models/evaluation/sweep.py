"""Shape against text against diversity: figures over control scale and guidance, and what is chosen from them; samplers and time.

Enters: figures of many settings. Leaves: the setting that obeys best, and the fastest sampler that obeys as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.spec import EvaluationSpec
from models.image.controlnet import ControlNetSpec

OBEYED = ("edge_f1", "pose", "class", "colour", "scene", "real")
"""Figures whose mean a setting is chosen by: shape as a line and as a pose, what it is, the words, and how real it looks."""
TEXT = ("colour", "scene", "light")
RECALL_GOAL = 0.93
"""A setting below this edge recall is not chosen while another reaches it."""
EQUAL = 0.01
"""Settings whose means differ by less are equal: the more diverse one is chosen."""
FINALISTS = 2
"""So many of the best are painted on all views, with the default."""
WITHIN = 0.95
"""A faster sampler counts when each figure is at least this share of the default sampler's."""


def settings(spec: EvaluationSpec, default: ControlNetSpec) -> list[ControlNetSpec]:
    """Return the settings of the sweep: each control scale with each guidance, the rest as in `default`."""
    return [
        dataclasses.replace(default, control_scale=scale, guidance=guidance)
        for scale in spec.control_scales
        for guidance in spec.guidances
    ]


def samplers(spec: EvaluationSpec, default: ControlNetSpec) -> list[ControlNetSpec]:
    """Return the samplers to compare, the default one first."""
    tried = [dataclasses.replace(default, scheduler=scheduler, steps=steps) for scheduler, steps in spec.samplers]
    return [default, *(setting for setting in tried if setting != default)]


def obedience(row: Mapping[str, Any]) -> float:
    """Return the mean of a row's OBEYED figures, of those it has."""
    found = [float(row[name]) for name in OBEYED if row.get(name) is not None]
    return sum(found) / len(found) if found else 0.0


def agreement(row: Mapping[str, Any]) -> float:
    """Return how well a row's pictures agree with the words of their prompts: the mean of colour, scene and light."""
    found = [float(row[name]) for name in TEXT if row.get(name) is not None]
    return sum(found) / len(found) if found else 0.0


def choose(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the chosen row: of those that reach RECALL_GOAL the most obedient, of equals the most diverse."""
    reaching = [row for row in rows if row["edge_recall"] >= RECALL_GOAL] or list(rows)
    best = max(obedience(row) for row in reaching)
    equals = [row for row in reaching if obedience(row) > best - EQUAL]
    chosen = max(equals, key=_diversity)
    return dict(chosen)


def finalists(rows: Sequence[Mapping[str, Any]], default: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the FINALISTS most obedient rows of those that reach RECALL_GOAL, and the default's: the sweep's views are few."""
    reaching = [row for row in rows if row["edge_recall"] >= RECALL_GOAL] or list(rows)
    best = sorted(reaching, key=obedience, reverse=True)[:FINALISTS]
    return best if any(same(row, default) for row in best) else [*best, default]


def same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two rows have the same control scale and guidance."""
    return (row["control_scale"], row["guidance"]) == (other["control_scale"], other["guidance"])


def _diversity(row: Mapping[str, Any]) -> float:
    return float(row.get("diversity", 0.0))


def as_good(row: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Say whether every OBEYED figure of a row is within 5 % of the default sampler's."""
    return all(row[name] >= WITHIN * default[name] for name in OBEYED if name in row and name in default)


def fastest(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fastest, by processor time, of the samplers that are as good as the first, which is the default."""
    found = min((row for row in rows if as_good(row, rows[0])), key=_seconds)
    return dict(found)


def _seconds(row: Mapping[str, Any]) -> float:
    return float(row["processor_for_16"])
