"""The K-fold filter and objects that look the same from several sides."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from models.cad.parametric import model
from models.verdict.crop import crop
from models.verdict.kcf import Kcf, KcfSpec
from models.verdict.protocol import Judgement
from models.verdict.targets import alike, centres, targets, varying
from tests.control.cast import cast
from tests.verdict.cars import Set, clutter, labelled


def judged(given: Set, symmetry: NDArray[np.int64] | None = None) -> Judgement:
    return Kcf(KcfSpec()).measure(labelled(given, symmetry))


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


def test_only_cad_models_with_a_symmetry_are_part_of_the_identity() -> None:
    plain = KcfSpec(backbone="hog")
    assert plain.identity({"a": 1, "b": 1}, {}) == {}, "without a symmetry, nothing is told apart from before there were any"
    assert plain.identity({"a": 1, "b": 4, "c": 0}, {}) == {"symmetry": {"b": 4, "c": 0}}


def test_symmetries_that_do_not_fit_the_images_are_refused() -> None:
    few = furniture("chair", [0], 3)
    with pytest.raises(ValueError, match="3 images need 3 poses of 3 angles, CAD models and symmetries"):
        judged(few, np.ones(2, np.int64))
    with pytest.raises(ValueError, match="rotational symmetry"):
        judged(few, np.full(3, -1))


def test_a_square_tables_label_may_be_any_of_four_and_a_wrong_one_is_still_found() -> None:
    seeds = [seed for seed in range(30) if model("table", seed).symmetry == 4][:5]
    images, poses, names = furniture("table", seeds, 30)
    rng = np.random.default_rng(1)
    turned = poses.copy()
    turned[:, 0] = (turned[:, 0] + 90.0 * rng.integers(0, 4, len(poses))) % 360
    four = np.full(len(poses), 4)
    told = judged((images, turned, names), four)
    untold = judged((images, turned, names))
    # Who takes the four for different is taught contradictions and learns nothing of azimuth.
    skill = told.facts["head_weights"]["azimuth"]
    assert skill > 0.3
    assert untold.facts["head_weights"]["azimuth"] < skill / 2
    # Members learn from other shares of the images, since those stand in another order; what is said is the same.
    straight = judged((images, poses, names), four)
    assert np.corrcoef(straight.scores["kcf"], told.scores["kcf"])[0, 1] > 0.95
    wrong = rng.choice(len(poses), 12, replace=False)
    turned[wrong, 0] = (turned[wrong, 0] + 45.0) % 360
    found = judged((images, turned, names), four).scores["kcf_azimuth"]
    others = np.setdiff1d(np.arange(len(poses)), wrong)
    assert np.median(found[wrong]) > np.median(found[others]) + 2


def test_a_round_model_among_others_is_not_judged_by_its_azimuth() -> None:
    images, poses, names = furniture("chair", [0, 1, 2, 3], 20)
    lamps, lamp_poses, lamp_names = furniture("lamp", [2], 20)
    given = np.concatenate([images, lamps]), np.concatenate([poses, lamp_poses]), names + lamp_names
    judgement = judged(given, np.array([1] * 80 + [0] * 20))
    assert np.isnan(judgement.scores["kcf_azimuth"][80:]).all()
    assert np.ptp(judgement.scores["kcf_azimuth"][:80]) > 0
    assert np.isfinite(judgement.scores["kcf"][:80]).all()
    # Nothing could be learned of the elevation of this set, so that nothing is left to judge what is round by.
    assert judgement.facts["head_weights"]["elevation"] == 0
    assert np.isnan(judgement.scores["kcf"][80:]).all()
    assert "20 images show objects that look the same from all sides" in (judgement.not_judged or "")
