"""The page of a training: self-contained, with a curve and the latest sheets of each stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.images import png_text
from storage.report import training


def test_the_page_shows_each_stages_curve_and_its_latest_sheets_with_their_prompts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for step in range(0, 1400, 100):
        picture = rng.integers(0, 255, (48, 96, 3), np.uint8)
        path = training.write_sheet(picture, ["a <red> car", "a bus"], training.sheet_path(tmp_path / "sheets", "base", step))
        assert "a <red> car" in png_text(path.read_bytes())[training.PROMPTS]
    history = [{"stage": "autoencoder", "step": 7, "seconds": 60.0, "loss": 0.2}]
    history += [{"stage": "base", "step": i, "seconds": 6.0 * i, "loss": 1.0 / (i + 1)} for i in range(200)]
    html = training.write(history, tmp_path / "sheets", tmp_path / "report" / "index.html", "A & B").read_text()
    assert "A &amp; B" in html
    assert html.count('class="curve"') == 1, "one point makes no curve"
    assert html.count("<figure") == training.SHEETS
    assert html.index("step 1300") < html.index("step 0<")
    assert "a &lt;red&gt; car" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_training_that_has_not_begun_has_a_page_that_says_so(tmp_path: Path) -> None:
    assert "Nothing trained yet" in training.write([], tmp_path, tmp_path / "index.html", "x").read_text()
