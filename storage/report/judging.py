"""What a page shows of judges: each one's scores, and the images on both sides of a threshold, so that an eye can judge it.

Enters: a run's rows with their scores and the verdict about them, and a way to get an image's picture. Leaves: for each judge,
whatever it is, what to draw, and the CAD models with the lowest yield. Images are few and small: those nearest to a threshold and
those farthest from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from storage.report.agreement import Share
from storage.report.content import BesideThreshold, Judged, LowYield, ReportModel, ScoreShown, Status, Thumbnail
from storage.report.verdict import JudgeFacts, RuleFacts, Verdict

BESIDE = 5
"""Images in a strip."""
LOWEST = 4
"""CAD models shown for their low yield."""
PICTURE = 112
"""Longer side of a picture, pixels."""

Scored = tuple[float, Status, str, str]
"""A sample with an image: its score, its status, its drop reason, its identity."""
Pictures = Callable[[str], Thumbnail | None]
"""The image of a sample, small."""


def judged(verdict: Verdict | None, scored: dict[str, list[Scored]], made: int, pictures: Pictures) -> tuple[Judged, ...]:
    """Return each judge of a verdict with its scores, those that decide first.

    scored: name of a score -> the samples that have it; made: samples with an image, judged or not.
    """
    if verdict is None:
        return ()
    shown = [_judge(facts, verdict.rules, scored, made, pictures) for facts in verdict.judges]
    # Scores that no judge's record owns up to are shown all the same, under a heading of their own.
    own = {name for facts in verdict.judges for name in scored if facts.gives(name)}
    if stray := {name: values for name, values in scored.items() if name not in own}:
        facts = JudgeFacts(name="other scores", judged=0, not_judged=None, facts={"scores": sorted(stray)})
        shown.append(_judge(facts, verdict.rules, stray, made, pictures))
    place = {rule.score: i for i, rule in reversed(list(enumerate(verdict.rules)))}
    return tuple(sorted(shown, key=lambda judge: min((place[s.name] for s in judge.scores if s.rule), default=len(place))))


def _judge(
    facts: JudgeFacts, rules: Sequence[RuleFacts], scored: dict[str, list[Scored]], made: int, pictures: Pictures
) -> Judged:
    names = [name for name in scored if facts.gives(name)]
    ruled = [name for name in names if any(rule.score == name for rule in rules)]
    # Without a rule, what the judge gives under its own name, or first, is what it stands for.
    main = ruled or sorted(names, key=lambda name: (name != facts.name.replace("-", "_"), name))[:1]
    asked: list[tuple[str, RuleFacts | None]] = [(name, rule) for name in main for rule in rules if rule.score == name]
    asked = asked or [(name, None) for name in main]
    scores = [_score(name, rule, scored[name], made, pictures) for name, rule in asked]
    return Judged(facts=facts, scores=tuple(scores), others=tuple(name for name in names if name not in main))


def _score(name: str, rule: RuleFacts | None, scored: Sequence[Scored], made: int, pictures: Pictures) -> ScoreShown:
    rising = sorted(scored, key=lambda one: (one[0], one[3]))
    low, high = rising, rising[::-1]
    fails = passes = None
    if rule is not None:
        failed = {one[3] for one in scored if _fails(rule, one)}
        high_fails = _drops_high(rule, scored, failed)
        # From each side of the threshold outwards.
        fails = [one for one in (low if high_fails else high) if one[3] in failed]
        passes = [one for one in (high if high_fails else low) if one[3] not in failed]
    near, far = BESIDE, 2 * BESIDE

    def strip(chosen: Iterable[Scored]) -> tuple[BesideThreshold, ...]:
        return tuple(
            BesideThreshold(sample_id=identity, value=value, status=status, image=pictures(identity))
            for value, status, _, identity in chosen
        )

    if fails is None or passes is None:
        # The same image is not shown at both ends.
        ends = min(near, -(-len(rising) // 2))
        return ScoreShown(
            name=name,
            rule=None,
            count=len(scored),
            made=made,
            fails=strip(low[:ends]),
            passes=strip(high[: len(rising) - ends][:near]),
        )
    return ScoreShown(
        name=name,
        rule=rule,
        count=len(scored),
        made=made,
        failing=len(fails),
        # The nearest one stands beside the line, so on the left side the order is turned.
        fails=strip(fails[:near][::-1]),
        passes=strip(passes[:near]),
        clear_fails=strip(fails[-near:][::-1] if len(fails) >= far else ()),
        clear_passes=strip(passes[-near:] if len(passes) >= far else ()),
    )


def _fails(rule: RuleFacts, one: Scored) -> bool:
    value, status, reason, _ = one
    drops = rule.drops(value)
    return status == "dropped" and reason == rule.reason if drops is None else drops


def _drops_high(rule: RuleFacts, scored: Sequence[Scored], failed: set[str]) -> bool:
    """Say whether what a rule drops lies above the rest; of a kind that does not say, as the images have it."""
    if rule.drops_above is not None:
        return rule.drops_above
    sides: list[list[float]] = [[value for value, _, _, name in scored if (name in failed) == side] for side in (True, False)]
    means = [sum(side) / len(side) if side else 0.0 for side in sides]
    return means[0] >= means[1]


def lowest_yield(
    models: Sequence[ReportModel], dropped: Iterable[tuple[str, str, str]], pictures: Pictures
) -> tuple[LowYield, ...]:
    """Return the CAD models of which most is dropped, the worst first: those that do no better than all together.

    dropped: (cad_id, reason, sample) of each dropped image. That one image of two was dropped says little, so the order is that
    of the share that the yield can at most be (Wilson, 95 %).
    """
    all_kept, all_dropped = sum(model.kept for model in models), sum(model.dropped for model in models)
    usual = all_kept / (all_kept + all_dropped) if all_kept else 0.0
    listed: dict[str, list[tuple[str, str]]] = {}
    for cad_id, reason, identity in dropped:
        listed.setdefault(cad_id, []).append((reason, identity))
    shares = {model.cad_id: Share(count=model.kept, total=model.kept + model.dropped) for model in models}
    low = [model for model in models if model.dropped and (shares[model.cad_id].value or 0.0) <= usual]
    low.sort(key=lambda model: ((shares[model.cad_id].interval or (0.0, 1.0))[1], model.name, model.cad_id))
    return tuple(
        LowYield(
            model=model,
            share=shares[model.cad_id],
            reasons=tuple(Counter(reason for reason, _ in listed.get(model.cad_id, ())).most_common()),
            worst=tuple(
                BesideThreshold(sample_id=identity, value=None, status="dropped", image=pictures(identity))
                for _, identity in listed.get(model.cad_id, ())[:BESIDE]
            ),
        )
        for model in low[:LOWEST]
    )
