"""Wishes: what a person asks of a filter, and the rule that grants it.

Enters: words such as "lose 5%", "2% left" or "kcf at most 3", and of a wish the probabilities of failure that `ensemble` gave.
Leaves: rules, and of a wish the threshold that grants it with what is to be expected: precision and recall of what is dropped,
the share of good images that is lost with it and the share of failures that is left.

Nothing but the probabilities is needed, since they were calibrated when the ensemble was fitted: among images of 0.3, three in
ten have failed. How many failures there are differs from class to class, so the probabilities are first brought to the share of
them in this one (expectation maximisation: Saerens, Latinne and Decaestecker 2002).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.protocol import RuleSpec
from models.verdict.rules import AtLeastSpec, AtMostSpec, BestShareSpec

Floats = NDArray[np.float64]

PRIOR = 0.1
"""The share of failures for which probabilities are calibrated."""
_PRIOR_COUNTS = 10.0
"""As many images the prior is worth, beside those of the class, where their share of failures is estimated."""
_AT_LEAST_GOOD = 1.0
"""So many good images are supposed at least: where all have surely failed, the last one is not kept for the sake of its odds."""
_NAME = r"[a-z][a-z0-9_]*"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"

ASKED_LIKE = '"lose 5%", "2% left", "kcf at most 3", "fidelity at least 0.3", "best 80% by lowest kcf"'
"""What can be asked for, by example."""


@dataclass(frozen=True, kw_only=True)
class WishSpec(RuleSpec):
    """Drop as many of the likeliest failures as a wish allows, or asks for: one of `lose` and `left`."""

    implementation: ClassVar[str] = "models.verdict.wish:Wish"

    kind: Literal["wish"] = "wish"
    score: str = "ensemble"
    """Calibrated probabilities of failure."""
    reason: str = "likely_failed"
    """As of every rule."""
    lose: float | None = None
    """At most this share of the good images may be lost; within it, as many failures as can be are dropped."""
    left: float | None = None
    """At most this share of what is kept may be failures; within it, as many images as can be are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.lose is None) == (self.left is None):
            raise ValueError("a wish says one of the two: lose (share of the good images) or left (share of failures)")
        for name, share in (("lose", self.lose), ("left", self.left)):
            if share is not None and not 0 < share < 1:
                raise ValueError(f"{name} is {share}; it is a share between 0 and 1, such as 0.05")

    def expected(self, values: Floats, threshold: float | None) -> dict[str, float] | None:
        """Return what dropping everything above the threshold is expected to come to; None where nothing was judged."""
        judged = values[~np.isnan(values)]
        return None if threshold is None or not judged.size else promised(at_home(judged), judged > threshold)


class Wish:
    """Finds the threshold that grants a wish over the images of one class."""

    def __init__(self, spec: WishSpec) -> None:
        """spec: the wish."""
        self.spec = spec

    def decide(self, values: Floats) -> tuple[list[bool | None], str, float | None]:
        """Return whether each probability of failure is low enough; the threshold is the last one that passes."""
        judged = ~np.isnan(values)
        if not judged.any():
            return [None] * len(values), f"{self.spec.score} not judged", None
        threshold = self._threshold(values[judged])
        passes = [None if math.isnan(value) else bool(value <= threshold) for value in values]
        hoped = self.spec.expected(values, threshold)
        assert hoped is not None, "what was judged has a threshold"
        missing = f" ({int((~judged).sum())} of {len(values)} not judged)" if not judged.all() else ""
        return passes, f"{self.spec.score} at most {threshold:.4g}, {self._in_words()}{_told(hoped)}{missing}", threshold

    def _threshold(self, values: Floats) -> float:
        """Return the last probability that passes; images of equal probability pass or fail together."""
        order = np.argsort(-values, kind="stable")
        ordered, failing = values[order], at_home(values)[order]
        # Where images of one probability end: all up to there are dropped, or none of them is.
        drops = np.flatnonzero(np.diff(ordered, append=-np.inf))
        failures, wasted = failing.cumsum(), (1.0 - failing).cumsum()
        if self.spec.lose is not None:
            granted = drops[wasted[drops] <= self.spec.lose * max(float(wasted[-1]), _AT_LEAST_GOOD)]
            dropped = int(granted[-1]) + 1 if granted.size else 0
        else:
            count = len(values)
            left = (failures[-1] - failures[drops[:-1]]) / (count - 1 - drops[:-1])
            granted = drops[:-1][left <= float(self.spec.left or 0.0)]
            # Nothing is dropped where nothing has to be; where no threshold is strict enough, all but the best are.
            strictest = int(drops[-2]) + 1 if len(drops) > 1 else 0
            enough = failures[-1] / count <= float(self.spec.left or 0.0)
            dropped = 0 if enough else int(granted[0]) + 1 if granted.size else strictest
        # All above it are dropped: where nothing passes, it lies just below the lowest.
        return float(ordered[dropped]) if dropped < len(ordered) else float(np.nextafter(ordered[-1], -np.inf))

    def _in_words(self) -> str:
        if self.spec.lose is not None:
            return f"to lose at most {100 * self.spec.lose:.3g}% of the good ones"
        return f"for at most {100 * (self.spec.left or 0.0):.3g}% failures left"


def at_home(probabilities: Floats) -> Floats:
    """Return calibrated probabilities (N,) as they are at the share of failures that these images themselves speak for."""
    odds = np.clip(probabilities, 1e-6, 1 - 1e-6)
    odds = odds / (1.0 - odds) * (1.0 - PRIOR) / PRIOR
    share, found = PRIOR, probabilities
    for _ in range(100):
        found = odds * share / (odds * share + 1.0 - share)
        before, share = share, (float(found.sum()) + _PRIOR_COUNTS * PRIOR) / (len(found) + _PRIOR_COUNTS)
        if abs(before - share) < 1e-6:
            break
    return found


def promised(failing: Floats, dropped: NDArray[np.bool_]) -> dict[str, float]:
    """Return what is expected where images of these probabilities of failure are dropped: precision, recall, lost, left.

    Without anything dropped precision is 1: nothing was dropped in vain.
    """
    failures, good = float(failing.sum()), max(float((1.0 - failing).sum()), _AT_LEAST_GOOD)
    caught, wasted = float(failing[dropped].sum()), float((1.0 - failing[dropped]).sum())
    kept = int((~dropped).sum())
    return {
        "precision": caught / (caught + wasted) if dropped.any() else 1.0,
        "recall": caught / failures if failures else 1.0,
        "lost": wasted / good,
        "left": (failures - caught) / kept if kept else 0.0,
    }


def asked(keep: str) -> dict[str, RuleSpec]:
    """Return the rules, by name, that words stand for: one of ASKED_LIKE, or several joined by "and". Raises ValueError."""
    rules: dict[str, RuleSpec] = {}
    for part in re.split(r"\s*(?:;|,|\band\b)\s*", " ".join(keep.lower().replace("percent", "%").split())):
        name, rule = _rule(part, keep)
        if name in rules:
            raise ValueError(f'"{keep}" says two things of {name}; say one of them')
        rules[name] = rule
    return rules


def _rule(part: str, keep: str) -> tuple[str, RuleSpec]:
    if found := re.fullmatch(rf"lose (?:at most |up to )?({_NUMBER}) ?%(?: of (?:the )?good(?: images| ones)?)?", part):
        return "wish", WishSpec(lose=_share(found[1], keep))
    if found := re.fullmatch(
        rf"(?:leave )?(?:at most |up to )?({_NUMBER}) ?%(?: of)?(?: failures| bad(?: images)?)?(?: left)?", part
    ):
        return "wish", WishSpec(left=_share(found[1], keep))
    if found := re.fullmatch(rf"({_NAME}) (at most|<=|at least|>=) (-?{_NUMBER})", part):
        name, side, value = found[1], found[2], float(found[3])
        if side in ("at most", "<="):
            return name, AtMostSpec(score=name, threshold=value, reason=f"{name}_too_high")
        return name, AtLeastSpec(score=name, threshold=value, reason=f"{name}_too_low")
    if found := re.fullmatch(rf"(?:the )?best ({_NUMBER}) ?% by (lowest|highest) ({_NAME})", part):
        best: Literal["lowest", "highest"] = "lowest" if found[2] == "lowest" else "highest"
        return found[3], BestShareSpec(
            score=found[3], share=_share(found[1], keep), best=best, reason=f"{found[3]}_not_of_the_best"
        )
    raise ValueError(f'"{keep}" is nothing that can be asked for; ask for {ASKED_LIKE}, or for several with "and" between them')


def _share(percent: str, keep: str) -> float:
    if not 0 < float(percent) < 100:
        raise ValueError(f'"{keep}": a share lies between 0 and 100 %')
    return round(float(percent) / 100.0, 6)


def _told(hoped: dict[str, float]) -> str:
    return (
        f" (expected: {hoped['recall']:.0%} of the failures dropped, {hoped['precision']:.0%} of what is dropped failed, "
        f"{hoped['lost']:.1%} of the good ones lost, {hoped['left']:.1%} failures left)"
    )
