"""Closed surfaces made from curves: what the bundled CAD models are built from.

Enters: rings, profiles and paths as arrays of points. Leaves: `Solid`s, watertight, faces outward. Needs numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Faces = NDArray[np.int64]


@dataclass(frozen=True)
class Solid:
    """A triangle surface: closed, or several closed ones together."""

    vertices: Points
    """(n, 3)."""
    faces: Faces
    """(m, 3), counter-clockwise seen from outside."""

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        return Solid(self.vertices + np.array([x, y, z]), self.faces)

    def scaled(self, x: float, y: float, z: float) -> Solid:
        """Stretch along the axes; the factors are positive."""
        return Solid(self.vertices * np.array([x, y, z]), self.faces)

    def turned(self, axis: str, degrees: float) -> Solid:
        """Turn about a coordinate axis through the origin, right-handed."""
        return Solid(self.vertices @ rotation(axis, degrees).T, self.faces)

    def mirrored(self) -> Solid:
        """Exchange left and right (x -> -x)."""
        return Solid(self.vertices * np.array([-1.0, 1.0, 1.0]), self.faces[:, ::-1])

    def both_sides(self) -> Solid:
        """This solid and its mirror image."""
        return join(self, self.mirrored())


def rotation(axis: str, degrees: float) -> Points:
    """Return the 3x3 matrix of a right-handed turn about `x`, `y` or `z`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def join(*solids: Solid) -> Solid:
    """Put solids side by side into one."""
    offsets = np.cumsum([0] + [len(solid.vertices) for solid in solids[:-1]])
    return Solid(
        np.concatenate([solid.vertices for solid in solids]),
        np.concatenate([solid.faces + offset for solid, offset in zip(solids, offsets)]),
    )


def volume(solid: Solid) -> float:
    """Return the signed volume: positive when the faces look outward."""
    a, b, c = (solid.vertices[solid.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def outward(solid: Solid) -> Solid:
    return solid if volume(solid) > 0 else Solid(solid.vertices, solid.faces[:, ::-1])


def loft(rings: ArrayLike, closed: bool = False) -> Solid:
    """Skin over rings of points, (rings, points, 3); the ends get a fan about their centre, or meet when `closed`."""
    grid = np.asarray(rings, dtype=float)
    count, points = grid.shape[:2]
    index = np.arange(count * points).reshape(count, points)
    lower, upper = (index, np.roll(index, -1, axis=0)) if closed else (index[:-1], index[1:])
    a, b = lower, np.roll(lower, -1, axis=1)
    d, c = upper, np.roll(upper, -1, axis=1)
    faces = [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)]
    vertices = [grid.reshape(-1, 3)]
    if not closed:
        vertices.append(np.stack([grid[0].mean(axis=0), grid[-1].mean(axis=0)]))
        first, last = index[0], index[-1]
        faces.append(np.stack([np.roll(first, -1), first, np.full(points, count * points)], axis=-1))
        faces.append(np.stack([last, np.roll(last, -1), np.full(points, count * points + 1)], axis=-1))
    return outward(Solid(np.concatenate(vertices), np.concatenate(faces)))


def revolve(profile: ArrayLike, sections: int = 32) -> Solid:
    """Turn an open profile of (radius, z) about the z axis; the ends are closed by discs."""
    curve = np.asarray(profile, dtype=float)
    radius = np.maximum(curve[:, 0], 1e-4 * np.abs(curve).max())
    angle = np.arange(sections) * 2 * np.pi / sections
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    rings = np.concatenate(
        [radius[:, None, None] * circle[None], np.broadcast_to(curve[:, None, 1:], (len(curve), sections, 1))], axis=-1
    )
    return loft(rings)


def hoop(profile: ArrayLike, sections: int = 40) -> Solid:
    """Turn a closed profile of (radius, z) about the z axis: a ring, a band round a vessel."""
    curve = np.asarray(profile, dtype=float)
    angle = np.arange(sections) * 2 * np.pi / sections
    return loft([np.stack([curve[:, 0] * np.cos(a), curve[:, 0] * np.sin(a), curve[:, 1]], axis=-1) for a in angle], closed=True)


def cylinder(radius: float, z0: float, z1: float, sections: int = 28, top: float | None = None, bevel: float = 0.0) -> Solid:
    """A cylinder, or a cone of `top` radius, standing on z0, with its rims bevelled."""
    end = radius if top is None else top
    if bevel <= 0:
        return revolve([(radius, z0), (end, z1)], sections)
    return revolve([(radius - bevel, z0), (radius, z0 + bevel), (end, z1 - bevel), (end - bevel, z1)], sections)


def ellipsoid(x: float, y: float, z: float, sections: int = 24, levels: int = 9) -> Solid:
    """An ellipsoid of the given half axes about the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, levels)
    return revolve(np.stack([np.cos(angle), np.sin(angle)], axis=-1), sections).scaled(x, y, z)


def rectangle(x: float, y: float, radius: float = 0.0, corner: int = 4) -> Points:
    """A ring of half sizes x, y with round corners, as (points, 2), counter-clockwise from the +x side's lower end."""
    radius = min(radius, 0.999 * x, 0.999 * y)
    if radius <= 0:
        return np.array([[x, -y], [x, y], [-x, y], [-x, -y]], dtype=float)
    angle = np.linspace(0, np.pi / 2, corner)
    arc = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    centre = np.array([x - radius, y - radius])
    quarter = arc + centre
    return np.concatenate([quarter, (quarter * [-1, 1])[::-1], -quarter, (quarter * [1, -1])[::-1]])


def flat(ring: ArrayLike, z: float) -> Points:
    """Lay a ring of (x, y) at height z."""
    ring = np.asarray(ring, dtype=float)
    return np.concatenate([ring, np.full((len(ring), 1), z)], axis=1)


def box(x: float, y: float, z: float, radius: float = 0.0, corner: int = 3) -> Solid:
    """A box of full sizes x, y, z about the origin, all its edges rounded by `radius`."""
    hx, hy, hz = x / 2, y / 2, z / 2
    if radius <= 0:
        ring = rectangle(hx, hy)
        return loft([flat(ring, -hz), flat(ring, hz)])
    radius = min(radius, 0.98 * min(hx, hy, hz))
    rings = []
    for sign, angles in ((-1, (90, 45, 0)), (1, (0, 45, 90))):
        for angle in np.radians(angles):
            inset = radius * (1 - np.cos(angle))
            ring = rectangle(hx - inset, hy - inset, max(radius * np.cos(angle), 0.02 * radius), corner)
            rings.append(flat(ring, sign * (hz - radius + radius * np.sin(angle))))
    return loft(rings)


def slab(ring: ArrayLike, z0: float, z1: float, bevel: float = 0.0) -> Solid:
    """A plate over a ring of (x, y) that can be seen whole from its middle, between two heights, with bevelled rims."""
    ring = np.asarray(ring, dtype=float)
    if bevel <= 0:
        return loft([flat(ring, z0), flat(ring, z1)])
    centre = ring.mean(axis=0)
    inner = centre + (ring - centre) * (1 - bevel / np.linalg.norm(ring - centre, axis=1, keepdims=True))
    return loft([flat(inner, z0), flat(ring, z0 + bevel), flat(ring, z1 - bevel), flat(inner, z1)])


def tube(path: ArrayLike, radius: float | ArrayLike, sections: int = 12, closed: bool = False, flatten: float = 1.0) -> Solid:
    """A pipe along a path, (points, 3), of constant or given radius; `flatten` presses the section along the path's binormal."""
    line = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(line),))
    tangent = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0) if closed else np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # A frame carried along the path without twist, so that the quads of the skin stay straight.
    first = np.eye(3)[np.argmin(np.abs(tangent).max(axis=0) if closed else np.abs(tangent).mean(axis=0))]
    angle = np.arange(sections) * 2 * np.pi / sections
    rings = []
    side = first
    for point, direction, r in zip(line, tangent, radii):
        side = side - direction * (side @ direction)
        side = side / np.linalg.norm(side)
        other = np.cross(direction, side)
        rings.append(point + r * (flatten * np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other))
    return loft(rings, closed=closed)


def bar(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None = None, sections: int = 12) -> Solid:
    """A straight round bar between two points, perhaps tapered."""
    ends = np.array([start, end], dtype=float)
    return tube(ends, [radius, radius if end_radius is None else end_radius], sections)


def beam(start: ArrayLike, end: ArrayLike, x: float, y: float, taper: float = 1.0) -> Solid:
    """A square bar of full sizes x, y between two points, level at both ends (a table's leg)."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    ring = rectangle(x / 2, y / 2, 0.2 * min(x, y), 3)
    return loft([flat(ring, 0.0) + a, flat(ring * taper, 0.0) + b])


def shell(grid: ArrayLike, lift: float, depth: float = 0.02) -> Solid:
    """A plate that follows a patch of surface, (rows, columns, 3): from `depth` under it to `lift` over it.

    The patch's normal is rows x columns; give a negative `lift` and `depth` to turn it round.
    """
    patch = np.asarray(grid, dtype=float)
    rows = np.gradient(patch, axis=0)
    columns = np.gradient(patch, axis=1)
    normal = np.cross(rows, columns)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    r, c = patch.shape[:2]
    top, bottom = patch + lift * normal, patch - depth * normal
    index = np.arange(r * c).reshape(r, c)
    a, b, d, e = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    up = np.concatenate([np.stack([a, b, e], -1).reshape(-1, 3), np.stack([a, e, d], -1).reshape(-1, 3)])
    rim = np.concatenate([index[:, 0], index[-1, 1:], index[-2::-1, -1], index[0, -2:0:-1]])
    after = np.roll(rim, -1)
    under = r * c
    wall = np.concatenate([np.stack([after, rim, rim + under], -1), np.stack([after, rim + under, after + under], -1)])
    faces = np.concatenate([up, up[:, ::-1] + under, wall])
    return outward(Solid(np.concatenate([top.reshape(-1, 3), bottom.reshape(-1, 3)]), faces))


def curve(points: ArrayLike, count: int, closed: bool = False) -> Points:
    """A smooth line (Catmull-Rom) through points of any dimension, sampled evenly in its parameter."""
    given = np.asarray(points, dtype=float)
    n = len(given)
    if closed:
        padded = np.concatenate([given[-1:], given, given[:2]])
        t = np.arange(count) * n / count
    else:
        padded = np.concatenate([2 * given[:1] - given[1:2], given, 2 * given[-1:] - given[-2:-1]])
        t = np.linspace(0, n - 1, count)
    i = np.minimum(t.astype(int), (n if closed else n - 1) - 1)
    f = (t - i)[:, None]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    blend: Points = 0.5 * (2 * p1 + (p2 - p0) * f + (2 * p0 - 5 * p1 + 4 * p2 - p3) * f**2 + (3 * p1 - p0 - 3 * p2 + p3) * f**3)
    return blend


def corner_normals(vertices: Points, faces: Faces, crease_deg: float = 40.0) -> Points:
    """Return a normal for each corner of each face, (m, 3, 3): smooth over edges under `crease_deg`, sharp over the others."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    weighted = np.cross(b - a, c - a)
    unit = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-20)
    flat_vertices = faces.reshape(-1)
    order = np.argsort(flat_vertices, kind="stable")
    counts = np.bincount(flat_vertices, minlength=len(vertices))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    valence = counts[flat_vertices]
    left = np.repeat(np.arange(len(flat_vertices)), valence)
    within = np.arange(len(left)) - np.repeat(np.cumsum(valence) - valence, valence)
    right = order[starts[flat_vertices[left]] + within]
    near = np.einsum("ij,ij->i", unit[left // 3], unit[right // 3]) >= np.cos(np.radians(crease_deg))
    total = np.zeros((len(flat_vertices), 3))
    for axis in range(3):
        total[:, axis] = np.bincount(left[near], weighted[right[near] // 3, axis], minlength=len(flat_vertices))
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return total.reshape(-1, 3, 3)
