"""The training in minutes, whole: pictures, five stages, a folder that paints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_one_command_makes_pictures_trains_all_stages_and_leaves_a_pipeline(tmp_path: Path) -> None:
    from diffusers import StableDiffusionControlNetPipeline

    command = [sys.executable, "-m", "models.training.fast", "--home", str(tmp_path), "--out", str(tmp_path / "weights")]
    command += ["--minutes", "0", "--shards", "1", "--batch", "2", "--device", "cpu", "--processes", "1"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True).stdout
    for stage in ("autoencoder", "base", "control", "together", "decoder"):
        assert re.search(rf"{stage} done: [1-9]", said), said
    StableDiffusionControlNetPipeline.from_pretrained(tmp_path / "weights", local_files_only=True, use_safetensors=True)
    assert sum(path.stat().st_size for path in (tmp_path / "weights").rglob("*.safetensors")) <= 120_000_000
