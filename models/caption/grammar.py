"""Captions by grammar: English from a handful of words, no language model, no network.

Enters: the words of one picture (class, keywords, colour, material, scene, light, pose) and a random generator that picks the
phrasing. Leaves: one prompt. Section 3.2 of the paper completes "class name + CAD keywords" with a language model for variety;
here the variety comes from the shared word lists, and the training world captions its pictures through the same `compose`, so
that the embedded generator has seen every phrase it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.caption import vocabulary

OPENINGS: tuple[str, ...] = ("", "a photo of ", "a photograph of ", "a picture of ")
"""How a prompt may begin; the plain noun phrase is the most frequent."""

STEEP_DEG = 75.0
"""Above this elevation (or below its negative) left, right, front and back are all the same picture: no side is named."""

PAIRED = frozenset("binoculars glasses goggles headphones jeans pliers scissors shorts sunglasses trousers tweezers".split())
"""Nouns that English counts in pairs."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a caption may speak of. Whatever is None or empty stays unsaid."""

    class_name: str
    """The class as people write it, e.g. `coffee mug`."""
    keywords: tuple[str, ...] = ()
    """What is known of the CAD model: `hatchback`, `city car`, `with two handles`."""
    colour: str | None = None
    """A key of vocabulary.COLOURS."""
    material: str | None = None
    """One of vocabulary.MATERIALS."""
    scene: str | None = None
    """A key of vocabulary.SCENES."""
    light: str | None = None
    """A key of vocabulary.LIGHTS."""
    azimuth: float | None = None
    """Degrees; 0 looks at the front, 90 at the object's own left. None for what looks alike from all sides."""
    elevation: float | None = None
    """Degrees; 90 looks straight down."""


def compose(words: Words | Mapping[str, Any], rng: np.random.Generator) -> str:
    """Return one English prompt that says all of `words`; `rng` picks the phrasing and nothing else.

    Takes a Words or a mapping of its fields (colour, material, scene and light as keys of the shared vocabulary; unknown
    ones raise ValueError). Example: "a red metallic hatchback car on grass at sunset, seen from behind, from above".
    """
    if not isinstance(words, Words):
        words = Words(**{**words, "keywords": tuple(words.get("keywords") or ())})
    _check(words)
    # Every draw is made in every branch, so that one more word never changes the phrasing of the others.
    opening = OPENINGS[int(rng.choice(len(OPENINGS), p=(0.55, 0.2, 0.1, 0.15)))]
    order, comma = int(rng.integers(4)), bool(rng.random() < 0.3)

    noun, asides = noun_phrase(words)
    scene = vocabulary.SCENES[words.scene] if words.scene else ""
    light = vocabulary.LIGHTS[words.light] if words.light else ""
    place = (", " if comma else " ").join(part for part in (scene, light) if part)
    view = viewpoint(words.azimuth, words.elevation)
    head = opening + noun
    if order == 0 and view:
        parts = [head, view, place, *asides]
    elif order == 1 and view:
        parts = [view, " ".join(part for part in (noun, place) if part), *asides]
    else:
        parts = [" ".join(part for part in (head, place) if part), view, *asides]
    return ", ".join(part for part in parts if part)


def viewpoint(azimuth: float | None, elevation: float | None) -> str:
    """Return the phrase for where the camera stands, empty when nothing true and telling can be said."""
    steep = elevation is not None and abs(elevation) > STEEP_DEG
    side = vocabulary.side(azimuth) if azimuth is not None and not steep else ""
    height = vocabulary.height(elevation) if elevation is not None else ""
    if side and height:
        return f"{side}, {height}"
    return side or (f"seen {height}" if height else "")


def noun_phrase(words: Words) -> tuple[str, list[str]]:
    """Return ("a red metallic hatchback car with two doors", asides): the asides are keywords that fit no place in it."""
    name = words.class_name
    before = ""
    after: list[str] = []
    asides: list[str] = []
    for keyword in words.keywords:
        if keyword == words.class_name:
            continue
        if keyword.startswith(("with ", "without ", "of ", "for ", "in ")):
            after.append(keyword)
        elif keyword.endswith(f" {words.class_name}") and name == words.class_name and not before:
            name = keyword
        elif not before and name == words.class_name and len(keyword.split()) <= 2:
            before = keyword
        else:
            asides.append(keyword)
    surface = [words.colour or "", "" if words.material == "painted" and not words.colour else words.material or ""]
    if words.material == "wooden":
        surface[0] = ""
    if words.material == "two-tone":
        surface.reverse()
    phrase = " ".join(part for part in (*surface, before, name, " and ".join(after)) if part)
    if name.split()[-1] in PAIRED:
        return f"a pair of {phrase}", asides
    return f"{article(phrase)} {phrase}", asides


def article(phrase: str) -> str:
    """Return the indefinite article of `phrase` by the sound it begins with."""
    word = re.split(r"[^\w]", phrase.strip(), maxsplit=1)[0]
    if word.isupper() and len(word) <= 4:  # spelled out letter by letter: an SUV, an LED lamp, a USB stick
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    low = word.lower()
    if re.match(r"(?:8|11$|18$|hour|honest|honou?r|heir)", low):
        return "an"
    if re.match(r"(?:eu|ewe|one|once|ouija|ubiq|uk|uni(?!n)|ura|uri|us[aeiu]|ut[eio]|utah)", low):
        return "a"
    return "an" if low[:1] in "aeiouàáâäåæèéêëìíîïòóôöøùúûü" and low else "a"


def _check(words: Words) -> None:
    known: tuple[tuple[str, str | None, Any], ...] = (
        ("colour", words.colour, vocabulary.COLOURS),
        ("material", words.material, vocabulary.MATERIALS),
        ("scene", words.scene, vocabulary.SCENES),
        ("light", words.light, vocabulary.LIGHTS),
    )
    for kind, word, words_of_kind in known:
        if word is not None and word not in words_of_kind:
            raise ValueError(f"no such {kind} {word!r}; known are: {', '.join(words_of_kind)}")
