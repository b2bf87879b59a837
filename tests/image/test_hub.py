"""Weights come from a hub into the cache of its client: resumed, checked, refused in one line, and found there offline."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from models.image import hub as hubs
from models.image import weights
from models.image.controlnet import ControlNetGenerator, ControlNetSpec
from models.image.hub import NotGiven
from models.image.protocol import ImageRequest
from models.image.weights import MAIN
from models.sample import SampleId
from tests.flows.conftest import DST
from tests.hub import COMMIT, Hub, serving
from tests.pipelines import random_pipeline

BASE, NET = "tests/tiny", "tests/tiny-net"
HEAVY = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pipeline as hubs have it, with what is not loaded beside it, and its ControlNet alone."""
    folder = random_pipeline(tmp_path_factory.mktemp("hub") / "base")
    net = Path(shutil.move(folder / "controlnet", folder.parent / "net"))
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"controlnet": [\n    "diffusers",\n    "ControlNetModel"\n  ],', ""))
    for extra in ("unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin", "all-in-one.safetensors"):
        (folder / extra).write_bytes(b"not loaded")
    return {BASE: folder, NET: net}


@pytest.fixture
def hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(folders) as there:
        monkeypatch.setattr(constants, "ENDPOINT", there.address)
        template = there.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hubs, "_LARGE", 1000)
        # What came of a chunk that is not whole is lost.
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4000)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        weights._hub_says.cache_clear()
        yield there


def fetched(model: str) -> list[int]:
    """Fetch a model; return the bytes that were told of."""
    told: list[int] = []
    hubs.fetch(hubs.published(model, MAIN), told.append)
    return told


def spec() -> ControlNetSpec:
    return ControlNetSpec(
        model=BASE, revision=MAIN, control_model=NET, control_revision=MAIN, resolution=64, steps=2, guidance=3.0
    )


def test_what_was_fetched_is_pinned_whole_and_painted_with_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "they were not fetched yet" in str(spec().lacking()), "a hub that gives them is not enough: main is no revision"
    assert f"dst models fetch {BASE} {NET}, and copy" in str(spec().lacking())
    found = hubs.published(BASE, MAIN)
    names = {file.name for file in found.files}
    assert HEAVY in names
    assert {"model_index.json", "tokenizer/vocab.json", "scheduler/scheduler_config.json"} <= names
    assert not [name for name in names if "fp16" in name or name.endswith(".bin") or name.startswith("all-in-one")]
    told = [fetched(BASE), fetched(NET)]
    assert told[0] == sorted(told[0])
    assert told[0][-1] == found.size
    assert spec().pinned().revision == COMMIT
    assert not hubs.published(BASE, MAIN).missing
    count = len(hub.asked)
    assert fetched(BASE)[-1] == found.size
    assert len(hub.asked) == count, "what is here is not loaded again"
    hub.down = True
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert spec().lacking() is None
    generator = ControlNetGenerator(spec(), device="cpu", batch=1)
    sample = SampleId(class_name="car", cad_id="a" * 64, view_index=0)
    lines = np.zeros((64, 64), np.uint8)
    (painted,) = generator.generate([ImageRequest(sample=sample, prompt="a red car", controls={"canny": lines})])
    assert painted.rgb is not None
    assert all(hubs.sound(path) for path in hubs.here(BASE, COMMIT))


def test_a_download_that_breaks_off_goes_on_where_it_was(hub: Hub, folders: dict[str, Path]) -> None:
    size = (folders[BASE] / HEAVY).stat().st_size
    hub.cut[HEAVY] = 20_000
    told = fetched(BASE)
    ranges = [asked for name, asked in hub.asked if name == HEAVY]
    assert ranges == ["", "bytes=20000-"], "the same command goes on by itself when the line is cut"
    assert told[-1] == hubs.published(BASE, MAIN).size
    shutil.rmtree(constants.HF_HUB_CACHE)
    hub.asked.clear()
    # Now the hub goes away behind the cut, and the command ends.
    hub.cut[HEAVY], hub.down = 20_000, False
    what = hubs.published(BASE, MAIN)

    def leave(done: int) -> None:
        hub.down = hub.down or HEAVY not in hub.cut

    with pytest.raises(NotGiven, match="answers HTTP 503 for tests/tiny; try again later; what was loaded stays"):
        hubs.fetch(what, leave)
    assert weights.fetched(BASE) is None, "half of a model pins nothing"
    hub.down = False
    fetched(BASE)
    last = [asked for name, asked in hub.asked if name == HEAVY][-1]
    assert last == "bytes=20000-", "another process goes on where the first one ended"
    there = Path(constants.HF_HUB_CACHE, "models--tests--tiny", "snapshots", COMMIT, HEAVY)
    assert there.stat().st_size == size
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*part"))


def test_a_damaged_file_is_not_taken_and_one_that_was_damaged_later_is_loaded_again(hub: Hub, folders: dict[str, Path]) -> None:
    hub.damaged.add(HEAVY)
    with pytest.raises(NotGiven, match=f"{HEAVY} of tests/tiny came damaged from http"):
        fetched(BASE)
    assert spec().lacking() is not None
    hub.damaged.clear()
    fetched(BASE)
    file = Path(constants.HF_HUB_CACHE, "models--tests--tiny", "snapshots", COMMIT, HEAVY)
    with file.resolve().open("r+b") as blob:
        blob.write(b"zzz")
    assert [path.name for path in hubs.here(BASE, COMMIT) if not hubs.sound(path)] == [Path(HEAVY).name]
    fetched(BASE)
    assert file.read_bytes() == (folders[BASE] / HEAVY).read_bytes()


def test_a_gated_model_says_where_to_accept_and_how_to_log_in(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(NET)
    line = f"tests/tiny-net is gated: accept its terms at {hub.address}/tests/tiny-net, then log in with: hf auth login"
    for token in ("", "not-accepted"):
        monkeypatch.setenv("HF_TOKEN", token)
        weights._hub_says.cache_clear()
        with pytest.raises(NotGiven) as refused:
            fetched(NET)
        assert line in str(refused.value)
        assert "\n" not in str(refused.value)
        assert token not in str(refused.value) or not token
        assert line in str(spec().lacking())
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    fetched(NET)
    assert "Bearer let-me-in" in hub.tokens


@pytest.mark.parametrize(
    ("model", "commit", "said"),
    [
        ("tests/tyni", MAIN, "has no model tests/tyni, or it is private: look for a slip in its name, or log in with"),
        (NET, "d" * 40, "tests/tiny-net has no such commit on http"),
    ],
)
def test_what_a_hub_does_not_have_is_one_line(hub: Hub, model: str, commit: str, said: str) -> None:
    with pytest.raises(NotGiven) as refused:
        hubs.published(model, commit)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_a_network_and_offline_it_says_so_in_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotGiven, match=r"http://127\.0\.0\.1:9 cannot be reached \(.*refused.*\)"):
        hubs.published(BASE, MAIN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NotGiven, match="HF_HUB_OFFLINE is set"):
        hubs.published(BASE, MAIN)


def test_the_commands_fetch_and_check(hub: Hub, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "DST_HOME": str(tmp_path / "home")}
    environment.pop("HF_HUB_OFFLINE", None)

    def dst(*arguments: str, code: int = 0) -> str:
        done = subprocess.run([DST, "models", *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = dst("fetch", BASE, NET)
    assert f"tests/tiny at {COMMIT[:12]}" in said
    assert "licence: mit" in said
    assert "every file checked by its digest" in said
    (blob,) = [path for path in (tmp_path / "hf").rglob("*.safetensors") if path.parent.name == "unet"]
    blob.resolve().write_bytes(b"other")
    said = dst("check", BASE, NET, code=1)
    assert f"to load it again: dst models fetch {BASE}" in said
    assert f"sound    {NET}" in said
