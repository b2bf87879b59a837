"""Sets of the benchmark of filters, painted by a painter that shows the render."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.evaluation.cases import Case
from models.evaluation.filters import sets
from models.evaluation.filters.sets import FilterSet
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.painting import Painted

SPEC = FiltersSpec(classes=("car", "chair"), cad_models=3, views=4, rates=(0.25,), systematic=0.4)


class Renders:
    """A painter that shows the render, and noise where there is no control."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paint(self, setting: Any, cases: Sequence[Case], draw: int = 0, title: str = "") -> Painted:
        rng = np.random.default_rng(0)
        pictures = [case.rgb if setting.control_scale > 1 else rng.integers(0, 255, case.rgb.shape, np.uint8) for case in cases]
        return Painted(pictures=pictures, reasons=[None] * len(cases), seconds=(), processor=(), batch=1)


@pytest.fixture(scope="session")
def filters_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("filters")


@pytest.fixture(scope="session")
def filter_sets(filters_folder: Path) -> list[FilterSet]:
    return sets.build(SPEC, Renders(filters_folder))
