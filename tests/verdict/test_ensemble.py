"""The ensemble: fitted on some classes it tells failures of another, says by which judge, and is less sure with fewer of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.recipes import as_overrides, resolve
from models.evaluation.filters import fitting
from models.evaluation.filters.fitting import Example
from models.verdict import weighing
from models.verdict.decide import why
from models.verdict.ensemble import Ensemble, EnsembleSpec
from models.verdict.kcf import KcfSpec
from models.verdict.weighing import Weights, weigh
from models.verdict.wish import PRIOR, WishSpec
from storage.keys import plain
from tasks import stages
from tasks.plan.cohort import CadModel, plan

NAN = float("nan")


def example(class_name: str, seed: int, count: int = 240, rate: float = 0.25) -> Example:
    """A set in which `turned` labels show in pose and a little in kcf, `lost` controls in fidelity alone; classes differ."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["", "turned", "lost"])[rng.choice(3, count, p=[1 - rate, rate / 2, rate / 2])]
    turned, lost = kinds == "turned", kinds == "lost"
    scores = {
        "kcf": rng.normal(0.1 * (seed % 4), 1.0, count) + 2.0 * turned,
        "pose": rng.normal(0.0, 0.5, count) + rng.normal(3.0, 1.0, count) * turned,
        "fidelity": np.clip(rng.normal(0.7 - 0.05 * (seed % 4), 0.08, count) - 0.4 * lost, -0.1, 1.0),
        "noise": rng.normal(size=count),
    }
    return Example(class_name=class_name, part=f"{rate}", scores=scores, failures=kinds.tolist())


@pytest.fixture(scope="module")
def weights() -> Weights:
    made = [example(name, seed) for seed, name in enumerate(("bus", "boat", "truck"))]
    return fitting.fit([*made, example("bus", 9, rate=0.1)], "the test")


def test_failures_of_a_class_that_it_did_not_see_are_told_and_probabilities_are_calibrated(weights: Weights) -> None:
    held = weights.facts["held_out"]
    assert held["all"]["auroc"] > 0.97
    assert set(held["by_class"]) == {"boat", "bus", "truck"}
    assert min(one["auroc"] for one in held["by_kind"].values()) > 0.95
    unseen = example("car", 4, count=4000, rate=PRIOR)
    found = weigh(weights, unseen.scores, 4000).probability
    assert found.mean() == pytest.approx(unseen.failed.mean(), abs=0.03)
    doubted = (found > 0.2) & (found < 0.8)
    assert unseen.failed[doubted].mean() == pytest.approx(found[doubted].mean(), abs=0.25)
    kept = np.array(WishSpec(lose=0.05).expected(found, float(np.quantile(found, 0.9)))["recall"])
    assert (found[unseen.failed] > np.quantile(found, 0.9)).mean() == pytest.approx(kept, abs=0.08)


def test_each_judge_adds_where_it_is_suspicious_and_a_more_suspect_score_never_lowers_the_probability(weights: Weights) -> None:
    sound = {"kcf": np.zeros(60), "pose": np.zeros(60), "fidelity": np.full(60, 0.7)}
    usual = weigh(weights, sound, 60)
    assert usual.probability.max() < 0.05
    for judge, step in (("kcf", 1.0), ("pose", 1.0), ("fidelity", -0.2)):
        scores = {name: values.copy() for name, values in sound.items()}
        scores[judge][:6] += step * np.arange(6)
        found = weigh(weights, scores, 60)
        assert np.all(np.diff(found.probability[:6]) >= 0), judge
        assert max(found.added, key=lambda name: found.added[name][5]) == judge
    assert all(weight >= 0 for read in weights.reads for weight in read.weights)


def test_what_a_judge_does_not_say_makes_it_less_sure_and_what_nobody_says_is_not_judged(weights: Weights) -> None:
    scores = {"kcf": np.array([8.0, 8.0, NAN]), "pose": np.array([4.0, NAN, NAN]), "fidelity": np.array([0.7, 0.7, NAN])}
    found = weigh(weights, scores, 3)
    assert PRIOR < found.probability[1] < found.probability[0]
    assert np.isnan(found.probability[2])
    assert np.isnan(found.added["pose"][1])
    sound = weigh(weights, {"kcf": np.zeros(2), "fidelity": np.full(2, 0.7), "pose": np.array([0.0, NAN])}, 2).probability
    assert sound[0] < sound[1] < PRIOR
    nobody = weigh(weights, {}, 2)
    assert np.isnan(nobody.probability).all()
    assert np.isnan(weigh(weights, {"kcf": np.array([np.inf, NAN])}, 2).probability).all()


def test_whole_class_shifted_is_no_failure_of_every_image(weights: Weights) -> None:
    rng = np.random.default_rng(0)
    shifted = {"kcf": rng.normal(1.0, 1.0, 300), "pose": rng.normal(0.5, 0.5, 300), "fidelity": rng.normal(0.55, 0.08, 300)}
    assert np.median(weigh(weights, shifted, 300).probability) < 0.15


def test_fitting_again_gives_the_same_file_and_a_file_that_is_none_is_one_line(weights: Weights, tmp_path: Path) -> None:
    made = [example(name, seed) for seed, name in enumerate(("bus", "boat"))]
    for name in ("one.json", "two.json"):
        weighing.save(fitting.fit(made, "the test"), tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    weighing.save(weights, tmp_path / "weights.json")
    assert weighing.load(tmp_path / "weights.json") == weights
    (tmp_path / "none.json").write_text('{"reads": [{}]}')
    for name in ("none.json", "missing.json"):
        with pytest.raises(ValueError, match=r"fit them( again)?: dst evaluate ensemble") as refused:
            weighing.load(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="at least two classes"):
        fitting.fit([example("bus", 0)], "the test")


def test_a_cad_model_that_stands_otherwise_is_a_failure_that_pose_alone_sees() -> None:
    made = example("bus", 0)
    cad_ids = [f"cad {i % 8}" for i in range(len(made.failures))]
    stands = fitting.standing_otherwise(made, cad_ids)
    changed = [i for i, (name, was) in enumerate(zip(stands.failures, made.failures, strict=True)) if name != was]
    assert {cad_ids[i] for i in changed} == {"cad 0"}
    assert {made.failures[i] for i in changed} == {""}
    moved = stands.scores["pose"] - made.scores["pose"]
    assert np.flatnonzero(moved).tolist() == changed
    assert stands.scores["kcf"] is made.scores["kcf"]
    without = Example(class_name="bus", part="", scores={"kcf": made.scores["kcf"]}, failures=made.failures)
    assert fitting.standing_otherwise(without, cad_ids) is without


def test_doubtful_images_teach_nothing() -> None:
    made = [example(name, seed) for seed, name in enumerate(("bus", "boat"))]
    beside = [
        Example(
            class_name=one.class_name,
            part=one.part,
            scores={name: np.concatenate([values, np.full(30, 9.0)]) for name, values in one.scores.items()},
            failures=[*one.failures, *["doubtful"] * 30],
        )
        for one in made
    ]
    with_them, without = fitting.fit(beside, "the test"), fitting.fit(made, "the test")
    assert with_them.facts["held_out"]["all"]["auroc"] == pytest.approx(without.facts["held_out"]["all"]["auroc"], abs=0.02)


def test_the_judge_says_whom_it_heard_and_a_drop_names_the_judge_that_weighed_most(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing.save(weights, tmp_path / "weights.json")
    monkeypatch.setattr(weighing.load, "__defaults__", (tmp_path / "weights.json",))
    evidence = [None] * 3
    scores = {"kcf": np.array([6.0, 0.0, NAN]), "fidelity": np.array([0.7, 0.1, NAN])}
    found = Ensemble(EnsembleSpec(), scores=scores).judge(evidence)  # type: ignore[arg-type]
    assert sorted(found.scores) == ["ensemble", "ensemble_fidelity", "ensemble_kcf"]
    assert found.facts["words"] == "probability of failure from kcf, fidelity; less sure without pose"
    assert found.not_judged == "no judge that it reads said anything of 1 of 3 images"
    image = {name: float(values[0]) for name, values in found.scores.items()} | {"kcf": 6.0, "kcf_azimuth": 6.0}
    told = why(WishSpec(lose=0.05), {"pose filter": KcfSpec(), "ensemble": EnsembleSpec()}, image, {})
    assert told.startswith("pose filter: models that learned from the other CAD models see another azimuth")


def test_in_a_cohort_it_judges_behind_those_it_reads_and_another_threshold_measures_nothing_again() -> None:
    recipe = resolve("embedded-quick", {"verdict": {"judges": {"ensemble": {}, "quality": {}, "duplicate": {}}}})
    cohort = plan("car", recipe, [CadModel(cad_id="a" * 64, cad_key="k", keywords=())], 3)
    score = stages.OVER_A_COHORT["score"]
    parts = list(score.parts(recipe))
    assert parts[-1] == "ensemble"
    assert set(score.behind(recipe, "ensemble")) == {"fidelity", "kcf", "quality"}
    assert list(score.behind(recipe, "kcf")) == []
    made = score.blueprints(cohort, cohort.samples)
    assert list(made) == parts
    heard = {name: made[name].key for name in ("fidelity", "kcf", "quality")}
    assert made["ensemble"].inputs["scores"] == heard
    other = resolve(
        "embedded-quick", {"verdict": {"judges": {"ensemble": {}, "quality": {}, "duplicate": {}, "kcf": {"seed": 1}}}}
    )
    again = score.blueprints(plan("car", other, cohort.models, 3), cohort.samples)
    assert {name for name in parts if again[name].key != made[name].key} == {"kcf", "ensemble"}


def test_in_a_run_it_waits_for_the_judges_it_reads_and_the_verdict_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import generate

    submitted: dict[str, tuple[str, ...]] = {}

    class Task:
        def submit(self, place: object, cohort: object, part: str, *before: str) -> str:
            submitted[part] = before
            return f"scored by {part}" if part else "decided"

    monkeypatch.setattr(stages.CohortStage, "run", lambda stage: Task())
    recipe = resolve("embedded-quick", {"verdict": {"judges": {"ensemble": {}}}})
    cohort = plan("car", recipe, [CadModel(cad_id="a" * 64, cad_key="k", keywords=())], 3)
    generate.verdicts_on(None, cohort, {"image": ["painted"], "readout": []})  # type: ignore[arg-type, list-item]
    assert submitted["kcf"] == ("painted",)
    assert submitted["ensemble"] == ("painted", "scored by fidelity", "scored by kcf")
    assert submitted[""] == ("scored by fidelity", "scored by kcf", "scored by ensemble")


def test_a_recipe_that_goes_by_a_wish_is_read_and_recorded_as_it_was_said() -> None:
    said = {
        "judges": {"ensemble": {}, "pose": {}, "shape": {}},
        "rules": {"control": False, "pose": False, "wish": {"lose": 0.05}},
    }
    recipe = resolve("embedded-quick", {"verdict": said})
    assert recipe.verdict.rules == {"wish": WishSpec(lose=0.05)}
    assert resolve(**as_overrides(plain(recipe))) == recipe
    with pytest.raises(ValueError, match='the rule wish asks for the score "ensemble", which no judge gives'):
        resolve("embedded-quick", {"verdict": {"rules": {"wish": {"lose": 0.05}}}})
