"""Draws a CAD model from six sides, so that a person sees at a glance whether up and front are right.

Enters: a canonical GLB. Leaves: a PNG with front, left, rear, right, top and a view from the front corner, a red arrow where the
front is and a blue one where up is. Rays are cast with embree and shaded in numpy: no renderer, one or two seconds at most.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cad.canonical import GLTF_FROM_CANONICAL
from models.cad.gltf import read_gltf
from models.cad.source import Floats, Ints, SourceModel, Texture

VIEWS = (
    ("front (azimuth 0)", 0.0, 0.0),
    ("its left (azimuth 90)", 90.0, 0.0),
    ("rear (azimuth 180)", 180.0, 0.0),
    ("its right (azimuth 270)", 270.0, 0.0),
    ("top", 0.0, 90.0),
    ("azimuth 35, elevation 25", 35.0, 25.0),
)
"""(label, azimuth in degrees, elevation in degrees)."""

_HALF = 0.78
"""Half the width of a view, in longest sides: a unit cube fits from any side but its corner."""
_MOST_HOLES = 32
"""So many cut-out surfaces behind each other are looked through."""
_PAPERS = ((236, 236, 232), (58, 64, 72))
"""Backgrounds: the one that more of the model stands out from is taken."""
_INKS = {_PAPERS[0]: (60, 60, 60), _PAPERS[1]: (215, 218, 222)}
_STANDS_OUT = 60
"""So much lighter or darker, of 255, is told apart at a glance."""


def camera_axes(azimuth_deg: float, elevation_deg: float) -> tuple[Floats, Floats, Floats]:
    """Return (right, up, towards the viewer) in the canonical frame."""
    a, e = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    towards = np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    return right, np.cross(towards, right), towards


def sheet(glb: Path, title: str = "", size: int = 300) -> bytes:
    """Return a PNG of 3 x 2 views of `size` pixels each."""
    from PIL import Image, ImageDraw, ImageFont

    model = read_gltf(glb, 10**8)
    caster = Caster(model)
    head = 26
    page = Image.new("RGB", (3 * size + 4, 2 * size + 2 + head), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    draw.text((8, 5), title, fill=(20, 20, 20), font=font)
    views = [caster.view(azimuth, elevation, size) for _, azimuth, elevation in VIEWS]
    paper = paper_of(views)
    for i, (label, azimuth, elevation) in enumerate(VIEWS):
        corner = ((i % 3) * (size + 2), (i // 3) * (size + 2) + head)
        cell = _Cell(draw, font, camera_axes(azimuth, elevation), corner, size, paper)
        page.paste(Image.fromarray(_on_paper(views[i], paper)), cell.corner)
        cell.arrow(np.array([0.0, 0.0, 1.0]), caster.high[2], (40, 90, 220) if paper == _PAPERS[0] else (120, 170, 255), "up")
        cell.arrow(np.array([0.0, -1.0, 0.0]), -caster.low[1], (215, 30, 30) if paper == _PAPERS[0] else (255, 120, 110), "front")
        cell.word(label, (cell.corner[0] + 6, cell.corner[1] + size - 20), _INKS[paper])
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def paper_of(views: list[NDArray[np.uint8]]) -> tuple[int, int, int]:
    """Return the background that most of a model stands out from. views: (size, size, 4), alpha 0 where there is nothing."""
    seen = np.concatenate([view[view[..., 3] > 0][:, :3] for view in views]).astype(np.float64)
    if not len(seen):
        return _PAPERS[0]
    bright = seen @ np.array([0.299, 0.587, 0.114])
    return max(_PAPERS, key=lambda paper: float((np.abs(bright - np.mean(paper)) > _STANDS_OUT).mean()))


def _on_paper(view: NDArray[np.uint8], paper: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return (size, size, 3): a view on its background, with a thin outline that holds where both are of one brightness."""
    there = view[..., 3] > 0
    picture = np.where(there[..., None], view[..., :3], np.array(paper, dtype=np.uint8))
    padded = np.pad(there, 1)
    around = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    picture[around & ~there] = _INKS[paper]
    return np.asarray(picture, dtype=np.uint8)


class _Cell:
    """One view's place on the page."""

    def __init__(
        self, draw: Any, font: Any, axes: tuple[Floats, ...], corner: tuple[int, int], size: int, paper: tuple[int, int, int]
    ) -> None:
        self.draw, self.font, self.axes, self.corner, self.size, self.paper = draw, font, axes, corner, size, paper

    def word(self, word: str, at: tuple[float, float], color: tuple[int, int, int], centred: bool = False) -> None:
        """Write a word, moved until all of it is in the cell. centred: `at` is its middle, not its upper left corner."""
        left, top, right, bottom = self.draw.textbbox((0, 0), word, font=self.font)
        width, height = right - left, bottom - top
        x, y = (at[0] - width / 2, at[1] - height / 2) if centred else at
        x = min(max(x, self.corner[0] + 3), self.corner[0] + self.size - width - 3)
        y = min(max(y, self.corner[1] + 3), self.corner[1] + self.size - height - 3)
        # With an edge of the paper's colour, so that it can be read on the model too.
        self.draw.text((x - left, y - top), word, fill=color, font=self.font, stroke_width=2, stroke_fill=self.paper)

    def arrow(self, direction: Floats, start: float, color: tuple[int, int, int], word: str) -> None:
        """Draw an arrow along `direction` that begins at `start`, with a word beside it."""
        right, up, towards = self.axes

        def place(point: Floats) -> tuple[float, float]:
            return (
                self.corner[0] + self.size * (0.5 + float(point @ right) / (2 * _HALF)),
                self.corner[1] + self.size * (0.5 - float(point @ up) / (2 * _HALF)),
            )

        tail, tip = place(direction * (start + 0.03)), place(direction * (start + 0.17))
        length = float(np.hypot(tip[0] - tail[0], tip[1] - tail[1]))
        if length < 3:
            # It points at the viewer (a ring with a dot) or away (a cross), as in physics.
            x, y = tip
            self.draw.ellipse((x - 8, y - 8, x + 8, y + 8), outline=color, width=2)
            if float(direction @ towards) > 0:
                self.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
            else:
                self.draw.line((x - 5, y - 5, x + 5, y + 5), fill=color, width=2)
                self.draw.line((x - 5, y + 5, x + 5, y - 5), fill=color, width=2)
            return
        dx, dy = (tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length
        self.draw.line((*tail, *tip), fill=self.paper, width=7)
        self.draw.line((*tail, *tip), fill=color, width=3)
        head = [(tip[0] + 9 * dx, tip[1] + 9 * dy), (tip[0] - 5 * dy, tip[1] + 5 * dx), (tip[0] + 5 * dy, tip[1] - 5 * dx)]
        self.draw.polygon(head, fill=color)
        middle = ((tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2)
        # Beside an upright arrow, above a level one.
        beside = (middle[0] + 22, middle[1]) if abs(dy) > abs(dx) else (middle[0], middle[1] - 14)
        self.word(word, beside, color, centred=True)


class Caster:
    """All triangles of a model in the canonical frame, with what their surface looks like."""

    def __init__(self, model: SourceModel) -> None:
        import trimesh

        parts = model.parts
        offsets = np.cumsum([0, *(len(part.points) for part in parts)])
        self.points: Floats = np.concatenate([part.points for part in parts]) @ GLTF_FROM_CANONICAL
        self.faces: Ints = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets)])
        self.part_of_face = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts])
        self.low, self.high = self.points.min(axis=0), self.points.max(axis=0)
        self.model = model
        none = np.zeros((0, 2))
        self.uv = np.concatenate([np.zeros((len(p.points), 2)) if p.uv is None else p.uv for p in parts] or [none])
        self.normals = (
            np.concatenate([np.zeros_like(p.points) if p.normals is None else p.normals for p in parts]) @ GLTF_FROM_CANONICAL
        )
        self.colors = np.concatenate([np.ones((len(p.points), 4)) if p.colors is None else p.colors for p in parts])
        self._images: dict[tuple[bytes, str], Floats] = {}
        self._holes = any(material.cutoff is not None for material in model.materials)
        mesh = trimesh.Trimesh(self.points, self.faces, process=False)
        self._rays = trimesh.ray.ray_pyembree.RayMeshIntersector(mesh)

    def view(self, azimuth: float, elevation: float, size: int) -> np.ndarray:
        """Return a (size, size, 4) picture, parallel projection; alpha is 0 where there is nothing."""
        right, up, towards = camera_axes(azimuth, elevation)
        steps = ((np.arange(size) + 0.5) / size - 0.5) * 2 * _HALF
        xs, ys = np.meshgrid(steps, -steps)
        origins = xs.reshape(-1, 1) * right + ys.reshape(-1, 1) * up + 3.0 * towards
        hit = self._first(origins, -towards)
        seen = np.flatnonzero(hit >= 0)
        picture = np.zeros((size * size, 4), dtype=np.uint8)
        if len(seen):
            picture[seen, 3] = 255
            picture[seen, :3] = self._shade(hit[seen], origins[seen], -towards, 0.75 * towards + 0.35 * up + 0.25 * right)
        return picture.reshape(size, size, 4)

    def seen(self, azimuth: float, elevation: float, size: int, half: float, centre: Floats) -> Floats:
        """Return (size, size, 4) of a parallel view of width 2 * `half` about `centre`: depth and bare colour, NaN for nothing.

        Depth counts from `centre` towards the viewer.
        """
        right, up, towards = camera_axes(azimuth, elevation)
        steps = ((np.arange(size) + 0.5) / size - 0.5) * 2 * half
        xs, ys = np.meshgrid(steps, -steps)
        origins = centre + xs.reshape(-1, 1) * right + ys.reshape(-1, 1) * up + 3.0 * towards
        hit = self._first(origins, -towards)
        found = np.full((size * size, 4), np.nan)
        rows = np.flatnonzero(hit >= 0)
        if len(rows):
            corners = self.faces[hit[rows]]
            depth, weights, _ = self._places(corners, origins[rows], -towards)
            found[rows, 0] = 3.0 - depth
            found[rows, 1:] = self._albedo(hit[rows], corners, weights)
        return found.reshape(size, size, 4)

    def _first(self, origins: Floats, direction: Floats) -> Ints:
        """Return the first face that each ray meets, -1 for none: rays go on through what is cut out."""
        rays = np.arange(len(origins))
        starts, hit = origins.copy(), np.full(len(origins), -1)
        if not self._holes:
            return np.asarray(self._rays.intersects_first(starts, np.repeat(direction[None], len(rays), axis=0)))
        for _ in range(_MOST_HOLES):
            hit[rays] = self._rays.intersects_first(starts[rays], np.repeat(direction[None], len(rays), axis=0))
            rays = rays[hit[rays] >= 0]
            corners = self.faces[hit[rays]]
            depth, weights, _ = self._places(corners, starts[rays], direction)
            through = self._cut_out(hit[rays], corners, weights)
            rays, depth = rays[through], depth[through]
            if not len(rays):
                break
            starts[rays] += (depth[:, None] + 1e-4) * direction
            hit[rays] = -1
        return hit

    def _cut_out(self, faces: Ints, corners: Ints, weights: Floats) -> NDArray[np.bool_]:
        """Say for each place on a face whether its material is cut out there."""
        clear = np.zeros(len(faces), dtype=np.bool_)
        for number in np.unique(self.part_of_face[faces]):
            index = self.model.parts[number].material
            material = None if index is None else self.model.materials[index]
            if material is not None and material.cutoff is not None and material.base_texture is not None:
                rows = self.part_of_face[faces] == number
                uv = np.einsum("nk,nkd->nd", weights[rows], self.uv[corners[rows]])
                clear[rows] = self._texels(material.base_texture, uv, "A")[:, 0] < material.cutoff
        return clear

    def _shade(self, faces: Ints, origins: Floats, direction: Floats, light: Floats) -> np.ndarray:
        corners = self.faces[faces]
        _, weights, wound = self._places(corners, origins, direction)
        normals = np.einsum("nk,nkd->nd", weights, self.normals[corners])
        normals = np.where((normals == 0).all(axis=1, keepdims=True), wound, normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        albedo = self._albedo(faces, corners, weights)
        lit = 0.35 + 0.65 * np.abs(normals @ (light / np.linalg.norm(light)))
        values = np.clip(albedo * lit[:, None] ** 2.2, 0.0, 1.0) ** (1 / 2.2)
        return np.asarray(np.round(values * 255), dtype=np.uint8)

    def _places(self, corners: Ints, origins: Floats, direction: Floats) -> tuple[Floats, Floats, Floats]:
        """Return where rays meet their triangles: how far along, with which weights of the corners, and the winding's normal."""
        a, b, c = (self.points[corners[:, i]] for i in range(3))
        wound = np.cross(b - a, c - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = ((a - origins) * wound).sum(axis=1) / (wound @ direction)
            place = origins + depth[:, None] * direction
            area = (wound**2).sum(axis=1)
            u = (np.cross(c - b, place - b) * wound).sum(axis=1) / area
            v = (np.cross(a - c, place - c) * wound).sum(axis=1) / area
        weights = np.nan_to_num(np.stack([u, v, 1.0 - u - v], axis=1), nan=1 / 3, posinf=1 / 3, neginf=1 / 3)
        return depth, weights, wound

    def _albedo(self, faces: Ints, corners: Ints, weights: Floats) -> Floats:
        albedo: Floats = np.einsum("nk,nkd->nd", weights, self.colors[corners])[:, :3]
        uv = np.einsum("nk,nkd->nd", weights, self.uv[corners])
        for number in np.unique(self.part_of_face[faces]):
            rows = self.part_of_face[faces] == number
            index = self.model.parts[number].material
            if index is None:
                continue
            material = self.model.materials[index]
            albedo[rows] *= np.array(material.base_color[:3])
            if material.base_texture is not None:
                albedo[rows] *= self._texels(material.base_texture, uv[rows], "RGB") ** 2.2
        return albedo

    def _texels(self, texture: Texture, uv: Floats, bands: str) -> Floats:
        """Return a texture's values, 0 to 1, in the `bands` RGB or A."""
        from PIL import Image

        if (key := (texture.data, bands)) not in self._images:
            image: Image.Image = Image.open(io.BytesIO(texture.data))
            image = image.convert("RGB") if bands == "RGB" else image.convert("RGBA").getchannel("A")
            image.thumbnail((1024, 1024))
            self._images[key] = np.asarray(image, dtype=np.float64).reshape(image.height, image.width, -1) / 255.0
        pixels = self._images[key]
        height, width = pixels.shape[:2]
        x = np.mod(np.floor(np.nan_to_num(uv[:, 0]) * width), width).astype(np.int64)
        y = np.mod(np.floor(np.nan_to_num(uv[:, 1]) * height), height).astype(np.int64)
        return np.asarray(pixels[y, x])
