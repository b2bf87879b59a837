"""The K-fold filter and objects that look the same from several sides."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from models.cad.parametric import model
from models.verdict.crop import crop
from models.verdict.kcf import score
from models.verdict.spec import VerdictSpec
from models.verdict.targets import alike, centres, targets, varying
from tests.control.cast import cast
from tests.verdict.cars import clutter

SPEC = VerdictSpec(min_edge_score=None)
Set = tuple[NDArray[np.uint8], NDArray[np.float64], list[str]]


def furniture(class_name: str, seeds: list[int], views: int, size: int = 64) -> Set:
    """Return pictures of parametric shapes from all around, with poses and CAD models."""
    images, poses, names = [], [], []
    for seed in seeds:
        solids = [part.solid for part in model(class_name, seed).parts]
        corners = np.concatenate([solid.vertices for solid in solids])
        low, high = corners.min(0), corners.max(0)
        mesh = trimesh.util.concatenate(
            [trimesh.Trimesh((s.vertices - (low + high) / 2) / (high - low).max(), s.faces, process=False) for s in solids]
        )
        for view in range(views):
            rng = np.random.default_rng([seed, view])
            azimuth, elevation = rng.uniform(0, 360), float(rng.uniform(10, 50))
            light = (float(rng.normal()), float(rng.normal()), 1.5)
            seen = cast(mesh, azimuth, elevation, 1.8, size, (0.7, 0.6, 0.5), light=light)
            image = np.where(seen.mask[..., None] > 0, seen.rgba[..., :3], clutter(rng, size)).astype(np.uint8)
            rows, columns = np.nonzero(seen.mask)
            images.append(crop(image, [columns.min(), rows.min(), columns.max(), rows.max()], 64))
            poses.append((azimuth, elevation, 0.0))
            names.append(f"{class_name}{seed}")
    return np.stack(images), np.array(poses), names


def test_targets_of_azimuths_that_look_alike_are_equal() -> None:
    poses = np.array([[20.0, 30.0, 0.0], [110.0, 30.0, 0.0], [200.0, 30.0, 0.0]])
    four = targets(poses, 40, 12.0, np.array([4, 4, 4]))
    np.testing.assert_allclose(four[:, 0], four[[0, 0, 0], 0], atol=1e-12)
    assert np.argsort(four[0, 0])[-4:].tolist() != []
    assert {round(float(centres(0, 40)[i])) % 90 for i in np.argsort(four[0, 0])[-4:]} <= {18, 27}
    round_ = targets(poses, 40, 12.0, np.array([0, 0, 0]))
    np.testing.assert_allclose(round_[:, 0], 1 / 40)
    # 41 bins, as the paper has them, are no multiple of anything.
    odd = targets(poses, 41, 12.0, np.array([4, 4, 4]))
    np.testing.assert_allclose(odd[0, 0], odd[1, 0], atol=1e-12)
    np.testing.assert_allclose(odd.sum(axis=2), 1.0)
    np.testing.assert_array_equal(four[:, 1:], targets(poses, 40, 12.0)[:, 1:])


def test_evening_out_keeps_sums_and_leaves_what_has_no_symmetry() -> None:
    said = np.random.default_rng(0).dirichlet(np.ones(41), 4)
    evened = alike(said, np.array([1, 2, 3, 0]))
    np.testing.assert_array_equal(evened[0], said[0])
    np.testing.assert_allclose(evened.sum(axis=1), 1.0)
    np.testing.assert_allclose(evened[3], 1 / 41)


def test_azimuths_of_round_things_do_not_vary() -> None:
    poses = np.array([[0.0, 0.0, 0.0], [180.0, 0.0, 0.0]])
    assert varying(poses, 41).tolist() == [True, False, False]
    assert varying(poses, 41, np.array([0, 1])).tolist() == [True, False, False]
    assert varying(poses, 41, np.array([0, 0])).tolist() == [False, False, False]


def test_without_a_symmetry_nothing_changes_to_the_last_bit() -> None:
    few = furniture("chair", [0, 1, 2], 12)
    one, other = score(*few, SPEC), score(*few, SPEC, symmetry=np.ones(36, np.int64))
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.cross_entropy, other.cross_entropy)
    assert one.rows() == other.rows()
    with pytest.raises(ValueError, match="36 symmetries"):
        score(*few, SPEC, symmetry=np.ones(3, np.int64))


def test_a_square_tables_label_may_be_any_of_four_and_a_wrong_one_is_still_found() -> None:
    seeds = [seed for seed in range(30) if model("table", seed).symmetry == 4][:5]
    images, poses, names = furniture("table", seeds, 30)
    rng = np.random.default_rng(1)
    turned = poses.copy()
    turned[:, 0] = (turned[:, 0] + 90.0 * rng.integers(0, 4, len(poses))) % 360
    four = np.full(len(poses), 4)
    told = score(images, turned, names, SPEC, symmetry=four)
    untold = score(images, turned, names, SPEC)
    # Who takes the four for different is taught contradictions and learns nothing of azimuth.
    assert told.head_weights[0] > 0.3
    assert untold.head_weights[0] < told.head_weights[0] / 2
    # Members learn from other shares of the images, since those stand in another order; what is said is the same.
    assert np.corrcoef(score(images, poses, names, SPEC, symmetry=four).scores, told.scores)[0, 1] > 0.95
    wrong = rng.choice(len(poses), 12, replace=False)
    turned[wrong, 0] = (turned[wrong, 0] + 45.0) % 360
    found = score(images, turned, names, SPEC, symmetry=four)
    others = np.setdiff1d(np.arange(len(poses)), wrong)
    assert np.median(found.head_scores[wrong, 0]) > np.median(found.head_scores[others, 0]) + 2


def test_a_round_model_among_others_is_not_judged_by_its_azimuth() -> None:
    images, poses, names = furniture("chair", [0, 1, 2, 3], 20)
    lamps, lamp_poses, lamp_names = furniture("lamp", [2], 20)
    symmetry = np.array([1] * 80 + [0] * 20)
    verdicts = score(
        np.concatenate([images, lamps]), np.concatenate([poses, lamp_poses]), names + lamp_names, SPEC, symmetry=symmetry
    )
    np.testing.assert_array_equal(verdicts.head_scores[80:, 0], 0.0)
    assert np.ptp(verdicts.head_scores[:80, 0]) > 0
    assert np.isfinite(verdicts.scores).all()
