"""The K-fold consistency filter: finds wrong labels, and what the official code gets wrong is right here."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.kinds import BadSpec
from models.verdict import network
from models.verdict.crop import crop
from models.verdict.decide import decide
from models.verdict.folds import FEWEST_HELD_OUT, FEWEST_TO_LEARN_FROM, FEWEST_VIEWS, deal
from models.verdict.kcf import Kcf, KcfSpec
from models.verdict.kinds import JUDGES
from models.verdict.protocol import Judgement
from models.verdict.rules import AtMostSpec
from models.verdict.spec import POSE_THRESHOLD
from models.verdict.standardise import standardise
from models.verdict.targets import centres, targets, varying
from tests.verdict.cars import Set, cars, exchanged, labelled
from tests.verdict.seen import Seen

SPEC = KcfSpec()
RULES = {"pose": AtMostSpec(score="kcf", threshold=POSE_THRESHOLD, reason="pose_inconsistent")}


@pytest.fixture(scope="module")
def few() -> Set:
    return cars(3, 16)


def judged(given: Set, spec: KcfSpec = SPEC) -> Judgement:
    return Kcf(spec).measure(labelled(given))


def dropped(given: Set, threshold: float = POSE_THRESHOLD) -> NDArray[np.bool_]:
    rules = {"pose": AtMostSpec(score="kcf", threshold=threshold, reason="pose_inconsistent")}
    return np.array([kept is False for kept in decide(judged(given).scores, rules, len(given[0])).kept])


def same(one: Judgement, other: Judgement, order: NDArray[np.int64] | None = None) -> bool:
    order = np.arange(len(one.scores["kcf"])) if order is None else order
    return all(np.array_equal(one.scores[name][order], other.scores[name], equal_nan=True) for name in one.scores)


def assert_not_judged(judgement: Judgement, because: str) -> None:
    assert all(np.isnan(values).all() for values in judgement.scores.values())
    assert because in (judgement.not_judged or "")
    assert "not judged" in judgement.facts["words"]
    count = len(judgement.scores["kcf"])
    assert decide(judgement.scores, RULES, count).kept == (None,) * count


@pytest.mark.slow
def test_exchanged_labels_are_dropped_at_least_three_times_as_often_as_the_rest() -> None:
    images, poses, cad_ids = cars(8, 50)
    for seed in (0, 1, 2):
        moved, wrong = exchanged(poses, 0.1, seed)
        found = dropped((images, moved, cad_ids))
        assert found[wrong].mean() >= 3 * found[~wrong].mean()
        assert found[wrong].mean() >= 0.5, "a filter that drops next to nothing would pass the line above"
        assert found[~wrong].mean() <= 0.1


@pytest.mark.slow
def test_mirrored_pictures_of_a_symmetric_class_teach_more() -> None:
    """The azimuth of a mirrored picture is minus the azimuth where front is at 0: wrongly mirrored labels would cost skill."""
    given = cars(4, 30)
    plain, mirrored = (judged(given, KcfSpec(mirror=mirror)).facts["head_weights"]["azimuth"] for mirror in (False, True))
    assert mirrored > plain + 0.02


def test_the_order_of_the_images_changes_no_score(few: Set) -> None:
    images, poses, cad_ids = few
    order = np.random.default_rng(5).permutation(len(images))
    assert same(judged(few), judged((images[order], poses[order], [cad_ids[i] for i in order])), order)


def test_the_same_set_gets_the_same_scores_and_no_global_generator_is_touched(few: Set) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.random.get_rng_state().clone(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    assert same(judged(few), judged(few))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]


def test_folds_are_dealt_by_cad_model_and_no_cad_model_is_in_two() -> None:
    cad_ids = [f"cad{i % 7}" for i in range(70)]
    folds = deal(cad_ids, np.zeros((70, 3)), 5)
    assert (folds.by, folds.count) == ("cad", 5)
    assert set(folds.of_image.tolist()) == {0, 1, 2, 3, 4}
    assert all(len({int(folds.of_image[i]) for i in range(70) if cad_ids[i] == name}) == 1 for name in set(cad_ids))


def test_there_are_no_more_folds_than_cad_models(few: Set) -> None:
    judgement = judged(few)
    assert (judgement.facts["fold_by"], len(judgement.facts["folds"])) == ("cad", 3)
    assert set(judgement.scores["kcf_fold"].tolist()) == {0, 1, 2}
    assert "3 folds by CAD model" in judgement.facts["words"]


def test_a_single_cad_model_is_split_by_view_and_the_record_says_so(few: Set) -> None:
    images, poses, _ = few
    judgement = judged((images, poses, ["only"] * len(images)))
    assert (judgement.facts["fold_by"], len(judgement.facts["folds"])) == ("view", 5)
    assert "5 folds by view" in judgement.facts["words"]
    assert "unnoticed" in judgement.facts["words"], "what a single CAD model costs is said"


def test_images_of_one_view_stay_in_one_fold() -> None:
    poses = np.repeat(np.random.default_rng(0).uniform(0, 90, (10, 3)), 4, axis=0)
    fold = deal(["only"] * 40, poses, 5).of_image
    assert all(len(set(fold[4 * view : 4 * view + 4].tolist())) == 1 for view in range(10))


def test_heads_that_do_not_vary_are_not_judged_and_the_others_are(few: Set) -> None:
    judgement = judged(few)
    assert judgement.facts["head_weights"]["inplane"] == 0
    assert np.isnan(judgement.scores["kcf_inplane"]).all()
    assert judgement.not_judged is None
    for name in ("kcf", "kcf_azimuth", "kcf_elevation", "kcf_disagreement", "kcf_fold"):
        assert np.isfinite(judgement.scores[name]).all()


def test_images_that_say_nothing_about_pose_are_not_judged_and_that_is_said() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 64, 64, 3)).astype(np.uint8)
    poses = np.stack([rng.uniform(0, 360, 60), rng.uniform(0, 60, 60), np.zeros(60)], 1)
    assert_not_judged(judged((noise, poses, [f"c{i % 4}" for i in range(60)])), "nothing could be learned from 60 images")


@pytest.mark.parametrize("count", [1, 2, 7, FEWEST_HELD_OUT + FEWEST_TO_LEARN_FROM - 1])
def test_too_few_images_are_not_judged(few: Set, count: int) -> None:
    images, poses, cad_ids = few
    assert_not_judged(judged((images[:count], poses[:count], cad_ids[:count])), "")


def test_no_images_are_not_judged(few: Set) -> None:
    assert_not_judged(judged((few[0][:0], few[1][:0], [])), "no images")
    assert_not_judged(Kcf(KcfSpec()).judge([]), "no images")


def test_a_class_seen_from_one_side_only_is_not_judged(few: Set) -> None:
    images, _, cad_ids = few
    one_side = np.tile([30.0, 20.0, 0.0], (len(images), 1))
    assert_not_judged(judged((images, one_side, cad_ids)), "all images have the same pose")
    sides = np.stack([360.0 / (FEWEST_VIEWS - 1) * (np.arange(len(images)) % (FEWEST_VIEWS - 1)), *np.zeros((2, len(images)))], 1)
    assert_not_judged(judged((images, sides, ["only"] * len(images))), f"at least {FEWEST_VIEWS} are needed")


def test_a_fold_that_is_too_small_is_not_judged_and_the_others_are() -> None:
    images, poses, cad_ids = cars(4, 10)
    rows = np.r_[0:30, 30 : 30 + FEWEST_HELD_OUT - 1]
    judgement = judged((images[rows], poses[rows], [cad_ids[i] for i in rows]))
    assert np.isfinite(judgement.scores["kcf"][:30]).all()
    assert all(np.isnan(values[30:]).all() for values in judgement.scores.values())
    assert "1 of 4 folds" in (judgement.not_judged or "")
    assert [fold["judged"] for fold in judgement.facts["folds"]] == [True, True, True, False]
    assert judgement.facts["folds"][3]["shift"] is None
    assert "by CAD model" in judgement.facts["words"]


def test_a_fold_with_too_little_to_learn_from_is_not_judged() -> None:
    images, poses, cad_ids = cars(2, 16)
    rows = np.r_[0:16, 16:31]
    judgement = judged((images[rows], poses[rows], [cad_ids[i] for i in rows]))
    assert [fold["judged"] for fold in judgement.facts["folds"]] == [False, True], "the first could learn from 15 images only"


def test_the_threshold_moves_without_any_image(few: Set) -> None:
    scores = judged(few).scores
    stored = {name: np.array(json.loads(json.dumps(values.round(4).tolist()))) for name, values in scores.items()}
    mild, strict = (
        decide(stored, {"pose": AtMostSpec(score="kcf", threshold=threshold, reason="pose_inconsistent")}, len(few[0]))
        for threshold in (POSE_THRESHOLD, 0.5)
    )
    assert mild.kept == decide(scores, RULES, len(few[0])).kept
    assert sum(strict.kept) < len(few[0]) - 5  # type: ignore[arg-type]
    assert {reason for reason in strict.reasons if reason} == {"pose_inconsistent"}
    kept_by_strict_only = [s and not m for s, m in zip(strict.kept, mild.kept, strict=True)]
    assert not any(kept_by_strict_only), "a stricter threshold keeps nothing that a milder one drops"


def test_the_facts_are_json(few: Set) -> None:
    facts = judged(few).facts
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_cad_model_that_contradicts_the_others_as_a_whole_shows_in_its_fold() -> None:
    """Scores are standardised within folds, so a CAD model turned by 90 degrees hides in them; its fold's shift tells."""
    images, poses, cad_ids = cars(4, 24)
    turned = poses.copy()
    turned[:24, 0] = (turned[:24, 0] + 90) % 360
    shifts = [fold["shift"] for fold in judged((images, turned, cad_ids)).facts["folds"]]
    assert np.argmax(shifts) == 0
    assert shifts[0] > 2 * max(shifts[1:])


def test_members_disagree_somewhere_and_a_single_member_does_not(few: Set) -> None:
    assert judged(few).scores["kcf_disagreement"].max() > 0
    assert judged(few, KcfSpec(members=1)).scores["kcf_disagreement"].max() == 0


def test_progress_counts_each_trained_model(few: Set) -> None:
    told: list[tuple[int, int]] = []
    Kcf(KcfSpec()).measure(labelled(few), progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 9) for i in range(9)]


def test_evidence_is_judged_by_the_crops_around_its_boxes(few: Set) -> None:
    """The whole picture holds the crop in its middle, and the box says where."""
    images, poses, cad_ids = few
    evidence = []
    for index, (cut, pose, cad_id) in enumerate(zip(images, poses, cad_ids, strict=True)):
        whole = np.zeros((100, 120, 3), np.uint8)
        whole[20:84, 30:94] = cut
        evidence.append(Seen.of(whole, pose, cad_id, index, box=[30, 20, 93, 83]))
    spec = KcfSpec(side=64, margin=1.0)
    assert same(Kcf(spec).judge(evidence), judged(few, spec))
    boxless = [Seen.of(cut, pose, cad_id, i) for i, (cut, pose, cad_id) in enumerate(zip(images, poses, cad_ids, strict=True))]
    cuts = np.stack([crop(cut, None, 96) for cut in images])
    assert same(Kcf(KcfSpec()).judge(boxless), judged((cuts, poses, cad_ids)))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((np.zeros((2, 64, 64), np.uint8), np.zeros((2, 3)), ["a", "b"]), "uint8"),
        ((np.zeros((2, 64, 64, 3), np.uint8), np.zeros((3, 3)), ["a", "b"]), "3 angles"),
        ((np.zeros((2, 64, 64, 3), np.uint8), np.full((2, 3), np.nan), ["a", "b"]), "finite"),
    ],
)
def test_inputs_that_do_not_fit_together_are_refused(given: Set, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        judged(given)


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


def test_auto_takes_the_light_backbone_until_the_set_is_large() -> None:
    assert [KcfSpec(hog_limit=100).backbone_for(count) for count in (10, 100, 101)] == ["hog-read", "hog-read", "resnet-small"]
    assert KcfSpec(backbone="resnet-50").backbone_for(5) == "resnet-50"


TINY = KcfSpec(backbone="resnet-small", epochs=1, batch=16, members=1)


def test_device_and_threads_reach_the_network(few: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def predict(known: object, answers: NDArray[np.float64], out: NDArray[np.uint8], *given: object) -> NDArray[np.float64]:
        asked.append(given[-3:-1])
        return np.full((len(out), *answers.shape[1:]), 1 / answers.shape[2])

    monkeypatch.setattr(network, "predict", predict)
    JUDGES.load(TINY, device="cuda:1", threads=3).measure(labelled(few))
    assert asked == [("cuda:1", 3)] * 3


@pytest.mark.slow
def test_the_network_judges_alike_in_any_order_and_leaves_global_generators_alone() -> None:
    images, poses, cad_ids = cars(2, FEWEST_TO_LEARN_FROM)
    given = labelled((images[:, ::2, ::2].copy(), poses, cad_ids))
    state = torch.random.get_rng_state().clone()

    def said(order: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the networks predict: they know too little for scores."""
        shuffled = given.ordered(order)
        sorted_ = shuffled.ordered(shuffled.canonical_order())
        folds = deal(sorted_.cad_ids, sorted_.poses, TINY.folds)
        return Kcf(TINY)._held_out(sorted_, targets(sorted_.poses, TINY.bins, TINY.blur_deg), folds, None)[0]

    count = len(images)
    assert np.array_equal(said(np.arange(count)), said(np.random.default_rng(1).permutation(count)))
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


@pytest.mark.slow
def test_a_network_judges_on_whatever_device_a_run_names_auto_included() -> None:
    images, poses, _ = cars(1, 24)
    images, answers = images[:, ::2, ::2].copy(), targets(poses, 41, 12.0)
    rng = np.random.default_rng(0)
    said = network.predict(images[:16], answers[:16], images[16:], rng, TINY, "resnet-small", device="auto")
    assert said.shape == (len(images) - 16, *answers.shape[1:])


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"backbone": "vgg"}, "no such backbone 'vgg'"),
        ({"folds": 1}, "folds is 1"),
        ({"margin": 0.5}, "margin"),
        ({"threshold": 3.0}, 'has no field "threshold"'),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(wrong: dict[str, object], line: str) -> None:
    with pytest.raises(BadSpec, match=line):
        JUDGES.read({"kind": "kcf", **wrong}, "verdict.judges.kcf")


@pytest.mark.slow
def test_small_folds_find_wrong_labels_and_lose_no_more_good_images_than_large_ones() -> None:
    """Six to eight images in a fold, a few of them annotated from elsewhere. `kcf` 1 found one wrong label in fourteen."""
    images, poses, cad_ids = cars(12, 16)
    names, lost, found = np.array(cad_ids), [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        models, views = ((4, 6), (3, 8))[seed % 2]
        chosen = rng.choice(sorted(set(cad_ids)), models, replace=False)
        rows = np.concatenate([rng.choice(np.flatnonzero(names == name), views, replace=False) for name in chosen])
        wrong = np.isin(np.arange(len(rows)), rng.choice(len(rows), 3, replace=False))
        said = poses[rows].copy()
        said[wrong, 0] += rng.uniform(30, 330, 3)
        said[:, 0] %= 360
        drops = dropped((images[rows], said, names[rows].tolist()))
        lost.append(drops[~wrong])
        found.append(drops[wrong])
    assert np.concatenate(lost).mean() <= 0.06
    assert np.concatenate(found).mean() >= 0.15


def test_a_pose_that_is_rare_among_the_others_is_no_reason_to_suspect_an_image() -> None:
    """An object from below: held-out models have seen next to nothing from there, and say so by what poses alone let expect."""
    rng = np.random.default_rng(0)
    poses = np.stack([rng.uniform(0, 360, 60), rng.uniform(20, 60, 60), np.zeros(60)], axis=1)
    poses[:3, 1] = -60.0
    asked = targets(poses, 41, 12.0)
    prior = np.tile(np.maximum(asked.mean(axis=0), 0.003), (60, 1, 1))
    prior /= prior.sum(axis=2, keepdims=True)
    # Every image makes its own pose about eight times as likely as it was.
    gain = np.maximum(asked / asked.max(axis=2, keepdims=True), 0.0) * 7.0 * rng.uniform(0.8, 1.2, (60, 3, 1)) + 1.0
    predicted = prior * gain
    predicted /= predicted.sum(axis=2, keepdims=True)
    found = standardise(
        asked, predicted[None], prior, np.repeat(np.arange(3), 20), np.array([True, True, False]), np.ones(60, bool)
    )
    assert found.score[:3].max() < POSE_THRESHOLD
    doubted = predicted.copy()
    doubted[5, :2] = np.roll(predicted[5, :2], 20, axis=1)
    wrong = standardise(
        asked, doubted[None], prior, np.repeat(np.arange(3), 20), np.array([True, True, False]), np.ones(60, bool)
    )
    assert wrong.score[5] > 2 * POSE_THRESHOLD


def test_what_the_bundled_readouts_see_tells_front_from_back_far_better() -> None:
    """Of cars, which they learned."""
    images, poses, cad_ids = cars(6, 12)
    said, wrong = poses.copy(), np.arange(len(poses)) % 8 == 3
    said[wrong, 0] = (said[wrong, 0] + 180.0) % 360.0
    told = []
    for backbone in ("hog", "hog-read"):
        scores = judged((images, said, cad_ids), dataclasses.replace(SPEC, backbone=backbone)).scores["kcf"]
        told.append((scores[wrong][:, None] > scores[~wrong][None]).mean())
    assert told[1] > max(0.75, told[0] + 0.1), told
