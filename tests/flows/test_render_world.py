"""The recipe `render-world`: finished renders with the embedded recipe's annotations, rows and report, and no generator."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows import recipes
from models.image.controlnet import ControlNetSpec
from models.image.finished import FinishedRenderSpec
from models.kinds import BadSpec
from models.render.spec import RenderSpec
from storage.images import png_text
from storage.keys import artifact_key, plain
from tests.flows.conftest import Home, Server, add_cars

RUN = ("run", "car", "--samples", "6", "--recipe", "render-world")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Home:
    """A run of six finished renders."""
    home = Home(tmp_path_factory.mktemp("render-world"), server.api)
    add_cars(home, home.path / "cars")
    home.dst(*RUN)
    return home


@pytest.mark.slow
def test_a_run_makes_finished_renders_with_verdicts_rows_and_a_report(finished: Home) -> None:
    rows = finished.rows("select * from samples where in_cohort = 1")
    assert len(rows) == 6
    for row in rows:
        assert (row["status"], row["model_id"], row["model_revision"]) == ("made", "render-world", "2")
        assert all(
            row[name] is not None for name in ("prompt", "seed", "azimuth_deg", "box_x0", "fidelity", "kept", "control_key")
        )
        said = json.loads(png_text((finished.path / "artifacts" / row["file"]).read_bytes())["dst"])
        assert said["specs"]["image"] == plain(FinishedRenderSpec(resolution=128, supersampling=3))
        assert (said["sample"], said["seed"], said["keys"]["image"]) == (row["sample_id"], row["seed"], row["image_key"])
    assert [run["status"] for run in finished.rows("select status from runs")] == ["complete"]
    assert list(finished.path.glob("reports/*.html"))


@pytest.mark.slow
def test_the_annotation_is_exact_on_the_pictures(finished: Home) -> None:
    """Where the render's mask has its outline, the picture changes: more than beside it."""
    agreeing = []
    for row in finished.rows("select file, render_key from samples where in_cohort = 1"):
        picture = cv2.imread(str(finished.path / "artifacts" / row["file"]))
        (mask_file,) = finished.path.glob(f"artifacts/render/*/{row['render_key']}/mask.png")
        mask = cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE)
        lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB).astype(np.float32)
        change = np.linalg.norm(np.stack([cv2.Sobel(lab, cv2.CV_32F, 1, 0), cv2.Sobel(lab, cv2.CV_32F, 0, 1)]), axis=(0, 3))

        def along(moved: int, change: np.ndarray = change, mask: np.ndarray = mask) -> float:
            shifted = np.roll(mask, (moved, moved), axis=(0, 1))
            outline = cv2.morphologyEx(shifted, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
            return float(change[outline].mean())

        agreeing.append(along(0) > 1.2 * max(along(-4), along(4)))
    assert np.mean(agreeing) >= 0.8, agreeing


@pytest.mark.slow
def test_the_same_command_again_makes_nothing_and_the_generator_recipe_keeps_the_renders(finished: Home) -> None:
    assert "nothing to make" in finished.dst(*RUN)
    before = finished.digests("render", "control", "caption")
    recipe = recipes.resolve("render-world")
    embedded = recipes.resolve("embedded")
    assert (recipe.render, recipe.controls, recipe.caption) == (embedded.render, embedded.controls, embedded.caption)
    shown = finished.dst("run", "car", "--samples", "6", "--dry-run")
    assert "6 cached, 0 missing" in " ".join(shown.split()) or "6 cached" in shown
    assert finished.digests("render", "control", "caption") == before


def test_an_image_specs_kind_is_part_of_the_key() -> None:
    inputs = {"sample": "x"}
    specs = {spec.kind: plain(spec) for spec in (FinishedRenderSpec(), ControlNetSpec())}
    assert set(specs) == {"finished-render", "controlnet"}
    assert {spec["kind"] for spec in specs.values()} == set(specs)
    assert len({artifact_key("image", 1, spec, inputs) for spec in specs.values()}) == 2


def test_overrides_reach_a_finished_recipe_and_a_recorded_one_comes_back_as_it_was(tmp_path: Path) -> None:
    changed = recipes.resolve("render-world", {"image": {"supersampling": 2}, "render": {"resolution": 128}})
    assert changed.name == "render-world+"
    assert changed.image == FinishedRenderSpec(resolution=128, supersampling=2)
    assert isinstance(changed.render, RenderSpec)
    assert recipes.recorded(plain(changed)) == changed
    with pytest.raises(BadSpec, match='no field "steps"'):
        recipes.resolve("render-world", {"image": {"steps": 3}})
    # They are what this code makes of them: no revision can be asked for, and the record says which it was.
    with pytest.raises(BadSpec, match='no field "revision"'):
        recipes.resolve("render-world", {"image": {"revision": "2"}})
    assert (changed.image.model_id, changed.image.model_revision) == ("render-world", "2")
