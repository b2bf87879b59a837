"""CAD files as others read them: Blender's own importers and trimesh, against what the canonical GLB holds.

Enters: files. Leaves: disagreements about triangles, bounds, area by colour, and colours at sample points. Each other reader
reads both the source file and our GLB of it, with the same measuring code: what it makes of materials cancels out.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from models.cad.canonical import CanonicalModel
from models.colour import to_linear, to_srgb

SAMPLES = 48


@dataclass(frozen=True)
class Surface:
    """Triangles with what they look like, as one reader says."""

    corners: np.ndarray
    """(F, 3, 3)."""
    tints: np.ndarray
    """(F, 3, 3) linear colours at the corners."""
    uv: np.ndarray
    """(F, 3, 2), v upwards."""
    texture: np.ndarray
    """(F,) index into pictures, -1 for none."""
    pictures: tuple[np.ndarray, ...] = ()
    """(H, W, 3) linear, the first row at the bottom."""

    def colour(self, faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the sRGB colours, 0 to 1, of places on faces."""
        tint = np.einsum("nk,nkd->nd", weights, self.tints[faces])
        uv = np.einsum("nk,nkd->nd", weights, self.uv[faces])
        for number, picture in enumerate(self.pictures):
            own = self.texture[faces] == number
            height, width = picture.shape[:2]
            x = np.mod(np.floor(np.nan_to_num(uv[own, 0]) * width), width).astype(int)
            y = np.mod(np.floor(np.nan_to_num(uv[own, 1]) * height), height).astype(int)
            tint[own] *= picture[y, x]
        return np.asarray(to_srgb(np.clip(np.nan_to_num(tint), 0, 1)))

    @property
    def area(self) -> np.ndarray:
        a, b, c = self.corners.transpose(1, 0, 2)
        return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)

    def moved(self, turn: np.ndarray) -> Surface:
        """Return it turned, centred, of length 1, without faces that are nothing and faces that lie in others."""
        corners = self.corners @ turn.T
        low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        corners = (corners - (low + high) / 2) / max(float((high - low).max()), 1e-300)
        rounded = np.round(corners / 1e-5).astype(np.int64)
        order = np.lexsort(rounded.transpose(2, 0, 1)[::-1], axis=1)
        named = np.take_along_axis(rounded, order[..., None], axis=1).reshape(-1, 9)
        _, first = np.unique(named, axis=0, return_index=True)
        three = (
            np.array([len(np.unique(rounded[i], axis=0)) == 3 for i in first], bool)
            if len(first) < 3000
            else np.ones(len(first), bool)
        )
        kept = np.sort(first[three])
        return Surface(corners[kept], self.tints[kept], self.uv[kept], self.texture[kept], self.pictures)


def by_trimesh(data: bytes | Path, kind: str) -> Surface | None:
    """Return what trimesh reads, None where it reads nothing."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(io.BytesIO(data) if isinstance(data, bytes) else data, file_type=kind, process=False)
            return _of_scene(scene, kind)
    except Exception:  # noqa: BLE001
        # Whatever it raises means that it does not read the file.
        return None


def _of_scene(scene: Any, kind: str) -> Surface | None:
    rows: list[tuple[np.ndarray, ...]] = []
    pictures: list[np.ndarray] = []
    linear = kind in ("glb", "gltf")
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        points = trimesh.transformations.transform_points(mesh.vertices, matrix)
        count, visual = len(mesh.faces), mesh.visual
        tints, uv, texture = np.full((count, 3, 3), 0.6), np.zeros((count, 3, 2)), -1
        if visual.kind in ("vertex", "face") and visual.defined:
            values = (
                visual.vertex_colors[mesh.faces] if visual.kind == "vertex" else visual.face_colors[:, None].repeat(3, axis=1)
            )
            tints = values[..., :3] / 255.0
            tints = tints if linear else to_linear(tints)
        elif (material := getattr(visual, "material", None)) is not None:
            picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
            if kind == "ply" and picture is not None and picture.size == (2, 2):
                # A picture that trimesh makes up for coordinates without one.
                picture = None
            factor = getattr(material, "baseColorFactor", None)
            plain = np.asarray(getattr(material, "diffuse", (255, 255, 255)) if factor is None else factor)[:3]
            plain = plain / (255.0 if plain.dtype.kind in "ui" else 1.0)
            # Where a file of another format has a picture, its plain colour does not count.
            tints = np.ones((count, 3, 3)) * (plain if linear else to_linear(plain) if picture is None else 1.0)
            if kind == "ply" and picture is None:
                # trimesh's own grey, for a file that has none.
                tints = np.full((count, 3, 3), 0.6)
            if visual.uv is not None and picture is not None:
                pixels = to_linear(
                    np.asarray(picture.convert("RGB").resize((min(picture.width, 256), min(picture.height, 256)), 0)) / 255.0
                )
                if np.shape(visual.uv)[1:] != (2,):
                    raise ValueError("texture coordinates of one number")
                texture, uv = len(pictures), np.asarray(visual.uv)[mesh.faces]
                pictures.append(pixels[::-1])
            at_vertices = visual.vertex_attributes.get("color") if linear else None
            if at_vertices is not None and len(at_vertices) == len(mesh.vertices):
                # Of a material and colours at vertices, glTF means the product.
                scale = 255.0 if at_vertices.dtype.kind in "ui" else 1.0
                tints = tints * np.asarray(at_vertices)[mesh.faces][..., :3] / scale
        if len(tints) != count:
            # trimesh gives a quad's two triangles one colour.
            raise ValueError("colours for other faces")
        rows.append((points[mesh.faces], tints, uv, np.full(count, texture)))
    if not rows:
        return None
    return Surface(*(np.concatenate(values) for values in zip(*rows)), tuple(pictures))


def by_blender(files: Iterable[Path], folder: Path, timeout_s: float = 300) -> dict[Path, Surface | None]:
    """Return what Blender reads of each file, in a process of its own; one that it dies of counts as not read."""
    script = Path(__file__).with_name("blender_measures.py")
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(path, folder / f"{number}.npz") for number, path in enumerate(files)]
    (folder / "jobs.json").write_text(json.dumps([[str(path), str(out)] for path, out in jobs]))
    while any(not out.exists() for _, out in jobs):
        try:
            done = subprocess.run([sys.executable, "-P", script, folder / "jobs.json"], capture_output=True, timeout=timeout_s)
            if done.returncode == 0:
                break
        except subprocess.TimeoutExpired:
            pass
        np.savez(jobs[int((folder / "jobs.json.at").read_text())][1])
    found: dict[Path, Surface | None] = {}
    for path, out in jobs:
        with np.load(out) as arrays:
            names = sorted(name for name in arrays if name.startswith("picture"))
            plain = [arrays[name] for name in ("corners", "tints", "uv", "texture")] if "corners" in arrays else None
            pictures = tuple(arrays[f"picture{i}"] for i in range(len(names)))
        found[path] = None if plain is None else Surface(*plain, pictures)
    return found


_FROM_YUP = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Undoes how Blender's glTF (and y-up COLLADA) importers turn a file."""


def compare(
    source: Surface, glb: Surface, made: CanonicalModel, turned: bool, glb_turned: bool, colours: bool = True
) -> list[str]:
    """Return in what the reader's view of the source differs from its view of our GLB. `turned`: the reader turned it to z-up."""
    turn = made.canonical_from_source[:3, :3] / np.cbrt(np.linalg.det(made.canonical_from_source[:3, :3]))
    one = source.moved(turn @ _FROM_YUP if turned else turn)
    # glTF (x, y, z) is canonical (x, -z, y); Blender's importer has turned it already.
    other = glb.moved(np.eye(3) if glb_turned else np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]))
    found = []
    if len(one.corners) != len(other.corners):
        found.append(f"triangles: {len(one.corners)} there, {len(other.corners)} here")
    sizes = [np.ptp(surface.corners.reshape(-1, 3), axis=0) for surface in (one, other)]
    if np.abs(sizes[0] - sizes[1]).max() > 1e-4:
        found.append(f"bounds: {np.round(sizes[0], 4).tolist()} there, {np.round(sizes[1], 4).tolist()} here")
    if abs(one.area.sum() - other.area.sum()) > 1e-3 * other.area.sum():
        found.append(f"area: {one.area.sum():.4f} there, {other.area.sum():.4f} here")
    if colours and not found:
        found += _colours(one, other)
    return found


def _colours(one: Surface, other: Surface) -> list[str]:
    found = []
    shares = [_by_colour(surface) for surface in (one, other)]
    if np.abs(shares[0] - shares[1]).max() > 0.04:
        worst = int(np.abs(shares[0] - shares[1]).max(axis=1).argmax())
        found.append(
            f"area by colour: {np.round(shares[0][worst], 2).tolist()} there, {np.round(shares[1][worst], 2).tolist()} here"
        )
    rng = np.random.default_rng(0)
    faces = rng.choice(len(other.corners), SAMPLES, p=other.area / other.area.sum())
    weights = rng.dirichlet((1, 1, 1), SAMPLES)
    places = np.einsum("nk,nkd->nd", weights, other.corners[faces])
    a, b, c = other.corners[faces].transpose(1, 0, 2)
    away = np.cross(b - a, c - a)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-300)
    mesh = trimesh.Trimesh(one.corners.reshape(-1, 3), np.arange(3 * len(one.corners)).reshape(-1, 3), process=False)
    hit = trimesh.ray.ray_pyembree.RayMeshIntersector(mesh).intersects_first(places + 1e-3 * away, -away)
    met = hit >= 0
    there = trimesh.triangles.points_to_barycentric(one.corners[hit[met]], places[met])
    near = np.linalg.norm(np.einsum("nk,nkd->nd", there, one.corners[hit[met]]) - places[met], axis=1) < 1e-3
    clear = np.array([_alone(other.corners, place) for place in places[met]])
    # On the border of a picture rounding decides which of its sides is seen.
    uv = np.einsum("nk,nkd->nd", weights[met], other.uv[faces[met]])
    clear &= (other.texture[faces[met]] < 0) | (np.abs(uv - np.rint(uv)).min(axis=1) > 1e-4)
    near |= ~clear
    apart = np.abs(one.colour(hit[met], there) - other.colour(faces[met], weights[met])).max(axis=1)
    if (met.sum() and near.mean() < 0.9) or not met.any():
        found.append("samples: the surfaces lie elsewhere")
    elif (apart[near & clear] > 0.12).sum() > 0.1 * near.sum():
        found.append(f"samples: {int((apart[near & clear] > 0.12).sum())} of {int(near.sum())} places have another colour")
    return found


def _alone(corners: np.ndarray, place: np.ndarray) -> bool:
    """Say whether a place lies on one face only: which of several is seen, each reader is free to say."""
    if len(corners) > 3000:
        return True
    a, b, c = corners.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    with np.errstate(all="ignore"):
        off = np.abs(((place - a) * normal).sum(axis=1)) / np.linalg.norm(normal, axis=1)
        weights = np.stack([(np.cross(q - p, place - p) * normal).sum(axis=1) for p, q in ((b, c), (c, a), (a, b))], axis=1)
        weights /= (normal**2).sum(axis=1, keepdims=True)
        return int(((off < 1e-3) & (weights > -1e-6).all(axis=1)).sum()) <= 1


def _by_colour(surface: Surface) -> np.ndarray:
    """Return (20, 3): mean red, green and blue of each twentieth of the surface, from dark to bright."""
    steps = 5 if len(surface.corners) < 5000 else 1
    # The middles of steps * steps small triangles of each face: the same places whoever numbers the faces.
    grid = [(3 * i + 1 + up, 3 * j + 1 + up) for i in range(steps) for j in range(steps) for up in (0, 1) if i + j + up < steps]
    places = np.array([(a, b, 3 * steps - a - b) for a, b in grid]) / (3 * steps)
    faces = np.repeat(np.arange(len(surface.corners)), len(places))
    colours = surface.colour(faces, np.tile(places, (len(surface.corners), 1)))
    share = np.repeat(surface.area, len(places)) / (surface.area.sum() * len(places))
    ends = np.linspace(0, 1, 21)
    found = []
    for band in range(3):
        order = np.argsort(colours[:, band], kind="stable")
        # The integral of the sorted colours over the share of the surface, taken at the ends of twentieths.
        below = np.concatenate([[0.0], np.cumsum(share[order])])
        summed = np.concatenate([[0.0], np.cumsum(share[order] * colours[order, band])])
        found.append(np.diff(np.interp(ends, below, summed)) * 20)
    return np.stack(found, axis=1)


def disagreements(made: dict[Path, tuple[CanonicalModel, Path]], folder: Path) -> dict[Path, dict[str, list[str]]]:
    """Return what Blender and trimesh say otherwise of each file (by name of the reader, for those that read it).

    `made`: canonical form, and the file as others can read it.
    """
    glbs = {path: folder / f"canonical{number}.glb" for number, path in enumerate(made)}
    for path, glb in glbs.items():
        glb.write_bytes(made[path][0].glb)
    read = by_blender([file for path, glb in glbs.items() for file in (made[path][1], glb)], folder / "blender")
    found: dict[Path, dict[str, list[str]]] = {}
    for path, (canonical, readable) in made.items():
        kind = path.suffix.lower()[1:]
        found[path] = {}
        turned = kind in ("glb", "gltf") or (kind == "dae" and b"Z_UP" not in readable.read_bytes())
        if (theirs := read[readable]) is not None and (ours := read[glbs[path]]) is not None:
            found[path]["blender"] = compare(theirs, ours, canonical, turned, True)
        data: bytes | Path = readable if kind in ("obj", "gltf", "dae") else readable.read_bytes()
        if (theirs := by_trimesh(data, kind)) is not None and (ours := by_trimesh(canonical.glb, "glb")) is not None:
            found[path]["trimesh"] = compare(theirs, ours, canonical, False, False)
    return found
