"""What a page shows of judges: images on both sides of a threshold, and where images are dropped."""

from __future__ import annotations

import re
from dataclasses import replace

from storage.report.content import ReportModel, Status
from storage.report.judging import BESIDE, Scored, judged, lowest_yield
from storage.report.plots import drop_rate
from storage.report.verdict import JudgeFacts, RuleFacts, Verdict


def rule(score: str, threshold: float | None, *, kind: str = "at_most", reason: str = "odd") -> RuleFacts:
    words = f"{score} {kind.replace('_', ' ')} {threshold}"
    return RuleFacts(name=f"rule of {score}", kind=kind, score=score, reason=reason, threshold=threshold, words=words)


def verdict(*rules: RuleFacts, **facts: dict[str, object]) -> Verdict:
    judges = tuple(JudgeFacts(name=name, judged=9, not_judged=None, facts=said) for name, said in facts.items())
    return Verdict(class_name="car", words="", rules=rules, judges=judges, kept=0, dropped=0, unjudged=0)


def scored(*values: float, limit: float = 3.0) -> list[Scored]:
    """Samples named after their scores; those above the limit were dropped."""
    states: list[tuple[Status, str]] = [("dropped", "odd") if value > limit else ("kept", "") for value in values]
    return [(value, *state, f"{value:g}") for value, state in zip(values, states, strict=True)]


def names(strip: tuple[object, ...]) -> list[str]:
    return [one.sample_id for one in strip]  # type: ignore[attr-defined]


def test_the_images_nearest_to_the_threshold_stand_beside_it_on_both_sides() -> None:
    values = [*range(3), 3, *range(4, 16)]
    (judge,) = judged(verdict(rule("kcf", 3.0), kcf={}), {"kcf": scored(*values[::-1])}, 20, lambda _: None)
    (shown,) = judge.scores
    assert names(shown.passes) == ["3", "2", "1", "0"]
    assert names(shown.fails) == ["8", "7", "6", "5", "4"]
    assert names(shown.clear_fails) == ["15", "14", "13", "12", "11"]
    assert shown.clear_passes == (), "there are no more than the nearest ones"
    assert (shown.count, shown.made, shown.failing) == (16, 20, 12)


def test_a_rule_that_drops_what_is_low_has_its_sides_the_other_way_round() -> None:
    low = rule("kcf", 3.0, kind="at_least")
    (judge,) = judged(verdict(low, kcf={}), {"kcf": scored(1, 2, 3, 4, 5)}, 5, lambda _: None)
    assert names(judge.scores[0].fails) == ["1", "2"]
    assert names(judge.scores[0].passes) == ["3", "4", "5"]


def test_a_rule_of_a_kind_of_somebody_elses_has_the_sides_that_its_images_have() -> None:
    odd = replace(rule("kcf", None, kind="every_other"), words="every other one")
    given = [(value, *(("dropped", "odd") if value in (4, 9) else ("kept", "")), f"{value:g}") for value in (1.0, 4.0, 5.0, 9.0)]
    (judge,) = judged(verdict(odd, kcf={}), {"kcf": given}, 4, lambda _: None)  # type: ignore[dict-item]
    assert names(judge.scores[0].fails) == ["9", "4"]
    assert names(judge.scores[0].passes) == ["5", "1"]


def test_a_judge_that_no_rule_asks_shows_its_lowest_and_highest_and_no_image_twice() -> None:
    given = verdict(rule("kcf", 3.0), kcf={}, sharpness={})
    found = judged(given, {"kcf": scored(1, 4), "sharpness": scored(5, 1, 3)}, 3, lambda _: None)
    assert [judge.facts.name for judge in found] == ["kcf", "sharpness"], "those that decide come first"
    (shown,) = found[1].scores
    assert shown.rule is None
    assert (names(shown.fails), names(shown.passes)) == (["1", "3"], ["5"])
    many = judged(given, {"sharpness": scored(*range(40))}, 40, lambda _: None)[1].scores[0]
    assert (names(many.fails), names(many.passes)) == (list("01234"), ["39", "38", "37", "36", "35"])
    assert len(many.fails) == BESIDE


def test_a_judge_that_nobody_here_knows_shows_up_with_its_scores() -> None:
    """By what its record says; of a record of before it said so, by its name; and no score is lost."""
    scores = {"tilt": scored(1, 2), "tilt_left": scored(1, 2), "kcf_official": scored(1, 2), "stray": scored(1, 2)}
    given = verdict(**{"spirit-level": {"scores": ["tilt", "tilt_left"]}, "kcf-official": {}})
    found = {judge.facts.name: judge for judge in judged(given, scores, 2, lambda _: None)}
    assert {name: [score.name for score in judge.scores] for name, judge in found.items()} == {
        "spirit-level": ["tilt"],
        "kcf-official": ["kcf_official"],
        "other scores": ["stray"],
    }
    assert found["spirit-level"].others == ("tilt_left",)


def test_a_judge_that_judged_nothing_is_there_without_a_score() -> None:
    (judge,) = judged(verdict(rule("kcf", 3.0), kcf={}), {}, 4, lambda _: None)
    assert judge.scores == judge.others == ()
    assert judged(None, {}, 4, lambda _: None) == ()


def test_cad_models_are_ordered_by_how_low_their_yield_surely_is() -> None:
    def model(name: str, kept: int, dropped: int) -> ReportModel:
        return ReportModel(cad_id=name, name=name, made=kept + dropped, kept=kept, dropped=dropped)

    models = [
        model("good", 38, 2),
        model("one of one", 0, 1),
        model("half", 10, 10),
        model("none", 0, 12),
        model("unjudged", 0, 0),
    ]
    dropped = [("none", "pose_inconsistent", "a"), ("none", "control_lost", "b"), ("none", "pose_inconsistent", "c")]
    low = lowest_yield(models, dropped, lambda _: None)
    assert [one.model.name for one in low] == ["none", "half", "one of one"]
    assert low[0].reasons == (("pose_inconsistent", 2), ("control_lost", 1))
    assert names(low[0].worst) == ["a", "b", "c"]
    assert lowest_yield([model("all", 5, 0)], [], lambda _: None) == ()


def told(drawn: str) -> dict[str, str]:
    return dict(line.split(": ") for line in re.findall(r"<title>(.*?)</title>", drawn))


def test_the_drop_rate_counts_each_viewpoint_and_the_front_is_one_field() -> None:
    given = [(359.0, 10.0, True), (1.0, 10.0, False), (14.0, 29.0, False), (180.0, -30.0, True), (200.0, 90.0, False)]
    fields = told(drop_rate(given, "dropped"))
    assert fields["0° around, 0° to 30° up"] == "1 of 3 dropped (33%)"
    assert fields["180° around, -90° to 0° up"] == "1 of 1 dropped (100%)"
    assert fields["180° around, 60° to 90° up"] == "0 of 1 dropped (0%)"
    assert fields["90° around, 0° to 30° up"] == "nothing judged"
    assert len(fields) == 3 * 12 + 4


def test_a_share_of_a_few_is_told_as_a_count() -> None:
    few, many = (str(drop_rate([(0.0, 10.0, i % 2 == 0) for i in range(n)], "")) for n in (4, 40))
    assert ">2 of 4</text>" in few
    assert ">50%</text>" in many
