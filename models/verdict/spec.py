"""What the verdict obeys: which judges measure the images of a class, and which rules decide from their scores.

Each judge's scores are stored once under a key of their own, so that adding a judge or moving a threshold recomputes no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from models.kinds import BadSpec, Kinds, Spec, as_table, meant
from models.verdict.fidelity import FidelitySpec
from models.verdict.kcf import KcfSpec
from models.verdict.kinds import JUDGES, RULES
from models.verdict.protocol import JudgeSpec, RuleSpec
from models.verdict.rules import AtLeastSpec, AtMostSpec

VERSION = 2
"""Raised whenever the same rules and scores give another decision. 1 was a single filter that measured and decided at once."""

POSE_INCONSISTENT = "pose_inconsistent"
"""Reason: models that learned from the other CAD models do not see the annotated pose in this image."""
CONTROL_LOST = "control_lost"
"""Reason: what the generator was told to draw is not in the image."""

POSE_THRESHOLD = 2.25
"""Of `kcf`: drops 2 to 4 % of the good images, whether a CAD model has 6 of them or 40 (tests/benchmarks/small_folds.py)."""


def _judges() -> dict[str, JudgeSpec]:
    return {"fidelity": FidelitySpec(), "kcf": KcfSpec()}


def _rules() -> dict[str, RuleSpec]:
    return {
        # 0.25: a quarter of what the control asks for, beyond what chance would find.
        "control": AtLeastSpec(score="fidelity", threshold=0.25, reason=CONTROL_LOST),
        "pose": AtMostSpec(score="kcf", threshold=POSE_THRESHOLD, reason=POSE_INCONSISTENT),
    }


@dataclass(frozen=True, kw_only=True)
class VerdictSpec(Spec):
    """The judges and the rules of a recipe. Both are kept in the order of their names, since a table has none of its own."""

    judges: Mapping[str, JudgeSpec] = dataclasses.field(default_factory=_judges)
    """Name -> what measures the images. No two may give a score of the same name."""
    rules: Mapping[str, RuleSpec] = dataclasses.field(default_factory=_rules)
    """Name -> what decides. An image is dropped by the first rule, in the order of their names, that it fails."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "judges", dict(sorted(self.judges.items())))
        object.__setattr__(self, "rules", dict(sorted(self.rules.items())))
        givers: dict[str, str] = {}
        for name, judge in self.judges.items():
            for score in judge.scores:
                if givers.setdefault(score, name) != name:
                    raise BadSpec(f"the judges {givers[score]} and {name} both give the score {score}; take one of them")
        for name, rule in self.rules.items():
            if not any(fnmatchcase(rule.score, score) for score in givers):
                raise BadSpec(
                    f'the rule {name} asks for the score "{rule.score}", which no judge gives{meant(rule.score, givers)}; '
                    f"there are: {', '.join(givers) or 'none'}"
                )

    def pinned(self) -> VerdictSpec:
        """Return the spec with every judge's revisions filled in. Raises ValueError, in one line."""
        return dataclasses.replace(self, judges={name: judge.pinned() for name, judge in self.judges.items()})

    def lacking(self) -> str | None:
        """Return, in one line, what is missing on this machine for any of the judges and what to do; None where nothing is."""
        return next((why for judge in self.judges.values() if (why := judge.lacking())), None)


def verdict_spec(said: Mapping[str, Any], where: str = "verdict") -> VerdictSpec:
    """Return the spec that `said` (JSON types) spells out: tables `judges` and `rules`, each name -> spec with its `kind`.

    A table that is not there has its defaults; a judge's kind is its name unless it says another. Raises BadSpec, which begins
    with `where`.
    """
    known = [field.name for field in dataclasses.fields(VerdictSpec)]
    for name in said:
        if name not in known:
            raise BadSpec(f'{where} has no field "{name}"{meant(name, known)}; it has: {", ".join(known)}')
    tables: dict[str, Any] = {}
    for table, kinds in (("judges", JUDGES), ("rules", RULES)):
        if table in said:
            specs = {
                name: {"kind": name, **as_table(spec, f"{where}.{table}.{name}")}
                for name, spec in as_table(said[table], f"{where}.{table}").items()
            }
            for name, spec in specs.items():
                _refuse_slip(kinds, name, spec, specs, f"{where}.{table}")
            tables[table] = {name: kinds.read(spec, f"{where}.{table}.{name}") for name, spec in specs.items()}
    try:
        return VerdictSpec(**tables)
    except BadSpec as error:
        raise BadSpec(f"{where}: {error}") from None


def _refuse_slip(kinds: Kinds[Any], name: str, spec: Mapping[str, Any], beside: Mapping[str, Any], where: str) -> None:
    """Raise BadSpec for an entry that says no kind, is called after none, and is called nearly as one beside it."""
    others = [other for other in beside if other != name]
    if spec["kind"] == name and name not in kinds.names and not meant(name, kinds.names) and (hint := meant(name, others)):
        raise BadSpec(f'{where} has no "{name}"{hint} a {kinds.thing} of its own says its kind: {", ".join(kinds.names)}')
