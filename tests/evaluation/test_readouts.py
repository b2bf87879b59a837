"""The readouts read what renders show, and go on where their training was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.evaluation import cases, readouts, sight
from models.evaluation.spec import ReadoutSpec
from models.symmetry import azimuth_error

SPEC = ReadoutSpec(classes=("car", "cup"), side=32, epochs=3, batch=8)


@pytest.fixture(scope="module")
def taught() -> readouts.Lesson:
    chosen = cases.held_out(24, SPEC.classes)
    return readouts.Lesson(
        seen=sight.see([case.rgb for case in chosen], [case.mask for case in chosen], SPEC.side),
        classes=np.array([SPEC.classes.index(case.class_name) for case in chosen]),
        poses=np.array([case.pose[:2] for case in chosen]),
        symmetry=np.array([case.symmetry for case in chosen]),
        words={name: np.array([words.index(c.words[name]) for c in chosen]) for name, words in readouts.APPEARANCE.items()},
        cad_models=len(chosen),
    )


def test_a_training_that_is_stopped_goes_on_to_the_same_weights(taught: readouts.Lesson, tmp_path: Path) -> None:
    said: list[str] = []
    whole = readouts.train(SPEC, taught, tmp_path / "whole.ckpt", said.append)
    assert readouts.train(SPEC, taught, tmp_path / "parts.ckpt", said.append, stop_after=1) is None
    parts = readouts.train(SPEC, taught, tmp_path / "parts.ckpt", said.append)
    assert [line.split("  ")[0] for line in said[-2:]] == ["readouts epoch 2 of 3", "readouts epoch 3 of 3"]
    assert whole is not None
    assert parts is not None
    for name in ("shape", "appearance"):
        one, other = getattr(whole, name).state_dict(), getattr(parts, name).state_dict()
        assert all(one[key].equal(other[key]) for key in one)
    readouts.save(whole, tmp_path / "readouts.safetensors", {"pictures": 24})
    again = readouts.load(tmp_path / "readouts.safetensors")
    assert readouts.about(tmp_path / "readouts.safetensors") == {"pictures": 24}
    some = cases.held_out(4, SPEC.classes)
    asked = [case.rgb for case in some], [case.mask for case in some], ["car", "cup", "car", "lamp"]
    one_read, other_read = whole.read(*asked), again.read(*asked)
    assert one_read.classes.tolist() == other_read.classes.tolist()
    assert np.allclose(one_read.poses, other_read.poses, atol=3.0, equal_nan=True)
    assert np.isnan(other_read.poses[3]).all(), "of a class that it does not know it reads no pose"


def test_targets_have_a_peak_at_every_azimuth_that_shows_the_same_picture() -> None:
    made = readouts.azimuth_targets(np.array([30.0, 30.0, 30.0]), np.array([1, 2, 0]), 36, 12.0)
    assert made.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert made[0].argmax() == 3
    assert sorted(np.argsort(made[1])[-2:].tolist()) == [3, 21]
    assert np.ptp(made[2]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("class_name", "seed"), [("car", 10_003), ("cup", 10_001), ("teapot", 10_000)])
def test_a_mirrored_picture_shows_the_azimuth_that_it_is_taught_as(class_name: str, seed: int) -> None:
    from models.cad import parametric
    from models.world import geometry

    model = geometry.ray_model(parametric.build(class_name, seed))
    about = readouts.MIRROR_DEG.get(class_name, 0.0)

    def outline(azimuth: float) -> np.ndarray:
        view = geometry.camera(azimuth, 20.0, 0.0, 1.8, 1.0)
        return geometry.cast(model, view.centre, geometry.rays(view, 64)).hit.reshape(64, 64)

    for azimuth in (20.0, 75.0, 200.0):
        mirrored, taught_as = outline(azimuth)[:, ::-1], outline(about - azimuth)
        assert (mirrored & taught_as).sum() / (mirrored | taught_as).sum() > 0.95
    values = np.eye(36)[[7]]
    assert readouts._mirrored(values, np.array([about])).argmax() == (about / 10 - 7) % 36


def test_the_peak_of_a_distribution_is_read_between_its_bins() -> None:
    made = readouts.azimuth_targets(np.array([3.0, 357.0, 184.0]), np.ones(3, int), 36, 12.0).astype(float)
    assert azimuth_error(readouts.peak(made), [3.0, 357.0, 184.0]) == pytest.approx([0, 0, 0], abs=0.5)


def test_the_square_around_an_object_at_the_border_holds_the_object_in_its_middle() -> None:
    picture, mask = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), np.uint8)
    picture[0:40, 0:30], mask[0:40, 0:30] = 255, 255
    seen = sight.see([picture], [mask], 64)
    cut = seen.near[0, ..., 3] > 127
    rows, columns = np.nonzero(cut)
    assert abs(rows.mean() - cut.shape[0] / 2) < 1.5
    assert abs(columns.mean() - cut.shape[1] / 2) < 1.5
    assert cut.mean() == pytest.approx(1200 / (1.5 * 40) ** 2, abs=0.02)


@pytest.mark.slow
def test_the_projects_readouts_read_held_out_renders() -> None:
    chosen = cases.held_out(96, readouts.classes_of(ReadoutSpec()))
    from models.evaluation import measures

    found = measures.figures([case.rgb for case in chosen], chosen, readouts.load())
    assert found["pose"] > 0.8
    assert found["class"] > 0.8
    assert found["scene"] > 0.85
    assert found["colour"] > 0.8
