"""Rules and decisions: pure functions of stored scores, in which what was not judged stays so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.kinds import BadSpec
from models.verdict.clip import ClipSpec
from models.verdict.decide import Decision, decide, why
from models.verdict.kinds import RULES
from models.verdict.pose import PoseSpec
from models.verdict.protocol import RuleSpec
from models.verdict.quality import QualitySpec
from models.verdict.rules import AtLeastSpec, AtMostSpec, BestShareSpec
from models.verdict.spec import CONTROL_LOST, POSE_INCONSISTENT, POSE_THRESHOLD, VerdictSpec
from models.verdict.text import TextSpec

NAN = float("nan")
POSE = AtMostSpec(score="kcf", threshold=3.0, reason=POSE_INCONSISTENT)
CONTROL = AtLeastSpec(score="fidelity", threshold=0.25, reason=CONTROL_LOST)


def decided(rules: dict[str, RuleSpec], **scores: list[float]) -> Decision:
    arrays = {name: np.array(values) for name, values in scores.items()}
    return decide(arrays, rules, max(map(len, scores.values())))


def test_a_lost_control_is_a_reason_of_its_own_and_the_first_rule_that_fails_is_named() -> None:
    made = decided({"pose": POSE, "control": CONTROL}, kcf=[0.0, 9.0, 0.0, 0.0], fidelity=[0.9, 0.1, 0.1, NAN])
    assert made.kept == (True, False, False, True)
    assert made.reasons == (None, POSE_INCONSISTENT, CONTROL_LOST, None)
    other_way = decided({"control": CONTROL, "pose": POSE}, kcf=[9.0], fidelity=[0.1])
    assert other_way.reasons == (CONTROL_LOST,)


def test_where_one_judge_could_not_judge_the_other_decides() -> None:
    rules = {"control": CONTROL, "pose": POSE}
    made = decided(rules, kcf=[NAN, NAN, 9.0, 1.0, NAN], fidelity=[0.9, 0.1, NAN, NAN, NAN])
    assert made.kept == (True, False, False, True, None)
    assert made.reasons == (None, CONTROL_LOST, POSE_INCONSISTENT, None, None)
    assert made.words == "kept: fidelity at least 0.25 (3 of 5 not judged); kcf at most 3 (3 of 5 not judged)"


def test_what_nobody_could_judge_is_neither_kept_nor_dropped() -> None:
    made = decided({"control": CONTROL, "pose": POSE}, kcf=[NAN, NAN], fidelity=[NAN, NAN])
    assert made.kept == made.reasons == (None, None)
    assert made.words == "not judged: no judge gave fidelity, kcf"
    assert decide({"kcf": np.zeros(2)}, {}, 2).kept == (None, None)
    assert decide({}, {"pose": POSE}, 0) == Decision(
        kept=(), reasons=(), failed=(), rules=decide({}, {"pose": POSE}, 0).rules, words=("not judged: no judge gave kcf")
    )


def test_a_rule_over_a_missing_score_abstains() -> None:
    made = decided({"control": CONTROL, "pose": POSE}, kcf=[1.0, 9.0])
    assert made.kept == (True, False)
    assert [rule["words"] for rule in made.rules] == ["fidelity not judged", "kcf at most 3"]


def test_the_decision_names_rules_scores_thresholds_and_reasons_in_json() -> None:
    made = decided({"pose": POSE, "best": BestShareSpec(score="kcf", share=0.5, reason="worst_half")}, kcf=[1.0, 2.0, 3.0, 4.0])
    assert json.loads(json.dumps(made.rules, allow_nan=False)) == [
        {
            "name": "pose",
            "kind": "at_most",
            "score": "kcf",
            "threshold": 3.0,
            "reason": POSE_INCONSISTENT,
            "words": "kcf at most 3",
        },
        {
            "name": "best",
            "kind": "best_share",
            "score": "kcf",
            "threshold": 2.5,
            "reason": "worst_half",
            "words": "kcf at most 2.500, the best 50%",
        },
    ]
    assert made.kept == (True, True, False, False)


def test_the_threshold_itself_passes_on_either_side() -> None:
    assert decided({"pose": POSE}, kcf=[3.0]).kept == (True,)
    assert decided({"control": CONTROL}, fidelity=[0.25]).kept == (True,)


def test_the_best_share_is_kept_of_those_that_were_judged() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    scores[:40] = NAN
    best = BestShareSpec(score="kcf", share=0.75, reason="worst_quarter")
    kept = decide({"kcf": scores}, {"best": best}, 200).kept
    assert kept[:40] == (None,) * 40
    assert kept.count(True) == 120
    passes, _, threshold = RULES.load(BestShareSpec(score="kcf", share=1.0, reason="none")).decide(scores)
    assert threshold == np.nanmax(scores)
    assert all(passes[40:])
    highest = BestShareSpec(score="kcf", share=0.25, best="highest", reason="worst")
    kept = decide({"kcf": scores}, {"best": highest}, 200).kept
    assert {float(score) >= np.nanquantile(scores, 0.75) for score, ok in zip(scores, kept) if ok} == {True}
    assert RULES.load(best).decide(np.full(3, NAN)) == ([None] * 3, "kcf not judged", None)


@pytest.mark.parametrize("rule", [POSE, CONTROL, BestShareSpec(score="kcf", share=0.5, reason="worst_half")])
def test_rules_are_pure(rule: RuleSpec) -> None:
    values = np.array([1.0, NAN, 5.0, 0.1])
    values.setflags(write=False)
    loaded = RULES.load(rule)
    assert loaded.decide(values) == loaded.decide(values) == RULES.load(rule).decide(values.copy())


def test_scores_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values of kcf for 3 images"):
        decide({"kcf": np.zeros(2)}, {"pose": POSE}, 3)


def test_the_defaults_are_those_of_the_paper_and_of_the_controls_own_measure() -> None:
    spec = VerdictSpec()
    assert {name: judge.kind for name, judge in spec.judges.items()} == {"fidelity": "fidelity", "kcf": "kcf"}
    assert dict(spec.rules) == {"control": CONTROL, "pose": replace(POSE, threshold=POSE_THRESHOLD)}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"kind": "at_mots", "score": "kcf", "reason": "x", "threshold": 1},
            "no rule of kind 'at_mots'; did you mean \"at_most\"?",
        ),
        ({"kind": "best_share", "score": "kcf", "reason": "x", "share": 3.0}, "share is 3.0"),
        ({"kind": "at_most", "score": "kcf", "reason": "Not So", "threshold": 1}, "lower-case words"),
        ({"kind": "at_most", "score": "kcf", "reason": "x", "threshold": float("inf")}, "threshold"),
        ({"kind": "at_most", "score": "kcf", "reason": "x", "threshold": 1, "share": 0.5}, 'has no field "share"'),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(wrong: dict[str, object], line: str) -> None:
    with pytest.raises(BadSpec, match=line.replace("?", "\\?")):
        RULES.read(wrong, "verdict.rules.x")


def test_a_dropped_image_says_in_words_which_judge_weighed_most_and_what_it_saw() -> None:
    spec = VerdictSpec()
    scores = {"kcf": 5.24, "kcf_azimuth": 6.0, "kcf_elevation": 0.1, "fidelity": 0.9, "fidelity_canny": 0.9}
    assert why(spec.rules["pose"], spec.judges, scores, {}) == (
        "kcf: models that learned from the other CAD models see another azimuth (5.2 above the usual)"
    )
    lost = {"fidelity": 0.1, "fidelity_canny": 0.1, "fidelity_depth": 0.7, "kcf": None}
    assert why(spec.rules["control"], spec.judges, lost, {}) == "fidelity: canny is not found again in the image (10% of it)"
    bus = {"text": 0.03, "text_class": 0.03, "text_colour": 0.8}
    assert why(AtLeastSpec(score="text", threshold=0.2, reason="bad"), {"text": TextSpec()}, bus, {}) == (
        "text: does not look like the class (read with a probability of 3%)"
    )
    far = {"clip": 0.31, "clip_class": 0.6}
    assert why(AtLeastSpec(score="clip", threshold=0.5, reason="bad"), {"clip": ClipSpec(model="here")}, far, {}) == (
        "clip: the picture is far from its caption (CLIPScore 0.31)"
    )
    seen = {"pose": 4.0, "pose_read_azimuth": 181.0, "pose_read_elevation": 10.0}
    front = {"azimuth_deg": 2.0, "elevation_deg": 10.0}
    assert why(AtMostSpec(score="pose", threshold=2.0, reason="bad"), {"pose": PoseSpec()}, seen, front) == (
        "pose: reads as seen from behind, annotated from the front"
    )
    blurred = {"quality": 0.0, **{f"quality_{name}": value for name, value in (("light", 0.5), ("blur", 0.9), ("noise", 0.0))}}
    assert why(AtLeastSpec(score="quality", threshold=0.2, reason="bad"), {"quality": QualitySpec()}, blurred, {}) == (
        "quality: blurred (blur 0.90)"
    )
