"""The held-out panel: readouts that no filter sees say which painted images failed by themselves.

Enters: painted images with the renders of the same views, and the panel's readouts, trained on pictures of other CAD models than
the sets'. Leaves: for each image that is not sound OWN, where all of the panel see another pose or another class in it, or
DOUBTFUL, where they are not of one mind or misread the render of the view as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.cases import Case
from models.evaluation.filters.planted import VERIFIED, Shown
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.readouts import Read, Readouts
from models.evaluation.spec import ReadoutSpec
from models.symmetry import pose_error
from models.world.spec import EVALUATION_SEED, WorldSpec

OWN, DOUBTFUL = "own", "doubtful"
"""Of an image as it was painted: it failed, and it may have failed. Neither was planted."""
RIGHT_DEG = 30.0
"""A pose that is read so near to the annotated one is read right."""
WRONG_DEG = 45.0
"""A pose that is read so far from it is another one."""
SHARDS = 44
"""Shards of 128 pictures that the panel is trained on."""


def world(spec: FiltersSpec) -> WorldSpec:
    """Return the world that the panel learns from: no CAD model of the sets, no picture of the project's own readouts."""
    return WorldSpec(classes=spec.classes, seed=13, cad_seeds=EVALUATION_SEED, appearances=2)


def members(spec: FiltersSpec) -> tuple[ReadoutSpec, ...]:
    """Return the panel: two that begin otherwise, look at another size and average over other neighbours."""
    return (
        ReadoutSpec(classes=spec.classes, seed=101, side=80, epochs=16, blur_deg=10.0),
        ReadoutSpec(classes=spec.classes, seed=102, side=48, epochs=16, blur_deg=14.0),
    )


def load(files: Sequence[Path], threads: int = 1) -> list[Readouts]:
    """Return the panel from its members' files."""
    from models.evaluation import readouts

    return [readouts.load(path, threads) for path in files]


def own_failures(panel: Sequence[Readouts], shown: Sequence[Shown]) -> dict[str, str]:
    """Return an image's name -> OWN or DOUBTFUL, of those as they were painted that are not sound."""
    cases = [one.case for one in shown]
    masks, told = [case.mask for case in cases], [case.class_name for case in cases]
    seen = [member.read([one.picture for one in shown], masks, told) for member in panel]
    renders = [member.read([case.rgb for case in cases], masks, told) for member in panel]
    known = np.all([_right(read, cases) for read in renders], axis=0)
    return {shown[index].name: word for index, word in verdicts(cases, seen, known).items()}


def taken(panel: Sequence[Readouts], shown: Sequence[Shown]) -> dict[str, str]:
    """Return key -> OWN of the planted images of VERIFIED kinds in which none of the panel sees what is annotated."""
    some = [one for one in shown if one.failure in VERIFIED]
    if not some:
        return {}
    cases = [one.case for one in some]
    masks, told = [case.mask for case in cases], [case.class_name for case in cases]
    seen = [member.read([one.picture for one in some], masks, told) for member in panel]
    wrong = ~np.any([_right(read, cases) for read in seen], axis=0)
    return {key(some[index]): OWN for index in np.flatnonzero(wrong).tolist()}


def key(shown: Shown) -> str:
    """Return under which key the panel's word on an image is kept: a planted one has another than the sound one."""
    return f"{shown.name} {shown.failure}".strip()


def truth(shown: Shown, said: Mapping[str, str]) -> str:
    """Return what failed an image. said: the panel's words; where it was not asked, failures of VERIFIED kinds are DOUBTFUL."""
    if shown.failure in VERIFIED:
        return shown.failure if key(shown) in said else DOUBTFUL
    return shown.failure or said.get(key(shown), "")


def verdicts(cases: Sequence[Case], seen: Sequence[Read], known: NDArray[np.bool_]) -> dict[int, str]:
    """Return index -> OWN or DOUBTFUL. seen: what each member read; known (N,): whether it can read the view's render."""
    sound = np.all([_right(read, cases) for read in seen], axis=0)
    errors = np.array([_errors(read, cases) for read in seen])
    apart = np.max([_apart(read, seen[0], cases) for read in seen], axis=0)
    other_pose = (errors > WRONG_DEG).all(axis=0) & (apart < RIGHT_DEG)
    told = np.array([case.class_name for case in cases])
    other_class = np.all([(read.classes != told) & (read.classes == seen[0].classes) for read in seen], axis=0)
    failed = known & (other_pose | other_class)
    return {index: OWN if failed[index] else DOUBTFUL for index in np.flatnonzero(failed | ~sound).tolist()}


def _right(read: Read, cases: Sequence[Case]) -> NDArray[np.bool_]:
    told = np.array([case.class_name for case in cases])
    return np.asarray((_errors(read, cases) <= RIGHT_DEG) & (read.classes == told))


def _errors(read: Read, cases: Sequence[Case]) -> NDArray[np.float64]:
    said = np.array([[case.pose[0], case.pose[1], 0.0] for case in cases])
    return np.asarray(pose_error(read.poses, said, [case.symmetry for case in cases]))


def _apart(read: Read, other: Read, cases: Sequence[Case]) -> NDArray[np.float64]:
    return np.asarray(pose_error(read.poses, other.poses, [case.symmetry for case in cases]))
