"""Planted failures: images of which it is known that, and how, they fail, for finding out what a filter is worth.

Enters: painted views of a class with their annotations, and of other classes. Leaves: the same set with some of its images, or of
its annotations, exchanged for failed ones. What is planted where follows from a seed, and one that would show the same as the
sound image (the other side of a vase) is not planted.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.evaluation.cases import Case
from models.symmetry import pose_error

Picture = NDArray[np.uint8]

SAME_DEG = 15.0
"""Poses nearer than this show about the same: no failure is made of them."""
SMALL_DEG = 30.0
"""A view exchanged for one nearer than this is a small error."""
WEAK = 0.3
"""Share of the control's strength that is left where it is weak."""
INSISTING, YIELDING = 8.0, 0.7
"""Guidance by which a wrong prompt is insisted on, and the factor on the control that goes with it: by its usual ones the
embedded generator obeys the edges whatever the prompt says."""
ALIKE = 0.75
"""Outlines are ambiguous where so much of what two views cover is covered by both."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image as it stands in a set: what it shows, and what is said of it."""

    case: Case
    """What is said: pose, control, prompt."""
    picture: Picture
    """(H, W, 3)."""
    failure: str = ""
    """What was planted; "" for an image as the generator painted it."""

    @property
    def name(self) -> str:
        """Which view of which CAD model it is said to show: a sample's own name is too short to tell parametric ones apart."""
        sample = self.case.sample
        return f"{sample.class_name}-{sample.cad_id}-{sample.view_index:04d}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A case that has to be painted in another way for one kind of failure."""

    case: Case
    """What the generator is told."""
    control: float = 1.0
    """Factor on the strength of the control."""
    guidance: float | None = None
    """Strength of the prompt where it is not the usual one."""


Taken = Callable[[Shown, np.random.Generator, Sequence[Shown]], Picture]
Painted = Callable[[str, int], Picture | None]


def mirrored(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """Left and right exchanged."""
    return np.ascontiguousarray(shown.picture[:, ::-1])


def cropped(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """A part of the image, enlarged, in which a third or more of the object is missing."""
    import cv2

    height, width = shown.picture.shape[:2]
    x0, y0, x1, y1 = _box(shown.case.mask)
    side = int(0.6 * min(height, width))
    # A corner of the object is the middle of what is left.
    x = int(np.clip((x0 if rng.random() < 0.5 else x1) - side // 2, 0, width - side))
    y = int(np.clip((y0 + y1) // 2 - side // 2, 0, height - side))
    part = shown.picture[y : y + side, x : x + side]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def moved(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """The whole image shifted by a quarter, its border drawn out."""
    import cv2

    height, width = shown.picture.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    place = np.array([[1, 0, 0.25 * width * np.cos(angle)], [0, 1, 0.25 * height * np.sin(angle)]])
    return np.asarray(cv2.warpAffine(shown.picture, place, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def half_hidden(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """Half of the object's box behind a board of a colour of the scene."""
    x0, y0, x1, y1 = _box(shown.case.mask)
    made, outside = shown.picture.copy(), shown.picture[shown.case.mask == 0]
    colour = outside[int(rng.integers(len(outside)))] if len(outside) else np.array([128, 128, 128])
    middle = (x0 + x1 + 1) // 2, (y0 + y1 + 1) // 2
    boards = (
        (slice(y0, y1 + 1), slice(x0, middle[0])),
        (slice(y0, y1 + 1), slice(middle[0], x1 + 1)),
        (slice(y0, middle[1]), slice(x0, x1 + 1)),
        (slice(middle[1], y1 + 1), slice(x0, x1 + 1)),
    )
    made[boards[int(rng.integers(len(boards)))]] = colour
    return made


def second_object(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """Another object of the set before the annotated one, as large as that, over about half of it."""
    import cv2

    other = others[int(rng.integers(len(others)))]
    height, width = shown.picture.shape[:2]
    x0, y0, x1, y1 = _box(shown.case.mask)
    u0, v0, u1, v1 = _box(other.case.mask)
    scale = max(x1 - x0 + 1, y1 - y0 + 1) / max(u1 - u0 + 1, v1 - v0 + 1)
    aside = rng.choice([-0.5, 0.5]) * (x1 - x0 + 1)
    place = np.array([[scale, 0, x0 + aside - scale * u0], [0, scale, y0 - scale * v0]])
    picture = cv2.warpAffine(other.picture, place, (width, height))
    mask = cv2.warpAffine(other.case.mask, place, (width, height), flags=cv2.INTER_NEAREST)
    return np.where(mask[..., None] > 0, picture, shown.picture).astype(np.uint8)


def blurred(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """Blurred by a fortieth of its side."""
    import cv2

    return np.asarray(cv2.GaussianBlur(shown.picture, (0, 0), shown.picture.shape[1] / 40.0), np.uint8)


def noisy(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """Covered with noise of a fifth of the range."""
    return np.clip(shown.picture + rng.normal(0.0, 51.0, shown.picture.shape), 0, 255).astype(np.uint8)


def black(shown: Shown, rng: np.random.Generator, others: Sequence[Shown]) -> Picture:
    """All but black, as a safety checker or an overflow leaves it."""
    return (shown.picture // 64).astype(np.uint8)


def other_view(shown: Shown, rng: np.random.Generator, others: Sequence[Shown], near: float, far: float) -> Picture | None:
    """Return another image of the same CAD model whose pose is between `near` and `far` degrees away, or None."""
    same = [other for other in others if other.case.sample.cad_id == shown.case.sample.cad_id]
    away = [_between(shown.case, other.case) for other in same]
    return _one_of(rng, [other.picture for other, angle in zip(same, away, strict=True) if near <= angle < far])


def other_object(shown: Shown, rng: np.random.Generator, others: Sequence[Shown], same_class: bool) -> Picture | None:
    """Return the image of another CAD model, of the same or of another class, from about the same view, or None."""
    fit = [
        other
        for other in others
        if other.case.sample.cad_id != shown.case.sample.cad_id and (other.case.class_name == shown.case.class_name) == same_class
    ]
    # Nothing else should give it away, so the nearest views are drawn from.
    fit.sort(key=lambda other: float(pose_error(shown.case.pose, other.case.pose)))
    return _one_of(rng, [other.picture for other in fit[:3]])


PIXELS: Mapping[str, Taken] = {
    taken.__name__: taken for taken in (mirrored, cropped, moved, half_hidden, second_object, blurred, noisy, black)
}
"""Failures that are made of the image itself."""
EXCHANGES: Mapping[str, Callable[[Shown, np.random.Generator, Sequence[Shown]], Picture | None]] = {
    "view_small": lambda shown, rng, others: other_view(shown, rng, others, SAME_DEG, SMALL_DEG),
    "view_large": lambda shown, rng, others: other_view(shown, rng, others, SMALL_DEG, 181.0),
    "other_cad": lambda shown, rng, others: other_object(shown, rng, others, same_class=True),
    "other_class": lambda shown, rng, others: other_object(shown, rng, others, same_class=False),
}
"""Failures that are another sound image."""
LABELS: Mapping[str, float] = {"label_turned": 180.0, "label_off": 40.0}
"""Failures of the annotation: its azimuth is so far off, and image and control are of one mind."""
PAINTED = ("control_off", "control_weak", "front_for_back", "opposite_prompt", "wrong_class_prompt", "ambiguous_outline")
"""Failures that have to be painted. In the last three the edges that were asked for are obeyed."""
VERIFIED = ("opposite_prompt", "wrong_class_prompt")
"""Of these it is not certain that they fail, for a generator may obey the edges: they count where the panel sees it."""
TURN: Mapping[str, float] = {"systematic_quarter": 90.0, "systematic_half": 180.0}
"""Degrees by which whole CAD models are turned, and so all their annotations, as by a wrong alignment."""
SYSTEMATIC = tuple(TURN)
KINDS = (*EXCHANGES, *PIXELS, *LABELS, *PAINTED)
"""What is planted into single images."""
EDGES_KEPT = ("opposite_prompt", "wrong_class_prompt", "ambiguous_outline", "label_turned", "label_off")
"""Failures whose image obeys the edges that it was painted from."""


def variant(kind: str, case: Case, other: Case | None, classes: Sequence[str]) -> Variant | None:
    """Return what is painted for a case under one of PAINTED, or None where nothing wrong can be painted of it.

    other: the same CAD model at the same height from the opposite side, for `ambiguous_outline` from the side whose outline is
    about the same. classes: to take a wrong one from.
    """
    if kind == "control_off":
        return Variant(case=case, control=0.0)
    if kind == "control_weak":
        return Variant(case=case, control=WEAK)
    if kind == "wrong_class_prompt":
        wrong = [name for name in classes if name != case.class_name and case.class_name in case.prompt]
        if not wrong:
            return None
        name = wrong[int(case.sample.rng("wrong class").integers(len(wrong)))]
        return _insisting(case, case.prompt.replace(case.class_name, name))
    if other is None or _between(case, other) < SMALL_DEG:
        return None
    if kind == "front_for_back":
        return Variant(case=other)
    if kind == "opposite_prompt":
        said, opposite = (vocabulary.side(azimuth) for azimuth in (case.pose[0], case.pose[0] + 180.0))
        return _insisting(case, case.prompt.replace(said, opposite)) if said in case.prompt else None
    if kind == "ambiguous_outline":
        both, either = (case.mask > 0) & (other.mask > 0), (case.mask > 0) | (other.mask > 0)
        return Variant(case=other) if both.sum() >= ALIKE * either.sum() else None
    raise ValueError(f"{kind!r} is none of the failures that are painted: {', '.join(PAINTED)}")


def _insisting(case: Case, prompt: str) -> Variant:
    return Variant(case=dataclasses.replace(case, prompt=prompt), control=YIELDING, guidance=INSISTING)


def outline(mask: Picture) -> Picture:
    """Return the outline of a mask as a control, (H, W) 0 or 255."""
    import cv2

    lines = np.zeros_like(mask)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(lines, contours, -1, 255, 1)
    return lines


def plant(
    kinds: Sequence[str],
    sound: Sequence[Shown],
    rate: float,
    seed: int,
    beside: Sequence[Shown] = (),
    painted: Painted = lambda kind, index: None,
) -> list[Shown]:
    """Return the set with failures in a share `rate` of it, or in as many as there can be, `kinds` dealt round.

    beside: images of other classes, for what is taken from those. painted: the image of a variant, by kind and index in `sound`;
    None where there can be none.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"no kind of failure {kind!r}; there are: {', '.join(KINDS)}")
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a share of failures lies between 0 and 1, not {rate}")
    rng = np.random.default_rng(seed)
    dealt = [kinds[place] for place in rng.permutation(len(kinds))]
    left: list[int] = rng.permutation(len(sound)).tolist()
    made, wanted = list(sound), round(rate * len(sound))
    while wanted and dealt:
        kind = dealt.pop(0)
        for index in left:
            # Of its own: what one image is given changes no other's.
            own = np.random.default_rng([seed, index, zlib.crc32(kind.encode())])
            failed = _failed(kind, index, sound, own, beside, painted)
            if failed is not None:
                made[index] = failed
                left.remove(index)
                wanted -= 1
                dealt.append(kind)
                break
    return made


def systematic(sound: Sequence[Shown], rate: float, seed: int) -> list[Shown]:
    """Return the set with a share `rate` of its CAD models turned, by a quarter and by half a turn by turns; one at least."""
    by_model: dict[str, list[int]] = {}
    for index, shown in enumerate(sound):
        by_model.setdefault(shown.case.sample.cad_id, []).append(index)
    rng = np.random.default_rng(seed)
    models = [sorted(by_model)[place] for place in rng.permutation(len(by_model))]
    made, wanted, first = list(sound), max(1, round(rate * len(models))), int(rng.integers(2))
    for cad_id in models:
        kind = SYSTEMATIC[(first + wanted) % 2]
        turned = {index: _turned(sound[index].case, TURN[kind]) for index in by_model[cad_id]}
        if not wanted or any(case is None for case in turned.values()):
            continue
        for index, case in turned.items():
            if case is not None:
                made[index] = dataclasses.replace(sound[index], case=case, failure=kind)
        wanted -= 1
    return made


def _failed(
    kind: str, index: int, sound: Sequence[Shown], rng: np.random.Generator, beside: Sequence[Shown], painted: Painted
) -> Shown | None:
    shown = sound[index]
    others = [other for place, other in enumerate(sound) if place != index]
    if kind in LABELS:
        case = _turned(shown.case, LABELS[kind] * (1.0 if kind == "label_turned" else float(rng.choice([-1.0, 1.0]))))
        return None if case is None else dataclasses.replace(shown, case=case, failure=kind)
    picture: Picture | None
    if kind in PIXELS:
        picture = None if kind == "mirrored" and _mirror_shows_the_same(shown.case) else PIXELS[kind](shown, rng, others)
    elif kind in EXCHANGES:
        picture = EXCHANGES[kind](shown, rng, [*others, *beside])
    else:
        picture = painted(kind, index)
        if kind == "ambiguous_outline":
            # Nothing more was asked for: what is within it says which side it is.
            shown = dataclasses.replace(shown, case=dataclasses.replace(shown.case, edges=outline(shown.case.mask)))
    return None if picture is None else dataclasses.replace(shown, picture=picture, failure=kind)


def _turned(case: Case, degrees: float) -> Case | None:
    """Return the case with its azimuth so far off, or None where that is the same picture."""
    off = dataclasses.replace(case, pose=((case.pose[0] + degrees) % 360.0, *case.pose[1:]))
    return None if _between(case, off) < SAME_DEG else off


def _mirror_shows_the_same(case: Case) -> bool:
    """Say whether the mirrored image shows about what is annotated: from straight ahead, above or behind."""
    azimuth, elevation, inplane = case.pose
    return bool(pose_error(case.pose, (-azimuth, elevation, -inplane), case.symmetry) < SAME_DEG)


def _between(case: Case, other: Case) -> float:
    return float(pose_error(case.pose, other.pose, case.symmetry))


def _one_of(rng: np.random.Generator, pictures: Sequence[Picture]) -> Picture | None:
    return pictures[int(rng.integers(len(pictures)))] if pictures else None


def _box(mask: Picture) -> tuple[int, int, int, int]:
    """Return first and last column and row of a mask (x0, y0, x1, y1); of an empty one the whole picture's."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0, mask.shape[1] - 1, mask.shape[0] - 1
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())
