"""Every family of diffusion models through the whole flow to catalog, report and release, on small stand-ins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.families import random_family
from tests.flows.conftest import Home, add_cars

pytestmark = pytest.mark.slow


def test_every_family_runs_the_whole_flow(home: Home, tmp_path: Path) -> None:
    add_cars(home, tmp_path / "cars", 2)
    rendered: dict[str, str] = {}
    for name in ("sdxl", "sd3", "flux", "flux-control"):
        folder = random_family(tmp_path / name, name)
        image: dict[str, Any] = {
            "kind": name.split("-")[0],
            "model": str(folder),
            "resolution": 64,
            "steps": 2,
            "dtype": "float32",
        }
        changes: dict[str, Any] = {"name": name, "image": image}
        if name == "sd3":
            nets = [{"control": kind, "model": str(folder / "controlnet"), "end": 0.5} for kind in ("canny", "depth")]
            changes |= {"controls": {"depth": {"kind": "depth"}}, "image": image | {"control_models": nets}}
        elif name != "flux-control":
            image["control_model"] = str(folder / "controlnet")
        home.dst("run", "car", "--samples", "4", "--overrides", written(home, changes))
        rows = home.rows(f"select status, model_id, file from samples where recipe = '{name}' and in_cohort = 1")
        assert [(row["status"], row["model_id"]) for row in rows] == [("made", str(folder))] * 4
        rendered = rendered or home.digests("render")
        assert home.digests("render") == rendered, "no family needs renders of its own"
        pages = [path.read_text() for path in (home.path / "reports").rglob("*.html")]
        assert any(f"car {name}" in page or f"car, {name}" in page or f">{name}<" in page for page in pages)
    out = tmp_path / "release"
    home.dst("export", "coco", str(out), "--name", "flux-1", "--where", "recipe = 'flux'")
    told = json.loads((out / "annotations" / "instances_default.json").read_text())
    assert len(told["images"]) == 4


def written(home: Home, changes: dict[str, Any]) -> str:
    """Write a recipe with a generator of another kind: of the embedded one's settings only the small renders stay."""
    from tests.flows.conftest import _toml

    path = home.path / "recipe.toml"
    path.write_text("\n".join(_toml({**changes, "render": {"resolution": 64, "samples": 1}})))
    return str(path)
