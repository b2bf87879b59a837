"""How well pictures show what was asked for: edges, class, pose, colour, scene, and how different they are.

Enters: pictures, the cases they were painted for, readouts. Leaves: figures, each a share in 0..1 unless its name says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.cases import Case
from models.evaluation.readouts import Read, Readouts
from models.symmetry import pose_error

Images = Sequence[NDArray[np.uint8]]
Figures = dict[str, float]

REACH = 2
"""An edge is found again when the other map has one within so many pixels (at 128 px)."""
CANNY = (60, 120)
"""Thresholds with which edges are found again in a picture."""
WAYS = 8
"""Directions that lines are told apart by, 22.5 degrees each."""
NEAR_DEG = 30.0
"""A pose is read right when it is less than this away."""


def edge_agreement(
    picture: NDArray[np.uint8], edges: NDArray[np.uint8], mask: NDArray[np.uint8], reach: int = REACH
) -> tuple[float, float, float]:
    """Return recall, precision and F1 of the control's edges in a picture, within `reach` px, on the object and its outline."""
    import cv2

    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
    region = cv2.dilate(mask, around) > 0
    asked = (edges > 0) & region
    found = (cv2.Canny(picture, *CANNY) > 0) & region
    recall = float((cv2.dilate(found.astype(np.uint8), near) > 0)[asked].mean()) if asked.any() else float("nan")
    precision = float((cv2.dilate(asked.astype(np.uint8), near) > 0)[found].mean()) if found.any() else 0.0
    total = recall + precision
    return recall, precision, 2 * recall * precision / total if total > 0 else 0.0


def directed_recall(picture: NDArray[np.uint8], edges: NDArray[np.uint8], mask: NDArray[np.uint8]) -> float:
    """Return the share of the control's edges that are found again within REACH px and run the same way (within 34 degrees).

    What lies near by chance seldom does, so this tells an obeyed control from any other where pictures are full of edges.
    """
    import cv2

    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
    region = cv2.dilate(mask, near) > 0
    asked = (edges > 0) & region
    found = cv2.Canny(picture, *CANNY) > 0
    ways_asked, ways_found = (_ways(drawn) for drawn in (edges > 0, found))
    right = np.zeros_like(asked)
    for way in range(WAYS):
        alike = found & region & np.isin(ways_found, [(way - 1) % WAYS, way, (way + 1) % WAYS])
        right |= (ways_asked == way) & (cv2.dilate(alike.astype(np.uint8), near) > 0)
    return float(right[asked].mean()) if asked.any() else float("nan")


def _ways(drawn: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (H, W) which of WAYS directions lines run in, from the structure around each pixel."""
    import cv2

    smooth = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 1.0)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), 1.5) for product in (dx * dx, dy * dy, dx * dy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return np.asarray(np.floor((angle / np.pi + 0.5) * WAYS).astype(np.int64) % WAYS)


def edge_figures(pictures: Images, cases: Sequence[Case]) -> Figures:
    """Return mean recall, precision and F1 within REACH px, F1 within one, and the recall of lines that run the same way."""
    near = np.array([edge_agreement(p, c.edges, c.mask) for p, c in zip(pictures, cases, strict=True)])
    close = np.array([edge_agreement(p, c.edges, c.mask, 1) for p, c in zip(pictures, cases, strict=True)])
    recall, precision, f1 = np.nanmean(near, axis=0).tolist()
    directed = [directed_recall(p, c.edges, c.mask) for p, c in zip(pictures, cases, strict=True)]
    return {
        "edge_recall": recall,
        "edge_precision": precision,
        "edge_f1": f1,
        "edge_f1_1px": float(np.nanmean(close[:, 2])),
        "edge_recall_directed": float(np.nanmean(directed)),
    }


def read_figures(read: Read, cases: Sequence[Case], classes: Sequence[str]) -> Figures:
    """Return what the readouts say: class, pose (Acc@30 and median error in degrees, told the class), colour, scene, light.

    A figure is left out when no case has it to read: classes that the readouts do not know have no class and no pose, wood has no
    colour word.
    """
    known = np.array([case.class_name in classes for case in cases])
    made: Figures = {}
    if known.any():
        right = read.classes == np.array([case.class_name for case in cases])
        error = pose_error(read.poses[known], [c.pose for c in cases if c.class_name in classes], _symmetries(cases, known))
        made["class"] = float(right[known].mean())
        made["pose"] = float((error < NEAR_DEG).mean())
        made["pose_median_deg"] = float(np.median(error))
    for name in ("colour", "scene", "light"):
        said = np.array([asked(case, name) for case in cases])
        if said.any():
            right = read.words[name] == np.array([case.words[name] for case in cases])
            made[name] = float(right[said].mean())
    return made


def _symmetries(cases: Sequence[Case], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array([case.symmetry for case in cases])[known]


def asked(case: Case, name: str) -> bool:
    """Say whether the prompt speaks of colour, scene or light: wood is brown without a word for it."""
    return name != "colour" or case.words["material"] != "wooden"


def figures(pictures: Images, cases: Sequence[Case], readouts: Readouts, against: Sequence[Case] | None = None) -> Figures:
    """Return all figures of pictures; `against` judges them as if they had been painted for other cases (chance)."""
    judged = against or cases
    masks, told = [case.mask for case in judged], [case.class_name for case in judged]
    read = readouts.read(pictures, masks, told)
    return rounded(edge_figures(pictures, judged) | read_figures(read, judged, readouts.classes))


def word_figures(read: Read, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Return for each scene and light word how many prompts say it, and in which share of their pictures it is read."""
    made: dict[str, dict[str, float]] = {}
    for name in ("scene", "light"):
        words = np.array([case.words[name] for case in cases])
        for word in dict.fromkeys(words.tolist()):
            chosen = words == word
            share = float((read.words[name] == words)[chosen].mean())
            made[f"{name}: {word}"] = {"views": int(chosen.sum()), "read": round(share, 3)}
    return made


def diversity(pictures: Images, again: Images) -> dict[str, float]:
    """Return how different two pictures of one prompt and control are, and two of different ones: grey levels a pixel."""
    a, b = (np.stack(some).astype(np.float64) for some in (pictures[: len(again)], again))
    other = np.roll(b, 1, axis=0)
    return {"seeds": round(float(np.abs(a - b).mean()), 2), "cases": round(float(np.abs(a - other).mean()), 2)}


def exchanged(cases: Sequence[Case], classes: int) -> list[Case]:
    """Return the cases in an order in which each stands at the place of another class's: what pictures reach by chance."""
    shift = classes + 3
    return [*cases[shift:], *cases[:shift]] if len(cases) > shift else [*cases[1:], *cases[:1]]


def rounded(values: Figures) -> Figures:
    """Return figures as they are written: three places."""
    return {name: round(value, 3) for name, value in values.items()}
