"""What code before schema 0004 wrote, told in today's shape, so that an old home stays readable.

Enters: records and journal entries that say `edge` where today's say `control`, and verdicts whose judges and rules were one.
Leaves: the same in the shape of today, for the index and for migration 0004, which therefore agree. What was written for want of
a judgement (a score of 0, `kept`) becomes "not judged". Nothing in the store is changed, so keys and files stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.artifacts import Record

EDGE = "edge"
"""The stage that is `control` today: its artifacts lie in a folder of this name, each with the file edge.png."""

SCORES = {
    "score": "kcf",
    "azimuth_score": "kcf_azimuth",
    "elevation_score": "kcf_elevation",
    "inplane_score": "kcf_inplane",
    "disagreement": "kcf_disagreement",
    "fold": "kcf_fold",
    "edge_score": "fidelity",
}
"""Score in an old verdicts.json -> its name today."""
_SILENT = "pose not judged: "
"""How the rule of a verdict began whose judge could learn nothing."""


@dataclass(frozen=True, kw_only=True)
class OldVerdict:
    """The facts of a verdict record from before 0004."""

    values: Mapping[str, Any]
    """Its values: threshold, rule in words, backbone, fold_by, folds, head_weights, kept, dropped, reasons."""
    spec: Mapping[str, Any]
    """The spec it obeyed."""

    @property
    def rule(self) -> str:
        """All rules in words."""
        return str(self.values.get("rule") or "")

    @property
    def not_judged(self) -> str | None:
        """Why no pose was judged, or None. Every score was then written as 0, and every image as kept by it."""
        return self.rule.split("; ")[0].removeprefix(_SILENT) if self.rule.startswith(_SILENT) else None

    @property
    def least_fidelity(self) -> float | None:
        """Images with less were dropped; None: none were."""
        return self.spec.get("min_edge_score")

    @property
    def silent(self) -> frozenset[str]:
        """Names of the scores that stand for nothing: of all heads where no pose was judged, else of heads without skill."""
        if self.not_judged:
            return frozenset(name for name in SCORES.values() if name.startswith("kcf"))
        weights: Mapping[str, float] = self.values.get("head_weights") or {}
        return frozenset(f"kcf_{head}" for head, weight in weights.items() if weight == 0)

    def kept(self, recorded: Any, edge_score: float | None) -> bool | None:
        """Return the decision on one image: None where nothing could be judged, else the recorded one."""
        judged = not self.not_judged or (self.least_fidelity is not None and edge_score is not None)
        return bool(recorded) if judged and recorded is not None else None

    @property
    def rules(self) -> list[dict[str, Any]]:
        """The rules one by one."""
        words = [*self.rule.split("; "), ""]
        threshold = None if self.not_judged else self.values.get("threshold")
        pose = {
            "name": "pose",
            "kind": "best_share" if self.spec.get("rule") == "quantile" else "at_most",
            "score": "kcf",
            "threshold": None if threshold is None else float(threshold),
            "reason": "pose_inconsistent",
            "words": words[0],
        }
        control = {
            "name": "control",
            "kind": "at_least",
            "score": "fidelity",
            "threshold": self.least_fidelity,
            "reason": "edges_lost",
            "words": words[1],
        }
        return [pose] if self.least_fidelity is None else [pose, control]

    def judges(self, images: int, with_edges: int) -> dict[str, Any]:
        """Return judge -> what it says of its scores. images: how many there were; with_edges: those with an edge score."""
        facts = {name: self.values[name] for name in ("backbone", "fold_by", "folds", "head_weights") if name in self.values}
        judged = 0 if self.not_judged else images
        return {
            "kcf": {"judge": "kcf", "judged": judged, "not_judged": self.not_judged, **facts},
            "fidelity": {"judge": "fidelity", "judged": with_edges, "not_judged": None},
        }


def today(record: Record, kind_of: Callable[[str], str]) -> Record:
    """Return a record in today's shape. kind_of: the key of an edge map -> canny or geometry."""
    if record.stage == EDGE:
        values = {name.removeprefix("edge_"): value for name, value in record.values.items()}
        return dataclasses.replace(record, stage="control", spec={"kind": kind(record.spec), **record.spec}, values=values)
    if record.stage == "image" and EDGE in record.inputs:
        key = record.inputs[EDGE]
        return dataclasses.replace(record, inputs={**record.inputs, "controls": {kind_of(key): key}})
    return record


def verdict_today(record: Record, listed: Sequence[Mapping[str, Any]]) -> tuple[Record, list[dict[str, Any]]]:
    """Return a verdict's record and the rows of its verdicts.json in today's shape."""
    if "scores" in record.inputs:
        return record, [dict(row) for row in listed]
    old = OldVerdict(values=record.values, spec=record.spec)
    rows = []
    for row in listed:
        kept = old.kept(row.get("kept"), row.get("edge_score"))
        scores = {name: None if name in old.silent else row.get(column) for column, name in SCORES.items()}
        rows.append(
            {"image_key": row["image_key"], "kept": kept, "reason": None if kept else row.get("reason"), "scores": scores}
        )
    decisions = [row["kept"] for row in rows]
    values = {
        "kept": decisions.count(True),
        "dropped": decisions.count(False),
        "not_judged": decisions.count(None),
        "rule": old.rule,
        "rules": old.rules,
        "judges": old.judges(len(rows), sum(row["scores"]["fidelity"] is not None for row in rows)),
    }
    return dataclasses.replace(record, inputs={**record.inputs, "scores": {}}, values=values), rows


def kind(spec: Mapping[str, Any]) -> str:
    """Return the kind of control that an edge spec makes."""
    return str(spec.get("source") or "canny")


def run_today(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's row with its seconds and counts under the stages' names of today, and its recipe in today's tables."""
    names = {EDGE: "control", f"new_{EDGE}": "new_control"}
    said = {name: row.get(name) for name in ("seconds", "counts")}
    return {
        **row,
        "recipe_specs": recipe_today(row.get("recipe_specs") or {}),
        **{name: values and {names.get(key, key): value for key, value in values.items()} for name, values in said.items()},
    }


_SETTINGS = {
    "canny": ("low", "high", "aperture", "blur", "background", "outline"),
    "geometry": ("jump", "crease_deg", "shortest"),
    "finished-render": ("resolution", "supersampling", "distractor_share"),
}
"""Kind -> the fields that it takes over from an old spec, which held those of all kinds."""


def recipe_today(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with controls by kind, specs that say their kind, and judges and rules apart."""
    if EDGE not in specs:
        return dict(specs)
    edge, caption, image, verdict = (dict(specs.get(table) or {}) for table in (EDGE, "caption", "image", "verdict"))
    finished = image.get("model") == "render-world"
    rule, threshold, least = (verdict.pop(name, None) for name in ("rule", "threshold", "min_edge_score"))
    pose = {"score": "kcf", "reason": "pose_inconsistent"}
    pose |= {"kind": "at_most", "threshold": threshold} if rule != "quantile" else {
        "kind": "best_share", "share": threshold, "best": "lowest"
    }  # fmt: skip
    rules = {"pose": pose}
    if least is not None:
        rules["control"] = {"kind": "at_least", "score": "fidelity", "threshold": least, "reason": "control_lost"}
    return {
        **{name: spec for name, spec in specs.items() if name != EDGE},
        "controls": {kind(edge): _taken_over(kind(edge), edge)},
        "caption": {"kind": caption.pop("captioner", "grammar"), **caption},
        "image": _taken_over("finished-render", image) if finished else {"kind": "controlnet", "control_models": [], **image},
        "verdict": {"judges": {"fidelity": {"kind": "fidelity"}, "kcf": {"kind": "kcf", **verdict}}, "rules": rules},
    }


def _taken_over(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": name, **{field: spec[field] for field in _SETTINGS[name] if field in spec}}


def member_today(member: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a member of a cohort with its control; the kind is that of the run's recipe."""
    if f"{EDGE}_key" not in member:
        return dict(member)
    key = member[f"{EDGE}_key"]
    made = kind((run.get("recipe_specs") or {}).get(EDGE) or {})
    left = {name: value for name, value in member.items() if name != f"{EDGE}_key"}
    return {**left, "control_key": key, "controls": {made: key} if key else None}
