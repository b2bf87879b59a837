"""The published filter as a yardstick: it finds exchanged views, and has the faults that it was published with."""

from __future__ import annotations

import numpy as np
import pytest

from models.verdict.kcf_official import KcfOfficial, KcfOfficialSpec, binned
from tests.verdict.seen import Seen

SPEC = KcfOfficialSpec(backbone="resnet-small", side=32, epochs=12, batch=8, folds=3, bins=8)


def _arrow(azimuth: float) -> np.ndarray:
    """A picture from which an azimuth can be read: a bright spot on a circle."""
    rows, columns = np.mgrid[:32, :32]
    angle = np.deg2rad(azimuth)
    away = (rows - 16 - 9 * np.sin(angle)) ** 2 + (columns - 16 - 9 * np.cos(angle)) ** 2
    return np.repeat((255 * np.exp(-away / 18)).astype(np.uint8)[..., None], 3, axis=2)


def _class_of_spots(count: int, wrong: int) -> list[Seen]:
    """Spots at their azimuths; the first `wrong` ones are annotated as seen from the other side."""
    azimuths = np.random.default_rng(0).permutation(count) * 360.0 / count
    return [Seen.of(_arrow(a), ((a + 180 * (i < wrong)) % 360, 10, 0), index=i) for i, a in enumerate(azimuths.tolist())]


def test_views_that_contradict_their_annotation_stand_out() -> None:
    evidence = _class_of_spots(96, wrong=8)
    done: list[tuple[int, int]] = []
    found = KcfOfficial(SPEC, threads=1).judge(evidence, lambda *step: done.append(step))
    scores = found.scores["kcf_official"]
    assert found.not_judged is None
    # Between the steps of a fold too, so that a run that is told to stop does.
    assert sorted(set(done)) == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert done.count((0, 3)) == SPEC.epochs * (64 // SPEC.batch)
    above = (scores[:8, None] > scores[None, 8:]).mean()
    assert above > 0.8


def test_bins_are_hard_and_a_turn_comes_round() -> None:
    poses = np.array([[0.0, -90.0, -180.0], [359.9, 90.0, 179.9], [360.0, 0.0, 180.0], [-1.0, 0.1, 0.0]])
    assert binned(poses, 41).tolist() == [[0, 0, 0], [40, 40, 40], [0, 20, 0], [40, 20, 20]]


def test_too_few_images_are_not_judged() -> None:
    found = KcfOfficial(SPEC).judge(_class_of_spots(5, wrong=0))
    assert np.isnan(found.scores["kcf_official"]).all()
    assert found.not_judged == "5 images are too few for 3 folds of two"


@pytest.mark.parametrize(("name", "value"), [("side", 8), ("folds", 1), ("epochs", 0), ("learning_rate", 0)])
def test_settings_that_make_no_sense_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        KcfOfficialSpec(**{name: value})
