"""One view of the training world, and its pictures.

Enters: a WorldSpec and the place of a view in it. Leaves: the view's edge maps, mask and depth as the renderer would give them
(one ray through each pixel's centre), and for each appearance a finished picture with the words and captions that are true of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.caption.grammar import compose
from models.colour import to_srgb
from models.control.canny import Canny, CannySpec
from models.control.geometry import Geometry, GeometrySpec
from models.control.protocol import EmptyControl
from models.control.protocol import View as Rendered
from models.render.camera import intrinsics, place
from models.render.light import Light, sample_light
from models.render.spec import LightSpec, RenderSpec, ViewpointSpec
from models.render.viewpoint import Pose, sample_view
from models.sample import ViewId
from models.world import geometry, shading
from models.world.geometry import Floats
from models.world.glb import load
from models.world.scene import Look, sample_look
from models.world.spec import WorldCad, WorldSpec

PHRASINGS = 3
"""Captions of each picture."""

EXTRAS = (
    "glass",
    "window",
    "windscreen",
    "tyre",
    "tire",
    "wheel",
    "rim",
    "hub",
    "lamp",
    "light",
    "plate",
    "trim",
    "bumper",
    "grille",
    "underbody",
    "chassis",
    "seams",
    "mouth",
    "nozzle",
    "drink",
    "gear_",
    "underrun",
    "mirror",
    "sign",
    "canopy_glass",
    "cockpit",
    "exhaust",
    "intake_mouths",
)
"""Parts with such a word in their name keep their own colour: a caption's colour word never means them."""
BODY_SHARE = 0.6
"""At least this share of the visible object, EXTRAS left out, has the colour that the caption names."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A view of the world: which CAD model, seen from where."""

    class_name: str
    cad_seed: int
    """Seed of a parametric CAD model; -1 for a registered one."""
    view_index: int
    cad: WorldCad | None = None
    """The registered CAD model, if it is one."""

    @property
    def identity(self) -> ViewId:
        """The view's identity, from which all its randomness flows."""
        cad_id = f"parametric-{self.cad_seed}" if self.cad is None else self.cad.cad_id
        return ViewId(class_name=self.class_name, cad_id=cad_id, view_index=self.view_index)


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A view after its rays are cast."""

    placed: Placed
    pose: Pose
    keywords: tuple[str, ...]
    passes: shading.RayPasses
    mask: NDArray[np.uint8]
    """(H, W) 0 or 255."""
    depth: Floats
    """(H, W) along the optical axis in longest sides, 0 = background."""
    normal: Floats
    """(H, W, 3) unit, camera axes."""
    neutral: NDArray[np.uint8]
    """(H, W, 4) RGBA in the CAD model's own colours under a plain light."""
    edge_canny: NDArray[np.uint8]
    """(H, W) 0 or 255."""
    edge_geometry: NDArray[np.uint8]
    """(H, W) 0 or 255."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One training pair less its edge maps, which belong to the view."""

    rgb: NDArray[np.uint8]
    """(H, W, 3) sRGB."""
    look: Look
    words: dict[str, Any]
    """What models.caption.grammar.compose takes."""
    captions: tuple[str, ...]
    """Different phrasings of the words."""


def render_spec(spec: WorldSpec) -> RenderSpec:
    """Return the RenderSpec whose mask, depth, normals and lights this world imitates."""
    return RenderSpec(resolution=spec.resolution, lens_mm=spec.lens_mm, sensor_mm=spec.sensor_mm)


def viewpoint(spec: WorldSpec, identity: ViewId) -> ViewpointSpec:
    """Return the strategy for a view's pose: the paper's 3 (from above), for `low_share` of them its 1 (around the horizon)."""
    official = ViewpointSpec.official(1 if identity.rng("strategy").random() < spec.low_share else 3)
    return dataclasses.replace(official, distance=spec.distance, distance_sd=spec.distance_sd, distance_range=spec.distance_range)


@functools.lru_cache(maxsize=8)
def parametric_model(class_name: str, cad_seed: int) -> geometry.RayModel:
    """Return a parametric CAD model, ready to be hit by rays."""
    from models.cad import parametric

    return geometry.ray_model(parametric.build(class_name, cad_seed))


@functools.lru_cache(maxsize=8)
def _registered(glb: Path) -> geometry.RayModel:
    return load(glb.read_bytes())


def body_parts(model: geometry.RayModel, seen: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return (parts,) which parts wear the look's material: colour by colour, the most seen first, until BODY_SHARE is covered.

    `seen` holds the part that each ray met. Windows, tyres, lights and the like keep their own colours.
    """
    extra = np.array([any(word in name.lower() for word in EXTRAS) for name in model.names])
    if extra.all():
        extra[:] = False
    counts = np.bincount(seen, minlength=len(model.names)) * ~extra
    _, group = np.unique(np.round(model.colours, 3), axis=0, return_inverse=True)
    group = group.reshape(-1)
    share = np.bincount(group, counts) / max(int(counts.sum()), 1)
    order = np.argsort(-share, kind="stable")
    needed = int(np.searchsorted(np.cumsum(share[order]), BODY_SHARE)) + 1
    return np.asarray(np.isin(group, order[:needed]) & ~extra)


def trace(spec: WorldSpec, placed: Placed, glbs: Mapping[str, Path] | None = None) -> Traced | None:
    """Return a view's passes and edge maps, or None where nothing can be drawn (an empty edge map).

    `glbs`: where the canonical GLBs of registered CAD models are, by their keys.
    """
    identity = placed.identity
    if placed.cad is None:
        from models.cad import parametric

        model = parametric_model(placed.class_name, placed.cad_seed)
        keywords = tuple(parametric.keywords(placed.class_name, placed.cad_seed))
    else:
        model, keywords = _registered((glbs or {})[placed.cad.cad_key]), placed.cad.keywords
    wanted = sample_view(viewpoint(spec, identity), identity)
    _, distance, _ = place(wanted, model.vertices.astype(np.float64), render_spec(spec))
    pose = dataclasses.replace(wanted, distance=distance)
    passes = cast(spec, model, identity, pose)
    centred = centre_passes(passes, spec.resolution)
    rgba = neutral(passes, sample_light(LightSpec(), identity, pose), spec.resolution)
    K = intrinsics(render_spec(spec))
    rendered = Rendered(rgba=rgba, mask=centred.mask, depth=centred.depth, normal=centred.normal, K=K)
    try:
        canny = Canny(CannySpec()).draw(rendered)
        drawn = Geometry(GeometrySpec()).draw(rendered)
    except EmptyControl:
        return None
    return Traced(
        placed=placed,
        pose=pose,
        keywords=keywords,
        passes=passes,
        mask=centred.mask,
        depth=centred.depth,
        normal=centred.normal,
        neutral=rgba,
        edge_canny=canny,
        edge_geometry=drawn,
    )


def cast(spec: WorldSpec, model: geometry.RayModel, identity: ViewId, pose: Pose) -> shading.RayPasses:
    """Return what the object's pictures from `pose` are shaded from; ground and distractors follow from `identity`."""
    view = geometry.camera(pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg, pose.distance, spec.lens_mm / spec.sensor_mm)
    fine = spec.resolution * spec.supersampling
    directions = geometry.rays(view, fine)
    hits = geometry.cast(model, view.centre, directions)
    rows = np.flatnonzero(hits.hit)
    openness = geometry.openness(model.tracer, hits.position[rows], hits.normal[rows], shading.SPHERE, 0.6)
    bottom, height = float(model.vertices[:, 2].min()), float(view.centre[2])
    # A camera from below looks over a ground that lies below it.
    ground_z = min(bottom, height - float(identity.rng("ground").uniform(0.12, 0.6)))
    others = _distractors(spec, identity, pose, ground_z)
    other_hits = None
    if others is not None:
        other_hits = geometry.cast(others, view.centre, directions)
        both = other_hits.hit & hits.hit
        if (other_hits.distance[both] < hits.distance[both]).any():
            others = other_hits = None
    return shading.RayPasses(
        camera=view,
        size=fine,
        directions=directions,
        model=model,
        hits=hits,
        openness=openness,
        ground_z=ground_z,
        ground_open=shading.ground_openness(model, view.centre, directions, ground_z),
        body=body_parts(model, hits.part[rows]),
        others=others,
        other_hits=other_hits,
    )


@dataclass(frozen=True, kw_only=True)
class Centred:
    """What one ray through each pixel's centre meets, as the renderer's passes."""

    mask: NDArray[np.uint8]
    """(H, W) 0 or 255."""
    depth: Floats
    """(H, W) along the optical axis in longest sides, 0 = background."""
    normal: Floats
    """(H, W, 3) unit, camera axes, 0 = background."""


def centre_passes(passes: shading.RayPasses, size: int) -> Centred:
    """Return mask, depth and normals of a view at `size` x `size` pixels."""
    return seen(passes.model, passes.camera, size)


def seen(model: geometry.RayModel, view: geometry.PinholeCamera, size: int) -> Centred:
    """Return mask, depth and normals of a CAD model before a camera, at `size` x `size` pixels."""
    hits = geometry.cast(model, view.centre, geometry.rays(view, size))
    depth = (hits.position - view.centre) @ view.rotation[2] * hits.hit
    return Centred(
        mask=(hits.hit.reshape(size, size) * np.uint8(255)).astype(np.uint8),
        depth=depth.reshape(size, size).astype(np.float32),
        normal=(hits.normal @ view.rotation.T).reshape(size, size, 3).astype(np.float32),
    )


def look_of(traced: Traced, appearance_index: int, words: dict[str, str] | None = None) -> Look:
    """Return the Look of one appearance of a view; `words` (colour, material, scene, light) fixes some of it."""
    return sample_look(traced.placed.identity.rng(f"look-{appearance_index}"), traced.pose.azimuth_deg, words)


def paint(traced: Traced, appearance_index: int, words: dict[str, str] | None = None) -> Picture:
    """Return one appearance of a view, shaded from its passes; `words` as in `look_of`."""
    look = look_of(traced, appearance_index, words)
    return captioned(traced, appearance_index, look, shading.picture(traced.passes, look, traced.mask.shape[0]))


def captioned(traced: Traced, appearance_index: int, look: Look, rgb: NDArray[np.uint8]) -> Picture:
    """Return a finished picture of a view with the words and captions that its look makes true."""
    identity = traced.placed.identity
    said: dict[str, Any] = {
        "class_name": traced.placed.class_name,
        "keywords": list(traced.keywords),
        "colour": look.colour,
        "material": look.material,
        "scene": look.scene,
        "light": look.light,
        "azimuth": round(traced.pose.azimuth_deg, 2),
        "elevation": round(traced.pose.elevation_deg, 2),
    }
    captions = tuple(_caption(said, identity.rng(f"caption-{appearance_index}-{i}"), i) for i in range(PHRASINGS))
    return Picture(rgb=rgb, look=look, words=said, captions=captions)


def _caption(words: dict[str, Any], rng: np.random.Generator, phrasing: int) -> str:
    """Phrasing 0 says everything; the others leave words out, as people do, so that short prompts are understood as well."""
    said = dict(words)
    said["keywords"] = [word for word in words["keywords"] if rng.random() < 0.5][:2]
    if phrasing:
        for name, share in (("material", 0.15), ("scene", 0.15), ("light", 0.2), ("colour", 0.08)):
            if rng.random() < share:
                said[name] = None
        if rng.random() < 0.35:
            said["azimuth"] = said["elevation"] = None
    return compose(said, rng)


def neutral(passes: shading.RayPasses, light: Light, side: int) -> NDArray[np.uint8]:
    """Return (side, side, 4) RGBA, straight alpha, of the object in its own colours under a plain light, as the renderer does."""
    hits, model = passes.hits, passes.model
    rows = np.flatnonzero(hits.hit)
    normals, points = hits.normal[rows], hits.position[rows]
    irradiance = np.full(len(rows), light.ambient, np.float32) * passes.openness
    for lamp in light.lamps:
        a, e = np.radians([lamp.azimuth_deg, lamp.elevation_deg])
        sun = np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)], np.float32)
        across = np.cross(sun, [0.0, 0.0, 1.0]).astype(np.float32)
        spread = np.tan(np.radians(lamp.size / 2)) * across / (np.linalg.norm(across) + 1e-9)
        seen = np.zeros(len(rows), np.float32)
        for offset in (-0.6, 0.0, 0.6):
            towards = sun + offset * spread
            seen += ~geometry.blocked(model.tracer, points + normals * 3e-3, towards / np.linalg.norm(towards))
        irradiance += lamp.strength / np.pi * np.maximum(normals @ sun, 0.0) * seen / 3
    linear = np.zeros((passes.size * passes.size, 4), np.float32)
    linear[rows, :3] = geometry.own_colours(model, hits, rows) * irradiance[:, None]
    linear[rows, 3] = 1.0
    step = passes.size // side
    mean = linear.reshape(side, step, side, step, 4).mean(axis=(1, 3))
    colour = np.clip(mean[..., :3] / np.maximum(mean[..., 3:], 1e-6), 0.0, 1.0)
    return np.asarray(np.round(np.concatenate([to_srgb(colour), mean[..., 3:]], axis=-1) * 255.0), np.uint8)


def _distractors(spec: WorldSpec, identity: ViewId, pose: Pose, ground_z: float) -> geometry.RayModel | None:
    """Return a few boxes, balls and drums behind the object, or None for most views."""
    import trimesh

    rng = identity.rng("distractors")
    if rng.random() >= spec.distractor_share:
        return None
    vertices, faces, part, colours = [], [], [], []
    offset = 0
    for index in range(int(rng.integers(1, 4))):
        side = float(rng.uniform(0.18, 0.5))
        kind = int(rng.integers(3))
        if kind == 0:
            mesh = trimesh.creation.box(extents=side * rng.uniform(0.6, 1.4, 3))
        elif kind == 1:
            mesh = trimesh.creation.icosphere(subdivisions=3, radius=side / 2)
        else:
            mesh = trimesh.creation.cylinder(radius=side / 2.5, height=side * float(rng.uniform(0.8, 2.0)), sections=32)
        turn = np.radians(pose.azimuth_deg + 180.0 + float(rng.uniform(-75, 75)))
        far = float(rng.uniform(0.9, 1.9))
        place_at = np.array([far * np.sin(turn), -far * np.cos(turn), ground_z - mesh.bounds[0, 2]])
        points = np.asarray(mesh.vertices) + place_at
        vertices.append(points)
        faces.append(np.asarray(mesh.faces) + offset)
        part.append(np.full(len(mesh.faces), index, np.int32))
        colours.append(rng.uniform(0.02, 0.8, 3))
        offset += len(points)
    points, triangles = np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32)
    parts = np.concatenate(part)
    return geometry.RayModel(
        vertices=points,
        faces=triangles,
        corner_normals=geometry.corner_normals(points, triangles, parts % 64),
        part=parts,
        names=tuple(f"distractor_{i}" for i in range(len(colours))),
        colours=np.array(colours, np.float32),
        metallic=np.zeros(len(colours), np.float32),
        roughness=np.full(len(colours), 0.6, np.float32),
        tracer=geometry.tracer([(points, triangles)]),
    )
