"""What was measured and decided about a cohort, in words: the same ones on page, strip, card and console.

Enters: a row of the catalog's table `filters`. Leaves: judges and rules by their names, whatever they are, so that a judge which
nobody here wrote shows up by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

UNJUDGED = "not judged"
ONE_CAD_MODEL = (
    "This class has one CAD model. Whatever learns from its images learns this shape only, and a judge that compares CAD models "
    "can compare views alone: a mistake that all views share is not found. Add more: dst cad add PATH --class NAME"
)
"""What a class with a single CAD model costs."""


def decided(kept: int | None) -> Literal["kept", "dropped", "unjudged"]:
    """Return the status of an image by the column `kept`: 1, 0, or NULL where it was not judged."""
    if kept is None:
        return "unjudged"
    return "kept" if kept else "dropped"


def in_words(name: str) -> str:
    """Return a status, a reason or another short name as people read it: "not judged", "pose inconsistent"."""
    return UNJUDGED if name == "unjudged" else name.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class RuleFacts:
    """One rule as it was applied."""

    name: str
    """Its name in the recipe."""
    kind: str
    """at_most, at_least, ..."""
    score: str
    """The score that it looks at."""
    reason: str
    """Why an image is dropped that fails it, as a short name."""
    threshold: float | None
    """Where it divides the score's values; None where it could judge nothing, or has none."""
    words: str
    """The rule for a person."""
    expected: Mapping[str, float] | None = None
    """What a rule that promises something is expected to come to: precision, recall, lost, left."""

    @property
    def drops_above(self) -> bool | None:
        """Whether it drops what is above its threshold, or what is below; None of a kind of somebody else's that does not say."""
        if self.kind == "at_most" or " at most " in self.words:
            return True
        return False if self.kind == "at_least" or " at least " in self.words else None

    def drops(self, value: float) -> bool | None:
        """Say whether it drops an image with this score, by itself; None where its threshold does not say."""
        if self.threshold is None or self.drops_above is None:
            return None
        return value > self.threshold if self.drops_above else value < self.threshold


@dataclass(frozen=True, kw_only=True)
class JudgeFacts:
    """One judge as it measured."""

    name: str
    """Its name in the recipe."""
    judged: int
    """Images that it could judge."""
    not_judged: str | None
    """Why it could not judge all of them."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """All that its record says; `words` tells in a line how it judged."""

    def gives(self, score: str) -> bool:
        """Say whether a score of this name is this judge's."""
        said, own = self.facts.get("scores"), self.name.replace("-", "_")
        # Records of before this was written down name no scores: a score bears its judge's name.
        return score in said if said else score == own or score.startswith(f"{own}_")

    @property
    def words(self) -> str:
        """How many images it judged, how, and why not the others."""
        why = f"{UNJUDGED}: {self.not_judged}" if self.not_judged else ""
        if not self.judged:
            return why or "nothing judged"
        counted = f"{self.judged} {'image' if self.judged == 1 else 'images'} judged"
        # Judges of before schema 0004 say only by what they held images out.
        how = self.facts.get("words") or {"cad": "folds by CAD model", "view": "folds by view"}.get(self.facts.get("fold_by", ""))
        return "; ".join(part for part in (counted, how, why) if part)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was measured and decided about one cohort."""

    class_name: str
    """Of the cohort."""
    words: str
    """What the rules come to, for a person."""
    rules: tuple[RuleFacts, ...]
    """In the order in which they are asked; the first that an image fails names the reason."""
    judges: tuple[JudgeFacts, ...]
    """In order of their names."""
    kept: int
    """Images."""
    dropped: int
    """Images."""
    unjudged: int
    """Images about which no rule could decide."""

    @property
    def sentence(self) -> str:
        """What the rules come to, as a sentence of its own."""
        return f"{self.words[:1].upper()}{self.words[1:]}." if self.words else ""

    @property
    def why_unjudged(self) -> str:
        """Why judges could not judge, one after the other; empty where they judged everything."""
        return "; ".join(f"{judge.name}: {judge.not_judged}" for judge in self.judges if judge.not_judged)


def of_row(row: Mapping[str, Any]) -> Verdict:
    """Return the verdict that a row of the table `filters` tells of."""
    judges = parsed(row["judges"]) or {}
    return Verdict(
        class_name=str(row["class_name"]),
        words=str(row["rule"] or ""),
        rules=tuple(RuleFacts(**rule) for rule in parsed(row["rules"]) or ()),
        judges=tuple(
            JudgeFacts(name=name, judged=values["judged"], not_judged=values["not_judged"], facts=values)
            for name, values in sorted(judges.items())
        ),
        kept=int(row["kept_images"] or 0),
        dropped=int(row["dropped_images"] or 0),
        unjudged=int(row["unjudged_images"] or 0),
    )


def parsed(value: Any) -> Any:
    """Return a JSON column's value: SQLite hands it out as text, Postgres as what it is."""
    return json.loads(value) if isinstance(value, str) else value
