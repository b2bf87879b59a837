"""Deferred shading: rays are cast once for a view, and the picture of each appearance is computed from what they met.

Enters: RayPasses (what the rays of one view meet, with ambient occlusion) and a Look. Leaves: sRGB pixels. Shading
one picture takes some ten milliseconds at 256x256 rays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.colour import to_srgb
from models.world import background, geometry, materials, noise
from models.world.scene import Look

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RayPasses:
    """What the rays of one view met."""

    camera: geometry.PinholeCamera
    size: int
    """Rays along a side."""
    directions: Floats
    """(size * size, 3)."""
    model: geometry.RayModel
    hits: geometry.Hits
    openness: Floats
    """(hits,) ambient visibility at each hit, in the order of the hits."""
    ground_z: float
    """Height of the ground: under the object, or lower where the camera is."""
    ground_open: Floats
    """(size * size,) ambient visibility where each ray meets the ground plane; 1 far away and where it does not."""
    body: NDArray[np.bool_]
    """(parts,) which parts wear the look's material."""
    others: geometry.RayModel | None
    """Distractors, standing behind."""
    other_hits: geometry.Hits | None


def picture(passes: RayPasses, look: Look, side: int) -> NDArray[np.uint8]:
    """Return the view under one look as (side, side, 3) sRGB; `side` divides the passes' size."""
    directions, hits = passes.directions, passes.hits
    around = background.surround(look, passes.camera.centre, directions, passes.ground_z)
    radiance = _surroundings(passes, look, around)
    if passes.others is not None and passes.other_hits is not None and look.distractors:
        rows = np.flatnonzero(passes.other_hits.hit)
        points, normals = passes.other_hits.position[rows], passes.other_hits.normal[rows]
        albedo = passes.others.colours[passes.other_hits.part[rows]]
        plain = materials.Surface(
            albedo=albedo,
            metallic=np.zeros(len(rows), np.float32),
            roughness=np.full(len(rows), 0.6, np.float32),
            clear=np.zeros(len(rows), np.float32),
        )
        near = np.clip((points[:, 2] - passes.ground_z) * 4.0, 0.35, 1.0)
        radiance[rows] = _shade(passes, look, plain, points, normals, directions[rows], near, None)
    rows = np.flatnonzero(hits.hit)
    if len(rows):
        points, normals = hits.position[rows], hits.normal[rows]
        surface = _surface(passes, look, rows, points)
        behind = _seen_through(radiance, normals, passes.camera, rows, passes.size) if look.material == "glass" else None
        radiance[rows] = _shade(passes, look, surface, points, normals, directions[rows], passes.openness, behind)
    return develop(radiance.reshape(passes.size, passes.size, 3), look, side)


def develop(radiance: Floats, look: Look, side: int) -> NDArray[np.uint8]:
    """Return (side, side, 3) sRGB of linear radiance: exposure, a soft shoulder, then the mean over each pixel's rays."""
    gain = {"noon": 0.62, "sunset": 0.80, "overcast": 1.05, "night": 1.0, "studio": 0.62}[look.light] * look.exposure
    x = radiance * gain
    # Straight up to 0.6, then bending towards 1: colours of the object stay what their word says.
    x = np.where(x < 0.6, x, 0.6 + 0.4 * (1.0 - np.exp(-(x - 0.6) / 0.4)))
    step = radiance.shape[0] // side
    x = x.reshape(side, step, side, step, 3).mean(axis=(1, 3))
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(np.round(to_srgb(x) * 255.0), np.uint8)


def ground_openness(model: geometry.RayModel, centre: Floats, directions: Floats, ground_z: float) -> Floats:
    """Return (N,) the ambient visibility of the ground plane where rays from `centre` meet it; 1 where they do not."""
    import cv2

    size = int(np.sqrt(len(directions)))
    # Ambient light changes slowly: every second ray is enough.
    sparse = np.ascontiguousarray(directions.reshape(size, size, 3)[::2, ::2]).reshape(-1, 3)
    down = sparse[:, 2] < -1e-4
    t = np.where(down, (ground_z - centre[2]) / np.where(down, sparse[:, 2], -1.0), 0.0)
    points = (centre + sparse * t[:, None]).astype(np.float32)
    rows = np.flatnonzero((t > 0) & (np.hypot(points[:, 0], points[:, 1]) < 1.4))
    up = np.zeros((len(rows), 3), np.float32)
    up[:, 2] = 1.0
    free = np.ones(len(sparse), np.float32)
    free[rows] = geometry.openness(model.tracer, points[rows], up, HEMISPHERE, 0.0)
    half = -(-size // 2)
    smooth = cv2.resize(cv2.blur(free.reshape(half, half), (3, 3)), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth.reshape(-1), np.float32)


def _surface(passes: RayPasses, look: Look, rows: NDArray[np.int64], points: Floats) -> materials.Surface:
    model, part = passes.model, passes.hits.part[rows]
    own = geometry.own_colours(model, passes.hits, rows)
    albedo, metallic = own.copy(), model.metallic[part].copy()
    roughness, clear = np.clip(model.roughness[part], 0.06, 1.0), np.zeros(len(part), np.float32)
    on = np.flatnonzero(passes.body[part])
    worn = materials.body(look, points[on])
    albedo[on], metallic[on], roughness[on], clear[on] = worn.albedo, worn.metallic, worn.roughness, worn.clear
    if model.paint is not None:
        # Dyed, not covered: what is darker than the rest of its texture stays darker.
        light, mean = own[on].mean(axis=1), model.colours[part[on]].mean(axis=1)
        albedo[on] = np.minimum(albedo[on] * np.clip(light / np.maximum(mean, 0.02), 0.15, 1.35)[:, None], 0.95)
    return materials.Surface(albedo=albedo, metallic=metallic, roughness=roughness, clear=clear)


def _lamp(look: Look, points: Floats) -> Floats:
    """Return (N, 3) irradiance of the main light at points that face it."""
    light = np.broadcast_to(background.rgb(look.sun_colour), points.shape).astype(np.float32)
    if look.lamp:
        radius = np.hypot(points[:, 0], points[:, 1])
        pool = look.lamp / (1.0 + (radius / 0.75) ** 2) ** 1.6
        light = (light + np.array([0.86, 0.78, 0.62], np.float32) * pool[:, None]).astype(np.float32)
    return light


def _sunlit(passes: RayPasses, look: Look, points: Floats, normals: Floats, samples: int) -> Floats:
    """Return (N,) visible share of the main light, from `samples` rays into its disc."""
    scenes = [passes.model.tracer]
    if passes.others is not None and look.distractors:
        scenes.append(passes.others.tracer)
    sun = np.array(look.sun)
    across = np.cross(sun, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across) + 1e-9
    along = np.cross(sun, across)
    lifted = points + normals * 3e-3
    seen = np.zeros(len(points), np.float32)
    for i in range(samples):
        # A sunflower pattern fills the disc evenly.
        radius, turn = look.softness * np.sqrt((i + 0.5) / samples), 2.399963 * i
        direction = sun + radius * (np.cos(turn) * across + np.sin(turn) * along)
        shadow = np.zeros(len(points), np.bool_)
        for scene in scenes:
            shadow |= geometry.blocked(scene, lifted, direction / np.linalg.norm(direction))
        seen += ~shadow
    return np.asarray(seen / samples, np.float32)


def _shade(
    passes: RayPasses,
    look: Look,
    surface: materials.Surface,
    points: Floats,
    normals: Floats,
    directions: Floats,
    openness: Floats,
    behind: Floats | None,
) -> Floats:
    """Return (N, 3) radiance towards the camera."""
    sun = background.rgb(look.sun)
    facing = np.maximum(normals @ sun, 0.0)
    seen = np.zeros(len(points), np.float32)
    lit = np.flatnonzero(facing > 0)
    seen[lit] = _sunlit(passes, look, points[lit], normals[lit], 3 if look.softness < 0.15 else 6)
    main = _lamp(look, points) * seen[:, None]
    towards = np.maximum(-(normals * directions).sum(axis=1), 0.0)
    around = background.ambient(look, normals) * openness[:, None]
    # A little light from the camera keeps forms readable where neither sun nor sky reaches.
    fill = 0.10 * (1.0 if not look.lamp else 0.6 * look.lamp) * towards
    diffuse = surface.albedo * (main * facing[:, None] + around + fill[:, None])

    mirror = directions + 2.0 * towards[:, None] * normals
    fresnel = 0.04 + 0.96 * np.power(1.0 - towards, 5.0) * (1.0 - 0.8 * surface.roughness)
    sharp = background.environment(look, mirror)
    blurred = background.ambient(look, mirror)
    blur = np.clip(surface.roughness * 1.5, 0.0, 1.0)[:, None]
    reflected = (sharp * (1 - blur) + blurred * blur) * (0.3 + 0.7 * openness)[:, None]
    half = sun - directions
    half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-9
    power = 2.0 / np.maximum(surface.roughness, 0.08) ** 2.5
    peak = np.power(np.maximum((normals * half).sum(axis=1), 0.0), power) * np.minimum((power + 2) / 10.0, 8.0)
    glint = main * (peak * facing)[:, None]

    metal = surface.metallic[:, None]
    # Metals keep part of their diffuse answer: the world has no bounced light to fill their mirrors.
    base = diffuse * (1.0 - 0.75 * metal)
    gloss = (reflected * (1.0 + 0.35 * metal) + glint * 0.25) * (metal * surface.albedo + (1 - metal) * fresnel[:, None])
    colour = base + gloss
    if behind is not None:
        clear = (surface.clear * (0.45 + 0.55 * towards))[:, None]
        tint = np.sqrt(surface.albedo / np.maximum(surface.albedo.max(axis=1, keepdims=True), 0.25) + 0.01)
        colour = base * (1 - clear) + clear * (behind * tint * 0.85 + 0.12 * base) + gloss * 1.5
    return np.asarray(colour, np.float32)


def _seen_through(radiance: Floats, normals: Floats, view: geometry.PinholeCamera, rows: NDArray[np.int64], size: int) -> Floats:
    """Return (N, 3) background as bent by the surface: read beside the pixel, by the normal's tilt in the image plane."""
    tilt = (normals @ view.rotation.T)[:, :2] * (0.06 * size)
    x = np.clip(rows % size - tilt[:, 0], 0, size - 1).astype(np.int64)
    y = np.clip(rows // size - tilt[:, 1], 0, size - 1).astype(np.int64)
    return np.asarray(radiance[y * size + x], np.float32)


def _surroundings(passes: RayPasses, look: Look, around: background.Surroundings) -> Floats:
    """Return (rays, 3) radiance of all that is not an object."""
    directions, pixel = passes.directions, 1.0 / (passes.camera.focal * passes.size)
    radiance = np.zeros((len(directions), 3), np.float32)
    sky = np.flatnonzero(around.distance == 0)
    radiance[sky] = background.beyond(look, directions[sky])
    rows = np.flatnonzero(around.wall >= 0)
    if len(rows):
        part = background.Surroundings(
            floor=around.floor[rows], wall=around.wall[rows], distance=around.distance[rows], points=around.points[rows]
        )
        albedo = background.walls(look, part, part.distance * pixel * 1.3)
        light = (
            0.85 * background.rgb(look.zenith) + 0.35 * _lamp(look, part.points) * (0.7 + 0.15 * np.cos(part.wall * 2.0))[:, None]
        )
        corner = np.clip(0.55 + (part.points[:, 2] - passes.ground_z) * 1.2, 0.55, 1.0)
        radiance[rows] = albedo * light * corner[:, None]
    rows = np.flatnonzero(around.floor)
    if len(rows):
        radiance[rows] = _floor(passes, look, around, rows, pixel)
    return radiance


def _floor(passes: RayPasses, look: Look, around: background.Surroundings, rows: NDArray[np.int64], pixel: float) -> Floats:
    points, distance, directions = around.points[rows], around.distance[rows], passes.directions[rows]
    footprint = (distance * pixel / np.maximum(-directions[:, 2], 0.08)).astype(np.float32)
    albedo = background.ground(look, np.ascontiguousarray(points[:, :2]), footprint)
    up = np.zeros_like(points)
    up[:, 2] = 1.0
    seen = np.ones(len(points), np.float32)
    # What is far from the object is in nobody's shadow; a low sun throws long ones.
    soft, size = look.softness >= 0.15, passes.size
    radius = np.hypot(points[:, 0], points[:, 1])
    near = radius < 1.0 + 1.2 / max(look.sun[2], 0.25)
    if passes.others is None:
        # Rays that pass the object's bounding sphere by more than the light's breadth are free.
        along = points @ background.rgb(look.sun)
        miss = np.sqrt(np.maximum((points**2).sum(axis=1) - along**2, 0.0))
        near &= miss < passes.model.radius + look.softness * (radius + 0.6)
    traced = np.flatnonzero(near & ((rows % 2 == 0) & (rows // size % 2 == 0))) if soft else np.flatnonzero(near)
    seen[traced] = _sunlit(passes, look, points[traced], up[traced], 10 if soft else 4)
    if soft:
        kept = ~near
        kept[traced] = True
        seen = _smooth(seen, rows, size, 5, kept)
    free = passes.ground_open[rows]
    light = _lamp(look, points) * (look.sun[2] * seen)[:, None] + background.ambient(look, up) * free[:, None]
    if look.scene == "studio" and look.light == "studio":
        # The sweep is lit evenly, and runs into the wall without a seam.
        light = light * 0.62 + 0.10
    colour = albedo * light
    if look.scene in ("water", "tiles", "wood floor"):
        colour = _mirrored(passes, look, points, directions, footprint, colour, free)
    if look.scene == "studio":
        wall = background.beyond(look, directions)
        fade = np.clip((distance - 2.5) / 4.0, 0.0, 1.0)[:, None]
    else:
        wall = background.rgb(look.horizon) * (0.8 if look.light != "night" else 1.0)
        fade = 1.0 - np.exp(-np.maximum(distance - 3.0, 0.0) / 45.0)[:, None]
        if look.lamp == 0 and np.all(around.wall[~around.floor] >= 0) and around.wall.max(initial=-1) >= 0:
            fade = fade * 0.0
    return np.asarray(colour * (1 - fade) + wall * fade, np.float32)


def _mirrored(
    passes: RayPasses, look: Look, points: Floats, directions: Floats, footprint: Floats, colour: Floats, free: Floats
) -> Floats:
    """Return the floor's (N, 3) radiance with what it mirrors: sky, and the object in flat colours."""
    water = look.scene == "water"
    normals = np.zeros_like(points)
    normals[:, 2] = 1.0
    if water:
        at, fade = np.ascontiguousarray(points[:, :2]), np.clip(1.3 - footprint * 6.0, 0.1, 1.0)
        for axis in (0, 1):
            waves = noise.fractal(
                at * np.array([1.0, 1.0 + 0.4 * axis], np.float32), 9.0 / look.scale, 3, footprint, look.texture + axis
            )
            normals[:, axis] = 0.055 * fade * waves
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    towards = np.maximum(-(directions * normals).sum(axis=1), 0.0)
    mirror = directions + 2 * towards[:, None] * normals
    mirror[:, 2] = np.abs(mirror[:, 2]) + 1e-3
    fresnel = 0.03 + 0.97 * np.power(1.0 - towards, 5.0)
    strength = np.clip(fresnel * 1.0 + 0.06, 0.0, 0.9) if water else fresnel * (0.22 if look.scene == "tiles" else 0.10) + 0.02
    seen = background.sky(look, mirror, detail=False)
    if not water:
        seen = np.broadcast_to(background.rgb(look.accent) * background.rgb(look.zenith), mirror.shape).astype(np.float32)
    rows = np.flatnonzero(np.hypot(points[:, 0], points[:, 1]) < 3.0)
    answer = passes.model.tracer.run(
        np.ascontiguousarray(points[rows] + [0, 0, 1e-3], np.float32),
        np.ascontiguousarray(mirror[rows], np.float32),
        query="INTERSECT",
        output=True,
    )
    met = answer["primID"] >= 0
    part = passes.model.part[answer["primID"][met]]
    flat = np.where(passes.body[part][:, None], background.rgb(look.body), passes.model.colours[part])
    lit = (
        background.ambient(look, np.array([[0.0, 0.0, 0.0]], np.float32))[0]
        + 0.3 * background.rgb(look.sun_colour)
        + 0.3 * look.lamp
    )
    seen[rows[met]] = flat * lit
    return np.asarray(colour * (1 - strength[:, None]) + seen * strength[:, None], np.float32)


def _smooth(values: Floats, rows: NDArray[np.int64], size: int, width: int, known: NDArray[np.bool_]) -> Floats:
    """Return per-ray values blurred over the picture, from those that are `known`: few light samples leave steps."""
    import cv2

    weight, canvas = np.zeros(size * size, np.float32), np.zeros(size * size, np.float32)
    weight[rows], canvas[rows] = known, values * known
    total = cv2.blur(canvas.reshape(size, size), (width, width)).reshape(-1)[rows]
    share = cv2.blur(weight.reshape(size, size), (width, width)).reshape(-1)[rows]
    return np.asarray(total / np.maximum(share, 1e-6), np.float32)


def hemisphere(count: int) -> Floats:
    """Return (count, 3) unit directions spread evenly over the upper half, a little above the horizon."""
    i = np.arange(count) + 0.5
    z, turn = 1.0 - 0.95 * i / count, 2.399963 * i
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=-1).astype(np.float32)


HEMISPHERE = hemisphere(20)
"""Directions of ambient light."""
SPHERE = np.concatenate([hemisphere(11), -hemisphere(11)]).astype(np.float32)
"""Directions of ambient light for surfaces of any orientation."""
