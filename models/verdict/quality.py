"""The judge `quality`: is this a picture at all, whatever it should show?

Enters: images. Leaves, for each by itself: `quality_light` (mean luma), `quality_contrast` (between the darkest and the brightest
twentieth), `quality_blur` (share of the differences between neighbours that survive a further blur: Crete et al. 2007) and
`quality_noise` (standard deviation: Immerkaer 1996), all in 0..1, and `quality`, 1 for a sound picture and 0 for one that is
black, white, flat, blurred or noise, by the worst of the four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

MEASURES = ("light", "contrast", "blur", "noise")

LIMITS: dict[str, tuple[tuple[float, float], ...]] = {
    "light": ((0.02, 0.10), (0.98, 0.92)),
    "contrast": ((0.03, 0.10),),
    "blur": ((0.80, 0.60),),
    "noise": ((0.12, 0.04),),
}
"""For each measure, where a picture is broken (0) and where it is sound (1), on each side on which it can be broken."""

SIDE = 128
"""Blur is measured on pictures whose longer side is at most so many pixels: what is sharp at 512 looks smooth from one pixel to
the next."""
_WORST = {"light": "too dark or too bright", "contrast": "hardly any contrast", "blur": "blurred", "noise": "noisy"}
_REACH = 9
"""Pixels over which a picture is blurred once more (Crete et al.)."""


@dataclass(frozen=True, kw_only=True)
class QualitySpec(JudgeSpec):
    """Measures that need no reference; there is nothing to set."""

    implementation: ClassVar[str] = "models.verdict.quality:Quality"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("quality", *(f"quality_{name}" for name in MEASURES))

    kind: Literal["quality"] = "quality"

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return what is worst about the picture."""
        values = {name: scores.get(f"quality_{name}") for name in MEASURES}
        sound = {name: soundness(name, value) for name, value in values.items() if value is not None}
        if not sound:
            return super().in_words(scores, annotation)
        worst = min(sound, key=lambda name: sound[name])
        return f"{_WORST[worst]} ({worst} {values[worst]:.2f})"


class Quality:
    """Looks at each image by itself."""

    def __init__(self, spec: QualitySpec, device: str = "cpu", threads: int | None = None) -> None:
        """device, threads: as every judge is given them; this one works on one core."""

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return the scores of each image; all of them are judged."""
        rows = []
        for index, one in enumerate(evidence):
            rows.append(measures(one.image()))
            if progress:
                progress(index + 1, len(evidence))
        found = {name: np.array([row[name] for row in rows], np.float64) for name in MEASURES}
        worst = np.array([mark(row) for row in rows], np.float64)
        scores = {"quality": worst, **{f"quality_{name}": values for name, values in found.items()}}
        return Judgement(scores=scores, facts={"words": "light, contrast, blur and noise of each image"})


def measures(image: NDArray[np.uint8]) -> dict[str, float]:
    """Return the four measures of an image (H, W, 3)."""
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255.0
    dark, bright = np.quantile(luma, [0.05, 0.95])
    return {"light": float(luma.mean()), "contrast": float(bright - dark), "blur": blur(luma), "noise": noise(luma)}


def mark(found: dict[str, float]) -> float:
    """Return how sound a picture with these measures is, 0..1: by the worst of them."""
    return min(soundness(name, found[name]) for name in MEASURES)


def soundness(name: str, value: float) -> float:
    """Return how sound a picture is by one of the measures, 0..1."""
    return float(min(np.interp(value, *_rising(broken, sound)) for broken, sound in LIMITS[name]))


def blur(luma: NDArray[np.float64]) -> float:
    """Return how little a picture (H, W) changes when it is blurred: 0 for a sharp one, 1 for a smooth or empty one."""
    import cv2

    scale = SIDE / max(luma.shape)
    if scale < 1.0:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shares = []
    for axis, window in ((0, (1, _REACH)), (1, (_REACH, 1))):
        sharp = np.abs(np.diff(luma, axis=axis))
        smooth = np.abs(np.diff(cv2.blur(luma, window, borderType=cv2.BORDER_REPLICATE), axis=axis))
        lost = np.maximum(sharp - smooth, 0.0).sum()
        shares.append(1.0 - lost / sharp.sum() if sharp.sum() > 1e-9 else 1.0)
    return float(max(shares))


def noise(luma: NDArray[np.float64]) -> float:
    """Return the standard deviation of what in a picture (H, W) is no plane, edge or slope: of white noise its own."""
    import cv2

    if min(luma.shape) < 3:
        return 0.0
    kernel = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    rough = np.abs(cv2.filter2D(luma, -1, kernel)[1:-1, 1:-1])
    return float(np.sqrt(np.pi / 2.0) / 6.0 * rough.mean())


def _rising(broken: float, sound: float) -> tuple[list[float], list[float]]:
    return ([broken, sound], [0.0, 1.0]) if broken < sound else ([sound, broken], [1.0, 0.0])
