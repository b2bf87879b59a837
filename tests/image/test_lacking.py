"""What a hub's model lacks on this machine is said before any work, and a model that was loaded before needs no hub."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from models.image import weights
from models.image.controlnet import ControlNetSpec, paper_sd15

PIPELINE = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "safety_checker": [None, None],
            "feature_extractor": ["transformers", "CLIPImageProcessor"]}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    weights._hub_says.cache_clear()
    return tmp_path


def loaded(hub: Path, model: str, commit: str, files: dict[str, Any]) -> Path:
    """Put files where the hub's client keeps what it has loaded."""
    folder = hub / f"models--{model.replace('/', '--')}" / "snapshots" / commit
    for name, said in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said))
    return folder


def test_the_papers_weights_are_missed_in_one_line_that_says_what_to_do(hub: Path) -> None:
    spec = paper_sd15()
    said = spec.lacking()
    assert said is not None
    assert "\n" not in said
    assert f"are not in {hub}, and HF_HUB_OFFLINE is set" in said
    for model, commit in ((spec.model, spec.revision), (spec.control_model, spec.control_revision)):
        assert f"{model}@{commit}" in said.split("dst models fetch ")[1]
    assert ControlNetSpec().lacking() is None, "the embedded generator comes with the project"


def test_what_was_loaded_before_needs_no_hub_and_half_of_it_does(hub: Path) -> None:
    spec = paper_sd15()
    network: dict[str, Any] = {"config.json": {}, "diffusion_pytorch_model.safetensors": {}}
    loaded(hub, spec.control_model, spec.control_revision, network)
    folder = loaded(
        hub,
        spec.model,
        spec.revision,
        {
            "model_index.json": PIPELINE,
            "tokenizer/vocab.json": {},
            **{f"unet/{name}": said for name, said in network.items()},
        },
    )
    assert spec.lacking() is None
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    said = spec.lacking()
    assert said is not None
    assert spec.control_model not in said, "what is there is not asked for"


def test_a_hub_that_is_not_reached_is_asked_once_a_minute(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    from huggingface_hub import HfApi

    asked = []

    def away(self: HfApi, model: str, **said: Any) -> None:
        asked.append(model)
        raise httpx2.ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", away)
    monkeypatch.setattr(weights.time, "monotonic", lambda: 120.0)
    spec = paper_sd15()
    for _ in range(3):
        assert "https://huggingface.co cannot be reached ([Errno -2] Name or service not known)" in str(spec.lacking())
    assert asked == [spec.model], "of other models of a hub that is away nothing is asked either"
    monkeypatch.setattr(weights.time, "monotonic", lambda: 181.0)
    monkeypatch.setattr(HfApi, "model_info", lambda self, model, **said: SimpleNamespace(gated=False))
    assert spec.lacking() is None, "a hub that gives them is as good as weights"
