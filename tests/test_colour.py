"""The sRGB curve stands once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from models.colour import to_linear, to_srgb


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_curve_and_its_inverse_meet_and_keep_the_type(kind: type[np.floating]) -> None:
    levels = np.linspace(0, 1, 1001, dtype=kind)
    assert to_linear(levels).dtype == to_srgb(levels).dtype == kind
    np.testing.assert_allclose(to_srgb(to_linear(levels)), levels, atol=2e-6)
    assert to_linear(np.array([0.5], kind))[0] == pytest.approx(0.214041, abs=1e-6)


def test_no_module_of_models_writes_it_again() -> None:
    models = Path(__file__).resolve().parents[1] / "models"
    again = [path.name for path in models.rglob("*.py") if re.search(r"0\.0031308|0\.04045", path.read_text())]
    assert again == ["colour.py"]
