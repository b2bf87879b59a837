"""Views of the training world that several tests look at; traced once."""

from __future__ import annotations

import pytest

from models.world.picture import Placed, Traced, trace
from models.world.spec import WorldSpec


@pytest.fixture(scope="session")
def views() -> list[Traced]:
    """Twelve views of six classes, held-out seeds."""
    classes = ("car", "bus", "chair", "table", "cup", "teapot")
    traced = [trace(WorldSpec(), Placed(class_name=classes[i % 6], cad_seed=10_500 + i, view_index=i // 6)) for i in range(12)]
    return [view for view in traced if view is not None]
