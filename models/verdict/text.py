"""The judge `text`: does the picture show what its words say?

Enters: images with the mask of their render, their class and the words that the generator was given. Leaves: `text_class`, how
likely the embedded readouts (models.evaluation.readouts, which learned from rendered pictures alone) hold the object for one of
its class, `text_colour`, how likely it has the colour that the words say, and `text`, the lower of the two; all in 0..1, low is
suspect. They know some classes and eleven colours: a class or a colour that they do not know, or that is not said, is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.control.protocol import ControlSpec
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

Floats = NDArray[np.float64]

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class TextSpec(JudgeSpec):
    """The bundled readouts; there is nothing to set."""

    implementation: ClassVar[str] = "models.verdict.text:Text"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("text", "text_class", "text_colour")

    kind: Literal["text"] = "text"

    def identity(self, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, Any]:
        """Return which readouts these are."""
        from models.evaluation import readouts

        return {"readouts": readouts.bundled_digest()}

    def lacking(self) -> str | None:
        """Return that the readouts are not there, in one line; None where they are."""
        from models.evaluation import readouts

        if readouts.BUNDLED.exists():
            return None
        return f"the embedded readouts are not at {readouts.BUNDLED}; install the project again, or copy them there"

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return which word the picture does not show."""
        words = {"class": scores.get("text_class"), "colour of its caption": scores.get("text_colour")}
        said = {word: value for word, value in words.items() if value is not None}
        if not said:
            return super().in_words(scores, annotation)
        wrong = min(said, key=lambda word: said[word])
        return f"does not look like the {wrong} (read with a probability of {said[wrong]:.0%})"


class Text:
    """Asks the readouts about each image's class and colour."""

    def __init__(self, spec: TextSpec, device: str = "cpu", threads: int | None = None) -> None:
        """device: as every judge is given it; the readouts are small enough for a processor."""
        from models.evaluation import readouts

        self.readouts = readouts.load(threads=threads or 0)

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return the scores of each image by itself, NaN where it has no render, or nothing is said that the readouts know."""
        scores = {name: np.full(len(evidence), np.nan) for name in TextSpec.scores}
        for start in range(0, len(evidence), _BATCH):
            rows = range(start, min(start + _BATCH, len(evidence)))
            masks = {index: mask for index in rows if (mask := evidence[index].mask()) is not None}
            if masks:
                self._ask(evidence, masks, scores)
            if progress:
                progress(rows[-1] + 1, len(evidence))
        scores["text"] = np.fmin(scores["text_class"], scores["text_colour"])
        return Judgement(scores=scores, facts={"words": self._words(scores)}, not_judged=_why_not(evidence, scores["text"]))

    def _ask(self, evidence: Sequence[Evidence], masks: dict[int, NDArray[np.uint8]], scores: dict[str, Floats]) -> None:
        told = [evidence[index].class_name for index in masks]
        pictures = [evidence[index].image() for index in masks]
        fitting = [_as_large(mask, picture) for mask, picture in zip(masks.values(), pictures, strict=True)]
        said = self.readouts.probabilities(pictures, fitting, told)
        for place, (index, class_name) in enumerate(zip(masks, told, strict=True)):
            if class_name in self.readouts.classes:
                scores["text_class"][index] = said["class"][place, self.readouts.classes.index(class_name)]
            colour = colour_said(evidence[index].caption, evidence[index].keywords)
            if colour is not None:
                scores["text_colour"][index] = said["colour"][place, list(vocabulary.COLOURS).index(colour)]

    def _words(self, scores: dict[str, Floats]) -> str:
        counts = {name: int((~np.isnan(scores[f"text_{name}"])).sum()) for name in ("class", "colour")}
        return f"class of {counts['class']} and colour of {counts['colour']} images, read by the embedded readouts"


def colour_said(caption: str, keywords: Sequence[str] = ()) -> str | None:
    """Return the one colour that a caption says of its object; None where it says none, or several.

    Colours of the scene (`in a white studio`) and within keywords of the CAD model (`red cross van`) are not the object's.
    """
    left = caption.lower()
    for phrase in (*vocabulary.SCENES.values(), *keywords):
        left = re.sub(rf"\b{re.escape(phrase.lower())}\b", " ", left)
    found = {word for word in vocabulary.COLOURS if re.search(rf"\b{word}\b", left)}
    return found.pop() if len(found) == 1 else None


def _as_large(mask: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask at the size of its picture: an image may be larger than its render."""
    import cv2

    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _why_not(evidence: Sequence[Evidence], scores: Floats) -> str | None:
    """Return, in words, why images were not judged; None where all were."""
    missing = [one for one, score in zip(evidence, scores, strict=True) if np.isnan(score)]
    if not missing:
        return None
    without = sum(one.mask() is None for one in missing)
    unknown = sorted({one.class_name for one in missing if one.mask() is not None})
    why = [f"{without} of {len(evidence)} images have no render that says where the object is"] if without else []
    if unknown:
        why.append(
            f"the readouts do not know the class {' or '.join(unknown)}, and {len(missing) - without} captions say no colour"
        )
    return "; ".join(why)
