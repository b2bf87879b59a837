"""The K-fold consistency filter: finds wrong labels, and what the official code gets wrong is right here."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.verdict import network
from models.verdict.decide import decide, threshold_of
from models.verdict.folds import deal
from models.verdict.kcf import Verdicts, resolve, score
from models.verdict.spec import EDGES_LOST, POSE_INCONSISTENT, VerdictSpec
from models.verdict.targets import centres, targets, varying
from tests.verdict.cars import Set, cars, exchanged

SPEC = VerdictSpec(min_edge_score=None)


@pytest.fixture(scope="module")
def few() -> Set:
    return cars(3, 16)


def same(one: Verdicts, other: Verdicts, order: NDArray[np.int64] | None = None) -> bool:
    order = np.arange(len(one.scores)) if order is None else order
    return bool(np.array_equal(one.scores[order], other.scores) and np.array_equal(one.head_scores[order], other.head_scores))


@pytest.mark.slow
def test_exchanged_labels_are_dropped_at_least_three_times_as_often_as_the_rest() -> None:
    images, poses, cad_ids = cars(8, 50)
    for seed in (0, 1, 2):
        moved, wrong = exchanged(poses, 0.1, seed)
        dropped = ~score(images, moved, cad_ids, SPEC).kept
        assert dropped[wrong].mean() >= 3 * dropped[~wrong].mean()
        assert dropped[wrong].mean() >= 0.5, "a filter that drops next to nothing would pass the line above"
        assert dropped[~wrong].mean() <= 0.1


@pytest.mark.slow
def test_mirrored_pictures_of_a_symmetric_class_teach_more() -> None:
    """The azimuth of a mirrored picture is minus the azimuth where front is at 0: wrongly mirrored labels would cost skill."""
    images, poses, cad_ids = cars(4, 30)
    plain = score(images, poses, cad_ids, SPEC).head_weights[0]
    mirrored = score(images, poses, cad_ids, VerdictSpec(min_edge_score=None, mirror=True)).head_weights[0]
    assert mirrored > plain + 0.02


def test_the_order_of_the_images_changes_no_score(few: Set) -> None:
    images, poses, cad_ids = few
    order = np.random.default_rng(5).permutation(len(images))
    shuffled = score(images[order], poses[order], [cad_ids[i] for i in order], SPEC)
    assert same(score(images, poses, cad_ids, SPEC), shuffled, order)


def test_the_same_set_gets_the_same_scores_and_no_global_generator_is_touched(few: Set) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.random.get_rng_state().clone(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    first, second = score(*few, SPEC), score(*few, SPEC)
    assert same(first, second)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]


def test_folds_are_dealt_by_cad_model_and_no_cad_model_is_in_two() -> None:
    cad_ids = [f"cad{i % 7}" for i in range(70)]
    fold, by = deal(cad_ids, np.zeros((70, 3)), 5)
    assert by == "cad"
    assert set(fold.tolist()) == {0, 1, 2, 3, 4}
    assert all(len({int(fold[i]) for i in range(70) if cad_ids[i] == name}) == 1 for name in set(cad_ids))


def test_there_are_no_more_folds_than_cad_models(few: Set) -> None:
    judged = score(*few, SPEC)
    assert (judged.fold_by, len(judged.folds), judged.fold.max()) == ("cad", 3, 2)


def test_a_single_cad_model_is_split_by_view_and_the_record_says_so(few: Set) -> None:
    images, poses, _ = few
    judged = score(images[:16], poses[:16], ["only"] * 16, SPEC)
    assert judged.fold_by == "view"
    assert judged.summary()["fold_by"] == "view"
    assert len(judged.folds) == 5


def test_images_of_one_view_stay_in_one_fold() -> None:
    poses = np.repeat(np.random.default_rng(0).uniform(0, 90, (10, 3)), 4, axis=0)
    fold, _ = deal(["only"] * 40, poses, 5)
    assert all(len(set(fold[4 * view : 4 * view + 4].tolist())) == 1 for view in range(10))


def test_heads_that_do_not_vary_are_silent_and_nothing_is_nan(few: Set) -> None:
    judged = score(*few, SPEC)
    assert judged.head_weights[2] == 0
    assert np.array_equal(judged.head_scores[:, 2], np.zeros(len(judged.scores)))
    for values in (judged.scores, judged.head_scores, judged.cross_entropy, judged.disagreement):
        assert np.isfinite(values).all()


def test_images_that_say_nothing_about_pose_are_all_kept_and_the_rule_says_why() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 64, 64, 3)).astype(np.uint8)
    poses = np.stack([rng.uniform(0, 360, 60), rng.uniform(0, 60, 60), np.zeros(60)], 1)
    judged = score(noise, poses, [f"c{i % 4}" for i in range(60)], SPEC)
    assert judged.kept.all()
    assert "not judged" in judged.rule


@pytest.mark.parametrize("count", [1, 2, 7])
def test_too_few_images_are_all_kept(few: Set, count: int) -> None:
    images, poses, cad_ids = few
    judged = score(images[:count], poses[:count], cad_ids[:count], SPEC)
    assert judged.kept.all()
    assert "not judged" in judged.rule


def test_a_class_seen_from_one_side_only_is_kept_whole(few: Set) -> None:
    images, _, cad_ids = few
    judged = score(images, np.tile([30.0, 20.0, 0.0], (len(images), 1)), cad_ids, SPEC)
    assert judged.kept.all()


def test_the_threshold_moves_without_any_recomputation(few: Set) -> None:
    judged = score(*few, SPEC)
    rows = json.loads(json.dumps(judged.rows()))
    stored = np.array([row["score"] for row in rows])
    kept, reasons = decide(stored, 3.0)
    assert kept.tolist() == [row["kept"] for row in rows]
    strict, reasons = decide(stored, 0.5)
    assert strict.sum() < len(stored) - 5
    assert {reason for reason in reasons if reason} == {POSE_INCONSISTENT}
    assert not (strict & ~kept).any(), "a stricter threshold keeps nothing that a milder one drops"


def test_the_quantile_rule_keeps_its_share(few: Set) -> None:
    judged = score(*few, VerdictSpec(rule="quantile", threshold=0.75, min_edge_score=None))
    assert abs(judged.kept.mean() - 0.75) < 0.05
    assert threshold_of(judged.scores, VerdictSpec(rule="quantile", threshold=1.0)) == judged.scores.max()


def test_lost_edges_are_a_reason_of_their_own_and_no_lines_are_none() -> None:
    kept, reasons = decide(np.array([0.0, 9.0, 0.0, 0.0]), 3.0, np.array([0.9, 0.1, 0.1, np.nan]), 0.25)
    assert kept.tolist() == [True, False, False, True]
    assert reasons == (None, POSE_INCONSISTENT, EDGES_LOST, None)


def test_the_summary_counts_reasons_and_is_json(few: Set) -> None:
    edge_scores = np.full(len(few[0]), 0.9)
    edge_scores[:4] = 0.0
    edge_scores[5] = np.nan
    judged = score(*few, VerdictSpec(threshold=99.0), edge_scores=edge_scores)
    summary = json.loads(json.dumps(judged.summary()))
    assert (summary["kept"], summary["dropped"], summary["reasons"]) == (len(few[0]) - 4, 4, {EDGES_LOST: 4})
    rows = json.loads(json.dumps(judged.rows(), allow_nan=False))
    assert (rows[0]["edge_score"], rows[0]["reason"], rows[5]["edge_score"]) == (0.0, EDGES_LOST, None)


def test_a_cad_model_that_contradicts_the_others_as_a_whole_shows_in_its_fold() -> None:
    """Scores are standardised within folds, so a CAD model turned by 90 degrees hides in them; its fold's shift tells."""
    images, poses, cad_ids = cars(4, 24)
    turned = poses.copy()
    turned[:24, 0] = (turned[:24, 0] + 90) % 360
    shifts = [fold.shift for fold in score(images, turned, cad_ids, SPEC).folds]
    assert np.argmax(shifts) == 0
    assert shifts[0] > 2 * max(shifts[1:])


def test_members_disagree_somewhere_and_a_single_member_does_not(few: Set) -> None:
    assert score(*few, SPEC).disagreement.max() > 0
    assert score(*few, VerdictSpec(members=1, min_edge_score=None)).disagreement.max() == 0


def test_progress_counts_each_trained_model(few: Set) -> None:
    told: list[tuple[int, int]] = []
    score(*few, SPEC, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 9) for i in range(9)]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 3)), []), "no images"),
        ((np.zeros((2, 64, 64), np.uint8), np.zeros((2, 3)), ["a", "b"]), "uint8"),
        ((np.zeros((2, 64, 64, 3), np.uint8), np.zeros((3, 3)), ["a", "b"]), "3 angles"),
        ((np.zeros((2, 64, 64, 3), np.uint8), np.full((2, 3), np.nan), ["a", "b"]), "finite"),
    ],
)
def test_inputs_that_do_not_fit_together_are_refused(given: tuple[object, ...], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        score(*given, SPEC)  # type: ignore[arg-type]


def test_azimuth_comes_round_and_elevation_does_not() -> None:
    made = targets(np.array([[359.0, 89.0, -179.0], [1.0, -89.0, 179.0]]), 41, 12.0)
    assert np.allclose(made.sum(axis=2), 1.0)
    assert made[0, 0].argmax() == made[1, 0].argmax() == 0
    assert np.abs(made[0, 0] - made[1, 0]).sum() < 0.3
    assert np.abs(made[0, 2] - made[1, 2]).sum() < 0.3
    assert (made[0, 1].argmax(), made[1, 1].argmax()) == (40, 0)
    assert centres(1, 41)[20] == pytest.approx(0.0)


def test_a_head_varies_only_beyond_half_a_bin() -> None:
    poses = np.array([[359.0, 10.0, 0.0], [1.0, 50.0, 0.1]])
    assert varying(poses, 41).tolist() == [False, True, False]


def test_auto_takes_the_light_judge_until_the_set_is_large() -> None:
    assert [resolve(VerdictSpec(hog_limit=100), count) for count in (10, 100, 101)] == ["hog", "hog", "resnet-small"]
    assert resolve(VerdictSpec(backbone="resnet-50"), 5) == "resnet-50"


TINY = VerdictSpec(backbone="resnet-small", epochs=1, batch=4, members=1, min_edge_score=None)


@pytest.mark.slow
def test_the_network_judges_alike_in_any_order_and_leaves_global_generators_alone() -> None:
    images, poses, cad_ids = cars(2, 6)
    images = images[:, ::2, ::2].copy()
    state = torch.random.get_rng_state().clone()
    order = np.random.default_rng(1).permutation(12)
    one = score(images, poses, cad_ids, TINY)
    other = score(images[order], poses[order], [cad_ids[i] for i in order], TINY)
    assert np.array_equal(one.cross_entropy[order], other.cross_entropy)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_an_images_answer_does_not_depend_on_its_batch_mates() -> None:
    """The official code scores in training mode, where BatchNorm mixes the images of a batch."""
    images, poses, _ = cars(1, 24)
    images = images[:, ::2, ::2].copy()
    answers = targets(poses, 41, 12.0)

    def answer(asked: NDArray[np.uint8]) -> NDArray[np.float64]:
        return network.predict(images[:16], answers[:16], asked, np.random.default_rng(0), TINY, "resnet-small")

    assert np.allclose(answer(images[16:])[0], answer(images[16:17])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"backbone": "vgg"}, "no such backbone 'vgg'"),
        ({"rule": "mean"}, "no such verdict rule"),
        ({"rule": "quantile"}, "share kept"),
        ({"folds": 1}, "folds is 1"),
        ({"min_edge_score": 3.0}, "min_edge_score"),
        ({"margin": 0.5}, "margin"),
    ],
)
def test_a_wrong_verdict_spec_says_what_is_wrong(wrong: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        VerdictSpec(**wrong)  # type: ignore[arg-type]


def test_the_spec_loads_without_anything_heavy() -> None:
    script = "import sys, models.verdict.spec; sys.exit(any(m in sys.modules for m in ('numpy', 'cv2', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
