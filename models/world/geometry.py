"""Geometry passes by ray casting: what a camera sees of a CAD model, before anything is lit.

Enters: a scene of named parts in any scale (canonical axes) and a pose. Leaves: for each ray the part, position, normal and
depth, and visibility from any point in any direction (shadows, ambient occlusion). Embree traces about ten million rays a second
on one core, so the time goes into numpy. Section 3.1 of the paper (rendering), without Blender.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.colour import to_linear

Floats = NDArray[np.float32]

SMOOTH_DEG = 40.0
"""Neighbouring faces that meet at less than this angle are shaded as one smooth surface."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Colours that vary over a CAD model's surface: textures, or colours at the vertices."""

    textures: tuple[Floats | None, ...]
    """(H, W, 3) linear RGB of each part's texture, first row on top; None for parts without one."""
    corner_uv: Floats
    """(F, 3, 2) texture coordinates, v up; 0 where there are none."""
    corner_tints: Floats
    """(F, 3, 3) linear RGB at each face's corners, times the texture."""
    mean: Floats
    """(P, 3) linear RGB of each part on average."""


@dataclass(frozen=True, kw_only=True)
class RayModel:
    """Triangles with the part they belong to, ready to be hit by rays."""

    vertices: Floats
    """(V, 3)."""
    faces: NDArray[np.int32]
    """(F, 3)."""
    corner_normals: Floats
    """(F, 3, 3) unit normals at each face's corners."""
    part: NDArray[np.int32]
    """(F,) index into `names`."""
    names: tuple[str, ...]
    """Name of each part."""
    colours: Floats
    """(P, 3) linear RGB of each part."""
    metallic: Floats
    """(P,)."""
    roughness: Floats
    """(P,)."""
    tracer: Any
    """Embree's scene."""
    paint: Paint | None = None
    """Colours that vary within a part, where there are any; `colours` then holds each part's mean."""

    @functools.cached_property
    def radius(self) -> float:
        """Distance of the farthest vertex from the origin."""
        return float(np.linalg.norm(self.vertices, axis=1).max())


@dataclass(frozen=True, kw_only=True)
class PinholeCamera:
    """A pinhole camera that looks at the origin (OpenCV axes: x right, y down, z forward)."""

    rotation: Floats
    """(3, 3) world to camera."""
    centre: Floats
    """(3,) in the world."""
    focal: float
    """Focal length over the image's side."""


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What each of N rays meets first; rows without a hit are zero but for `face`, which is -1."""

    hit: NDArray[np.bool_]
    face: NDArray[np.int32]
    part: NDArray[np.int32]
    distance: Floats
    position: Floats
    normal: Floats


def ray_model(scene: Any, normals_of: Callable[[Any], NDArray[np.float64] | None] = lambda mesh: None) -> RayModel:
    """Return the parts of a trimesh Scene as one RayModel: longest side 1, centre of the bounding box at the origin.

    `normals_of` gives a mesh's own (V, 3) normals; where it has none they are computed.
    """
    names: list[str] = []
    vertices, faces, part, colours, metallic, roughness = [], [], [], [], [], []
    shading: list[NDArray[np.float64] | None] = []
    offset = 0
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        points = np.asarray(mesh.vertices) @ transform[:3, :3].T + transform[:3, 3]
        triangles = np.asarray(mesh.faces)
        given = normals_of(mesh)
        if np.linalg.det(transform[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
        if given is not None:
            given = given @ np.linalg.inv(transform[:3, :3])
            given = (given / np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12))[triangles]
        shading.append(given)
        vertices.append(points)
        faces.append(triangles + offset)
        part.append(np.full(len(triangles), len(names), np.int32))
        offset += len(points)
        colour, metal, rough = surface(mesh)
        names.append(str(name))
        colours.append(colour)
        metallic.append(metal)
        roughness.append(rough)
    points = np.concatenate(vertices)
    low, high = points.min(axis=0), points.max(axis=0)
    points = ((points - (low + high) / 2) / max(float((high - low).max()), 1e-9)).astype(np.float32)
    triangles = np.concatenate(faces).astype(np.int32)
    known = [given for given in shading if given is not None]
    if len(known) == len(shading):
        normals = np.concatenate(known).astype(np.float32)
    else:
        normals = corner_normals(points, triangles, np.concatenate(part))
    return RayModel(
        vertices=points,
        faces=triangles,
        corner_normals=normals,
        part=np.concatenate(part),
        names=tuple(names),
        colours=np.array(colours, np.float32),
        metallic=np.array(metallic, np.float32),
        roughness=np.array(roughness, np.float32),
        tracer=tracer([(points, triangles)]),
    )


def own_colours(target: RayModel, hits: Hits, rows: NDArray[np.int64]) -> Floats:
    """Return (len(rows), 3) linear RGB of the CAD model itself where the rays `rows` hit it: textures bilinear and repeated."""
    part = hits.part[rows]
    paint = target.paint
    if paint is None:
        return np.asarray(target.colours[part])
    face = hits.face[rows]
    a, b, c = (target.vertices[target.faces[face, i]].astype(np.float64) for i in range(3))
    first, second, at = b - a, c - a, hits.position[rows] - a
    # Barycentric coordinates by least squares in the triangle's plane.
    d00, d01, d11 = ((x * y).sum(axis=1) for x, y in ((first, first), (first, second), (second, second)))
    d20, d21 = (at * first).sum(axis=1), (at * second).sum(axis=1)
    whole = np.maximum(d00 * d11 - d01 * d01, 1e-20)
    v, w = np.clip((d11 * d20 - d01 * d21) / whole, 0, 1)[:, None], np.clip((d00 * d21 - d01 * d20) / whole, 0, 1)[:, None]

    def at_hit(corners: Floats) -> Floats:
        values = corners[face]
        return np.asarray(values[:, 0] * (1 - v - w) + values[:, 1] * v + values[:, 2] * w, np.float32)

    colours = at_hit(paint.corner_tints)
    uv = at_hit(paint.corner_uv)
    for index in np.unique(part):
        texture = paint.textures[index]
        if texture is not None:
            here = part == index
            colours[here] *= _texels(texture, uv[here])
    return colours


def _texels(texture: Floats, uv: Floats) -> Floats:
    """Return (N, 3) of a texture at (N, 2) coordinates, bilinear, repeated beyond 0..1."""
    high, wide = texture.shape[:2]
    x, y = uv[:, 0] * wide - 0.5, (1.0 - uv[:, 1]) * high - 0.5
    left, top = np.floor(x), np.floor(y)
    right, low = (x - left)[:, None], (y - top)[:, None]
    columns = [np.mod(left + i, wide).astype(np.int64) for i in (0, 1)]
    rows = [np.mod(top + i, high).astype(np.int64) for i in (0, 1)]
    upper = texture[rows[0], columns[0]] * (1 - right) + texture[rows[0], columns[1]] * right
    lower = texture[rows[1], columns[0]] * (1 - right) + texture[rows[1], columns[1]] * right
    return np.asarray(upper * (1 - low) + lower * low, np.float32)


def surface(mesh: Any) -> tuple[tuple[float, float, float], float, float]:
    """Return (linear RGB, metallic, roughness) of a trimesh mesh; a texture counts by its mean, no material is 0.5 grey."""
    material = getattr(mesh.visual, "material", None)
    factor = getattr(material, "baseColorFactor", None)
    texture = getattr(material, "baseColorTexture", None)
    if factor is None and texture is None:
        return (0.5, 0.5, 0.5), 0.0, 0.5
    values = np.ones(4) if factor is None else np.asarray(factor, np.float64)
    if factor is not None and np.issubdtype(np.asarray(factor).dtype, np.integer):
        values = values / 255.0
    if texture is not None:
        srgb = np.asarray(texture.convert("RGB").resize((16, 16)), np.float64) / 255.0
        values[:3] *= to_linear(srgb).mean(axis=(0, 1))
    metal, rough = getattr(material, "metallicFactor", None), getattr(material, "roughnessFactor", None)
    colour = (float(values[0]), float(values[1]), float(values[2]))
    return colour, 0.0 if metal is None else float(metal), 0.5 if rough is None else float(rough)


def corner_normals(vertices: Floats, faces: NDArray[np.int32], part: NDArray[np.int32]) -> Floats:
    """Return (F, 3, 3) normals: at each corner the mean of its part's faces around it that bend less than SMOOTH_DEG from it."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    area_normals = np.cross(b - a, c - a)
    units = area_normals / np.maximum(np.linalg.norm(area_normals, axis=1, keepdims=True), 1e-15)
    # Corners at one place are neighbours even where the mesh is not welded.
    grid = np.round(vertices * 2e4).astype(np.int64) + 100_000
    place = (grid[:, 0] * 200_003 + grid[:, 1]) * 200_003 + grid[:, 2]
    corners = np.unique(place[faces].reshape(-1) * 64 + np.repeat(part % 64, 3), return_inverse=True)[1].reshape(-1)
    order = np.argsort(corners, kind="stable")
    face_of = order // 3
    starts = np.flatnonzero(np.r_[True, np.diff(corners[order]) > 0])
    counts = np.diff(np.r_[starts, len(order)])
    result = np.zeros((len(order), 3))
    bend = np.cos(np.radians(SMOOTH_DEG))
    # All pairs of corners at one place, by walking the offset within the place's run of corners (cyclic).
    begin, count = np.repeat(starts, counts), np.repeat(counts, counts)
    position = np.arange(len(order)) - begin
    for step in range(int(min(counts.max(), 32))):
        active = step < count
        other = begin[active] + (position[active] + step) % count[active]
        mine, theirs = face_of[active], face_of[other]
        smooth = (units[mine] * units[theirs]).sum(axis=1) > bend
        result[order[active]] += np.where(smooth[:, None], area_normals[theirs], 0.0)
    lengths = np.linalg.norm(result, axis=1, keepdims=True)
    result = np.where(lengths > 1e-15, result / np.maximum(lengths, 1e-15), np.repeat(units, 3, axis=0))
    return result.reshape(-1, 3, 3).astype(np.float32)


def tracer(meshes: Sequence[tuple[Floats, NDArray[np.int32]]]) -> Any:
    """Return an Embree scene of (vertices, faces) pairs; `geomID` counts them."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    for vertices, faces in meshes:
        TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    return scene


def camera(azimuth_deg: float, elevation_deg: float, inplane_deg: float, distance: float, focal: float) -> PinholeCamera:
    """Return the camera of a pose in the project's convention (docs/conventions.md)."""
    azimuth, elevation, roll = np.radians([azimuth_deg, elevation_deg, inplane_deg])
    backward = np.array([np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), np.sin(elevation)])
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    down = np.cross(-backward, right)
    rotation = np.stack([right, down, -backward])
    # The picture turns counter-clockwise as seen: with y down that is a rotation by -roll in camera axes.
    turn = np.array([[np.cos(roll), np.sin(roll), 0.0], [-np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    return PinholeCamera(
        rotation=(turn @ rotation).astype(np.float32), centre=(distance * backward).astype(np.float32), focal=focal
    )


def rays(view: PinholeCamera, size: int) -> Floats:
    """Return (size * size, 3) unit directions in the world, through the centres of the pixels of a size x size picture."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(steps, steps)
    local = np.stack([x, y, np.full_like(x, view.focal)], axis=-1).reshape(-1, 3)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    return np.ascontiguousarray(local @ view.rotation, np.float32)


def project(view: PinholeCamera, points: Floats) -> Floats:
    """Return (N, 2) picture coordinates of world points, as fractions of the side from the picture's centre."""
    local = (points - view.centre) @ view.rotation.T
    return np.asarray(view.focal * local[:, :2] / np.maximum(local[:, 2:], 1e-6), np.float32)


def cast(target: RayModel, origin: Floats, directions: Floats) -> Hits:
    """Return what rays from one origin meet first; normals are smooth and face the ray."""
    origins = np.ascontiguousarray(np.broadcast_to(origin.astype(np.float32), directions.shape))
    answer = target.tracer.run(origins, directions, query="INTERSECT", output=True)
    face = answer["primID"]
    hit = face >= 0
    n = len(directions)
    distance, part = np.zeros(n, np.float32), np.full(n, -1, np.int32)
    position, normal = np.zeros((n, 3), np.float32), np.zeros((n, 3), np.float32)
    rows = np.flatnonzero(hit)
    u, v, met = answer["u"][rows, None], answer["v"][rows, None], face[rows]
    distance[rows], part[rows] = answer["tfar"][rows], target.part[met]
    corners = target.corner_normals[met]
    normals = corners[:, 0] * (1 - u - v) + corners[:, 1] * u + corners[:, 2] * v
    towards = directions[rows]
    # Which side of the face is seen is decided by the face itself: the smooth normal may lean beyond the horizon at outlines.
    flat = answer["Ng"][rows]
    flat = flat * np.sign((flat * corners[:, 0]).sum(axis=1, keepdims=True) + 1e-12)
    normals = np.where((flat * towards).sum(axis=1, keepdims=True) > 0, -normals, normals)
    normal[rows] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    position[rows] = origins[rows] + towards * distance[rows, None]
    return Hits(hit=hit, face=face, part=part, distance=distance, position=position, normal=normal)


def blocked(scene: Any, points: Floats, directions: Floats, reach: float = 0.0) -> NDArray[np.bool_]:
    """Return for each of N points whether anything lies in its direction ((N, 3) or one (3,)), within `reach` if not 0."""
    towards = np.ascontiguousarray(np.broadcast_to(directions.astype(np.float32), points.shape))
    origins = np.ascontiguousarray(points, np.float32)
    if reach > 0:
        answer = scene.run(origins, towards, dists=np.full(len(points), reach, np.float32), query="OCCLUDED")
    else:
        answer = scene.run(origins, towards, query="OCCLUDED")
    return np.asarray(answer >= 0)


def openness(scene: Any, points: Floats, normals: Floats, directions: Floats, reach: float) -> Floats:
    """Return (N,) ambient visibility in [0, 1]: the cosine-weighted share of `directions` (M, 3) above a surface that is free."""
    lifted = points + normals * 2e-3
    free, total = np.zeros(len(points), np.float32), np.full(len(points), 1e-6, np.float32)
    for direction in directions:
        weight = np.maximum(normals @ direction, 0.0)
        rows = np.flatnonzero(weight > 0.05)
        open_here = ~blocked(scene, lifted[rows], direction, reach)
        free[rows] += weight[rows] * open_here
        total[rows] += weight[rows]
    return free / total
