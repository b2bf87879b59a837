"""Planted failures fail, are where the truth says, and come the same again; figures of a filter are what they are named."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.cases import Case
from models.evaluation.filters import planted, score
from models.evaluation.filters.planted import KINDS, PAINTED, PIXELS, SYSTEMATIC, Shown
from models.sample import SampleId
from models.symmetry import pose_error

VIEWS, MODELS = 12, 5


def _case(model: int, view: int, class_name: str = "car", symmetry: int = 1) -> Case:
    """A bright box on a patterned ground, whose place and colour say which it is."""
    rng = np.random.default_rng([model, view, sum(class_name.encode())])
    rgb = rng.integers(40, 120, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, 12 + view : 40 + view] = 255
    rgb[mask > 0] = (200, 40 * model % 256, 20 * view % 256)
    edges = np.zeros((64, 64), np.uint8)
    edges[20, 12 + view : 40 + view] = edges[30, 12 + view : 40 + view] = 255
    return Case(
        sample=SampleId(class_name=class_name, cad_id=f"{class_name}-{model}", view_index=view),
        rgb=rgb,
        edges=edges,
        mask=mask,
        words={},
        prompt=f"a red {class_name}, seen from the front left, on grass",
        # Steps of 30 degrees and a little: of each view there is another one nearer than 30.
        pose=(45.0 + 25.0 * view, 10.0, 0.0),
        symmetry=symmetry,
    )


def _set(class_name: str = "car", symmetry: int = 1) -> list[Shown]:
    cases = [_case(model, view, class_name, symmetry) for view in range(VIEWS) for model in range(MODELS)]
    return [Shown(case=case, picture=case.rgb) for case in cases]


SOUND = _set()
BESIDE = _set("bus")


def _painted(kind: str, index: int) -> planted.Picture:
    return np.full((64, 64, 3), 7, np.uint8)


def _plant(kind: str, sound: list[Shown], rate: float, seed: int) -> list[Shown]:
    return planted.plant((kind,), sound, rate, seed, BESIDE, _painted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_that_is_asked_for_fails_and_everything_else_stays(kind: str) -> None:
    made = _plant(kind, SOUND, 0.2, 0)
    failed = [index for index, shown in enumerate(made) if shown.failure]
    assert len(failed) == 12
    assert {made[index].failure for index in failed} == {kind}
    for index, (before, after) in enumerate(zip(SOUND, made, strict=True)):
        changed = after.case.pose != before.case.pose or not np.array_equal(after.picture, before.picture)
        assert changed == (index in failed), index


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_plants_the_same_and_another_one_others(kind: str) -> None:
    first, again, other = (_plant(kind, SOUND, 0.2, seed) for seed in (0, 0, 1))
    assert [one.failure for one in first] == [one.failure for one in again]
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    assert [one.failure for one in first] != [one.failure for one in other]


def test_exchanged_views_are_as_far_off_as_their_name_says() -> None:
    poses = {shown.picture.tobytes(): shown.case for shown in SOUND}
    for kind, low, high in (("view_small", planted.SAME_DEG, planted.SMALL_DEG), ("view_large", planted.SMALL_DEG, 181.0)):
        for shown in _plant(kind, SOUND, 0.2, 0):
            if shown.failure:
                true = poses[shown.picture.tobytes()]
                assert true.sample.cad_id == shown.case.sample.cad_id
                assert low <= pose_error(true.pose, shown.case.pose) < high


def test_what_shows_the_same_is_no_failure() -> None:
    twofold, vases = _set("table", symmetry=2), _set("vase", symmetry=0)
    assert not any(shown.failure for shown in _plant("label_turned", twofold, 0.2, 0))
    assert {shown.failure for shown in planted.systematic(twofold, 0.2, 0)} <= {"", "systematic_quarter"}
    for kind in ("label_turned", "label_off", "view_large"):
        assert not any(shown.failure for shown in _plant(kind, vases, 0.2, 0)), kind
    assert not any(shown.failure for shown in planted.systematic(vases, 0.2, 0))
    front = [Shown(case=_turned_to(shown.case, 0.0), picture=shown.picture) for shown in SOUND]
    assert not any(shown.failure for shown in _plant("mirrored", front, 0.2, 0))


def test_all_kinds_are_dealt_round_into_one_set() -> None:
    made = planted.plant(KINDS, SOUND, 0.5, 0, BESIDE, _painted)
    counts = Counter(shown.failure for shown in made if shown.failure)
    assert sum(counts.values()) == 30
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_whole_cad_models_fail_alike() -> None:
    made = planted.systematic(SOUND, 0.4, 0)
    by_model = {
        shown.case.sample.cad_id: {one.failure for one in made if one.case.sample.cad_id == shown.case.sample.cad_id}
        for shown in made
    }
    assert sorted(kind for kinds in by_model.values() for kind in kinds) == ["", "", "", *sorted(SYSTEMATIC)]
    for before, after in zip(SOUND, made, strict=True):
        assert np.array_equal(before.picture, after.picture)
        if after.failure:
            assert (after.case.pose[0] - before.case.pose[0]) % 360.0 == planted.TURN[after.failure]


def _turned_to(case: Case, azimuth: float) -> Case:
    return replace(case, pose=(azimuth, *case.pose[1:]))


def test_what_is_painted_for_a_failure_differs_in_what_it_is_named_for() -> None:
    case, back = _case(0, 0), _turned_to(_case(0, 0), 225.0)
    made = {kind: planted.variant(kind, case, back, ["car", "bus"]) for kind in PAINTED}
    assert all(made.values())
    assert made["control_off"].control == 0.0
    assert 0.0 < made["control_weak"].control < 1.0
    assert made["front_for_back"].case is made["ambiguous_outline"].case is back
    assert made["opposite_prompt"].case.prompt == "a red car, seen from behind on the right, on grass"
    assert made["wrong_class_prompt"].case.prompt == "a red bus, seen from the front left, on grass"
    for kind in planted.VERIFIED:
        assert np.array_equal(made[kind].case.edges, case.edges)
        assert made[kind].guidance > 1.5


def test_an_outline_is_ambiguous_only_where_two_views_cover_about_the_same() -> None:
    case, back = _case(0, 0), _turned_to(_case(0, 0), 225.0)
    elsewhere = replace(back, mask=np.roll(back.mask, 20, axis=0))
    assert planted.variant("ambiguous_outline", case, elsewhere, ["car"]) is None
    failed = next(shown for shown in _plant("ambiguous_outline", SOUND, 0.1, 0) if shown.failure)
    lines = failed.case.edges > 0
    top, left, right = 20, *np.flatnonzero(failed.case.mask[20])[[0, -1]]
    assert lines[top, left : right + 1].all()
    assert not lines[top + 3 : top + 15, left + 3 : right - 2].any()


def test_a_box_that_is_half_hidden_is_half_hidden() -> None:
    shown = SOUND[0]
    hidden = PIXELS["half_hidden"](shown, np.random.default_rng(0), [])
    changed = (hidden != shown.picture).any(axis=2) & (shown.case.mask > 0)
    assert changed.sum() / (shown.case.mask > 0).sum() == pytest.approx(0.5, abs=0.05)


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="no kind of failure 'melted'"):
        _plant("melted", SOUND, 0.1, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        _plant("black", SOUND, 10, 0)


def test_figures_of_a_perfect_of_a_blind_and_of_a_known_score() -> None:
    failed = np.arange(100) >= 90
    perfect = score.figures(failed.astype(float), failed)
    assert perfect == {
        "judged": 1.0,
        "auroc": 1.0,
        "average_precision": 1.0,
        "precision_at_90_kept": 1.0,
        "lost_at_90_removed": 0.0,
    }
    blind = score.figures(np.zeros(100), failed)
    assert blind["auroc"] == 0.5
    assert blind["lost_at_90_removed"] == 1.0
    # One failure hides below all others, and nine of ninety sound images look worse than every failure.
    known = np.where(failed, 1.0, 0.0)
    known[95], known[:9] = -1.0, 2.0
    found = score.figures(known, failed)
    assert found["lost_at_90_removed"] == pytest.approx(0.1)
    assert found["auroc"] == pytest.approx(9 * 81 / 900)
    assert found["precision_at_90_kept"] == pytest.approx(9 / 18)


def test_what_was_not_judged_is_kept() -> None:
    failed = np.arange(20) >= 16
    suspect = np.where(failed, np.nan, np.arange(20.0))
    found = score.figures(suspect, failed)
    assert found["judged"] == 0.8
    assert found["auroc"] == 0.0
    assert np.isnan(score.figures(suspect, np.zeros(20, bool))["auroc"])


def test_an_interval_holds_the_figure() -> None:
    rng = np.random.default_rng(0)
    failed = np.arange(200) >= 150
    suspect = rng.normal(size=200) + failed
    figure = score.figures(suspect, failed)["auroc"]
    low, high = score.drawn_again(lambda rows: score.figures(suspect[rows], failed[rows])["auroc"], 200, 0)
    assert low < figure < high < low + 0.25


def test_images_of_different_cad_models_have_different_names() -> None:
    assert len({shown.name for shown in SOUND}) == len(SOUND)
