"""The light backbone of the K-fold filter: gradient histograms, and one kernel ridge regression for all heads.

Enters: training images with targets, held-out images. Leaves: (M, heads, bins) probabilities. Solved in closed form: the same
numbers each time, and seconds on one core for hundreds of images, from which a ResNet would learn too little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.verdict.targets import LEAST_PROBABILITY

RIDGE = 0.03
"""Weight of the ridge against a kernel of 1 on the diagonal."""
ZOOMS = (1.0, 1.18, 0.88)
"""Members look at the object a little nearer or farther, in turn, so that they err differently."""
SHARE = 0.85
"""Each member learns from its own random share of the training images."""
MOST = 3000
"""No member learns from more: the solve grows with the cube."""


def describe(images: NDArray[np.uint8], zoom: float) -> NDArray[np.float64]:
    """Return (N, 1764) histograms of oriented gradients of 64 x 64 pixel versions, in square roots (Hellinger)."""
    import cv2

    hog = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    rows = [np.sqrt(np.maximum(np.ravel(hog.compute(small)), 0.0)) for small in squares(images, 64, zoom)]
    return np.asarray(rows, np.float64)


def squares(images: NDArray[np.uint8], side: int, zoom: float) -> NDArray[np.uint8]:
    """Return images (N, S, S, 3) at side x side pixels, looked at so much nearer."""
    import cv2

    given = images.shape[1]
    scale = side / given * zoom
    shift = (side - 1) / 2 - scale * (given - 1) / 2
    place = np.array([[scale, 0, shift], [0, scale, shift]])
    blur = 0.5 * (1 / scale - 1)
    made = np.empty((len(images), side, side, 3), np.uint8)
    for index, image in enumerate(images):
        smooth = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.2 else image
        made[index] = cv2.warpAffine(smooth, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return made


def predict(
    known: NDArray[np.float64], answers: NDArray[np.float64], asked: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (M, heads, bins) probabilities of `asked` (M, D) after learning `answers` (N, heads, bins) of `known` (N, D)."""
    chosen = np.sort(rng.permutation(len(known))[: min(MOST, max(2, round(SHARE * len(known))))])
    known, answers = known[chosen], answers[chosen]
    shape = answers.shape[1:]
    flat = answers.reshape(len(known), -1)
    mean = flat.mean(axis=0)
    apart = _squared_distances(known, known)
    width = float(np.median(apart[~np.eye(len(known), dtype=bool)])) or 1.0
    weights = np.linalg.solve(np.exp(-apart / width) + RIDGE * np.eye(len(known)), flat - mean)
    raw = np.exp(-_squared_distances(asked, known) / width) @ weights + mean
    floored = np.maximum(raw, LEAST_PROBABILITY).reshape(-1, *shape)
    probabilities: NDArray[np.float64] = floored / floored.sum(axis=2, keepdims=True)
    return probabilities


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2.0 * a @ b.T
    clipped: NDArray[np.float64] = np.maximum(apart, 0.0)
    return clipped
