"""Run by the tests in a process of its own: import GLBs into Blender and write down what arrived.

python blender_reads.py OUT.json A.glb B.glb ...
"""

from __future__ import annotations

import json
import os
import sys

import bpy


def read(path: str) -> dict:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=path)
    meshes = [thing for thing in bpy.data.objects if thing.type == "MESH"]
    points = [thing.matrix_world @ vertex.co for thing in meshes for vertex in thing.data.vertices]
    materials = [slot.material for thing in meshes for slot in thing.material_slots]
    shaders = [next(node for node in m.node_tree.nodes if node.type == "BSDF_PRINCIPLED") for m in materials]
    return {
        "types": sorted({thing.type for thing in bpy.data.objects}),
        "faces": sum(len(thing.data.polygons) for thing in meshes),
        "low": [min(point[i] for point in points) for i in range(3)],
        "high": [max(point[i] for point in points) for i in range(3)],
        "pictures": sorted([*picture.size, len(picture.pixels)] for picture in bpy.data.images),
        "painted": sum(bool(shader.inputs["Base Color"].links) for shader in shaders),
        "one_sided": sum(m.use_backface_culling for m in materials),
        "actions": len(bpy.data.actions),
    }


if __name__ == "__main__":
    found = {path: read(path) for path in sys.argv[2:]}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
    # A process that used bpy may crash on its way out although everything is written.
    os._exit(0)
