"""The sRGB curve: between values as screens and image files have them and linear light, both in 0..1."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=np.floating)


def to_linear(srgb: NDArray[F]) -> NDArray[F]:
    """Return linear values of sRGB ones, of the same type."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[F]) -> NDArray[F]:
    """Return sRGB values of linear ones, of the same type."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)
