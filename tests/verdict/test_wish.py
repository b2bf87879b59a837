"""Wishes: what they are read as, and that their thresholds keep what they promise where probabilities are calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from models.verdict.decide import decide
from models.verdict.rules import AtLeastSpec, AtMostSpec, BestShareSpec
from models.verdict.wish import PRIOR, WishSpec, asked, at_home

NAN = float("nan")


@pytest.mark.parametrize(
    ("keep", "rules"),
    [
        ("lose 5%", {"wish": WishSpec(lose=0.05)}),
        ("Lose at most 2.5 % of the good images", {"wish": WishSpec(lose=0.025)}),
        ("2% left", {"wish": WishSpec(left=0.02)}),
        ("at most 2 percent failures left", {"wish": WishSpec(left=0.02)}),
        (
            "kcf at most 2.5 and fidelity >= 0.3",
            {
                "kcf": AtMostSpec(score="kcf", threshold=2.5, reason="kcf_too_high"),
                "fidelity": AtLeastSpec(score="fidelity", threshold=0.3, reason="fidelity_too_low"),
            },
        ),
        ("best 80% by lowest kcf", {"kcf": BestShareSpec(score="kcf", share=0.8, reason="kcf_not_of_the_best")}),
    ],
)
def test_what_a_person_asks_for_is_read_as_rules(keep: str, rules: dict[str, object]) -> None:
    assert asked(keep) == rules


@pytest.mark.parametrize(
    "keep", ["", "lose", "lose much", "lose 0%", "lose 100%", "kcf below 3", "lose 5% and 2% left", "drop 5%"]
)
def test_what_cannot_be_asked_for_is_one_line(keep: str) -> None:
    with pytest.raises(ValueError, match=r"%|between|two things") as refused:
        asked(keep)
    assert "\n" not in str(refused.value)


def calibrated(count: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of failure as a calibrated judge gives them at the prior, and which failed, at another share of failures."""
    rng = np.random.default_rng(seed)
    failed = rng.random(count) < share
    evidence = rng.normal(np.where(failed, 1.5, -1.5), np.sqrt(3.0))
    odds = PRIOR / (1 - PRIOR) * np.exp(evidence)
    return odds / (1 + odds), failed


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_a_wish_keeps_its_promise_at_whatever_share_of_failures(share: float) -> None:
    values, failed = calibrated(6000, share)
    assert at_home(values).mean() == pytest.approx(share, abs=0.02)
    for wish, lost, left in ((WishSpec(lose=0.05), 0.05, None), (WishSpec(left=0.02), None, 0.02)):
        made = decide({"ensemble": values}, {"wish": wish}, len(values))
        kept = np.array(made.kept, bool)
        expected = made.rules[0]["expected"]
        if lost is not None:
            assert (~kept)[~failed].mean() == pytest.approx(lost, abs=0.012)
        if left is not None and failed.mean() > left:
            assert failed[kept].mean() == pytest.approx(left, abs=0.012)
        assert failed[~kept].mean() == pytest.approx(expected["precision"], abs=0.05)
        assert (~kept)[failed].mean() == pytest.approx(expected["recall"], abs=0.05)
        assert f"{expected['recall']:.0%} of the failures dropped" in made.words


def test_what_has_no_probability_is_not_judged_and_without_any_there_is_no_threshold() -> None:
    made = decide({"ensemble": np.array([0.01, NAN, 0.97])}, {"wish": WishSpec(left=0.02)}, 3)
    assert made.kept == (True, None, False)
    assert made.reasons == (None, None, "likely_failed")
    assert made.words.endswith("(1 of 3 not judged)")
    none = decide({"ensemble": np.full(2, NAN)}, {"wish": WishSpec(lose=0.05)}, 2)
    assert none.kept == (None, None)
    assert none.rules[0]["threshold"] is None
    assert "expected" not in none.rules[0]


def test_images_alike_are_kept_or_dropped_together() -> None:
    made = decide({"ensemble": np.full(50, 0.3)}, {"wish": WishSpec(lose=0.05)}, 50)
    assert set(made.kept) == {True}


def test_where_all_have_surely_failed_none_is_kept_for_the_sake_of_its_odds() -> None:
    made = decide({"ensemble": np.array([0.9999, 0.9995, 0.9998])}, {"wish": WishSpec(lose=0.05)}, 3)
    assert made.kept == (False, False, False)
    assert made.rules[0]["expected"]["lost"] < 0.05
    assert "to lose at most 5% of the good ones" in made.words


@pytest.mark.parametrize("said", [{}, {"lose": 0.1, "left": 0.1}, {"lose": 1.5}, {"left": 0.0}])
def test_a_wish_says_one_share(said: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"one of the two|share between"):
        WishSpec(**said)
