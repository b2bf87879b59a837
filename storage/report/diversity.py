"""How much the captions of a class differ from each other.

Enters: prompts. Leaves: figures in 0..1: distinct-n, the share of different word sequences among all of n words (Li et al. 2016,
"A Diversity-Promoting Objective Function"), and self-BLEU, how well the others foretell a caption (Zhu et al. 2018, "Texygen";
BLEU-4 with smoothing method 1 of Chen and Cherry 2014). High distinct-n and low self-BLEU are what varied captions have.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 4
"""Words in the longest sequence that BLEU compares."""
AT_MOST = 200
"""Captions that self-BLEU compares with each other, evenly taken: its cost grows with their square."""
_SMALL = 0.1
"""What stands for no common sequence at all."""

Grams = Counter[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """How varied some captions are."""

    captions: int
    """How many."""
    repeated: int
    """Of them, those that another one repeats word for word."""
    words: float
    """How long they are on average."""
    distinct_1: float
    """Different words among all."""
    distinct_2: float
    """Different pairs of words among all."""
    self_bleu: float
    """How well the others foretell a caption; NaN for fewer than two."""


def diversity(prompts: Sequence[str]) -> Diversity:
    """Return how varied prompts are. Case and punctuation do not count."""
    told = [re.findall(r"[\w'-]+", prompt.casefold()) for prompt in prompts]
    step = max(1, len(told) / AT_MOST)
    some = [told[int(index * step)] for index in range(min(AT_MOST, len(told)))]
    return Diversity(
        captions=len(prompts),
        repeated=len(prompts) - len(set(map(str.casefold, prompts))),
        words=sum(map(len, told)) / len(told) if told else 0.0,
        distinct_1=_distinct(told, 1),
        distinct_2=_distinct(told, 2),
        self_bleu=_self_bleu(some),
    )


def _grams(words: Sequence[str], length: int) -> Grams:
    return Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))


def _distinct(told: Sequence[Sequence[str]], length: int) -> float:
    found: Grams = Counter()
    for words in told:
        found.update(_grams(words, length))
    return len(found) / found.total() if found else 0.0


def _self_bleu(told: Sequence[Sequence[str]]) -> float:
    """Return the mean BLEU of each caption with all others as its references."""
    if len(told) < 2:
        return float("nan")
    lengths = sorted(len(words) for words in told)
    scores = [0.0] * len(told)
    for length in range(1, LONGEST + 1):
        counts = [_grams(words, length) for words in told]
        # The two captions that say a sequence most often: one of them is another caption than the one looked at.
        most: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for index, grams in enumerate(counts):
            for gram, count in grams.items():
                most[gram] = sorted([*most.get(gram, []), (count, index)], reverse=True)[:2]
        for index, grams in enumerate(counts):
            total = max(1, grams.total())
            common = sum(
                min(count, next((other for other, whose in most[gram] if whose != index), 0)) for gram, count in grams.items()
            )
            scores[index] += math.log(max(common, _SMALL) / total) / LONGEST
    return sum(math.exp(score) * _brevity(len(words), lengths) for score, words in zip(scores, told, strict=True)) / len(told)


def _brevity(length: int, lengths: Sequence[int]) -> float:
    """Return BLEU's penalty for a caption that is shorter than the nearest of the others."""
    others = list(lengths)
    others.remove(length)
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length >= nearest or not length else math.exp(1.0 - nearest / length)
