"""Run by the tests in a process of its own: import CAD files with Blender's own importers and write down their surfaces.

python blender_measures.py JOBS.json, a list of [file, npz]. Before each file its number is written to JOBS.json.at, so that the
parent knows on which one Blender died. Files that Blender does not read leave an npz without triangles.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np

SIDE = 256
"""Textures are looked at in this size at most."""


def load(path: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    kind = Path(path).suffix.lower()
    # The file's own axes: nothing is turned, except by glTF's and COLLADA's importers, which always do.
    axes = {"forward_axis": "Y", "up_axis": "Z"}
    if kind == ".obj":
        bpy.ops.wm.obj_import(filepath=path, **axes)
    elif kind == ".ply":
        bpy.ops.wm.ply_import(filepath=path, **axes)
    elif kind == ".stl":
        bpy.ops.wm.stl_import(filepath=path, **axes)
    elif kind == ".dae":
        bpy.ops.wm.collada_import(filepath=path)
    else:
        bpy.ops.import_scene.gltf(filepath=path)


def linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def paint(socket: object) -> tuple[np.ndarray, object, np.ndarray, np.ndarray]:
    """What a Base Color comes from: factor, image, and how the image's coordinates are moved (scale, offset)."""
    still = np.ones(2), np.zeros(2)
    if not socket.links:
        value = socket.default_value
        return np.array(value[:3] if hasattr(value, "__len__") else [value] * 3), None, *still
    node = socket.links[0].from_node
    if node.type == "TEX_IMAGE":
        moved = still
        if node.inputs["Vector"].links and node.inputs["Vector"].links[0].from_node.type == "MAPPING":
            mapping = node.inputs["Vector"].links[0].from_node.inputs
            moved = np.array(mapping["Scale"].default_value)[:2], np.array(mapping["Location"].default_value)[:2]
        return np.ones(3), node.image, *moved
    factor, image = np.ones(3), None
    if node.type in ("MIX", "MIX_RGB"):
        for entry in [entry for entry in node.inputs if entry.enabled and entry.type == "RGBA"]:
            own, found, *moved = paint(entry)
            factor = factor * own
            if found is not None:
                image, still = found, moved
    return factor, image, *still


def pixels(image: object) -> np.ndarray:
    """Linear RGB, the first row at the bottom."""
    if max(image.size) > SIDE:
        image.scale(min(image.size[0], SIDE), min(image.size[1], SIDE))
    values = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(image.size[1], image.size[0], image.channels)[..., :3]
    values = np.repeat(values, 3, axis=2) if values.shape[2] < 3 else values
    return values if image.is_float else linear(values)


def measure(srgb_factors: bool) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {"corners": [], "tints": [], "uv": [], "texture": []}
    images: list[object] = []
    for thing in [thing for thing in bpy.data.objects if thing.type == "MESH"]:
        mesh = thing.data
        mesh.calc_loop_triangles()
        count = len(mesh.loop_triangles)
        if not count:
            continue
        loops, owner = np.empty(count * 3, np.int32), np.empty(count, np.int32)
        mesh.loop_triangles.foreach_get("loops", loops)
        mesh.loop_triangles.foreach_get("material_index", owner)
        vertices = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", vertices)
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        world = np.array(thing.matrix_world)
        points = points.reshape(-1, 3).astype(np.float64) @ world[:3, :3].T + world[:3, 3]
        tints, uv = np.ones((len(mesh.loops), 3)), np.zeros((len(mesh.loops), 2))
        if mesh.color_attributes:
            layer = mesh.color_attributes[0]
            values = np.empty(len(layer.data) * 4, np.float32)
            layer.data.foreach_get("color", values)
            values = values.reshape(-1, 4)[:, :3]
            tints = values[vertices] if layer.domain == "POINT" else values
        if mesh.uv_layers:
            values = np.empty(len(mesh.loops) * 2, np.float32)
            (mesh.uv_layers.active or mesh.uv_layers[0]).data.foreach_get("uv", values)
            uv = values.reshape(-1, 2)
        tints, uv = tints[loops].reshape(-1, 3, 3), uv[loops].reshape(-1, 3, 2).astype(np.float64)
        texture = np.full(count, -1)
        for number in np.unique(owner):
            material = thing.material_slots[number].material if number < len(thing.material_slots) else None
            own = owner == number
            if material is None:
                tints[own] = tints[own] if mesh.color_attributes else 0.6
                continue
            shader = next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
            factor, image, scale, offset = paint(shader.inputs["Base Color"]) if shader else (np.ones(3), None, 1, 0)
            # Blender takes COLLADA's and MTL's colours for linear ones; we, as trimesh and most viewers, for what a screen shows.
            tints[own] = tints[own] * (linear(factor) if srgb_factors else factor)
            if image is not None and image.size[0]:
                images += [image] if image not in images else []
                texture[own] = images.index(image)
                uv[own] = uv[own] * scale + offset
        for name, values in (("corners", points[vertices[loops]].reshape(-1, 3, 3)), ("tints", tints), ("uv", uv)):
            rows[name].append(values)
        rows["texture"].append(texture)
    found = {name: np.concatenate(values) for name, values in rows.items()} if rows["corners"] else {}
    return found | {f"picture{i}": pixels(image) for i, image in enumerate(images)}


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    for number, (path, out) in enumerate(jobs):
        if Path(out).exists():
            continue
        Path(sys.argv[1] + ".at").write_text(str(number))
        found: dict[str, np.ndarray] = {}
        # An importer is a program of its own: whatever it raises means that it does not read the file.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            load(path)
            found = measure(srgb_factors=path.endswith((".dae", ".obj")))
        np.savez(out + ".tmp.npz", **found)
        os.replace(out + ".tmp.npz", out)
    # A process that used bpy may crash on its way out although everything is written.
    os._exit(0)
