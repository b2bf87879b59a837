"""The captioner `grammar`: English from a handful of words, no language model, no network.

Enters: the words of one picture (class, keywords, colour, material, scene, light, pose) and a random generator that picks the
phrasing. Leaves: one prompt. Section 3.2 of the paper completes "class name + CAD keywords" with a language model for variety;
here the variety comes from the shared word lists, and the training world captions its pictures through the same `compose`, so
that the embedded generator has seen every phrase it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np

from models.caption import vocabulary
from models.caption.protocol import Caption, CaptionRefused, CaptionRequest, CaptionSpec, Means, OneByOne

OPENINGS: tuple[str, ...] = ("", "a photo of ", "a photograph of ", "a picture of ")
"""How a prompt may begin; the plain noun phrase is the most frequent."""

STEEP_DEG = 75.0
"""Above this elevation (or below its negative) left, right, front and back are all the same picture: no side is named."""

PAIRED = re.compile(r"\b(binoculars|glasses|goggles|headphones|jeans|pliers|scissors|shorts|sunglasses|trousers|tweezers)$")
"""Nouns that English counts in pairs."""

COUNTED = re.compile(r"(?:\d+|two|three|four|five|six|eight|ten|twelve|many|several) .*s$")
"""Keywords that are parts, not kinds: `two doors` is said as "with two doors"."""

MAX_WORDS = 60
"""No prompt is longer, whatever the generator takes."""


@dataclass(frozen=True, kw_only=True)
class GrammarSpec(CaptionSpec):
    """Which words a caption is drawn from and how often each kind is said. Prompts of one sample differ only where these do."""

    implementation: ClassVar[str] = "models.caption.grammar:GrammarCaptioner"
    version: ClassVar[int] = 1

    kind: Literal["grammar"] = "grammar"
    grammar: int = 1
    """Revision of the grammar's phrasings; only the present one, 1, exists."""
    keyword_share: float = 1.0
    """Share of captions that name the CAD model's keywords."""
    colour_share: float = 0.9
    """Share of captions with a colour."""
    material_share: float = 0.7
    """Share of captions with a material."""
    scene_share: float = 0.9
    """Share of captions that say where the object stands."""
    light_share: float = 0.9
    """Share of captions that say how it is lit."""
    viewpoint_share: float = 0.9
    """Share of captions that say from where it is seen."""
    colours: tuple[str, ...] = tuple(vocabulary.COLOURS)
    """Colour words to draw from."""
    materials: tuple[str, ...] = vocabulary.MATERIALS
    """Material words to draw from."""
    scenes: tuple[str, ...] = tuple(vocabulary.SCENES)
    """Scene words to draw from."""
    lights: tuple[str, ...] = tuple(vocabulary.LIGHTS)
    """Light words to draw from, each only where the scene allows it (no sunset in a studio)."""
    max_keywords: int = 3
    """At most so many keywords of a CAD model are said, a fresh choice for each sample."""
    suffix: str = ""
    """Said at the end of every prompt, e.g. `highly detailed, sharp focus` for Stable Diffusion."""
    negative_prompt: str = ""
    """Negative prompt of every sample; the embedded generator is trained with the empty one."""

    def __post_init__(self) -> None:
        if self.grammar != 1:
            raise ValueError(f"caption grammar {self.grammar} does not exist; the only one is 1")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name} is {value}; it is a share and lies between 0 and 1")
        known = {
            "colours": vocabulary.COLOURS,
            "materials": vocabulary.MATERIALS,
            "scenes": vocabulary.SCENES,
            "lights": vocabulary.LIGHTS,
        }
        for name, words in known.items():
            chosen = getattr(self, name)
            strange = [word for word in chosen if word not in words]
            if strange:
                raise ValueError(f"caption {name} has no word {strange[0]!r}; known are: {', '.join(words)}")
            if not chosen:
                raise ValueError(f"caption {name} is empty; set {name[:-1]}_share to 0 to leave it unsaid")
        if self.max_keywords < 0:
            raise ValueError(f"max_keywords is {self.max_keywords}; it must be 0 or more")


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
    # Always drawn, so that one more word never changes the phrasing of the others.
    opening = OPENINGS[int(rng.choice(len(OPENINGS), p=(0.55, 0.2, 0.1, 0.15)))]
    order, comma = int(rng.integers(4)), bool(rng.random() < 0.3)

    noun, asides = noun_phrase(words)
    scene = vocabulary.SCENES[words.scene] if words.scene else ""
    light = vocabulary.LIGHTS[words.light] if words.light else ""
    place = (", " if comma else " ").join(part for part in (scene, light) if part)
    view = viewpoint(words.class_name, words.azimuth, words.elevation)
    head = opening + noun
    if order == 0 and view:
        parts = [head, view, place, *asides]
    elif order == 1 and view:
        parts = [view, " ".join(part for part in (noun, place) if part), *asides]
    else:
        parts = [" ".join(part for part in (head, place) if part), view, *asides]
    return ", ".join(part for part in parts if part)


def viewpoint(class_name: str, azimuth: float | None, elevation: float | None) -> str:
    """Return the phrase for where the camera stands, empty when nothing true and telling can be said."""
    steep = elevation is not None and abs(elevation) > STEEP_DEG
    side = vocabulary.side(azimuth) if azimuth is not None and not steep and vocabulary.has_sides(class_name) else ""
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
        elif COUNTED.match(keyword):
            after.append(f"with {keyword}")
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
    if PAIRED.search(name):
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


class GrammarCaptioner(OneByOne):
    """Draws a sample's words from the shared vocabulary and composes them: a pure function of the request and the spec."""

    def __init__(self, spec: GrammarSpec, means: Means | None = None) -> None:
        """means: not needed."""
        self.spec = spec

    def caption(self, request: CaptionRequest) -> Caption:
        """Return the caption of one sample. Raises CaptionRefused when not even the class name alone fits."""
        rng = request.sample.rng("caption")
        words = self._drawn(request, rng)
        phrasing = int(rng.integers(2**63))
        suffix = self.spec.suffix
        while True:
            prompt = compose(words, np.random.default_rng(phrasing)) + (f", {suffix}" if suffix else "")
            fits = request.most_tokens is None or tokens_at_most(prompt) <= request.most_tokens
            if fits and len(prompt.split()) <= MAX_WORDS:
                break
            # Least telling first: keywords from the end, then the suffix, light, scene, surface, viewpoint.
            if words.keywords:
                words = dataclasses.replace(words, keywords=words.keywords[:-1])
            elif suffix:
                suffix = ""
            elif words.light or words.scene:
                words = dataclasses.replace(words, light=None, scene=words.scene if words.light else None)
            elif words.material or words.colour:
                words = dataclasses.replace(words, material=None, colour=words.colour if words.material else None)
            elif words.azimuth is not None or words.elevation is not None:
                words = dataclasses.replace(words, azimuth=None, elevation=None)
            else:
                raise CaptionRefused("caption_too_long", f"class name {words.class_name[:40]!r} alone is too long for a prompt")
        return Caption(
            prompt=prompt,
            negative_prompt=self.spec.negative_prompt,
            words={
                "class_name": words.class_name,
                "keywords": list(words.keywords),
                "colour": words.colour,
                "material": words.material,
                "scene": words.scene,
                "light": words.light,
                "viewpoint": viewpoint(words.class_name, words.azimuth, words.elevation) or None,
            },
            captioner=self.spec.kind,
            revision=str(self.spec.grammar),
        )

    def draw(self, request: CaptionRequest) -> Words:
        """Return the words that a sample's caption is made of, before any is left out for its length."""
        return self._drawn(request, request.sample.rng("caption"))

    def _drawn(self, request: CaptionRequest, rng: np.random.Generator) -> Words:
        """Choose the words. All random numbers are drawn in any case, so that changing one share changes one kind of word."""
        spec = self.spec
        said = {kind: float(rng.random()) for kind in ("keyword", "colour", "material", "scene", "light", "viewpoint")}
        choice = {kind: float(rng.random()) for kind in ("colour", "material", "scene", "light")}
        order = rng.permutation(64)

        def pick(kind: str, among: Sequence[str]) -> str | None:
            if not among or said[kind] >= getattr(spec, f"{kind}_share"):
                return None
            return among[int(choice[kind] * len(among))]

        keywords = clean_keywords(request.keywords)[: len(order)]
        chosen = sorted(range(len(keywords)), key=lambda i: int(order[i]))[: spec.max_keywords]
        material = pick("material", spec.materials)
        colour = None if material == "wooden" else pick("colour", spec.colours)
        if material == "painted" and not colour:
            material = None  # "a painted car" says nothing, and the record holds only what is said
        scene = pick("scene", spec.scenes)
        lights = [light for light in spec.lights if scene is None or light in vocabulary.lights_of(scene)]
        views = said["viewpoint"] < spec.viewpoint_share
        return Words(
            class_name=_plain(request.class_name) or request.class_name,
            keywords=tuple(keywords[i] for i in sorted(chosen)) if said["keyword"] < spec.keyword_share else (),
            colour=colour,
            material=material,
            scene=scene,
            light=pick("light", lights),
            azimuth=request.azimuth_deg if views else None,
            elevation=request.elevation_deg if views else None,
        )


def clean_keywords(keywords: Sequence[str], longest: int = 40) -> list[str]:
    """Return keywords fit for a sentence: split at commas, no control characters, brackets or repeats, at most `longest`."""
    clean: list[str] = []
    for keyword in keywords:
        for part in re.split(r"[,;|]", keyword):
            words = _plain(part)
            while len(words) > longest and " " in words:
                words = words.rsplit(" ", 1)[0]
            words = words[:longest]
            if words and words.casefold() not in [known.casefold() for known in clean]:
                clean.append(words)
    return clean


def _plain(text: str) -> str:
    """Return one line of letters, digits and the marks that words are made with."""
    text = unicodedata.normalize("NFC", text).replace("_", " ")
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = re.sub(r"[^\w\s'’&+./°%-]", " ", text)
    return re.sub(r"^(?:an?|the) (?=\S)", "", " ".join(text.split()), flags=re.IGNORECASE).strip(" '’&+./-")


def tokens_at_most(text: str) -> int:
    """Return an upper bound of the CLIP tokens of `text`: the grammar's words are counted exactly, others as one token a byte."""
    count = 0
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        count += _own_words().get(word, max(1, len(word.encode())))
    return count


@functools.cache
def _own_words() -> dict[str, int]:
    """Return the CLIP tokens of each word the grammar itself may say (looked up once in CLIP's published merges)."""
    views = [vocabulary.side(azimuth) for azimuth in range(0, 360, 45)] + [vocabulary.height(e) for e in (-80, 30, 80)]
    phrases = [*vocabulary.COLOURS, *vocabulary.MATERIALS, *vocabulary.SCENES.values(), *vocabulary.LIGHTS.values()]
    text = " ".join([*phrases, *views, *OPENINGS, "an pair with without and two three four"])
    return {word: 2 if word in ("checkered", "marbled", "tiled") else 1 for word in re.findall(r"\w+", text)}
