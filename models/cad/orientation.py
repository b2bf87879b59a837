"""Whether a CAD model stands and faces as it is thought to: what its shape and the others of its class say against it.

Enters: a canonical GLB, or the extents of a class's CAD models. Leaves: lines that doubt, each with what to try; none says that a
model is wrong, and a person's eye on the sheet decides. (3D-DST, section 3.1, aligns CAD models by hand; nothing there looks.)

Files mix up axes: y up for z up, a front along x. So a model is compared with itself in the other poses that axes can give it:
would it lie far more stably, are its halves mirror images from left to right, is it the same all round an axis that lies level?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.cad.source import Floats, Ints

REST_TIMES = 5.0
"""A pose that axes can give and that is so many times as likely when the model is thrown as the assumed one is more stable."""
REST_LEAST = 0.05
"""If it is at least this likely: what rolls has no other pose."""
TILT_DEG = 10.0
"""Poses whose up is within this of an axis are that axis's."""
ALIKE = 0.03
"""Two halves are alike when 95 % of one's surface has the other's within this share of the longest side."""
UNLIKE = 0.045
"""They are not when it takes this much, and twice as much as for the halves that are alike."""
OTHERS = 1.6
"""A side is unlike the class's others when it is so many times the longest, or the shortest, of theirs."""
_INSIDE = 1e-4
_SAMPLES = 6000
_MOST_HULL_FACES = 2000
_AXES = np.eye(3)


def doubts(glb: Path, canonical_from_source: Sequence[Sequence[float]]) -> list[str]:
    """Return what the shape of a canonical GLB says against its up and front, in terms of the source's axes."""
    from models.cad.canonical import GLTF_FROM_CANONICAL
    from models.cad.gltf import read_gltf

    parts = read_gltf(glb, 10**8).parts
    offsets = np.cumsum([0, *(len(part.points) for part in parts)])
    points: Floats = np.concatenate([part.points for part in parts]) @ GLTF_FROM_CANONICAL
    faces: Ints = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets)])
    to_source = np.array(canonical_from_source, dtype=np.float64)[:3, :3].T

    def spelled(direction: Floats) -> str:
        along = to_source @ direction
        axis = int(np.argmax(np.abs(along)))
        return f"{'+' if along[axis] > 0 else '-'}{'xyz'[axis]}"

    halves, quarters = _alike(_surface(points, faces))
    resting = _resting(points, faces, halves)
    if resting:
        ups = [spelled(up) for up, _ in sorted(resting, key=lambda one: -one[1])]
        times = min(max(times for _, times in resting), 99.0)
        said = f"thrown, it would come to rest up to {times:.0f} times as often with another side up"
        return [f"{said}: else say --up {' or '.join(ups)}"]
    if min(quarters[:2]) <= ALIKE and quarters[2] > UNLIKE:
        level = spelled(_AXES[int(np.argmin(quarters[:2]))])
        same = f"a quarter turn about the file's {level[1]}, which lies level, does not change it, as if it lay on its side"
        return [f"{same}: else say --up {level} or --up {_other(level)}"]
    best = int(np.argmin(halves))
    if halves[best] <= ALIKE and halves[0] > max(UNLIKE, 2 * halves[best]):
        if best == 1:
            front = spelled(_AXES[0])
            same = "its front and rear are mirror images, its left and right are not"
            return [f"{same}: else say --front {front} or --front {_other(front)}"]
        return ["its top and bottom are mirror images, its left and right are not, as if it lay on its side: else say --up"]
    return []


def _other(axis: str) -> str:
    return ("-" if axis[0] == "+" else "+") + axis[1]


def _surface(points: Floats, faces: Ints) -> Floats:
    """Return places spread evenly over the surface, centred on the bounding box; the same ones each time."""
    corners = points[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    chosen = corners[rng.choice(len(area), _SAMPLES, p=area / area.sum())]
    outward, along = np.sqrt(rng.random((_SAMPLES, 1))), rng.random((_SAMPLES, 1))
    places = (1 - outward) * chosen[:, 0] + outward * ((1 - along) * chosen[:, 1] + along * chosen[:, 2])
    return np.asarray(places - (points.min(axis=0) + points.max(axis=0)) / 2)


def _alike(places: Floats) -> tuple[Floats, Floats]:
    """Return how unlike the surface is to itself: mirrored along each axis, and after a quarter turn about each."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places)

    def away(moved: Floats) -> float:
        return float(np.quantile(tree.query(moved)[0], 0.95))

    mirrored = [away(places * np.where(_AXES[axis] > 0, -1.0, 1.0)) for axis in range(3)]
    turned = [away(np.cross(_AXES[axis], places) + places * _AXES[axis]) for axis in range(3)]
    return np.array(mirrored), np.array(turned)


def _resting(points: Floats, faces: Ints, halves: Floats) -> list[tuple[Floats, float]]:
    """Return which ways would be up in far more stable poses, and how many times as likely each is.

    Only a level axis counts (upside down, a table is more stable), and only one about which halves could stand: a lamp that lies
    on its flat side has no upright mirror plane then.
    """
    import trimesh
    from scipy.spatial import QhullError

    corners = points[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    centre = (area[:, None] * corners.mean(axis=1)).sum(axis=0) / area.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        try:
            hull = trimesh.convex.convex_hull(points)
            if len(hull.faces) > _MOST_HULL_FACES:
                hull = trimesh.convex.convex_hull(np.round(hull.vertices * 48) / 48)
        except QhullError:
            return []
        if not (((centre - hull.triangles_center) * hull.face_normals).sum(axis=1) < -_INSIDE).all():
            # A sheet of paper has no inside, and trimesh would look for one for ever.
            return []
        poses, chances = trimesh.poses.compute_stable_poses(hull, center_mass=centre, threshold=0.0)
    if not len(chances):
        return []
    ups, near = poses[:, 2, :3], math.cos(math.radians(TILT_DEG))
    assumed = float(chances[ups[:, 2] > near].sum())
    found = []
    for axis, sign in itertools.product(range(2), (1.0, -1.0)):
        up = sign * _AXES[axis]
        chance = float(chances[ups @ up > near].sum())
        stands = min(halves[other] for other in range(3) if other != axis) <= ALIKE
        if stands and chance >= REST_LEAST and chance >= REST_TIMES * assumed:
            found.append((up, chance / max(assumed, 1e-9)))
    return found


def sides(extents: Sequence[float], canonical_from_source: Sequence[Sequence[float]], turned: bool) -> tuple[float, ...]:
    """Return how long a CAD model is in the canonical frame: left to right, front to rear, up; the longest is 1.

    extents: as facts say them, along the source's axes, or (turned) along the canonical ones.
    """
    lengths = np.array(extents, dtype=np.float64)
    if not turned:
        lengths = np.abs(np.array(canonical_from_source, dtype=np.float64)[:3, :3]) @ lengths
    return tuple(float(length) for length in lengths / lengths.max())


def unlike_others(of_class: Mapping[str, tuple[float, ...]]) -> dict[str, str]:
    """Return the CAD models of a class, name -> sides, whose proportions are unlike all others', with a line that says so.

    Only those are doubted whose sides would fit if axes were exchanged, and of two that differ, both.
    """
    found = {}
    for name, own in of_class.items():
        others = np.array([said for other, said in of_class.items() if other != name])
        if len(others) and not _fits(own, others) and any(_fits(other, others) for other in itertools.permutations(own)):
            low, high = others.min(axis=0), others.max(axis=0)
            said = ", ".join(
                f"{what} {mine:.2f} ({_span(a, b)})" for what, mine, a, b in zip(("across", "long", "high"), own, low, high)
            )
            found[name] = f"its sides are unlike those of the class's others, and would fit with other axes: {said}"
    return found


def _fits(own: Sequence[float], others: Floats) -> bool:
    return bool(((np.array(own) <= others.max(axis=0) * OTHERS) & (np.array(own) >= others.min(axis=0) / OTHERS)).all())


def _span(low: float, high: float) -> str:
    return f"{low:.2f}" if math.isclose(low, high, abs_tol=0.005) else f"{low:.2f} to {high:.2f}"
