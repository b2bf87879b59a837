"""Full scenes: views of the training world rendered by Blender's Cycles, with a physical sky, lamps and indirect light.

Enters: a traced view (models.world.picture), a Look, a renderer's process. Leaves: a picture like those of models.world.shading,
with the same words. This module only describes a scene, in JSON types; models.render.scenery builds it in Blender. Mask, depth,
edges and annotation stay those of the ray caster. The renderer also says which pixels show the object; where they differ from the
ray caster's, the picture is refused.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.caption import vocabulary
from models.render.camera import intrinsics
from models.render.process import Process, ProcessDied
from models.world import geometry, shading
from models.world.geometry import Floats
from models.world.picture import Traced, render_spec
from models.world.scene import RGB, Look
from models.world.spec import WorldSpec

WAIT_S = 600.0
"""Seconds without an answer after which a renderer counts as hung: a picture takes half a second, more on a busy machine."""
TRIES = 3
"""How often a view is tried on a new renderer before the shard goes on without it."""
MODELS_A_RENDERER = 200
"""Pictures after which a renderer is replaced."""
MEMORY = 3 * 2**30
"""Bytes at which it is replaced."""
EYE = 0.06
"""The least height of a camera over the ground, in longest sides."""
DULL = 3.0
"""A picture whose grey levels spread less than this shows nothing."""
GROUND = 60.0
"""Half the side of the ground, in longest sides."""

Meshes = dict[str, NDArray[Any]]
Description = dict[str, Any]


def describe(spec: WorldSpec, traced: Traced, look: Look) -> tuple[Description, Meshes]:
    """Return one picture's scene as JSON types, and the meshes it names."""
    passes = traced.passes
    # The ground lies under the object. Only a camera that looks up from below needs it lower, and then as little as may be.
    ground_z = min(float(passes.model.vertices[:, 2].min()), float(passes.camera.centre[2]) - EYE)
    objects, meshes = [_body(traced, look)], _mesh("body", passes.model)
    if passes.others is not None and look.distractors:
        meshes |= _mesh("others", passes.others)
        meshes["others.vertices"] = passes.others.vertices + np.array([0.0, 0.0, ground_z - passes.ground_z], np.float32)
        plain = [{"kind": "plain", "colour": colour, "roughness": 0.5} for colour in passes.others.colours.tolist()]
        objects.append({"mesh": "others", "materials": plain})
    for name, vertices, faces, material in _place(look, passes.camera, ground_z):
        meshes |= {f"{name}.vertices": vertices.astype(np.float32), f"{name}.faces": faces.astype(np.int32)}
        objects.append({"mesh": name, "materials": [material]})
    camera = {
        "K": intrinsics(render_spec(spec)).tolist(),
        "R": passes.camera.rotation.astype(float).tolist(),
        "t": (-passes.camera.rotation @ passes.camera.centre).astype(float).tolist(),
        "size": spec.resolution,
    }
    scene = {"camera": camera, "samples": spec.full_samples, "objects": objects, "sky": _sky(look), "lamps": _lamps(look)}
    return scene, meshes


def _mesh(name: str, model: geometry.RayModel) -> Meshes:
    return {
        f"{name}.vertices": model.vertices,
        f"{name}.faces": model.faces,
        f"{name}.part": model.part,
        f"{name}.normals": model.corner_normals,
    }


def _body(traced: Traced, look: Look) -> Description:
    """Return the object: parts of the body wear the look's material, the others keep their own."""
    passes = traced.passes
    model = passes.model
    worn = _worn(traced, look)
    materials = []
    for part, colour in enumerate(model.colours.tolist()):
        own = {"kind": "plain", "colour": colour, "metallic": 0.8 * float(model.metallic[part] > 0.5)}
        own["roughness"] = float(np.clip(model.roughness[part], 0.06, 1.0))
        materials.append(worn if passes.body[part] else own)
    return {"mesh": "body", "materials": materials}


def _worn(traced: Traced, look: Look) -> Description:
    """Return the material that the look gives the body."""
    common: Description = {"colour": look.body, "second": look.second, "grain": look.grain, "seed": look.texture}
    matt = 0.75 - 0.6 * look.gloss
    if look.material == "metallic":
        return {"kind": "plain", "colour": _metal(look.body), "metallic": 1.0, "roughness": 0.15 + 0.3 * (1 - look.gloss)}
    if look.material == "glass":
        return {"kind": "glass", "colour": look.body, "roughness": 0.03}
    if look.material == "wooden":
        tone = float(np.clip(np.mean(look.body) / 0.16, 0.6, 1.5))
        return common | {
            "kind": "wood",
            "colour": (0.46 * tone, 0.25 * tone, 0.10 * tone),
            "second": (0.2 * tone, 0.1 * tone, 0.04),
        }
    if look.material == "marbled":
        return common | {"kind": "marble", "roughness": 0.2}
    if look.material == "checkered":
        return common | {"kind": "checks", "cells": 6.0 + 6.0 * (1 - look.grain), "roughness": matt}
    if look.material == "two-tone":
        height, above = _parting(traced, 0.55 + 0.17 * look.grain)
        return common | {"kind": "split", "height": height, "above": above, "roughness": matt}
    return {"kind": "plain", "colour": look.body, "roughness": matt, "coat": float(look.gloss > 0.6)}


def _metal(colour: RGB) -> RGB:
    # A metal as dark as paint would mirror nothing.
    values = [0.9 * value + 0.05 * max(colour) + 0.03 for value in colour]
    return values[0], values[1], values[2]


def _parting(traced: Traced, share: float) -> tuple[float, bool]:
    """Return the height where a two-tone body changes colour, and whether the second colour is above; `share` has the first."""
    hits = traced.passes.hits
    seen = hits.hit & traced.passes.body[np.maximum(hits.part, 0)]
    height = hits.position[seen, 2]
    if not len(height):
        return 0.0, True
    cut = float(np.quantile(height, share)) + 1e-4
    if (height > cut).mean() > 0.12:
        return cut, True
    # Where the top is flat, nothing lies above it.
    return float(np.quantile(height, 1 - share)) - 1e-4, False


def _place(
    look: Look, camera: geometry.PinholeCamera, ground_z: float
) -> Iterator[tuple[str, Floats, NDArray[np.int32], Description]]:
    """Yield (name, vertices, faces, material) of the ground and of what stands around."""
    common: Description = {
        "colour": look.ground, "second": look.accent, "seed": look.texture, "scale": look.scale, "yaw_deg": look.yaw_deg
    }  # fmt: skip
    ground, at = look.scene, np.array([0.0, 0.0, ground_z])
    if look.scene == "studio":
        yield "sweep", *_sweep(ground_z, 4.5 + float(np.linalg.norm(camera.centre[:2]))), {"kind": "plain", "colour": look.ground}
        return
    kinds = {"grass": "grass", "sand": "sand", "snow": "snow", "road": "grass", "wood floor": "planks", "tiles": "tiles"}
    material = common | {"kind": kinds.get(ground, "mottled")}
    if ground == "road":
        yield from _road(look, ground_z)
        material["colour"] = look.accent
    elif ground == "wood floor":
        material |= {"size": 0.16 * look.scale, "roughness": 0.35}
    elif ground == "tiles":
        material |= {"size": 0.30 * look.scale, "checked": look.texture % 2 == 1, "roughness": 0.12}
    elif ground == "water":
        material["kind"] = "water"
    elif ground == "room":
        planked = look.texture % 3 == 0
        material |= {"kind": "planks", "size": 0.2 * look.scale, "roughness": 0.5} if planked else {"scale": 30.0}
    yield "ground", *_rectangle(at, (GROUND, 0, 0), (0, GROUND, 0)), material
    if look.scene in vocabulary.INDOOR:
        yield from _room(look, camera, ground_z)
    elif look.backdrop > 0:
        yield (
            "backdrop",
            *_horizon(look, ground_z),
            {"kind": "mottled", "colour": look.accent, "seed": look.texture, "scale": 1.5},
        )


def _turn(yaw_deg: float) -> NDArray[np.float64]:
    yaw = np.radians(yaw_deg)
    return np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])


def _rectangle(centre: ArrayLike, right: ArrayLike, up: ArrayLike) -> tuple[Floats, NDArray[np.int32]]:
    """Return the vertices and faces of a rectangle, from its centre and half its sides."""
    c, r, u = (np.asarray(value, np.float32) for value in (centre, right, up))
    return np.stack([c - r - u, c + r - u, c + r + u, c - r + u]), np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def _road(look: Look, ground_z: float) -> Iterator[tuple[str, Floats, NDArray[np.int32], Description]]:
    """Yield a road along y (turned by the look's yaw) in whose right lane the object stands, its edge lines and its dashes."""
    half = 1.1 + 0.5 * look.grain
    middle = 0.55 * (half - 0.9)
    turn = _turn(look.yaw_deg)
    paint: RGB = (0.75, 0.75, 0.72) if look.texture % 4 else (0.80, 0.55, 0.08)

    def strip(x: float, y: float, wide: float, long: float, lift: float) -> tuple[Floats, NDArray[np.int32]]:
        vertices, faces = _rectangle((x, y, ground_z + lift), (wide, 0, 0), (0, long, 0))
        return (vertices @ turn.T).astype(np.float32), faces

    asphalt = {"kind": "asphalt", "colour": look.ground, "seed": look.texture}
    yield "asphalt", *strip(middle, 0.0, half, GROUND, 0.002), asphalt
    # Marks of one object: quads behind one another.
    quads = [strip(middle + side * (half - 0.1), 0.0, 0.035, GROUND, 0.004) for side in (-1, 1)]
    quads += [strip(middle - half + 0.45, y, 0.035, 0.45, 0.004) for y in np.arange(-19.0, 19.0, 1.9)]
    vertices = np.concatenate([quad[0] for quad in quads])
    faces = np.concatenate([quad[1] + 4 * number for number, quad in enumerate(quads)])
    yield "marks", vertices, faces.astype(np.int32), {"kind": "plain", "colour": paint}


def _room(
    look: Look, camera: geometry.PinholeCamera, ground_z: float
) -> Iterator[tuple[str, Floats, NDArray[np.int32], Description]]:
    """Yield walls, ceiling and skirting of a room that holds object and camera."""
    turn = _turn(look.yaw_deg)
    at = turn.T @ camera.centre.astype(np.float64)
    half = max(float(np.abs(at[:2]).max()) + 0.3, 1.4 + 0.5 * look.grain + 0.5 * look.scale)
    top = max(float(at[2]) + 0.4, ground_z + 2.2)
    middle, tall = (ground_z + top) / 2, (top - ground_z) / 2
    for axis in (0, 1):
        for sign in (1, -1):
            centre, right = np.zeros(3), np.zeros(3)
            centre[axis], centre[2], right[1 - axis] = sign * half, middle, half
            wall: Description = {"colour": look.accent, "seed": look.texture, "yaw_deg": look.yaw_deg}
            if look.scene == "room":
                wall |= {"kind": "bricks", "along": "XY"[1 - axis], "size": look.scale}
            else:
                wall |= {"kind": "mottled", "scale": 1.2, "roughness": 0.8}
            vertices, faces = _rectangle(centre, right, (0, 0, tall))
            yield f"wall{axis}{sign}", (vertices @ turn.T).astype(np.float32), faces, wall
            foot = centre - np.eye(3)[axis] * sign * 0.01
            foot[2] = ground_z + 0.04
            vertices, faces = _rectangle(foot, right, (0, 0, 0.04))
            yield (
                f"foot{axis}{sign}",
                (vertices @ turn.T).astype(np.float32),
                faces,
                {"kind": "plain", "colour": (0.7, 0.69, 0.66)},
            )
    vertices, faces = _rectangle((0, 0, top), (half, 0, 0), (0, half, 0))
    yield "ceiling", (vertices @ turn.T).astype(np.float32), faces, {"kind": "plain", "colour": (0.75, 0.74, 0.71)}


def _sweep(ground_z: float, radius: float) -> tuple[Floats, NDArray[np.int32]]:
    """Return a studio's sweep: a floor that bends up into a wall all around, without a seam."""
    bend = np.radians(np.linspace(0, 90, 10))
    curve = 1.5
    profile = [(0.0, 0.0), *((radius - curve + curve * np.sin(b), curve - curve * np.cos(b)) for b in bend), (radius, 6.0)]
    around = np.radians(np.arange(0, 360, 7.5))
    rings = [np.stack([r * np.cos(around), r * np.sin(around), np.full(len(around), ground_z + z)], axis=-1) for r, z in profile]
    n, faces = len(around), []
    for ring in range(len(profile) - 1):
        for i in range(n):
            a, b = ring * n + i, ring * n + (i + 1) % n
            faces += [(a, b, b + n), (a, b + n, a + n)]
    return np.concatenate(rings).astype(np.float32), np.array(faces, np.int32)


def _horizon(look: Look, ground_z: float) -> tuple[Floats, NDArray[np.int32]]:
    """Return hills, trees or houses as a ring with a ragged upper edge."""
    rng = np.random.default_rng(look.texture)
    bearing = np.radians(np.arange(0, 360, 1.5))
    radius, tall = 35.0, 35.0 * look.backdrop
    if look.scene == "road" and look.texture % 2:
        height = np.repeat(rng.uniform(0.25, 1.0, 48), 5)
    else:
        height = 0.65 + sum(
            rng.uniform(0.03, 0.30) / (1 + order / 6) * np.sin(order * bearing + rng.uniform(0, 6.3))
            for order in ((3, 5, 9) if look.scene != "grass" else (4, 11, 23, 47))
        )
    flat = np.stack([radius * np.cos(bearing), radius * np.sin(bearing)], axis=-1)
    low = np.column_stack([flat, np.full(len(bearing), ground_z - 1.0)])
    high = np.column_stack([flat, ground_z + tall * np.clip(height, 0.1, 1.3)])
    n = len(bearing)
    faces = [face for i in range(n) for face in ((i, (i + 1) % n, n + (i + 1) % n), (i, n + (i + 1) % n, n + i))]
    return np.concatenate([low, high]).astype(np.float32), np.array(faces, np.int32)


def _sky(look: Look) -> Description:
    """Return the sky: Blender's physical one by day, a gradient under clouds, at night and indoors."""
    rise = float(np.degrees(np.arcsin(np.clip(look.sun[2], -1.0, 1.0))))
    common: Description = {"seed": look.texture, "clouds": 0.0, "cloud": (0.9, 0.9, 0.92)}
    if look.scene in vocabulary.INDOOR:
        dim = 0.25 if look.light == "night" else 1.0
        tone = 0.55 if look.scene == "studio" else 0.30
        level = [dim * tone * value for value in (look.zenith if look.light != "night" else (0.1, 0.1, 0.14))]
        return common | {"kind": "gradient", "zenith": level, "horizon": level}
    if look.light in ("noon", "sunset"):
        late = look.light == "sunset"
        return common | {
            "kind": "physical",
            # The hour: at sunset the sky is that of a sun nearer to the horizon than the lamp that stands for it.
            "sun_elevation_deg": max(2.0, rise - 8.0) if late else rise,
            "sun_bearing_deg": float(np.degrees(np.arctan2(look.sun[0], look.sun[1]))),
            "strength": 0.28 if late else 0.12,
            "air": 1.0 + 0.8 * look.grain,
            "dust": 0.3 + (3.0 if late else 0.8) * look.gloss,
            "clouds": look.clouds,
            "cloud": (0.95, 0.50, 0.35) if late else (0.95, 0.95, 0.97),
        }
    cloud = tuple(1.15 * value for value in look.zenith) if look.light == "overcast" else common["cloud"]
    return common | {"kind": "gradient", "zenith": look.zenith, "horizon": look.horizon, "clouds": look.clouds, "cloud": cloud}


def _lamps(look: Look) -> list[Description]:
    """Return the lamps: the sun outdoors, area lights indoors and at night."""
    towards = list(look.sun)
    lamps: list[Description] = []
    white = max(*look.sun_colour, 1e-6)
    tint = [value / white for value in look.sun_colour]
    indoor = look.scene in vocabulary.INDOOR
    if not indoor:
        # A lamp's energy is irradiance; the look counts the radiance of a white surface that faces it.
        lamps.append(
            {
                "kind": "sun",
                "towards": towards,
                "energy": np.pi * white,
                "colour": tint,
                "size": 2 * float(np.arctan(look.softness)),
            }
        )
    if look.lamp:
        lamps.append(_area(towards, 1.8, 0.5, 1.1 * look.lamp, (1.0, 0.9, 0.72)))
    elif indoor:
        lamps.append(_area(towards, 1.7 if look.scene != "studio" else 3.0, 0.8 + 2.0 * look.softness, white, tuple(tint)))
        side = [-look.sun[1], look.sun[0], 0.9]
        lamps.append(_area(side, 1.7 if look.scene != "studio" else 3.0, 1.2, 0.35 * white, (0.92, 0.96, 1.0)))
    return lamps


def _area(towards: Sequence[float], distance: float, size: float, radiance: float, colour: Sequence[float]) -> Description:
    """Return an area light that gives a facing white surface at the origin so much radiance."""
    unit = np.array(towards) / np.linalg.norm(towards)
    energy = np.pi**2 * distance**2 * radiance
    return {
        "kind": "area",
        "towards": unit.tolist(),
        "distance": distance,
        "size": size,
        "energy": energy,
        "colour": list(colour),
    }


class SceneRenderer:
    """One warm renderer of full scenes; a new one takes over when it dies or hangs."""

    def __init__(self, scratch: Path, threads: int = 1) -> None:
        self._scratch, self._threads = scratch, threads
        self._process: Process | None = None
        self._count = 0

    def shoot(self, scene: Description, meshes: Meshes) -> tuple[Floats, NDArray[np.int32]] | None:
        """Return linear RGB (H, W, 3) and which object each pixel shows (H, W; 1 is the CAD model), or None.

        None: every renderer that tried the scene died.
        """
        for _ in range(TRIES):
            try:
                return self._ask(scene, meshes)
            except ProcessDied:
                self.close()
        return None

    def _ask(self, scene: Description, meshes: Meshes) -> tuple[Floats, NDArray[np.int32]]:
        if self._process is None or not self._process.fit(MODELS_A_RENDERER, MEMORY):
            self.close()
            folder = self._scratch / f"renderer-{self._count}"
            folder.mkdir()
            self._count += 1
            self._process = Process(folder, "cpu", self._threads)
            self._process.greeting(WAIT_S)
        folder = self._process.scratch
        np.savez(folder / "meshes.npz", **meshes)  # type: ignore[arg-type]
        self._process.ask({"scene": scene, "meshes": "meshes.npz"})
        answer = self._process.answer(WAIT_S)
        size = scene["camera"]["size"]
        data = np.fromfile(folder / answer["file"], np.float32).reshape(size, size, 4)
        self._process.answer(WAIT_S)
        return data[..., :3].copy(), data[..., 3].astype(np.int32)

    @property
    def pid(self) -> int | None:
        """Process id of the renderer that lives now."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the renderer, if there is one."""
        if self._process is not None:
            self._process.end()
            self._process = None


@contextmanager
def scene_renderer(threads: int = 1) -> Iterator[SceneRenderer]:
    """Give a SceneRenderer for the time of a `with` block; its files live in memory where the system has such a place."""
    shared = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix="dst-scenes-", dir=shared if shared.is_dir() else None))
    made = SceneRenderer(scratch, threads)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(scratch, ignore_errors=True)


def paint(spec: WorldSpec, traced: Traced, look: Look, renderer: SceneRenderer) -> NDArray[np.uint8] | None:
    """Return the view under one look as (H, W, 3) sRGB, or None where the renderer failed or saw the object elsewhere."""
    shot = renderer.shoot(*describe(spec, traced, look))
    if shot is None:
        return None
    radiance, index = shot
    rgb = expose(radiance, look, spec.resolution)
    return rgb if agree(index, traced.mask) and rgb.std() > DULL else None


def expose(radiance: Floats, look: Look, side: int) -> NDArray[np.uint8]:
    """Return (side, side, 3) sRGB: developed as the traced pictures are, after a gain that keeps scenes in range."""
    bright = np.log(np.maximum(radiance.mean(axis=2), 1e-4))
    level = float(np.exp(bright.mean()))
    low, high = (0.03, 0.10) if look.light == "night" else (0.16, 0.55)
    gain = float(np.clip(level, low, high)) / max(level, 1e-4)
    return shading.develop((radiance * gain).astype(np.float32), look, side)


def agree(index: NDArray[np.int32], mask: NDArray[np.uint8]) -> bool:
    """Return whether the renderer saw the object where the ray caster did: all but a few pixels of its outline."""
    differ = int(((index == 1) != (mask > 0)).sum())
    return differ <= 3 + 0.01 * int((mask > 0).sum())
