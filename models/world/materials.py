"""What bodies are made of: albedo and gloss in object space.

Enters: points on the body in canonical coordinates and a Look. Leaves: albedo, and how the surface reflects light. Patterns are
functions of the point in space, so parametric CAD models need no texture coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.world import noise
from models.world.scene import Look

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """How the surface reflects light at N points."""

    albedo: Floats
    """(N, 3) linear RGB."""
    metallic: Floats
    """(N,) 0 dielectric .. 1 metal."""
    roughness: Floats
    """(N,) 0 mirror .. 1 matt."""
    clear: Floats
    """(N,) share of what lies behind that shines through."""


def body(look: Look, points: Floats) -> Surface:
    """Return the surface of the body's points (N, 3)."""
    n = len(points)
    base, second = np.array(look.body, np.float32), np.array(look.second, np.float32)
    albedo = np.broadcast_to(base, (n, 3)).astype(np.float32)
    metallic, clear = np.zeros(n, np.float32), np.zeros(n, np.float32)
    roughness = np.full(n, 0.75 - 0.6 * look.gloss, np.float32)
    if look.material == "metallic":
        metallic[:] = 1.0
        roughness[:] = 0.10 + 0.3 * (1 - look.gloss)
        # A metal as dark as paint would mirror nothing.
        albedo = albedo * 0.95 + 0.03 * albedo.max(axis=1, keepdims=True) + 0.015
    elif look.material == "glass":
        clear[:] = 0.90
        roughness[:] = 0.05
    elif look.material == "wooden":
        albedo = _wood(look, points)
        roughness[:] = 0.5
    elif look.material == "marbled":
        waves = points @ np.array([3.0, 2.0, 4.0], np.float32) * (1.5 + 1.5 * (1 - look.grain))
        vein = np.abs(np.sin(waves + 2.2 * noise.space(points, 4.0, 3, look.texture)))
        albedo = _mix(albedo, second, (np.clip(1.0 - vein / 0.38, 0.0, 1.0) * 0.85).astype(np.float32))
        roughness[:] = 0.2
    elif look.material == "checkered":
        cells = 6.0 + 6.0 * (1 - look.grain)
        odd = np.mod(np.floor(points * cells + 0.37).sum(axis=1), 2.0).astype(np.float32)
        albedo = _mix(albedo, second, odd)
    elif look.material == "two-tone":
        albedo = _mix(albedo, second, _upper(points[:, 2], 0.55 + 0.17 * look.grain).astype(np.float32))
    return Surface(albedo=albedo, metallic=metallic, roughness=roughness, clear=clear)


def _upper(height: Floats, share: float) -> NDArray[np.bool_]:
    """Return which points wear the second colour: those above all but about `share` of what is seen, or else the lowest ones."""
    if not len(height):
        return np.zeros(0, np.bool_)
    above = height > np.quantile(height, share) + 1e-4
    # Where the top is flat, nothing may lie above it.
    return above if above.mean() > 0.12 else np.asarray(height < np.quantile(height, 1 - share) - 1e-4)


def _mix(first: Floats, second: Floats, share: Floats) -> Floats:
    return np.asarray(first * (1 - share[:, None]) + second * share[:, None], np.float32)


def _wood(look: Look, points: Floats) -> Floats:
    bent = points + 0.05 * noise.space(points, 3.0, 2, look.texture)[:, None]
    # A trunk along x or z whose axis lies outside the object gives long grain with a few arches.
    a, b = (bent[:, 1] + 0.7, bent[:, 2] - 0.6) if look.texture % 2 else (bent[:, 0] + 0.8, bent[:, 1] - 0.5)
    rings = np.mod(np.hypot(a, b) * (12.0 + 8.0 * look.grain), 1.0)
    dark = np.clip(rings * 1.3 - 0.15, 0.0, 1.0) ** 2 * (rings < 0.95)
    stretched = points * (np.array([2.0, 30.0, 30.0]) if look.texture % 2 else np.array([30.0, 30.0, 2.0])).astype(np.float32)
    fibre = noise.space(stretched.astype(np.float32), 1.0, 1, look.texture + 1)
    tone = float(np.mean(look.body)) / 0.16
    light = np.array([0.46, 0.25, 0.10], np.float32) * np.clip(tone, 0.6, 1.5)
    mixed = _mix(np.broadcast_to(light, points.shape), light * np.array([0.48, 0.42, 0.38], np.float32), dark.astype(np.float32))
    return np.asarray(mixed * (1 + 0.10 * fibre)[:, None], np.float32)
