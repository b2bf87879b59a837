"""Builds whole scenes in Blender: meshes, materials, sky and lamps, from a description in plain data.

Enters: a description (JSON types, from models.world.full) and the meshes it names. Leaves: linear RGB and object indices. The
description does not depend on Blender; how each kind of material and sky is made in Cycles stands here alone. Like
models.render.blender this module is imported only in a renderer's own process. BlenderProc has calls for meshes from files and
for Principled values, none for meshes from arrays, procedural textures or a physical sky, so those are bpy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from models.render.blender import Passes, Scene, bproc
from models.render.camera import Camera

Description = Mapping[str, Any]


class Scenery:
    """Builds one scene at a time from its description, renders it and removes it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def render(self, description: Description, meshes: Mapping[str, NDArray[Any]]) -> Passes:
        """Render one description; `meshes` holds `<mesh>.vertices`, `.faces`, `.part` and, for smooth ones, `.normals`."""
        bproc.renderer.set_max_amount_of_samples(description["samples"])
        bproc.renderer.set_light_bounces(
            diffuse_bounces=2, glossy_bounces=2, transmission_bounces=4, transparent_max_bounces=4, max_bounces=5
        )
        # The sky belongs to the picture here, and lamps brighter than white leave single bright pixels.
        bpy.context.scene.render.film_transparent = False
        bpy.context.scene.cycles.sample_clamp_indirect = 4.0
        try:
            for number, item in enumerate(description["objects"], start=1):
                _put_up(item, meshes, number)
            _sky(description["sky"])
            for lamp in description["lamps"]:
                _lamp(lamp)
            seen = description["camera"]
            camera = Camera(
                K=np.array(seen["K"]), R=np.array(seen["R"]), t=np.array(seen["t"]), width=seen["size"], height=seen["size"]
            )
            return self._scene.render(camera)
        finally:
            self._take_down()

    def _take_down(self) -> None:
        for lamp in list(bpy.data.lights):
            bpy.data.lights.remove(lamp)
        self._scene.clear()
        bpy.context.scene.render.film_transparent = True
        bpy.context.scene.cycles.sample_clamp_indirect = 0.0


def _put_up(item: Description, meshes: Mapping[str, NDArray[Any]], number: int) -> None:
    """Add one object: triangles with a material for each part."""
    name = item["mesh"]
    vertices, faces = meshes[f"{name}.vertices"], meshes[f"{name}.faces"]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.add(3 * len(faces))
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * len(faces), 3, dtype=np.int32))
    mesh.polygons.foreach_set("loop_total", np.full(len(faces), 3, np.int32))
    made: dict[str, Any] = {}
    for material in item["materials"]:
        # Parts of the same make share a material: Cycles compiles each one.
        spelled = repr(sorted(material.items()))
        if spelled not in made:
            made[spelled] = _material(material)
        mesh.materials.append(made[spelled])
    if f"{name}.part" in meshes:
        mesh.polygons.foreach_set("material_index", np.ascontiguousarray(meshes[f"{name}.part"], np.int32))
    smooth = f"{name}.normals" in meshes
    mesh.polygons.foreach_set("use_smooth", np.full(len(faces), smooth, np.bool_))
    mesh.update(calc_edges=True)
    if smooth:
        mesh.normals_split_custom_set(meshes[f"{name}.normals"].reshape(-1, 3).tolist())
    held = bpy.data.objects.new(name, mesh)
    held.pass_index = number
    bpy.context.scene.collection.objects.link(held)


def _lamp(lamp: Description) -> None:
    """Add a sun, or a square area light that looks at the origin."""
    made = bpy.data.lights.new("dst", lamp["kind"].upper())
    made.energy = lamp["energy"]
    made.color = lamp["colour"]
    held = bpy.data.objects.new("dst", made)
    towards = np.array(lamp["towards"])
    if lamp["kind"] == "sun":
        made.angle = lamp["size"]
    else:
        made.size = lamp["size"]
        held.location = lamp["distance"] * towards
    held.rotation_euler = _looking(-towards)
    held.visible_camera = False
    bpy.context.scene.collection.objects.link(held)


def _looking(direction: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the Euler angles of a lamp that shines along `direction`: unturned it shines along -z."""
    x, y, z = (float(value) for value in direction / np.linalg.norm(direction))
    return math.acos(max(-1.0, min(1.0, -z))), 0.0, math.atan2(-x, y) if abs(x) + abs(y) > 1e-9 else 0.0


class _Nodes:
    """A node tree that is built from its end: each call adds a node and returns its output."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        tree.nodes.clear()

    def add(self, kind: str, inputs: Mapping[Any, Any] | None = None, output: int | str | None = 0, **settings: Any) -> Any:
        """Add `ShaderNode<kind>` and return one of its outputs, if it has any; an input is another node's output, or a value."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in settings.items():
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[name])
            else:
                node.inputs[name].default_value = value
        return None if output is None else node.outputs[output]

    def mix(self, first: Any, second: Any, share: Any) -> Any:
        """Return first * (1 - share) + second * share, of colours."""
        return self.add("Mix", {0: share, 6: first, 7: second}, output=2, data_type="RGBA")

    def times(self, colour: Any, factor: Any) -> Any:
        """Return a colour times a number or a colour."""
        return self.add("Mix", {0: 1.0, 6: colour, 7: factor}, output=2, data_type="RGBA", blend_type="MULTIPLY")

    def ramp(self, value: Any, low: float, high: float, a: float = 0.0, b: float = 1.0) -> Any:
        """Return a .. b as `value` goes low .. high, smoothly, clamped."""
        inputs = {0: value, 1: low, 2: high, 3: a, 4: b}
        return self.add("MapRange", inputs, interpolation_type="SMOOTHSTEP")

    def math(self, operation: str, first: Any, second: Any = 0.0) -> Any:
        """Return a number of two numbers."""
        return self.add("Math", {0: first, 1: second}, operation=operation)

    def noise(self, at: Any, scale: float, detail: float = 2.0) -> Any:
        """Return smooth noise in 0 .. 1 around 0.5."""
        return self.add("TexNoise", {"Vector": at, "Scale": scale, "Detail": detail})

    def at(self, seed: float, yaw_deg: float = 0.0, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Any:
        """Return the point in canonical coordinates, turned back by `yaw_deg` about z, moved by `seed` and stretched."""
        place = self.add("TexCoord", output="Object")
        turned = self.add("Mapping", {"Vector": place, "Rotation": (0.0, 0.0, -math.radians(yaw_deg))})
        return self.add("Mapping", {"Vector": turned, "Location": (seed % 17, seed % 13, seed % 11), "Scale": stretch})

    def bump(self, height: Any, strength: float, distance: float = 0.02) -> Any:
        """Return a normal bent by a height."""
        return self.add("Bump", {"Height": height, "Strength": strength, "Distance": distance})


def _material(wanted: Description) -> Any:
    """Return a Cycles material of a description: its `kind`, `colour`s and numbers."""
    material = bpy.data.materials.new(wanted["kind"])
    material.use_nodes = True
    nodes = _Nodes(material.node_tree)
    values = {"Roughness": wanted.get("roughness", 0.6), **KINDS[wanted["kind"]](nodes, wanted)}
    shader = nodes.add("BsdfPrincipled", values)
    if wanted["kind"] == "glass":
        # A share of plain body keeps the colour that the word promises; clear glass alone shows only what lies behind.
        dull = nodes.add("BsdfPrincipled", {"Base Color": _rgba(wanted["colour"]), "Roughness": 0.3})
        shader = nodes.add("MixShader", {0: 0.25, 1: shader, 2: dull})
    nodes.add("OutputMaterial", {"Surface": shader}, output=None)
    return material


Values = dict[str, Any]
"""Inputs of a Principled shader."""


def _rgba(colour: Sequence[float], gain: float = 1.0) -> tuple[float, ...]:
    return (*(min(1.0, gain * value) for value in colour[:3]), 1.0)


def _plain(nodes: _Nodes, wanted: Description) -> Values:
    values = {"Base Color": _rgba(wanted["colour"]), "Metallic": wanted.get("metallic", 0.0)}
    return values | {"Coat Weight": wanted.get("coat", 0.0), "Coat Roughness": 0.05}


def _glass(nodes: _Nodes, wanted: Description) -> Values:
    tint = [value / max(*wanted["colour"], 0.25) for value in wanted["colour"]]
    return {"Base Color": _rgba([0.3 + 0.7 * value for value in tint]), "Transmission Weight": 1.0, "IOR": 1.25}


def _wood(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"], stretch=(1.0, 1.0, 1.0) if wanted["seed"] % 2 else (1.0, 1.0, 0.25))
    rings = nodes.add(
        "TexWave",
        {"Vector": at, "Scale": 5.0 + 4.0 * wanted["grain"], "Distortion": 5.0, "Detail": 2.0, "Detail Scale": 1.5},
        output="Fac",
        bands_direction="X" if wanted["seed"] % 2 else "Y",
    )
    fibre = nodes.noise(nodes.at(wanted["seed"], stretch=(2.0, 30.0, 30.0)), 3.0)
    grown = nodes.mix(_rgba(wanted["colour"]), _rgba(wanted["second"]), rings)
    return {
        "Base Color": nodes.times(
            grown, nodes.add("CombineColor", dict.fromkeys(range(3), nodes.ramp(fibre, 0.2, 0.8, 0.8, 1.1)))
        )
    }


def _marble(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"])
    inputs = {"Vector": at, "Scale": 1.5 + 1.5 * (1 - wanted["grain"]), "Distortion": 9.0, "Detail": 3.0, "Detail Scale": 1.2}
    vein = nodes.ramp(nodes.add("TexWave", inputs, output="Fac", bands_direction="DIAGONAL"), 0.72, 0.95)
    return {"Base Color": nodes.mix(_rgba(wanted["colour"]), _rgba(wanted["second"]), vein)}


def _checks(nodes: _Nodes, wanted: Description) -> Values:
    # Cells begin off the middle, where the object's own planes lie: a cell's border along a face would flicker.
    at = nodes.add("Mapping", {"Vector": nodes.add("TexCoord", output="Object"), "Location": (0.037, 0.041, 0.029)})
    colours = {"Color1": _rgba(wanted["colour"]), "Color2": _rgba(wanted["second"])}
    return {"Base Color": nodes.add("TexChecker", {"Vector": at, "Scale": wanted["cells"], **colours})}


def _split(nodes: _Nodes, wanted: Description) -> Values:
    height = nodes.add("SeparateXYZ", {0: nodes.add("TexCoord", output="Object")}, output="Z")
    beyond = nodes.math("GREATER_THAN" if wanted["above"] else "LESS_THAN", height, wanted["height"])
    return {"Base Color": nodes.mix(_rgba(wanted["colour"]), _rgba(wanted["second"]), beyond)}


def _grass(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"])
    blades = nodes.noise(at, 45.0 / wanted["scale"], 4.0)
    patches = nodes.noise(at, 2.5 / wanted["scale"], 3.0)
    colour = nodes.mix(_rgba(wanted["colour"], 0.45), _rgba(wanted["colour"], 1.7), nodes.ramp(blades, 0.3, 0.7))
    dry = _rgba([wanted["colour"][0] * 1.6, wanted["colour"][1] * 1.2, wanted["colour"][2]])
    return {
        "Base Color": nodes.mix(colour, dry, nodes.ramp(patches, 0.45, 0.75, 0.0, 0.5)),
        "Normal": nodes.bump(blades, 0.8, 0.03),
        "Roughness": 0.9,
    }


def _sand(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"], wanted["yaw_deg"])
    ripples = {"Vector": at, "Scale": 4.0 / wanted["scale"], "Distortion": 6.0, "Detail": 2.0}
    wave = nodes.add("TexWave", ripples, output="Fac")
    grains = nodes.noise(at, 80.0, 2.0)
    colour = nodes.mix(_rgba(wanted["colour"], 0.85), _rgba(wanted["colour"], 1.15), grains)
    return {"Base Color": colour, "Normal": nodes.bump(nodes.math("ADD", wave, grains), 0.5, 0.03), "Roughness": 0.95}


def _snow(nodes: _Nodes, wanted: Description) -> Values:
    drift = nodes.noise(nodes.at(wanted["seed"]), 2.0 / wanted["scale"], 4.0)
    cold = [value * tint for value, tint in zip(wanted["colour"], (0.82, 0.89, 1.0))]
    colour = nodes.mix(_rgba(wanted["colour"]), _rgba(cold), nodes.ramp(drift, 0.35, 0.65))
    return {"Base Color": colour, "Normal": nodes.bump(drift, 0.7, 0.15), "Roughness": 0.7}


def _asphalt(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"])
    grains, worn = nodes.noise(at, 90.0, 2.0), nodes.noise(at, 3.0, 3.0)
    colour = nodes.mix(_rgba(wanted["colour"], 0.6), _rgba(wanted["colour"], 1.5), nodes.ramp(grains, 0.3, 0.7))
    colour = nodes.mix(colour, _rgba(wanted["colour"], 1.6), nodes.ramp(worn, 0.4, 0.8, 0.0, 0.5))
    return {"Base Color": colour, "Normal": nodes.bump(grains, 0.3, 0.01), "Roughness": 0.85}


def _planks(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"], wanted["yaw_deg"])
    width = wanted["size"]
    laid = {"Vector": at, "Scale": 1.0, "Brick Width": 6.0 * width, "Row Height": width, "Mortar Size": 0.004, "Bias": 0.0}
    dark, light = _rgba(wanted["colour"], 0.7), _rgba(wanted["colour"], 1.25)
    boards = nodes.add("TexBrick", {**laid, "Color1": dark, "Color2": light, "Mortar": _rgba(wanted["colour"], 0.25)})
    grain = nodes.noise(nodes.at(wanted["seed"], wanted["yaw_deg"], (1.0, 12.0, 1.0)), 5.0, 3.0)
    return {"Base Color": nodes.mix(boards, _rgba(wanted["colour"], 0.5), nodes.ramp(grain, 0.45, 0.8, 0.0, 0.6))}


def _tiles(nodes: _Nodes, wanted: Description) -> Values:
    at = nodes.at(wanted["seed"], wanted["yaw_deg"])
    size = wanted["size"]
    face: Any = _rgba(wanted["colour"])
    if wanted["checked"]:
        # The checker's cells are those of the joints below: same coordinates, same size.
        two = {"Color1": face, "Color2": _rgba(wanted["second"])}
        face = nodes.add("TexChecker", {"Vector": at, "Scale": 1.0 / size, **two})
    laid = {"Vector": at, "Scale": 1.0, "Brick Width": size, "Row Height": size, "Mortar Size": 0.007, "Mortar Smooth": 0.3}
    joints = nodes.add("TexBrick", laid, output="Fac", offset=0.0, squash=1.0)
    return {"Base Color": nodes.mix(face, _rgba((0.30, 0.29, 0.27)), joints)}


def _bricks(nodes: _Nodes, wanted: Description) -> Values:
    place = nodes.add("SeparateXYZ", {0: nodes.at(wanted["seed"], wanted["yaw_deg"])}, output="Z")
    flat = nodes.add("SeparateXYZ", {0: nodes.at(wanted["seed"], wanted["yaw_deg"])}, output=wanted["along"])
    at = nodes.add("CombineXYZ", {0: flat, 1: place})
    size = wanted["size"]
    laid = {"Vector": at, "Scale": 1.0, "Brick Width": 0.24 * size, "Row Height": 0.085 * size, "Mortar Size": 0.006}
    colours = {"Color1": _rgba(wanted["colour"], 0.7), "Color2": _rgba(wanted["colour"], 1.3), "Mortar": _rgba((0.5, 0.47, 0.43))}
    wall = nodes.add("TexBrick", {**laid, **colours})
    joints = nodes.add("TexBrick", laid, output="Fac")
    return {"Base Color": wall, "Normal": nodes.bump(nodes.math("SUBTRACT", 1.0, joints), 0.5, 0.01), "Roughness": 0.9}


def _water(nodes: _Nodes, wanted: Description) -> Values:
    waves = nodes.noise(nodes.at(wanted["seed"]), 5.0 / wanted["scale"], 3.0)
    return {"Base Color": _rgba(wanted["colour"]), "Roughness": 0.04, "IOR": 1.33, "Normal": nodes.bump(waves, 0.35, 0.08)}


def _mottled(nodes: _Nodes, wanted: Description) -> Values:
    stains = nodes.noise(nodes.at(wanted["seed"]), wanted["scale"], 4.0)
    return {"Base Color": nodes.mix(_rgba(wanted["colour"], 0.75), _rgba(wanted["colour"], 1.25), nodes.ramp(stains, 0.3, 0.7))}


KINDS: dict[str, Callable[[_Nodes, Description], Values]] = {
    "plain": _plain,
    "glass": _glass,
    "wood": _wood,
    "marble": _marble,
    "checks": _checks,
    "split": _split,
    "grass": _grass,
    "sand": _sand,
    "snow": _snow,
    "asphalt": _asphalt,
    "planks": _planks,
    "tiles": _tiles,
    "bricks": _bricks,
    "water": _water,
    "mottled": _mottled,
}
"""What a description may ask for."""


def _sky(wanted: Description) -> None:
    """Put up the sky: Blender's physical one (Nishita) at the sun's height, or a gradient; clouds over either."""
    world = bpy.context.scene.world
    world.use_nodes = True
    nodes = _Nodes(world.node_tree)
    # Its map of where light comes from is made for each render: small ones are as good for a sky without a sun's disc.
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 128
    ray = nodes.add("TexCoord", output="Generated")
    up = nodes.add("SeparateXYZ", {0: ray}, output="Z")
    if wanted["kind"] == "physical":
        colour = nodes.add(
            "TexSky",
            sky_type="NISHITA",
            sun_disc=False,
            sun_elevation=math.radians(wanted["sun_elevation_deg"]),
            # Blender counts the sun's turn from +y towards +x.
            sun_rotation=math.radians(wanted["sun_bearing_deg"]),
            air_density=wanted["air"],
            dust_density=wanted["dust"],
        )
        colour = nodes.times(colour, (wanted["strength"],) * 3 + (1.0,))
    else:
        colour = nodes.mix(_bright(wanted["horizon"]), _bright(wanted["zenith"]), nodes.ramp(up, 0.0, 0.7))
    if wanted["clouds"] > 0:
        # A flat layer overhead: clouds shrink towards the horizon.
        height = nodes.math("ADD", nodes.math("ABSOLUTE", up), 0.18)
        layer = nodes.add("VectorMath", {0: ray, 1: nodes.add("CombineXYZ", dict.fromkeys(range(3), height))}, operation="DIVIDE")
        moved = nodes.add("Mapping", {"Vector": layer, "Location": (wanted["seed"] % 17, wanted["seed"] % 13, 0.0)})
        cover = nodes.ramp(nodes.noise(moved, 1.3, 5.0), 0.75 - 0.4 * wanted["clouds"], 0.9 - 0.3 * wanted["clouds"])
        visible = nodes.math("MULTIPLY", cover, nodes.ramp(up, 0.0, 0.15, 0.0, 0.85))
        colour = nodes.mix(colour, _bright(wanted["cloud"]), visible)
    shader = nodes.add("Background", {"Color": colour, "Strength": 1.0})
    nodes.add("OutputWorld", {"Surface": shader}, output=None)


def _bright(radiance: Sequence[float]) -> tuple[float, ...]:
    return (*radiance, 1.0)
