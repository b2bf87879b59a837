"""Poses: the official strategies, the truncation, and that a pose belongs to its view alone."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist, mean

import pytest

from models.render.spec import STRATEGIES, ViewpointSpec
from models.render.viewpoint import Pose, sample_view, truncated_normal
from models.sample import SampleId, ViewId


def views(spec: ViewpointSpec, n: int = 2000) -> list[Pose]:
    return [sample_view(spec, ViewId(class_name="car", cad_id="ab" * 32, view_index=index)) for index in range(n)]


@pytest.mark.parametrize("strategy", [1, 3, 5])
def test_strategies_for_things_seen_from_everywhere_reach_each_side_equally(strategy: int) -> None:
    sides = [0] * 8
    for view in views(ViewpointSpec.official(strategy)):
        sides[int(view.azimuth_deg // 45)] += 1
    assert min(sides) > 200
    assert max(sides) < 300


@pytest.mark.parametrize("strategy", [2, 4])
def test_strategies_for_things_with_a_dull_back_never_show_the_rear_150_degrees(strategy: int) -> None:
    azimuths = [(view.azimuth_deg + 180) % 360 - 180 for view in views(ViewpointSpec.official(strategy))]
    assert -105 <= min(azimuths) < -100
    assert 100 < max(azimuths) <= 105
    assert abs(mean(azimuths)) < 5


@pytest.mark.parametrize(("strategy", "centre", "sd"), [(1, 90, 30), (2, 90, 30), (3, 60, 20), (4, 60, 20)])
def test_polar_angles_follow_the_strategys_normal(strategy: int, centre: float, sd: float) -> None:
    polars = sorted(90 - view.elevation_deg for view in views(ViewpointSpec.official(strategy)))
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert polars[int(share * len(polars))] == pytest.approx(NormalDist(centre, sd).inv_cdf(share), abs=2.5)


def test_strategy_5_spreads_polar_angles_evenly_in_degrees() -> None:
    polars = sorted(90 - view.elevation_deg for view in views(ViewpointSpec.official(5)))
    assert polars[0] >= 0
    assert polars[-1] <= 180
    assert [polars[500], polars[1000], polars[1500]] == pytest.approx([45, 90, 135], abs=6)


def test_a_sphere_of_viewpoints_has_as_many_below_as_above_and_few_at_the_poles() -> None:
    elevations = [view.elevation_deg for view in views(ViewpointSpec(polar="sphere", polar_range_deg=(0, 180)))]
    assert mean(elevations) == pytest.approx(0, abs=2.5)
    assert mean(abs(e) > 60 for e in elevations) == pytest.approx(1 - math.sin(math.radians(60)), abs=0.02)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_pose_is_within_the_frames_ranges_and_the_cad_models_distances(strategy: int) -> None:
    for view in views(ViewpointSpec.official(strategy, distance=2.0), 500):
        assert 0 <= view.azimuth_deg < 360
        assert -90 <= view.elevation_deg <= 90
        assert 1.5 <= view.distance <= 3.5
        assert view.inplane_deg == 0


def test_distances_are_a_normal_cut_half_a_side_before_and_one_and_a_half_behind() -> None:
    distances = sorted(view.distance for view in views(ViewpointSpec()))
    # P(x < median) of N(1.5, 0.5) between 1 and 3.
    normal = NormalDist(1.5, 0.5)
    median = normal.inv_cdf((normal.cdf(1.0) + normal.cdf(3.0)) / 2)
    assert distances[len(distances) // 2] == pytest.approx(median, abs=0.03)


def test_a_polar_angle_beyond_180_comes_up_on_the_other_side() -> None:
    spec = ViewpointSpec(azimuth_range_deg=(10, 10), polar="uniform", polar_range_deg=(190, 190))
    view = views(spec, 1)[0]
    assert (view.azimuth_deg, view.elevation_deg) == pytest.approx((190, -80))


def test_in_plane_rotation_stays_in_its_range_and_leaves_the_rest_of_the_pose_alone() -> None:
    spec = ViewpointSpec()
    turned = dataclasses.replace(spec, inplane_range_deg=(-15, 15))
    for upright, view in zip(views(spec, 50), views(turned, 50)):
        assert -15 <= view.inplane_deg <= 15
        assert dataclasses.replace(view, inplane_deg=0.0) == upright


def test_a_samples_pose_is_its_views_pose_whatever_was_drawn_before() -> None:
    spec, view_id = ViewpointSpec(), ViewId(class_name="car", cad_id="ab" * 32, view_index=3)
    alone = sample_view(spec, view_id)
    views(spec, 10)
    assert sample_view(spec, view_id) == alone
    assert sample_view(spec, SampleId(class_name="car", cad_id="ab" * 32, view_index=3, draw_index=7).view) == alone


def test_poses_are_those_of_version_2() -> None:
    """Red: the same spec gives other poses. Raise models.render.spec.VERSION, then renew the numbers."""
    view = sample_view(
        dataclasses.replace(ViewpointSpec.official(3), inplane_range_deg=(-10, 10)),
        ViewId(class_name="coffee mug", cad_id="0f" * 32, view_index=5),
    )
    assert dataclasses.astuple(view) == pytest.approx(
        (64.85578610510603, -8.048739551569767, 7.716434259846338, 2.2423246300493833), abs=1e-9
    )


@pytest.mark.parametrize("u", [0.0, 1e-300, 0.5, 1 - 2**-53])
def test_truncated_normals_stay_inside_even_where_the_normal_has_no_mass(u: float) -> None:
    assert 40 <= truncated_normal(u, 0, 1, 40, 50) <= 50
    assert 1 <= truncated_normal(u, 1.5, 0.5, 1, 3) <= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"azimuth_range_deg": (20, 10)}, "azimuth_range_deg"),
        ({"azimuth_range_deg": (-200, 200)}, "more than 360"),
        ({"polar": "gauss"}, "must be normal, uniform or sphere"),
        ({"polar_mean_deg": 200}, "outside polar_range_deg"),
        ({"polar_sd_deg": 0}, "polar_sd_deg"),
        ({"distance": 0.4}, "inside the object"),
        ({"distance": math.nan}, "inside the object"),
        ({"distance_sd": -1}, "distance_sd"),
    ],
)
def test_a_viewpoint_spec_that_cannot_be_meant_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ViewpointSpec(), **change)  # type: ignore[arg-type]


def test_an_unknown_strategy_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no viewpoint strategy 6: there are 1, 2, 3, 4, 5"):
        ViewpointSpec.official(6)
