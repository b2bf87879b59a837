"""CAD models that nobody here wrote, from file to accepted rows: cars, a bus, a truck, cups (one of them .dae) and a duck."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, Home

pytestmark = pytest.mark.slow
ORIENTATIONS = ROOT / "tests" / "cad" / "orientations.toml"
MODELS = {"car": 2, "bus": 1, "truck": 1, "cup": 2, "duck": 1}


def test_real_cad_models_become_samples(home: Home, shared_cad_or_none: Path | None) -> None:
    if shared_cad_or_none is None:
        pytest.skip("no folder of real CAD models beside this checkout; say where one is with DST_SHARED_CAD")
    for name in MODELS:
        home.dst("cad", "add", str(shared_cad_or_none / name), "--class", name, "--orientations", str(ORIENTATIONS))
    home.dst("run", *MODELS, "--samples", "4", "--overrides", home.overrides())
    rows = home.rows(
        "select class_name, count(*) as made, count(distinct cad_id) as models from samples where status = 'made' group by 1"
    )
    assert {row["class_name"]: (row["made"], row["models"]) for row in rows} == {
        name: (4, count) for name, count in MODELS.items()
    }
    answer = home.rows("select class_name, count(*) as samples, avg(kept) as kept from samples group by 1")
    assert all(0 <= row["kept"] <= 1 for row in answer)
