"""The bundled CAD models: shapes of ten classes, each a pure function of (class, seed).

Enters: a class name and a seed. Leaves: a model of named, coloured, watertight parts, as a trimesh scene in the canonical frame
(front -y, up +z, left +x) or as the bytes of a canonical y-up GLB. They serve the demo, the tests and the embedded generator's
training.

Front and rear: vehicles, aircraft and boats have their nose at -y; a chair's backrest is at +y; a teapot's spout at -y; a cup's
handle at its own right (-x); a desk lamp reaches forward; tables look the same from front and rear, their long side along x.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from models.cad.shapes import aircraft, boat, bus, car, furniture, lamp, truck, vessels
from models.cad.shapes.part import Model
from models.cad.shapes.solid import corner_normals

if TYPE_CHECKING:
    import trimesh

MAKERS: dict[str, Callable[[np.random.Generator], Model]] = {
    "car": car.car,
    "bus": bus.bus,
    "truck": truck.truck,
    "airplane": aircraft.airplane,
    "chair": furniture.chair,
    "table": furniture.table,
    "cup": vessels.cup,
    "teapot": vessels.teapot,
    "lamp": lamp.lamp,
    "boat": boat.boat,
}

TRAINED_CLASSES: tuple[str, ...] = ("car", "bus", "truck", "airplane", "chair", "table", "cup", "teapot")
"""The classes that the embedded generator learns."""

CLASSES: tuple[str, ...] = tuple(MAKERS)
"""All classes; those after the trained ones are held out from training."""

SYMMETRY: dict[str, int] = {"table": 2}


def symmetry(class_name: str, seed: int | None = None) -> int:
    """Return the rotational symmetry about +z (see models.symmetry) of one model, or without a seed what all of a class share."""
    _maker(class_name)
    return SYMMETRY.get(class_name, 1) if seed is None else model(class_name, seed).symmetry


def model(class_name: str, seed: int) -> Model:
    """Return the parts and keywords of one model. Raises ValueError for a class that is not bundled."""
    maker = _maker(class_name)
    if seed < 0:
        raise ValueError(f"the seed of a parametric CAD model is at least 0, not {seed}")
    return maker(np.random.default_rng([zlib.crc32(class_name.encode()), seed]))


def keywords(class_name: str, seed: int) -> tuple[str, ...]:
    """Return the words for one model beside its class, the most telling first."""
    return model(class_name, seed).keywords


def build(class_name: str, seed: int) -> trimesh.Scene:
    """Return one model as a scene in the canonical frame: a geometry for each part, longest side 1, centred."""
    return _scene(model(class_name, seed), class_name, seed, split=False)


def glb(class_name: str, seed: int) -> bytes:
    """Return one model as a canonical GLB, y-up as glTF demands, with shading normals; the same bytes in every process."""
    scene = _scene(model(class_name, seed), class_name, seed, split=True)
    data: bytes = scene.export(file_type="glb", include_normals=True)
    return data


def _maker(class_name: str) -> Callable[[np.random.Generator], Model]:
    if class_name not in MAKERS:
        raise ValueError(f"no parametric CAD models of class {class_name!r}; there are: {', '.join(CLASSES)}")
    return MAKERS[class_name]


def _scene(made: Model, class_name: str, seed: int, split: bool) -> trimesh.Scene:
    import trimesh
    from trimesh.visual.material import PBRMaterial

    every = np.concatenate([part.solid.vertices for part in made.parts])
    low, high = every.min(axis=0), every.max(axis=0)
    scene = trimesh.Scene(metadata={"class_name": class_name, "seed": seed, "keywords": list(made.keywords)})
    for part in made.parts:
        vertices = (part.solid.vertices - (low + high) / 2) / float((high - low).max())
        faces, normals = part.solid.faces, None
        if split:
            # glTF keeps one normal for each vertex: corners whose normals differ become vertices of their own.
            # Rounded, so that another machine's last bit of a sine changes no byte.
            shading = np.round(corner_normals(vertices, faces).reshape(-1, 3), 4)
            vertices = np.round(vertices, 6)
            corners = np.concatenate([faces.reshape(-1, 1).astype(float), shading], axis=1)
            _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
            vertices, normals = vertices[faces.reshape(-1)[first]], shading[first]
            faces = inverse.reshape(-1, 3)
            vertices, normals = (array[:, [0, 2, 1]] * [1.0, 1.0, -1.0] for array in (vertices, normals))
        material = PBRMaterial(
            name=part.name, baseColorFactor=[*part.colour, 1.0], metallicFactor=part.metallic, roughnessFactor=part.roughness
        )
        mesh = trimesh.Trimesh(
            vertices, faces, vertex_normals=normals, process=False, visual=trimesh.visual.TextureVisuals(material=material)
        )
        scene.add_geometry(mesh, geom_name=part.name, node_name=part.name)
    return scene
