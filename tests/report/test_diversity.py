"""Figures of how varied captions are, worked out by hand or held against nltk's definition."""

from __future__ import annotations

import math

import pytest

from storage.report.diversity import diversity


def test_captions_that_repeat_each_other_are_foretold_by_each_other() -> None:
    found = diversity(["a red car on grass", "a red car on grass", "A red car, on grass"])
    assert (found.captions, found.repeated) == (3, 1)
    assert found.self_bleu == pytest.approx(1.0)
    assert found.distinct_1 == pytest.approx(5 / 15)
    assert found.distinct_2 == pytest.approx(4 / 12)
    assert found.words == 5.0


def test_captions_with_nothing_in_common_are_not_foretold() -> None:
    found = diversity(["one two three four", "five six seven eight"])
    # No common sequence of any length: 0.1/4, 0.1/3, 0.1/2 and 0.1/1.
    assert found.self_bleu == pytest.approx(math.exp(sum(math.log(0.1 / n) for n in (4, 3, 2, 1)) / 4))
    assert found.distinct_1 == 1.0


def test_a_caption_is_held_against_all_others_at_once() -> None:
    found = diversity(["a red car on grass", "a red car at night", "blue boats on grass sail"])
    # First: 5 of 5 words, pairs a-red, red-car, on-grass of 4, a-red-car of 3, none of 2.
    first = math.exp((math.log(5 / 5) + math.log(3 / 4) + math.log(1 / 3) + math.log(0.1 / 2)) / 4)
    second = math.exp((math.log(3 / 5) + math.log(2 / 4) + math.log(1 / 3) + math.log(0.1 / 2)) / 4)
    third = math.exp((math.log(2 / 5) + math.log(1 / 4) + math.log(0.1 / 3) + math.log(0.1 / 2)) / 4)
    assert found.self_bleu == pytest.approx((first + second + third) / 3)


def test_a_short_caption_pays_for_its_brevity() -> None:
    found = diversity(["a red car", "a red car on the grass"])
    short = math.exp(1 - 6 / 3) * math.exp((0 + 0 + 0 + math.log(0.1 / 1)) / 4)
    long = math.exp((math.log(3 / 6) + math.log(2 / 5) + math.log(1 / 4) + math.log(0.1 / 3)) / 4)
    assert found.self_bleu == pytest.approx((short + long) / 2)


def test_no_caption_and_one_caption_are_no_error() -> None:
    assert diversity([]).captions == 0
    assert math.isnan(diversity(["a car"]).self_bleu)
