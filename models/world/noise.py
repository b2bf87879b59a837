"""Noise on tables: smooth random fields over the plane and over space, cheap enough for every pixel of every picture.

Enters: points and a table index. Leaves: values around 0 with a spread of about 1. The tables tile; each process makes them
once, from fixed seeds, so no spec names them.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PLANE = 256
"""Side of a plane table in cells."""
SPACE = 32
"""Side of a space table in cells."""
TABLES = 6
"""Tables of each kind."""


@functools.cache
def _plane(index: int) -> Floats:
    rng = np.random.default_rng([71, index])
    x, y = np.meshgrid(np.fft.fftfreq(PLANE), np.fft.fftfreq(PLANE))
    # Band-limited: no wave shorter than three cells, so that bilinear reading shows no grid.
    radius = np.hypot(x, y)
    spectrum = np.fft.fft2(rng.normal(size=(PLANE, PLANE))) * np.exp(-((radius / 0.16) ** 2)) * (radius > 0.01)
    field = np.fft.ifft2(spectrum).real
    # A border of two cells lets a bilinear reading wrap around.
    return np.pad((field / field.std()).astype(np.float32), 2, mode="wrap")


@functools.cache
def _space(index: int) -> Floats:
    rng = np.random.default_rng([72, index])
    field = rng.normal(size=(SPACE, SPACE, SPACE)).astype(np.float32)
    return np.pad(field, ((0, 1), (0, 1), (0, 1)), mode="wrap")


def plane(points: Floats, cells: float, index: int) -> Floats:
    """Return (N,) smooth noise at (N, 2) points, `cells` table cells to the unit."""
    import cv2

    if not len(points):
        return np.zeros(0, np.float32)
    table = _plane(index % TABLES)
    at = np.mod(points * cells + 17.3 * (index + 1), PLANE).astype(np.float32) + 2.0
    rows = -(-len(at) // 512)
    # remap wants a picture-like map of less than 32767 a side.
    padded = np.zeros((rows * 512, 2), np.float32)
    padded[: len(at)] = at
    grid = padded.reshape(rows, 512, 2)
    read = cv2.remap(table, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR)
    return np.asarray(read.reshape(-1)[: len(at)], np.float32)


def fractal(points: Floats, cells: float, octaves: int, footprint: Floats, index: int) -> Floats:
    """Return (N,) noise of several octaves at (N, 2) points; octaves finer than a pixel's `footprint` (N,) fade out."""
    total = np.zeros(len(points), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        fade = np.clip(1.6 - cells * footprint * 0.5, 0.0, 1.0)
        total += amplitude * fade * plane(points, cells, index + octave)
        amplitude, cells = amplitude * 0.55, cells * 2.1
    return total


def space(points: Floats, cells: float, octaves: int, index: int) -> Floats:
    """Return (N,) smooth noise of several octaves at (N, 3) points."""
    total = np.zeros(len(points), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        table = _space((index + octave) % TABLES)
        at = np.mod(points * cells + 3.7 * (index + octave + 1), SPACE)
        cell = at.astype(np.int32) % SPACE
        w = (at - np.floor(at)).astype(np.float32)
        w = w * w * (3 - 2 * w)
        x, y, z = cell[:, 0], cell[:, 1], cell[:, 2]
        wx, wy, wz = w[:, 0], w[:, 1], w[:, 2]
        low = (table[x, y, z] * (1 - wx) + table[x + 1, y, z] * wx) * (1 - wy) + (
            table[x, y + 1, z] * (1 - wx) + table[x + 1, y + 1, z] * wx
        ) * wy
        high = (table[x, y, z + 1] * (1 - wx) + table[x + 1, y, z + 1] * wx) * (1 - wy) + (
            table[x, y + 1, z + 1] * (1 - wx) + table[x + 1, y + 1, z + 1] * wx
        ) * wy
        total += amplitude * (low * (1 - wz) + high * wz)
        amplitude, cells = amplitude * 0.5, cells * 2.0
    return total
