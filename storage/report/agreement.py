"""How rules and scores agree with people: tags as truth for filters.

Enters: images with their tag, decision and scores, and the rules that decided. Leaves: precision and recall of each rule, AUROC
of each score. A bad image should be dropped, a good one kept; a doubtful one says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from storage.catalog.tags import BAD, DOUBTFUL, GOOD
from storage.report.facts import scores, verdicts
from storage.report.verdict import RuleFacts

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

ENOUGH = 20
"""Tags good or bad from which on figures are shown ..."""
OF_EACH = 5
"""... of which at least so many are good, and so many bad."""

Interval = tuple[float, float]
"""Wilson's, 95 %."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of counted images, with the interval in which it lies for many more of them."""

    count: int
    """Those that it is the share of ..."""
    total: int
    """... among so many."""

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's interval, 95 %."""
        if not self.total:
            return None
        from scipy.stats import binomtest

        found = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        interval = self.interval
        if interval is None:
            return "–"
        return f"{self.count} of {self.total}: {self.count / self.total:.0%} ({interval[0]:.0%} to {interval[1]:.0%})"


@dataclass(frozen=True, kw_only=True)
class RuleAgreement:
    """A rule against the tags."""

    name: str
    """Its name in the recipe; "all rules" for what they decide together."""
    words: str
    """The rule for a person."""
    precision: Share
    """Of the images that it drops, those that are bad."""
    recall: Share
    """Of the bad images, those that it drops."""
    not_judged: int
    """Images with a tag that it could not judge; they are in neither share."""


@dataclass(frozen=True, kw_only=True)
class ScoreAgreement:
    """A score against the tags."""

    name: str
    """Of the score."""
    auroc: float
    """How often it tells a bad image from a good one: 1 always, 0.5 as a coin would."""
    bad_is: str
    """high or low: which values stand for bad."""
    by_rule: bool
    """Whether a rule says so; else it is what fits the tags better."""
    good: int
    """Good images that have it."""
    bad: int
    """Bad images that have it."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What people and filters make of the same images."""

    good: int = 0
    """Images tagged good."""
    bad: int = 0
    """Images tagged bad."""
    doubtful: int = 0
    """Images tagged doubtful."""
    rules: tuple[RuleAgreement, ...] = ()
    """All together, then one by one; empty where there are too few tags."""
    scores: tuple[ScoreAgreement, ...] = ()
    """Those that rules look at first, then by AUROC; empty where there are too few tags."""

    @property
    def enough(self) -> bool:
        """Whether there are tags enough for figures."""
        return self.good + self.bad >= ENOUGH and min(self.good, self.bad) >= OF_EACH

    @property
    def wanting(self) -> str:
        """What is missing for figures."""
        return (
            f"{self.good} good and {self.bad} bad are tagged; precision, recall and AUROC are shown from {ENOUGH} on, "
            f"with at least {OF_EACH} of each"
        )


def of_class(catalog: Catalog, class_name: str) -> dict[str, Agreement]:
    """Return recipe -> how rules and scores agree with the tags of a class's present cohorts."""
    sql = (
        "SELECT recipe, image_key, verdict_key, kept, drop_reason, tag FROM samples "
        "WHERE class_name = :class_name AND in_cohort = 1 AND file IS NOT NULL ORDER BY recipe, sample_id"
    )
    cohorts: dict[str, list[dict[str, Any]]] = {}
    for row in catalog.rows(sql, class_name=class_name):
        cohorts.setdefault(row["recipe"], []).append(row)
    return {recipe: of_rows(catalog, rows) for recipe, rows in cohorts.items()}


def of_rows(catalog: Catalog, rows: Iterable[Mapping[str, Any]]) -> Agreement:
    """Return the agreement over rows of images: image_key, verdict_key, kept, drop_reason, tag.

    Where several verdicts decided about them, the rules are those of the one about most.
    """
    tagged = [row for row in rows if row["tag"]]
    counts = Counter(row["tag"] for row in tagged)
    found = Agreement(good=counts[GOOD], bad=counts[BAD], doubtful=counts[DOUBTFUL])
    if not found.enough:
        return found
    truth = [row for row in tagged if row["tag"] != DOUBTFUL]
    keys = Counter(row["verdict_key"] for row in truth if row["verdict_key"])
    if not keys:
        return found
    verdict_key = max(keys, key=lambda key: keys[key])
    rules = verdicts(catalog, [verdict_key])[verdict_key].rules
    measured = scores(catalog, ((row["verdict_key"], row["image_key"]) for row in truth))
    values = [measured.get((row["verdict_key"], row["image_key"]), {}) for row in truth]
    return replace(found, rules=_rules(rules, truth, values), scores=_scores(rules, truth, values))


def _rules(
    rules: Sequence[RuleFacts], truth: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, float]]
) -> tuple[RuleAgreement, ...]:
    together = [None if row["kept"] is None else not row["kept"] for row in truth]
    found = [_rule("all rules", "what they decide together", truth, together)]
    for rule in rules:
        drops = [_drops(rule, row, named) for row, named in zip(truth, values, strict=True)]
        found.append(_rule(rule.name, rule.words, truth, drops))
    return tuple(found if len(rules) != 1 else found[1:])


def _rule(name: str, words: str, truth: Sequence[Mapping[str, Any]], drops: Sequence[bool | None]) -> RuleAgreement:
    judged = [(row["tag"] == BAD, dropped) for row, dropped in zip(truth, drops, strict=True) if dropped is not None]
    right = sum(bad and dropped for bad, dropped in judged)
    return RuleAgreement(
        name=name,
        words=words,
        precision=Share(count=right, total=sum(dropped for _, dropped in judged)),
        recall=Share(count=right, total=sum(bad for bad, _ in judged)),
        not_judged=len(truth) - len(judged),
    )


def _drops(rule: RuleFacts, row: Mapping[str, Any], named: Mapping[str, float]) -> bool | None:
    """Say whether a rule by itself drops an image; None where it could not judge it, or an earlier rule hides what it says."""
    value = named.get(rule.score)
    if rule.drops_above is not None and rule.threshold is not None:
        return None if value is None else rule.drops(value)
    if row["kept"] == 0 and row["drop_reason"] == rule.reason:
        return True
    return False if row["kept"] == 1 else None


def _scores(
    rules: Sequence[RuleFacts], truth: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, float]]
) -> tuple[ScoreAgreement, ...]:
    from sklearn.metrics import roc_auc_score

    ruled = {rule.score: above for rule in rules if (above := rule.drops_above) is not None}
    found = []
    for name in sorted({name for named in values for name in named}):
        pairs = [(row["tag"] == BAD, named[name]) for row, named in zip(truth, values, strict=True) if name in named]
        bad = sum(is_bad for is_bad, _ in pairs)
        if not 0 < bad < len(pairs):
            continue
        auroc = float(roc_auc_score([is_bad for is_bad, _ in pairs], [value for _, value in pairs]))
        high = ruled.get(name, auroc >= 0.5)
        found.append(
            ScoreAgreement(
                name=name,
                auroc=auroc if high else 1.0 - auroc,
                bad_is="high" if high else "low",
                by_rule=name in ruled,
                good=len(pairs) - bad,
                bad=bad,
            )
        )
    return tuple(sorted(found, key=lambda score: (not score.by_rule, -score.auroc, score.name)))
