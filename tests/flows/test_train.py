"""`dst train` as a person types it: progress on the terminal and in Prefect, weights, a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models.image.weights import EMBEDDED, folder_of
from models.world.spec import WorldSpec
from storage.catalog.catalog import Catalog
from tests.flows.conftest import Home, Server
from tests.training.worlds import write_shards

STAGES = ("autoencoder", "base", "control", "together", "decoder")
MINUTES = tuple(part for stage in STAGES for part in (f"--{stage}-minutes", "0.01"))


@pytest.mark.slow
def test_a_training_says_how_far_it_is_and_leaves_weights_and_a_page_with_sheets(home: Home, server: Server) -> None:
    from diffusers import StableDiffusionControlNetPipeline

    world = write_shards(home.path / "training" / "world", shards=1)
    # A shard that says it is of this world is not made again: the pictures of the tests are small ones.
    (world / "shard-00000" / "world.json").write_text(json.dumps(WorldSpec().identity(0)))
    said = " ".join(home.dst("train", "--shards", "1", "--full-share", "0", *MINUTES).split())
    for stage in STAGES:
        assert re.search(rf"{stage} step 1 loss [\d.]+ .* min to go", said), said
        assert list((home.path / "reports" / "training" / "sheets").glob(f"{stage}-*.png"))
    page = home.path / "reports" / "training" / "index.html"
    assert f"report: {page}" in said
    assert page.read_text().count("<figure") == len(STAGES)
    StableDiffusionControlNetPipeline.from_pretrained(home.path / "training" / "weights", local_files_only=True)
    links = server.post("/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["train-report"]}}})
    assert any(str(page) in str(link["data"]) for link in links)
    logged = server.post("/logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"})
    assert any(re.match(r"control step 1  loss", line["message"]) for line in logged)


@pytest.mark.slow
def test_a_training_begins_with_the_shipped_weights_and_goes_on_from_its_own(home: Home) -> None:
    world = write_shards(home.path / "training" / "world", shards=1)
    (world / "shard-00000" / "world.json").write_text(json.dumps(WorldSpec().identity(0)))
    asked = ("train", "--shards", "1", "--full-share", "0", "--begin-from", "embedded")
    none = ("--autoencoder-minutes", "0", "--base-minutes", "0", "--together-minutes", "0")
    home.dst(*asked, *none, "--control-minutes", "0", "--decoder-minutes", "0")
    weights = home.path / "training" / "weights-from-embedded"
    shipped = folder_of(EMBEDDED)
    assert shipped
    files = sorted(path.relative_to(weights) for path in weights.rglob("*.safetensors"))
    assert len(files) == 4
    assert [name for name in files if (weights / name).read_bytes() != (shipped / name).read_bytes()] == []
    said = " ".join(home.dst(*asked, *none, "--control-minutes", "0.01", "--decoder-minutes", "0.01").split())
    assert re.search(r"control step 1 loss [\d.]+ ", said), said
    assert (home.path / "training" / "run-from-embedded" / "control.safetensors").exists()
    assert not (home.path / "training" / "run").exists()


def test_weights_to_begin_from_are_looked_at_before_anything_is_rendered(tmp_path: Path) -> None:
    here = Home(tmp_path, "http://127.0.0.1:1/api")
    (tmp_path / "empty").mkdir()
    assert "no model 'nowhere'" in here.dst("train", "--begin-from", "nowhere", code=2)
    said = here.dst("train", "--begin-from", str(tmp_path / "empty"), code=2).strip().splitlines()
    assert said == [f"dst: {tmp_path / 'empty'} is no folder of a trained generator: it has no unet/config.json that can be read"]
    assert "not both" in here.dst("train", "--begin-from", "embedded", "--base", "somewhere", code=2)


def test_a_class_without_cad_models_is_named_before_anything_starts(tmp_path: Path) -> None:
    home = Home(tmp_path, "http://127.0.0.1:1/api")
    said = home.dst("train", "--class", "zorglub", code=2)
    assert said.startswith(f"dst: there is no catalog at sqlite:///{tmp_path}/catalog.sqlite yet")
    Catalog(f"sqlite:///{tmp_path}/catalog.sqlite").migrate()
    said = home.dst("train", "--class", "zorglub", code=2)
    where = f'no usable CAD model of class "zorglub" in {tmp_path}; '
    assert said.strip().endswith(f'{where}add some: dst cad add PATH --class "zorglub"')
