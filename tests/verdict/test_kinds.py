"""Judges and rules join by one line, disturb nobody, and are read from what a recipe says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from models.control.canny import CannySpec
from models.control.geometry import GeometrySpec
from models.control.protocol import ControlSpec
from models.kinds import BadSpec
from models.verdict.decide import decide
from models.verdict.fidelity import FidelitySpec
from models.verdict.kcf import KcfSpec
from models.verdict.kinds import JUDGES, RULES
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress, RuleSpec
from models.verdict.rules import AtMostSpec
from models.verdict.spec import VerdictSpec, verdict_spec
from storage.keys import artifact_key, plain
from tests.verdict.seen import Seen

THIS = "tests.verdict.test_kinds"


@dataclass(frozen=True, kw_only=True)
class BrightnessSpec(JudgeSpec):
    """A toy: how bright is the image?"""

    implementation: ClassVar[str] = f"{THIS}:Brightness"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("brightness",)

    kind: Literal["brightness"] = "brightness"
    channel: int = 0


class Brightness:
    def __init__(self, spec: BrightnessSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec = spec

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        return Judgement(scores={"brightness": np.array([one.image()[..., self.spec.channel].mean() for one in evidence])})


@dataclass(frozen=True, kw_only=True)
class OddSpec(RuleSpec):
    """A toy: drop what is even."""

    implementation: ClassVar[str] = f"{THIS}:Odd"

    kind: Literal["odd"] = "odd"


class Odd:
    def __init__(self, spec: OddSpec) -> None:
        self.spec = spec

    def decide(self, values: NDArray[np.float64]) -> tuple[list[bool | None], str, float | None]:
        return [bool(value % 2) for value in values], f"{self.spec.score} odd", None


@pytest.fixture
def toys() -> Iterator[None]:
    JUDGES.register(BrightnessSpec)
    RULES.register(OddSpec)
    yield
    JUDGES.unregister(BrightnessSpec)
    RULES.unregister(OddSpec)


def score_keys(spec: VerdictSpec, symmetry: Mapping[str, int], controls: Mapping[str, ControlSpec]) -> dict[str, str]:
    """The keys under which the scores of some images are stored."""
    return {
        name: artifact_key("score", judge.version, judge, {"images": ["ab" * 32], **judge.identity(symmetry, controls)})
        for name, judge in spec.judges.items()
    }


def test_a_toy_judge_and_a_toy_rule_judge_and_decide(toys: None) -> None:
    spec = verdict_spec(
        {
            "judges": {"brightness": {"channel": 1}},
            "rules": {"odd": {"kind": "odd", "score": "brightness", "reason": "even"}},
        }
    )
    assert spec.judges == {"brightness": BrightnessSpec(channel=1)}
    evidence = [Seen.of(np.full((8, 8, 3), value, np.uint8), (0, 0, 0)) for value in (3, 4, 5)]
    judgement = JUDGES.load(spec.judges["brightness"], device="cpu", threads=1).judge(evidence)
    assert decide(judgement.scores, spec.rules, 3).reasons == (None, "even", None)


def test_adding_a_judge_or_moving_a_threshold_changes_the_identity_of_no_other_judges_scores(toys: None) -> None:
    symmetry, controls = {"a": 1, "b": 4}, {"canny": CannySpec()}
    before = score_keys(VerdictSpec(), symmetry, controls)
    more = VerdictSpec(judges={**VerdictSpec().judges, "brightness": BrightnessSpec()})
    after = score_keys(more, symmetry, controls)
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 3
    stricter = verdict_spec({"rules": {"pose": {"kind": "at_most", "score": "kcf", "threshold": 1.5, "reason": "pose"}}})
    assert score_keys(stricter, symmetry, controls) == before


def test_a_judges_identity_says_what_its_scores_depend_on_and_nothing_else() -> None:
    spec, canny = VerdictSpec(), {"canny": CannySpec()}
    plain_keys = score_keys(spec, {"a": 1}, canny)
    turned, drawn = score_keys(spec, {"a": 2}, canny), score_keys(spec, {"a": 1}, {**canny, "geometry": GeometrySpec()})
    assert (turned["kcf"] != plain_keys["kcf"], turned["fidelity"] == plain_keys["fidelity"]) == (True, True)
    assert (drawn["kcf"] == plain_keys["kcf"], drawn["fidelity"] != plain_keys["fidelity"]) == (True, True)


def test_a_spec_is_read_back_as_it_was_recorded() -> None:
    spec = VerdictSpec(
        judges={"kcf": KcfSpec(members=5), "fidelity": FidelitySpec()},
        rules={"pose": AtMostSpec(score="kcf_azimuth", threshold=2.5, reason="turned")},
    )
    assert verdict_spec(plain(spec)) == spec
    assert verdict_spec({}) == VerdictSpec()
    assert verdict_spec({"judges": {"kcf": {"members": 5}, "fidelity": {}}}).judges["kcf"] == KcfSpec(members=5)


def test_the_order_in_which_rules_are_said_means_nothing() -> None:
    rules = VerdictSpec().rules
    backwards = VerdictSpec(rules=dict(reversed(list(rules.items()))))
    assert list(backwards.rules) == list(rules) == ["control", "pose"]


def said(**given: Any) -> dict[str, Any]:
    return given


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (said(judge={}), 'verdict has no field "judge"; did you mean "judges"'),
        (said(judges=3), "verdict.judges is a table"),
        (said(judges={"kcf": 3}), "verdict.judges.kcf is a table"),
        (said(judges={"kfc": {}}), "verdict.judges.kfc: no judge of kind 'kfc'; did you mean \"kcf\""),
        (said(judges={"kcf": {"folds": 1}}), "kcf folds is 1"),
        (said(judges={"kcf": {"folds": 2.5}}), "verdict.judges.kcf.folds is a whole number, not 2.5"),
        (said(judges={"kcf": {}, "again": {"kind": "kcf"}}), "verdict: the judges again and kcf both give the score kcf"),
        (
            said(rules={"x": {"kind": "at_most", "score": "kfc", "reason": "x", "threshold": 1}}),
            "which no judge gives; did you mean",
        ),
        (said(judges={"fidelity": {}}), 'the rule pose asks for the score "kcf", which no judge gives'),
    ],
)
def test_a_wrong_verdict_spec_says_what_is_wrong(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(BadSpec) as error:
        verdict_spec(wrong)
    assert line in str(error.value)


def test_a_rule_may_ask_for_the_fidelity_of_one_control() -> None:
    rule = AtMostSpec(score="fidelity_depth", threshold=1.0, reason="depth")
    assert VerdictSpec(rules={"depth": rule}).rules == {"depth": rule}


def test_the_kinds_and_the_spec_load_without_anything_heavy() -> None:
    heavy = ("cv2", "torch", "sklearn", "scipy", "transformers", "pydantic", "diffusers")
    script = f"import sys, models.verdict.spec; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
