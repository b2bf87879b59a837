"""The measures say what they claim, and the model card's figures come out again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.training import evaluate

WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "weights"


def _drawn(colour: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picture = np.full((128, 128, 3), 128, np.uint8)
    picture[40:90, 30 + shift : 80 + shift] = colour
    mask = np.zeros((128, 128), np.uint8)
    mask[40:90, 30:80] = 255
    edges = np.zeros((128, 128), np.uint8)
    edges[40:90, [30, 79]] = 255
    edges[[40, 89], 30:80] = 255
    return picture, edges, mask


def test_a_picture_that_obeys_its_edges_scores_one_and_an_empty_one_nothing() -> None:
    picture, edges, mask = _drawn(250)
    assert evaluate.edge_agreement(picture, edges, mask) == (1.0, 1.0, 1.0)
    assert evaluate.edge_agreement(np.full_like(picture, 128), edges, mask) == (0.0, 0.0, 0.0)


def test_edges_a_few_pixels_off_are_not_found() -> None:
    picture, edges, mask = _drawn(250, shift=8)
    recall, _, f1 = evaluate.edge_agreement(picture, edges, mask)
    assert recall < 0.7
    assert f1 < 0.8


def test_the_sides_are_as_the_captions_name_them() -> None:
    assert [evaluate.sector(angle) for angle in (0.0, 350.0, 44.0, 90.0, 180.0, 270.0)] == [0, 0, 1, 2, 4, 6]


def test_held_out_views_are_of_cad_models_that_no_training_saw() -> None:
    chosen = evaluate.cases(4, ("car", "cup"))
    assert [case.sample.class_name for case in chosen] == ["car", "cup", "car", "cup"]
    assert all(int(case.sample.cad_id.split("-")[1]) >= 10_000 for case in chosen)
    assert all(case.edges.any() and case.mask.any() and case.prompt for case in chosen)


@pytest.mark.slow
def test_the_model_cards_edge_figures_come_out_again() -> None:
    from models.image.spec import ImageSpec
    from models.world.shard import classes_of
    from models.world.spec import WorldSpec

    figures = json.loads((WEIGHTS / "figures.json").read_text())
    settings = figures["settings"]
    spec = ImageSpec(**settings)
    assert spec == ImageSpec(), "the card was measured at other settings than the recipe's"
    chosen = evaluate.cases(figures["samples"], classes_of(WorldSpec()))
    again = evaluate.edge_figures(evaluate.painted(spec, chosen, 0, 16, 0), chosen)
    assert again == pytest.approx({name: figures["control_on"][name] for name in again}, abs=0.03)
