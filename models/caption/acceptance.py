"""Whether an answer of a language model can be used as a caption.

Enters: a text, and what was asked for. Leaves: None, or the first reason why it cannot be used. The rules know English and the
conventions of models.caption.vocabulary; they are strict where a wrong word spoils the picture or its annotation, and silent
about style.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.caption import vocabulary
from models.caption.protocol import CaptionRequest

FEWEST_WORDS, MOST_WORDS = 4, 60


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a text is no caption."""

    reason: str
    """Short snake-case name."""
    why: str
    """For people, and for the model that is asked again: "it does not name the class (car)"."""


_LEAKS = re.compile(
    r"\b(?:captions?|prompts?|instructions?|keywords?|json|as an ai|language model|(?:i|we) (?:can(?:not|'t)|will|would|am)|"
    r"sorry|sure|certainly|here(?: is|'s)|of course|ignore (?:all|any|the|previous)|system message|cad models?|text-to-image)\b"
    r"|https?:|www\.|[{}<>\[\]|`#*_\\]|\$\w",
    re.IGNORECASE,
)
"""What belongs to the conversation and not to a picture."""

_THINGS = (
    "man", "men", "woman", "women", "person", "people", "child", "children", "boy", "girl", "driver", "passenger", "pedestrian",
    "crowd", "owner", "dog", "cat", "horse", "cow", "bird", "sheep", "car", "truck", "bus", "van", "motorcycle", "motorbike",
    "bicycle", "bike", "scooter", "tram", "train", "tractor", "airplane", "aeroplane", "plane", "helicopter", "boat", "ship",
    "chair", "armchair", "sofa", "couch", "bench", "stool", "lamp", "teapot", "cup", "mug", "guitar", "piano", "bottle", "vase",
    "laptop", "television",
)  # fmt: skip
"""Things that would be a second object beside the one that is asked for. What objects stand on (tables, shelves) is none."""

_NUMBERS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
_COUNT = re.compile(rf"\b(\d+|{'|'.join(_NUMBERS)})[ -]([a-z]+)", re.IGNORECASE)


def refusal(
    text: str,
    request: CaptionRequest,
    synonyms: Sequence[str] = (),
    taken: Mapping[str, str] | None = None,
) -> Refusal | None:
    """Return why `text` cannot be the caption of `request`, or None where it can.

    synonyms: other words for the class. taken: the class's captions in lower case and whose they are; those of other samples are
    not repeated.
    """
    names = class_names(request.class_name, synonyms)
    words = text.split()
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
        return Refusal(reason="not_a_sentence", why=f"it has {len(words)} words, not {FEWEST_WORDS} to {MOST_WORDS}")
    if "\n" in text:
        return Refusal(reason="not_one_line", why="it has more than one line")
    if leak := _LEAKS.search(text):
        return Refusal(reason="leaks_instructions", why=f'"{leak[0]}" does not belong into a caption')
    if not any(_names(name).search(text) for name in names):
        return Refusal(reason="class_not_named", why=f"it does not name the class ({request.class_name})")
    if found := _second_object(text, names, request.keywords):
        return Refusal(reason="second_object", why=f'"{found}" is a second object')
    if found := _other_view(text, request):
        return Refusal(reason="other_viewpoint", why=f'"{found}" contradicts from where it is seen')
    if found := _against_keywords(text, names, request.keywords):
        return Refusal(reason="against_keywords", why=found)
    if taken is not None and taken.get(text.casefold(), str(request.sample)) != str(request.sample):
        return Refusal(reason="repeated", why="it was written for another picture already")
    return None


def too_long(prompt: str, request: CaptionRequest) -> Refusal | None:
    """Return why the generator cannot read all of a prompt, or None where it can."""
    if request.count is None or request.most_tokens is None or (tokens := request.count(prompt)) <= request.most_tokens:
        return None
    return Refusal(reason="too_long", why=f"it has {tokens} tokens, the generator reads {request.most_tokens}: make it shorter")


def class_names(class_name: str, synonyms: Sequence[str] = ()) -> list[str]:
    """Return the words that name a class: its name, what it is the last word of (mug for coffee mug), synonyms."""
    name = " ".join(class_name.replace("_", " ").split())
    return list(dict.fromkeys(word.casefold() for word in (name, name.split()[-1] if name else "", *synonyms) if word))


@functools.lru_cache(maxsize=256)
def _names(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?!\w)", re.IGNORECASE)


@functools.lru_cache(maxsize=256)
def _several(name: str) -> re.Pattern[str]:
    plural = re.escape(name) + ("(?:es)" if re.search(r"(?:s|x|ch|sh)$", name) else "s")
    return re.compile(rf"(?<![\w-]){plural}(?!\w)|\b(?:another|second|several) (?:\w+ )?{re.escape(name)}\b", re.IGNORECASE)


def _second_object(text: str, names: Sequence[str], keywords: Sequence[str]) -> str:
    """Return the words of a second object, "" where there is none."""
    known = " ".join([*names, *keywords]).casefold()
    for name in names:
        # Pairs are one object, and so is what is many by its own name.
        if not name.endswith("s") and (found := _several(name).search(text)):
            return found[0]
    for thing in _THINGS:
        if thing not in known and (found := re.search(rf"(?<![\w-]){thing}s?(?![\w'-])", text, re.IGNORECASE)):
            return found[0]
    return ""


def _near(middle: float, within: float) -> Callable[[float, float], bool]:
    return lambda azimuth, elevation: abs((azimuth - middle + 180.0) % 360.0 - 180.0) <= within


_FROM = r"(?:seen|viewed|shot|photographed|view|looking)? ?from (?:directly )?"
_SIDES: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
    (rf"{_FROM}(?:behind|the (?:rear|back))\b|\b(?:rear|back|rear three-quarter) view", _near(180.0, 100.0)),
    (rf"{_FROM}the front\b|\b(?:front|frontal|front three-quarter) view", _near(0.0, 100.0)),
    (r"\bhead[- ]on\b|\bfac(?:es|ing) (?:the )?(?:camera|viewer|us)\b", _near(0.0, 60.0)),
    (rf"{_FROM}(?:the|its) left\b|\b(?:front|behind on the) left\b|\bleft (?:side|profile)", _near(90.0, 100.0)),
    (rf"{_FROM}(?:the|its) right\b|\b(?:front|behind on the) right\b|\bright (?:side|profile)", _near(270.0, 100.0)),
    # Seen from its own left, a thing's front is on the picture's left.
    (r"\b(?:facing|pointing|heading|turned) (?:to the )?left\b", _near(90.0, 100.0)),
    (r"\b(?:facing|pointing|heading|turned) (?:to the )?right\b", _near(270.0, 100.0)),
    (
        rf"{_FROM}the side\b|\b(?:side view|in profile|side profile)",
        lambda azimuth, elevation: abs((azimuth - 90.0 + 90.0) % 180.0 - 90.0) <= 65.0,
    ),
)
_HEIGHTS: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
    (
        r"\b(?:top[- ]down|bird'?s[- ]eye|overhead|aerial|from high above|from the top)\b",
        lambda azimuth, elevation: elevation > 35.0,
    ),
    (r"\b(?:from (?:slightly )?above|high[- ]angle)\b", lambda azimuth, elevation: elevation > 5.0),
    (r"\b(?:from (?:slightly )?below|from underneath|worm'?s[- ]eye)\b", lambda azimuth, elevation: elevation < -2.0),
    (r"\blow[- ]angle\b", lambda azimuth, elevation: elevation < 15.0),
    (r"\b(?:at|from) eye[- ]level\b", lambda azimuth, elevation: abs(elevation) < 30.0),
)
"""Phrases of a viewpoint, and whether they are true of an azimuth and an elevation in degrees (docs/conventions.md)."""


def _other_view(text: str, request: CaptionRequest) -> str:
    """Return the words of a viewpoint that is not the picture's, "" where there are none."""
    steep = abs(request.elevation_deg) > 75.0
    sides = _SIDES if vocabulary.has_sides(request.class_name) and not steep else ()
    for pattern, true in (*sides, *_HEIGHTS):
        found = re.search(pattern, text, re.IGNORECASE)
        if found and not true(request.azimuth_deg, request.elevation_deg):
            return found[0].strip()
    return ""


def _against_keywords(text: str, names: Sequence[str], keywords: Sequence[str]) -> str:
    """Return how the text contradicts a keyword, "" where it does not: another number, with for without, another colour."""
    told = _counts(text)
    for keyword in keywords:
        for thing, number in _counts(keyword).items():
            if thing in told and told[thing] != number:
                return f'it has another number of {thing}s than "{keyword}"'
        lacks = re.match(r"without (?:an? |the )?(\w+)", keyword, re.IGNORECASE)
        if lacks and re.search(rf"\bwith (?:\w+ ){{0,2}}{re.escape(lacks[1])}", text, re.IGNORECASE):
            return f'it gives the object what it has not: "{keyword}"'
        has = re.match(r"with (?:an? |the )?(?:\w+ )?(\w+)$", keyword, re.IGNORECASE)
        if has and re.search(rf"\bwithout (?:\w+ ){{0,2}}{re.escape(has[1])}", text, re.IGNORECASE):
            return f'it takes from the object what it has: "{keyword}"'
    said = {colour for colour in vocabulary.COLOURS for keyword in keywords if colour in keyword.casefold().split()}
    if said:
        before = r"(?:\w+ ){0,2}(?:" + "|".join(re.escape(name) for name in names) + r")\b"
        for colour in vocabulary.COLOURS:
            if colour not in said and re.search(rf"\b{colour} {before}", text, re.IGNORECASE):
                return f"its colour is {' and '.join(sorted(said))}, not {colour}"
    return ""


def _counts(text: str) -> dict[str, int]:
    """Return thing -> how many: {"door": 4} of "a four-door car" and of "4 doors"."""
    found: dict[str, int] = {}
    for number, thing in _COUNT.findall(text):
        found[thing.casefold().removesuffix("s")] = int(number) if number.isdigit() else _NUMBERS[number.casefold()]
    return found
