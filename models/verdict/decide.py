"""From stored scores to kept and dropped: cheap, repeatable, and the only place where a threshold acts.

Enters: scores as they are stored, and a recipe's rules. Leaves: for each image, whether it is kept and, where it is dropped, the
reason. An image that no rule could judge is neither kept nor dropped. Nothing here looks at a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.verdict.kinds import RULES
from models.verdict.protocol import JudgeSpec, RuleSpec


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the rules make of N images, in the order of their scores."""

    kept: tuple[bool | None, ...]
    """True: at least one rule could judge the image and none failed. False: one failed. None: no rule could judge it."""
    reasons: tuple[str | None, ...]
    """The reason of the first rule that a dropped image fails; None for the others."""
    failed: tuple[str | None, ...]
    """The name of that rule."""
    rules: list[dict[str, Any]]
    """Of each rule: name, kind, score, threshold (or None), reason, words; of one that promises something, expected."""
    words: str
    """All rules as a person reads them."""


def decide(scores: Mapping[str, NDArray[np.float64]], rules: Mapping[str, RuleSpec], count: int) -> Decision:
    """Return the decision over `count` images. `scores`: name -> (count,), NaN where an image was not judged.

    Rules are asked in the order of `rules`. A rule whose score nobody gave abstains.
    """
    kept: list[bool | None] = [None] * count
    failed: list[str | None] = [None] * count
    told = []
    for name, rule in rules.items():
        values = np.asarray(scores.get(rule.score, np.full(count, np.nan)), np.float64)
        if len(values) != count:
            raise ValueError(f"there are {len(values)} values of {rule.score} for {count} images")
        passes, words, threshold = RULES.load(rule).decide(values)
        for index, ok in enumerate(passes):
            if kept[index] is False or ok is None:
                continue
            kept[index] = ok
            failed[index] = None if ok else name
        one = {
            "name": name,
            "kind": rule.kind,
            "score": rule.score,
            "threshold": threshold,
            "reason": rule.reason,
            "words": words,
        }
        promised = rule.expected(values, threshold)
        told.append(one if promised is None else {**one, "expected": promised})
    judged = any(decision is not None for decision in kept)
    words = f"kept: {'; '.join(rule['words'] for rule in told)}" if judged else f"not judged: {_why_not(told)}"
    reasons = tuple(None if name is None else rules[name].reason for name in failed)
    return Decision(kept=tuple(kept), reasons=reasons, failed=tuple(failed), rules=told, words=words)


def why(
    rule: RuleSpec, judges: Mapping[str, JudgeSpec], scores: Mapping[str, float | None], annotation: Mapping[str, Any]
) -> str:
    """Return, for an image that a rule drops, which judge weighed most and what it saw, as a person reads it.

    judges: by their names in the recipe. scores: all of the image's, None where it was not judged.
    """
    givers = {name: judge for name, judge in judges.items() if any(fnmatchcase(rule.score, given) for given in judge.scores)}
    for name, judge in givers.items():
        weighed = judge.weighed_most(scores)
        read = {other: one for other, one in judges.items() if one.kind == weighed}
        for heard, one in (read or {name: judge}).items():
            return f"{heard}: {one.in_words(scores, annotation)}"
    return f"{rule.score}: {scores.get(rule.score)}"


def _why_not(told: list[dict[str, Any]]) -> str:
    return f"no judge gave {', '.join(rule['score'] for rule in told)}" if told else "there are no rules"
