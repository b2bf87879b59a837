"""A working folder with code of its own, under the names of this project's packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from models.cad import parametric
from tests.flows.conftest import DST, Home, folder_with_code, loaded


@pytest.mark.slow
def test_a_users_own_tasks_models_storage_and_flows_are_left_alone(tmp_path: Path) -> None:
    """From the CAD reader over a server of the command's own to the renderer and the judges."""
    folder, home = folder_with_code(tmp_path / "work"), Home(tmp_path / "home", api="")
    cars = folder / "cars"
    cars.mkdir()
    (cars / "car.glb").write_bytes(parametric.glb("car", 30_000))

    def dst(*command: str) -> str:
        done = subprocess.run([DST, *command], cwd=folder, env=home.settings, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = dst("cad", "add", "cars", "--class", "car")
    said += dst("run", "car", "--samples", "2", "--overrides", home.overrides())
    said += dst("doctor")
    assert "Failed to load collection" not in said
    assert loaded(folder) == []
    assert home.rows("select count(*) as made from samples where image_key is not null") == [{"made": 2}]
