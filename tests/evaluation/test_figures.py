"""The model card's figures come out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.evaluation import card, cases, measures, readouts
from models.evaluation.painting import Painter
from models.image.controlnet import ControlNetSpec

WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "weights"


@pytest.fixture(scope="module")
def landed() -> dict[str, object]:
    return dict(json.loads((WEIGHTS / "figures.json").read_text()))


def test_the_card_beside_the_weights_shows_the_figures_beside_it(landed: dict[str, object]) -> None:
    written = (WEIGHTS / "embedded" / "README.md").read_text()
    assert card.tables(landed) in written
    for name in (card.PLOT, card.SHEET):
        assert (name in written) == (WEIGHTS / "embedded" / name).is_file()


def test_the_card_was_measured_at_the_recipes_own_setting_on_the_weights_that_are_there(landed: dict[str, object]) -> None:
    assert ControlNetSpec(**landed["settings"]) == ControlNetSpec()  # type: ignore[arg-type]
    assert landed["model"]["revision"] == ControlNetSpec().pinned().revision, "measure them again: dst evaluate generator"  # type: ignore[index]


@pytest.mark.slow
def test_the_model_cards_figures_come_out_again(landed: dict[str, object], tmp_path: Path) -> None:
    written = dict(landed["check"])  # type: ignore[call-overload]
    read = readouts.load()
    chosen = cases.held_out(int(written.pop("samples")), read.classes)
    again = measures.figures(Painter(tmp_path).paint(ControlNetSpec(), chosen).pictures, chosen, read)
    edges = {name for name in written if name.startswith("edge")}
    assert {name: again[name] for name in edges} == pytest.approx({name: written[name] for name in edges}, abs=card.TOLERANCE)
    # One picture of so few that another machine's rounding tips over is worth as much as the tolerance.
    shares = {name for name in written if name not in edges and not name.endswith("_deg")}
    one = 1.5 / len(chosen)
    assert {name: again[name] for name in shares} == pytest.approx(
        {name: written[name] for name in shares}, abs=card.TOLERANCE + one
    )


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    import subprocess
    import sys

    missing = tmp_path / "nowhere"
    asked = [sys.executable, "-m", "flows.cli", "evaluate", "generator", "--cad", str(missing)]
    found = subprocess.run(asked, capture_output=True, text=True, cwd=WEIGHTS.parents[1], timeout=120)
    assert found.returncode == 2
    assert found.stderr.strip() == f"dst: no such file or folder: {missing}"
