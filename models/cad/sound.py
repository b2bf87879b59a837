"""Keeps one bad entry from spoiling a whole CAD file, and says so.

Enters: parts as a reader made them. Leaves: parts of finite numbers and visible surfaces, with a warning for what was left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.cad.bad import BadModel
from models.cad.normals import face_normals
from models.cad.polygons import MOST_LOST
from models.cad.source import Floats, Ints, SourceModel, SourcePart

_FAR = 10.0
"""An object is measured by a stray when its box is so many times as long as that of nearly all its surface."""
_FEW = 8
"""Of fewer faces or vertices none is a stray: each is a part of the shape."""
_NEARLY_ALL = 0.999
"""Share of the surface, or of the vertices: one that was moved far away spans a large face."""


def shown(model: SourceModel) -> list[SourcePart]:
    """Return the parts that can be seen: helpers that are fully transparent would hide the object.

    A file of nothing else means something else by its transparency: it is shown.
    """
    seen = [part for part in model.parts if part.material is None or not model.materials[part.material].hidden]
    if not any(len(part.faces) for part in seen):
        if len(seen) < len(model.parts):
            model.warn("transparency_dropped", "all of its parts are fully transparent; shown opaque")
        model.materials = [replace(material, hidden=False, cutoff=None) for material in model.materials]
        return model.parts
    for part in model.parts:
        if part.material is not None and (material := model.materials[part.material]).hidden:
            model.warn("invisible_dropped", f"part {part.name} (material {material.name}) is fully transparent; left out")
    return seen


def finite(part: SourcePart, model: SourceModel) -> SourcePart:
    """Return the part without what is no number. Raises BadModel (non_finite_vertices) where too little is left."""
    lost = np.asarray(~np.isfinite(part.points).all(axis=1))
    if lost.any():
        bad = np.asarray(lost[part.faces].any(axis=1))
        said = f"part {part.name}: {int(bad.sum())} of {len(bad)} faces have a vertex that is NaN or infinite"
        if bad.mean() > MOST_LOST:
            raise BadModel("non_finite_vertices", f"{said}; export it again")
        model.warn("stray_faces", f"{said}; left out")
        part = compact(replace(part, faces=part.faces[~bad]))
    normals = _filled(part.normals, np.zeros(3), f"part {part.name}: its normals, which are computed anew there", model)
    uv = _filled(part.uv, np.zeros(2), f"part {part.name}: its places in the texture", model)
    usual = np.ones(4)
    if part.colors is not None and (known := np.asarray(np.isfinite(part.colors).all(axis=1))).any():
        usual = part.colors[known].mean(axis=0)
    colors = _filled(part.colors, usual, f"part {part.name}: its colours, which have the mean colour there", model)
    return replace(part, normals=normals, uv=uv, colors=colors)


def _filled(values: Floats | None, filling: Floats, what: str, model: SourceModel) -> Floats | None:
    if values is None or np.isfinite(values).all():
        return values
    sound = np.asarray(np.isfinite(values).all(axis=1))
    model.warn("numbers_missing", f"{int((~sound).sum())} of {len(sound)} vertices have no number in {what}")
    return np.where(sound[:, None], values, filling)


def warn_of_strays(parts: list[SourcePart], model: SourceModel) -> None:
    """Warn where a few faces far away make the object small: it is scaled to its longest side, and so are they."""
    corners = np.concatenate([part.points[part.faces] for part in parts])
    points = np.concatenate([part.points for part in parts])
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.concatenate([np.linalg.norm(face_normals(part.points, part.faces), axis=1) for part in parts])
        longest = float(np.ptp(points, axis=0).max())
    if not np.isfinite(longest) or not np.isfinite(area.sum()) or area.sum() <= 0:
        return
    for places, weights, what in ((corners, area, "faces"), (points[:, None], np.ones(len(points)), "vertices")):
        if len(places) < _FEW:
            continue
        inside = _inside(places, weights)
        core = float(np.ptp(places[inside].reshape(-1, 3), axis=0).max())
        if longest > _FAR * core > 0:
            model.warn(
                "stray_geometry",
                f"{len(places) - len(inside)} of {len(places)} {what} lie far from the rest, which takes up only "
                f"{100 * core / longest:.2g} % of the length; delete them, or the object is a speck",
            )
            return


def _inside(places: Floats, weights: Floats) -> Ints:
    """Return what of (N, k, 3) places lies inside, going outwards from their middle until nearly all of the weight does."""
    centres = places.mean(axis=1)
    order = np.argsort(centres, axis=0)
    half = [np.searchsorted(np.cumsum(weights[order[:, axis]]), weights.sum() / 2) for axis in range(3)]
    middle = np.array([centres[order[min(half[axis], len(order) - 1), axis], axis] for axis in range(3)])
    ranked = np.argsort(np.abs(places - middle).max(axis=(1, 2)), kind="stable")
    # At least one may be a stray, however few there are.
    most = min(int(np.searchsorted(np.cumsum(weights[ranked]), _NEARLY_ALL * weights.sum())) + 1, len(ranked) - 1)
    return np.asarray(ranked[:most], dtype=np.int64)


def compact(part: SourcePart) -> SourcePart:
    """Return the part without vertices that no face uses."""
    used, inverse = np.unique(part.faces, return_inverse=True)
    return taken(part, used, inverse.reshape(-1, 3).astype(np.int64))


def taken(part: SourcePart, rows: Ints, faces: Ints) -> SourcePart:
    """Return the part with the vertices `rows` and new faces into them."""
    return replace(
        part,
        points=part.points[rows],
        faces=faces,
        normals=None if part.normals is None else part.normals[rows],
        uv=None if part.uv is None else part.uv[rows],
        colors=None if part.colors is None else part.colors[rows],
    )
