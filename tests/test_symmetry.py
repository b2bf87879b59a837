"""Errors of poses of objects that look alike from several sides."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from models import symmetry
from models.cad import parametric
from models.world import geometry


def test_an_azimuth_error_goes_the_short_way_round() -> None:
    assert symmetry.azimuth_error([350, 10, 180, 0], [10, 350, 0, 0]).tolist() == [20, 20, 180, 0]


def test_what_looks_alike_after_half_a_turn_is_never_more_than_a_quarter_turn_wrong() -> None:
    assert symmetry.azimuth_error([180, 90, 200, 275], 0, 2).tolist() == [0, 90, 20, 85]
    assert symmetry.azimuth_error([45, 91, 359], 0, 4).tolist() == [45, 1, 1]


def test_what_is_round_has_no_azimuth_to_get_wrong() -> None:
    assert symmetry.azimuth_error([0, 77, 180], 300, symmetry.ROUND).tolist() == [0, 0, 0]


def test_each_pose_may_have_a_symmetry_of_its_own() -> None:
    assert symmetry.azimuth_error([180, 180, 180], 0, [1, 2, 0]).tolist() == [180, 0, 0]
    poses = np.array([[180.0, 20, 0]] * 3)
    assert symmetry.pose_error(poses, [0.0, 20, 0], [1, 2, 0]) == pytest.approx([180, 0, 0], abs=1e-5)


def test_a_pose_error_is_the_angle_of_the_rotation_between_two_cameras() -> None:
    poses = np.array([[0.0, 0, 0], [30, 0, 0], [0, 30, 0], [0, 0, 30], [180, 0, 0]])
    assert symmetry.pose_error(poses, [0.0, 0, 0]) == pytest.approx([0, 30, 30, 30, 180], abs=1e-5)
    # Seen from straight above, a turn of the object and one of the camera are the same picture.
    assert symmetry.pose_error([40.0, 90, 0], [0.0, 90, -40]) == pytest.approx(0.0, abs=1e-5)


def test_a_pose_is_the_rotation_that_the_renders_are_made_with() -> None:
    rng = np.random.default_rng(0)
    for azimuth, elevation, roll in rng.uniform([0, -90, -180], [360, 90, 180], (20, 3)):
        camera = geometry.camera(azimuth, elevation, roll, 1.5, 1.0)
        assert symmetry._rotation(np.array([azimuth, elevation, roll])) == pytest.approx(camera.rotation, abs=1e-6)


def test_with_a_symmetry_the_least_error_over_all_equal_poses_counts() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform([0, -90, -180], [360, 90, 180], (2, 50, 3))
    for folds in (1, 2, 3, 4, 5):
        turned = [b + np.array([360.0 * i / folds, 0, 0]) for i in range(folds)]
        least = np.min([symmetry.pose_error(a, other) for other in turned], axis=0)
        assert symmetry.pose_error(a, b, folds) == pytest.approx(least, abs=1e-4)
    fine = np.min([symmetry.pose_error(a, b + np.array([turn, 0, 0])) for turn in np.arange(0, 360, 0.5)], axis=0)
    assert symmetry.pose_error(a, b, symmetry.ROUND) == pytest.approx(fine, abs=0.3)


@pytest.mark.parametrize("wrong", [-1, 1.5, 361, True])
def test_what_is_no_symmetry_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="1 \\(none\\)"):
        symmetry.check(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("class_name", ["car", "table", "cup", "lamp", "chair"])
def test_a_bundled_cad_model_looks_the_same_after_the_turn_that_it_claims(class_name: str) -> None:
    for seed in range(40, 60):
        made = parametric.model(class_name, seed)
        folds = parametric.symmetry(class_name, seed)
        points = np.concatenate([part.solid.vertices for part in made.parts])
        radius = np.linalg.norm(points[:, :2], axis=1).max()
        # What is round is tried with a turn that no polygon shows by chance; its vertices stand up to half a facet away.
        angle = 2 * np.pi / folds if folds else 2.0
        turned = points @ np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]).T
        # The polygons that stand for circles seldom divide by three.
        away, _ = cKDTree(points).query(turned)
        assert np.quantile(away, 0.97) < (0.05 if folds else 0.08) * radius, f"{class_name} {seed} {made.keywords}: {folds}"
