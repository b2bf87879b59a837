"""Recipes whose generators come from a hub: each resolves and says what it takes; what is not here or too large is one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from flows import offers, recipes
from flows.commands import doctor
from models import device
from models.image import weights
from models.image.diffusion import DiffusionSpec
from models.image.known import KNOWN, price
from models.kinds import BadSpec
from storage.settings import Settings
from tests.test_docs import ROOT


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights here, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("DST_HOME", str(tmp_path))
    weights._hub_says.cache_clear()


@pytest.mark.parametrize("name", offers.recipes_from_hub())
@pytest.mark.usefixtures("away")
def test_every_recipe_from_a_hub_resolves_and_says_what_it_takes(name: str) -> None:
    recipe = recipes.resolve(name)
    said = "\n".join(offers.in_words(recipe, 1000))
    assert isinstance(recipe.image, DiffusionSpec)
    assert recipe.image.resolution == recipe.render.resolution
    costs = price(recipe.image)
    assert costs is not None
    assert costs.tflop > 5
    assert costs.download > 4e9
    assert f"to download: dst models fetch {name}" in said
    assert "GPU memory" in said
    assert said.startswith(f"recipe {name}: {', '.join(recipe.controls)} to {recipe.image.model}@")
    assert f"{recipe.image.resolution} px, {recipe.image.steps} steps" in said
    assert "1000 images at least " in said
    assert "(not measured)" in said
    assert all(model in said for model, _ in recipe.image.models)
    assert said.count("licence") == len({KNOWN[model].licence for model, _ in recipe.image.models})
    assert ("hf auth login" in said) == any(KNOWN[model].gated for model, _ in recipe.image.models)
    lacking = recipes.lacking(name)
    assert lacking is not None
    assert "dst models fetch" in lacking
    assert "\n" not in lacking


def test_each_family_has_a_fast_recipe_and_the_papers_is_its_letter() -> None:
    for kind in ("controlnet", "sdxl", "sd3", "flux"):
        steps = [
            recipes.resolve(name).image.steps for name in offers.recipes_from_hub() if recipes.resolve(name).image.kind == kind
        ]  # type: ignore[attr-defined]
        assert 4 <= min(steps) <= 8, kind
    paper = recipes.resolve("paper-sd15")
    image, caption = paper.image, paper.caption
    found = {name: getattr(image, name) for name in ("scheduler", "steps", "eta", "guidance", "control_scale", "resolution")}
    assert found == {"scheduler": "ddim", "steps": 20, "eta": 1.0, "guidance": 9.0, "control_scale": 1.0, "resolution": 512}
    assert "longbody" in caption.negative_prompt  # type: ignore[attr-defined]
    assert "best quality" in caption.suffix  # type: ignore[attr-defined]


def test_what_is_changed_in_a_recipe_changes_its_price_and_other_models_have_none() -> None:
    whole, half = (price(recipes.resolve("sdxl-canny", {"image": {"steps": steps}}).image) for steps in (28, 14))
    unguided = price(recipes.resolve("sdxl-canny", {"image": {"guidance": 1.0}}).image)
    assert whole is not None
    assert half is not None
    assert unguided is not None
    assert unguided.tflop == pytest.approx(half.tflop)
    assert half.tflop < 0.52 * whole.tflop
    double = price(recipes.resolve("sdxl-canny", {"image": {"dtype": "float32"}}).image)
    assert double is not None
    assert double.weights == 2 * whole.weights
    assert price(recipes.resolve("sdxl-canny", {"image": {"model": "someone/else"}}).image) is None
    assert offers.in_words(recipes.resolve("embedded")) == []


def test_the_page_says_of_each_recipe_what_is_computed() -> None:
    page = (ROOT / "docs" / "generators.md").read_text()
    for row in offers.rows():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{row['recipe']}` |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        told = [row[name] for name in ("download", "weights in GPU", "TFLOP an image", "H100 at least", "gated", "licence")]
        assert cells[3:] == told
        assert cells[2] == f"{row['pixels']}, {row['steps']}"


def test_weights_that_a_device_cannot_hold_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.resolve("flux-canny")
    monkeypatch.setattr(device, "memory", lambda name: 8e9)
    line = offers.too_large(recipe, "cpu")
    assert line is not None
    assert "its weights alone take 33.7 GB of memory, and cpu has 8 GB" in line
    monkeypatch.setattr(device, "memory", lambda name: 80e9)
    assert offers.too_large(recipe, "cpu") is None
    assert offers.too_large(recipes.resolve("embedded"), "cpu") is None
    with pytest.raises(ValueError, match="this machine has no cuda:7"):
        offers.too_large(recipe, "cuda:7")


def test_a_name_that_is_neither_recipe_nor_hub_id_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(BadSpec, match='no recipe "sdxl-cany"; did you mean "sdxl-canny"'):
        offers.models_of(["sdxl-cany"])
    assert offers.models_of(["owner/name@" + "a" * 40, "embedded"]) == [("owner/name", "a" * 40)]


@pytest.mark.usefixtures("away")
def test_the_doctor_says_of_each_recipe_whether_it_works_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "memory", lambda name: 80e9)
    said = doctor._hub(Settings())
    for name in offers.recipes_from_hub():
        assert re.search(rf"{name}: its weights \([\d.]+ GB\) are not all here: dst models fetch {name}\b", said), name
    assert "flux-canny; accept the terms at https://huggingface.co/black-forest-labs/FLUX.1-Canny-dev, then log in" in said
    monkeypatch.setattr(device, "memory", lambda name: 8e9)
    said = doctor._hub(Settings())
    assert "sdxl-canny: its weights alone take 9.44 GB of memory" in said
    monkeypatch.setattr(weights, "cached", lambda model, commit: True)
    assert "paper-sd15: works here" in doctor._hub(Settings())


def test_the_arithmetic_is_that_of_the_true_architecture() -> None:
    from tests.benchmarks import families_counted as counted

    unet, net, given = counted.unet(counted.SD15, 512)
    known = KNOWN["stable-diffusion-v1-5/stable-diffusion-v1-5"]
    assert counted.tflop(unet, **given) == pytest.approx(known.tflop[512], abs=0.01)
    assert round(counted.parameters(unet)) + 123 + 84 == known.parameters
    assert round(counted.parameters(net)) == KNOWN["lllyasviel/control_v11p_sd15_canny"].parameters
