"""The judge `duplicate`: is this image another one over again?

Enters: the images of one class. Leaves `duplicate`: how much of an image's perceptual hash (the signs of its lowest frequencies,
Zauner 2010) agrees with that of the nearest image before it in order of identity. 1: the same picture, about 0.5: another one.
The first of several alike has nothing before it and is never the duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

_ROWS = 512
"""Images compared with all others at once."""


@dataclass(frozen=True, kw_only=True)
class DuplicateSpec(JudgeSpec):
    """A perceptual hash of each image, compared with those of all others."""

    implementation: ClassVar[str] = "models.verdict.duplicate:Duplicate"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("duplicate",)

    kind: Literal["duplicate"] = "duplicate"
    frequencies: int = 16
    """Frequencies along each axis; the hash has their square, less one, in bits."""

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return how much it is like an earlier one."""
        value = scores.get("duplicate")
        return super().in_words(scores, annotation) if value is None else f"{value:.0%} the same as an earlier image"

    def __post_init__(self) -> None:
        if not 4 <= self.frequencies <= 32:
            raise ValueError(f"duplicate frequencies is {self.frequencies}; it must lie between 4 and 32")


class Duplicate:
    """Compares each image with those before it."""

    def __init__(self, spec: DuplicateSpec, device: str = "cpu", threads: int | None = None) -> None:
        """device, threads: as every judge is given them; this one works on one core."""
        self.spec = spec

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `duplicate` of each image; the first one of all, and an image without any pattern, is not judged."""
        order = sorted(range(len(evidence)), key=lambda index: evidence[index].sample)
        hashes = np.zeros((len(order), self.spec.frequencies**2 - 1), np.float32)
        for place, index in enumerate(order):
            hashes[place] = signs(evidence[index].image(), self.spec.frequencies)
            if progress:
                progress(place + 1, len(order))
        scores = np.full(len(order), np.nan)
        scores[order] = _nearest_before(hashes)
        missing = int(np.isnan(scores).sum())
        why = f"{missing} of {len(scores)} images have nothing before them to be compared with, or no pattern"
        words = f"perceptual hash of {hashes.shape[1]} bits, against the images before it"
        return Judgement(scores={"duplicate": scores}, facts={"words": words}, not_judged=why if missing else None)


def signs(image: NDArray[np.uint8], frequencies: int) -> NDArray[np.float32]:
    """Return the hash of an image (H, W, 3): 1 or -1 for each low frequency of its luma, above or below their median; 0 for all
    of an image of one colour."""
    import cv2

    side = 4 * frequencies
    luma = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    low = cv2.dct(cv2.resize(luma, (side, side), interpolation=cv2.INTER_AREA))[:frequencies, :frequencies].reshape(-1)[1:]
    # Below a thousandth of a grey level a pixel there is no pattern, only rounding.
    if np.abs(low).max() < side * 1e-3:
        return np.zeros_like(low)
    return np.where(low > np.median(low), 1.0, -1.0).astype(np.float32)


def _nearest_before(hashes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return for each row the largest share of bits that it has in common with a row before it; NaN where there is none."""
    found = np.full(len(hashes), np.nan)
    known: NDArray[np.bool_] = np.asarray(hashes.any(axis=1))
    for start in range(0, len(hashes), _ROWS):
        rows = slice(start, min(start + _ROWS, len(hashes)))
        alike = 0.5 + 0.5 * (hashes[rows] @ hashes[: rows.stop].T) / hashes.shape[1]
        before = np.tri(rows.stop - rows.start, rows.stop, rows.start - 1, dtype=np.bool_)
        usable = before & known[: rows.stop] & known[rows][:, None]
        best = np.where(usable, alike, -1.0).max(axis=1)
        found[rows] = np.where(best < 0.0, np.nan, best)
    return found
