"""Turns any CAD model into a canonical GLB.

Enters: a source file and a CadSpec. Leaves: a self-contained GLB (front -y, up +z in the canonical frame, written y-up as glTF
demands; longest side 1; centred on the bounding box), the matrix canonical point = M @ source-file point, and facts.
(3D-DST, section 3.1.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.cad.bad import BadModel
from models.cad.glb import write_glb
from models.cad.normals import contradicting, corner_normals, face_normals, plausible, unit, watertight, weld
from models.cad.parse import parse
from models.cad.rows import distinct
from models.cad.sound import compact, finite, shown, taken, warn_of_strays
from models.cad.source import Floats, Ints, Material, SourceModel, SourcePart, clean
from models.cad.spec import CadSpec, resolve_axes, why_axes

GLTF_FROM_CANONICAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""glTF (x, z, -y) of canonical (x, y, z); Blender's importer turns it back."""

_MOST_NODES = 128


@dataclass(frozen=True, kw_only=True)
class CanonicalModel:
    """A CAD model in the canonical frame."""

    glb: bytes
    """The self-contained GLB."""
    canonical_from_source: Floats
    """4x4: canonical point = M @ source-file point, the file's own scene graph applied before."""
    facts: dict[str, Any]
    """What is known about it, as JSON types."""


def axis_vector(axis: str) -> Floats:
    """Return the unit vector of an axis spelled +x ... -z."""
    return np.asarray(np.eye(3)["xyz".index(axis[1])] * (1.0 if axis[0] == "+" else -1.0))


def rotation(up: str, front: str) -> Floats:
    """Return the 3x3 rotation that takes source axes to canonical ones: `front` to -y, `up` to +z."""
    above, ahead = axis_vector(up), axis_vector(front)
    return np.stack([np.cross(above, ahead), -ahead, above])


def canonicalise(path: Path, spec: CadSpec, max_faces: int = 2_000_000) -> CanonicalModel:
    """Return the canonical form of the CAD model at `path`. Raises BadModel(reason, detail).

    Runs on any bytes: call it through models.cad.intake for files from elsewhere, which bounds its time and memory.
    """
    path = Path(path)
    model = parse(path, max_faces)
    parts = [_sound(part, model) for part in shown(model)]
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise BadModel("no_faces", f"{path.name} has only faces without an area; export it again")
    warn_of_strays(parts, model)
    up, front = resolve_axes(spec, path.suffix.lower(), model.declared_up)
    turn = rotation(up, front)
    first = np.eye(3)
    if spec.turn is not None:
        # Sides are measured after the turn: a box that was tilted has other extents.
        first, turn = np.array(spec.turn) @ turn, np.eye(3)
        parts = [replace(part, points=part.points @ first.T) for part in parts]
        parts = [replace(part, normals=None if part.normals is None else part.normals @ first.T) for part in parts]
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.min([part.points.min(axis=0) for part in parts], axis=0)
        high = np.max([part.points.max(axis=0) for part in parts], axis=0)
        extents = high - low
    longest = float(extents.max())
    if not np.isfinite(longest) or longest <= 0 or np.sort(extents)[1] <= 1e-9 * longest:
        raise BadModel(
            "zero_extent", f"{path.name} measures {' x '.join(f'{e:.3g}' for e in extents)}: it has no surface to show"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = turn / longest
    matrix[:3, 3] = -(turn @ (low / 2 + high / 2)) / longest
    parts = [replace(part, points=(part.points - (low / 2 + high / 2)) / longest @ turn.T) for part in parts]
    parts = [replace(part, normals=None if part.normals is None else part.normals @ turn.T) for part in parts]
    matrix[:3, :3] = matrix[:3, :3] @ first

    parts = _single(parts, model)
    places, joined = _welded(parts)
    facts: dict[str, Any] = {
        "source_name": clean(path.name),
        "faces": int(sum(len(part.faces) for part in parts)),
        "vertices": int(places.max()) + 1,
        "extents": [float(e) for e in extents],
        "watertight": watertight(joined),
        "textured": any(_textured(part, model) for part in parts),
        "up": up,
        "front": front,
        "axes": why_axes(spec, path.suffix.lower(), model.declared_up, bool(model.turned)),
        "canonical_from_source": matrix.tolist(),
    }
    parts = [_shaded(part, model) for part in parts]
    parts, materials = _with_materials(_fewer(parts), model)
    facts["parts"] = len({part.name for part in parts})
    facts["materials"] = len(materials)
    facts["warnings"] = list(model.warnings)
    turned = [
        replace(
            part,
            points=part.points @ GLTF_FROM_CANONICAL.T,
            normals=None if part.normals is None else part.normals @ GLTF_FROM_CANONICAL.T,
        )
        for part in parts
    ]
    return CanonicalModel(glb=write_glb(turned, materials), canonical_from_source=matrix, facts=facts)


def _welded(parts: list[SourcePart]) -> tuple[Ints, Ints]:
    """Return the place of every vertex, and all faces as places."""
    places = weld(np.concatenate([part.points for part in parts]))
    offsets = np.cumsum([0, *(len(part.points) for part in parts[:-1])])
    return places, places[np.concatenate([part.faces + offset for part, offset in zip(parts, offsets)])]


def _single(parts: list[SourcePart], model: SourceModel) -> list[SourcePart]:
    """Keep one of each set of faces with the same three corners, a textured one if there is one.

    SketchUp writes each face twice, once for either side. Faces that lie in each other shadow each other: they render black.
    """
    _, joined = _welded(parts)
    plain = np.repeat([not _textured(part, model) for part in parts], [len(part.faces) for part in parts])
    order = np.argsort(plain, kind="stable")
    first, _ = distinct(np.sort(joined, axis=1)[order])
    if len(first) == len(joined):
        return parts
    keep = np.zeros(len(joined), dtype=np.bool_)
    keep[order[first]] = True
    model.warn("doubled_faces", f"{len(joined) - len(first)} faces lay in others with the same corners; one of each was kept")
    kept = np.split(keep, np.cumsum([len(part.faces) for part in parts])[:-1])
    single = [compact(replace(part, faces=part.faces[own])) for part, own in zip(parts, kept)]
    return [part for part in single if len(part.faces)]


def _textured(part: SourcePart, model: SourceModel) -> bool:
    return part.uv is not None and part.material is not None and model.materials[part.material].base_texture is not None


def _sound(part: SourcePart, model: SourceModel) -> SourcePart:
    """Drop faces without three different corners and vertices without a face."""
    if len(part.faces) and (part.faces.min() < 0 or part.faces.max() >= len(part.points)):
        raise BadModel("bad_index", f"part {part.name}: a face refers to a vertex that is not there; export it again")
    a, b, c = part.faces.T if len(part.faces) else np.zeros((3, 0), dtype=np.int64)
    return finite(compact(replace(part, faces=part.faces[(a != b) & (b != c) & (c != a)])), model)


def _shaded(part: SourcePart, model: SourceModel) -> SourcePart:
    """Return the part with unit normals that agree with its winding."""
    normals = part.normals
    if normals is not None:
        normals = unit(normals)
        missing = (normals == 0).all(axis=1)
        if missing.mean() <= 0.5:
            sums = np.zeros_like(part.points)
            wound = face_normals(part.points, part.faces)
            for corner in range(3):
                np.add.at(sums, part.faces[:, corner], wound)
            normals = np.where(missing[:, None], unit(sums), normals)
            normals[(normals == 0).all(axis=1)] = (0.0, 0.0, 1.0)
            if plausible(part.points, part.faces, normals):
                against = contradicting(part.points, part.faces, normals)
                if against.any():
                    model.warn("faces_turned", f"{part.name}: {int(against.sum())} faces were wound against their normals")
                faces = np.where(against[:, None], part.faces[:, ::-1], part.faces)
                return replace(part, normals=normals, faces=faces)
        model.warn("normals_dropped", f"{part.name}: its normals do not belong to its faces; computed anew")
    welded = weld(part.points)
    first = np.unique(welded, return_index=True)[1]
    smooth, groups = corner_normals(part.points[first], welded[part.faces])
    corners = part.faces.reshape(-1)
    rows, numbers = distinct(np.stack([corners, groups], axis=1))
    made = taken(replace(part, normals=None), corners[rows], numbers.reshape(-1, 3).astype(np.int64))
    return replace(made, normals=smooth[rows])


def _fewer(parts: list[SourcePart]) -> list[SourcePart]:
    """Put everything of one material into one part when a file has hundreds of them: importers pay for each object."""
    if len({part.name for part in parts}) <= _MOST_NODES:
        return parts
    groups: dict[tuple[int | None, bool, bool], list[SourcePart]] = {}
    for part in parts:
        groups.setdefault((part.material, part.uv is not None, part.colors is not None), []).append(part)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[SourcePart]) -> SourcePart:
    def stacked(name: str) -> Floats | None:
        arrays = [getattr(part, name) for part in group]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    offsets = np.cumsum([0, *(len(part.points) for part in group[:-1])])
    return SourcePart(
        name="all",
        points=np.concatenate([part.points for part in group]),
        faces=np.concatenate([part.faces + offset for part, offset in zip(group, offsets)]),
        normals=stacked("normals"),
        uv=stacked("uv"),
        colors=stacked("colors"),
        material=group[0].material,
    )


def _with_materials(parts: list[SourcePart], model: SourceModel) -> tuple[list[SourcePart], list[Material]]:
    """Return parts and the materials they use, numbered anew; parts without one share a grey (or white under vertex colours)."""
    used: list[Material] = []
    numbered = []
    for part in parts:
        if part.material is not None:
            material = model.materials[part.material]
            if part.uv is None:
                if material.base_texture is not None:
                    model.warn("texture_unused", f"{part.name} has no texture coordinates for {material.name}; shown plain")
                material = replace(
                    material,
                    base_texture=None,
                    metallic_roughness_texture=None,
                    normal_texture=None,
                    emissive_texture=None,
                    cutoff=None,
                )
        else:
            material = Material(
                name="default", base_color=(1.0, 1.0, 1.0, 1.0) if part.colors is not None else Material().base_color
            )
        if material not in used:
            used.append(material)
        numbered.append(replace(part, material=used.index(material)))
    return numbered, used
