"""`dst evaluate generator`, from the command line to the model card."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from models.evaluation import card, figures
from tests.flows.conftest import Home, kill


@pytest.mark.slow
def test_an_evaluation_that_is_killed_paints_nothing_twice(home: Home, tmp_path: Path) -> None:
    from models.cad import parametric
    from tests.pipelines import random_pipeline

    cad = tmp_path / "cad" / "cup"
    cad.mkdir(parents=True)
    (cad / "mug.glb").write_bytes(parametric.glb("cup", 30_000))
    (cad / "broken.obj").write_text("v 0 0 0\n")
    generator = random_pipeline(tmp_path / "generator")
    command = ["evaluate", "generator", "--model", str(generator), "--samples", "8", "--sweep", "2", "--steps", "2"]
    command += ["--cad", str(cad.parent), "--out", str(tmp_path / "out")]
    process = home.start(*command)
    kept = home.path / "evaluation" / "pictures"
    deadline = time.monotonic() + 500
    while len(list(kept.glob("*.npz"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kill(process.pid)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    said = home.dst(*command)
    assert "kept from before" in said
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before
    made = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert set(made["files"]) == {"all of trained classes", "cup: mug"}
    assert made["files"]["cup: mug"]["views"] == 6
    assert set(made["untrained"]) == {"lamp", "boat"}
    assert len(made["samplers"]) == 9
    assert made["realism"]["views"] == 64
    assert set(made["realism"]) == {"views", "world", "autoencoder", "on"}
    assert all(0.0 <= row["real"] <= 1.0 for row in made["sweep"])
    assert len(made["look"]) == 8
    assert card.tables(made) in (tmp_path / "out" / "README.md").read_text()
    assert all((tmp_path / "out" / name).stat().st_size > 5000 for name in (card.PLOT, card.SHEET, card.LOOK))
    assert figures.HELD_OUT in made["views"]
