"""Pictures of bundled cars with known poses: cast, not rendered, before backgrounds that mean nothing."""

from __future__ import annotations

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from models.cad.parametric import model
from models.verdict.crop import crop
from models.verdict.kcf import Labelled
from tests.control.cast import cast

Set = tuple[NDArray[np.uint8], NDArray[np.float64], list[str]]


def labelled(given: Set, symmetry: NDArray[np.int64] | None = None) -> Labelled:
    """Return images, poses and CAD models as the K-fold filter takes them; without `symmetry`, none has any."""
    images, poses, cad_ids = given
    turns = np.ones(len(images), np.int64) if symmetry is None else symmetry
    return Labelled(images=images, poses=poses, cad_ids=cad_ids, symmetry=turns)


def cars(cad_models: int, views: int, size: int = 64) -> Set:
    """Return (images (N, 64, 64, 3), poses (N, 3), CAD models): all around and mostly from a little above, as strategy 3."""
    images, poses, cad_ids = [], [], []
    for seed in range(cad_models):
        mesh, colours = mesh_of(seed)
        for view in range(views):
            rng = np.random.default_rng([seed, view])
            azimuth, elevation = rng.uniform(0, 360), float(np.clip(rng.normal(30, 20), -15, 85))
            light = (float(rng.normal()), float(rng.normal()), abs(float(rng.normal())) + 0.3)
            tinted = np.clip(colours * rng.uniform(0.5, 1.3, 3), 0, 1)
            seen = cast(mesh, azimuth, elevation, float(rng.uniform(1.4, 2.2)), size, tinted, light=light)
            image = np.where(seen.mask[..., None] > 0, seen.rgba[..., :3], clutter(rng, size)).astype(np.uint8)
            rows, columns = np.nonzero(seen.mask)
            images.append(crop(image, [columns.min(), rows.min(), columns.max(), rows.max()], 64))
            poses.append((azimuth, elevation, 0.0))
            cad_ids.append(f"car{seed:02d}")
    return np.stack(images), np.array(poses), cad_ids


def exchanged(poses: NDArray[np.float64], share: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return poses of which `share` have been passed round among themselves, and which."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(poses), round(share * len(poses)), replace=False)
    wrong = np.zeros(len(poses), bool)
    wrong[chosen] = True
    moved = poses.copy()
    moved[chosen] = poses[np.roll(chosen, 1)]
    return moved, wrong


def mesh_of(seed: int) -> tuple[trimesh.Trimesh, NDArray[np.float64]]:
    parts = model("car", seed).parts
    corners = np.concatenate([part.solid.vertices for part in parts])
    low, high = corners.min(0), corners.max(0)
    meshes = [
        trimesh.Trimesh((p.solid.vertices - (low + high) / 2) / (high - low).max(), p.solid.faces, process=False) for p in parts
    ]
    colours = [np.tile(np.array(part.colour) ** (1 / 2.2), (len(part.solid.faces), 1)) for part in parts]
    return trimesh.util.concatenate(meshes), np.concatenate(colours)


def clutter(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    grid = int(rng.integers(2, 9))
    coarse = rng.uniform(0, 255, (grid, grid, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    mixed = rng.uniform(40, 220, 3) + (smooth - 127) * rng.uniform(0.2, 0.8) + rng.normal(0, 6, (size, size, 1))
    return np.clip(mixed, 0, 255)
