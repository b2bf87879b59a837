"""Bad evidence, for every kind of judge and rule there is: what was not judged stays so and is said, and nothing breaks.

A kind that joins (one line in models.verdict.kinds) is tested here without a word. Judges that are taught learn next to nothing,
since not how well they judge is asked, but what they say where there is little or nothing to judge.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.filters import sets
from models.evaluation.filters.planted import Shown
from models.evaluation.filters.sets import Pictured
from models.evaluation.filters.spec import FiltersSpec
from models.verdict.clip import ClipSpec
from models.verdict.decide import decide
from models.verdict.kinds import JUDGES, RULES
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, ReadoutSpec, RuleSpec
from models.verdict.rules import AtLeastSpec, AtMostSpec
from tests.verdict.seen import Seen
from tests.verdict.tiny_clip import saved

SPEC = FiltersSpec(classes=("car",), cad_models=3, views=8)
LITTLE = {
    "views": 12,
    "looks": 1,
    "variants": 1,
    "steps": 2,
    "epochs": 1,
    "batch": 4,
    "side": 32,
    "pairs": 8,
    "backbone": "resnet-small",
}
"""Settings, by the names that specs give them, with which a judge learns next to nothing in no time."""


@cache
def whole() -> tuple[Pictured, ...]:
    """Return renders of three cars, eight views of each, as a judge sees images."""
    sources = {source.cad_id: source for source in sets.sources(SPEC, "car")}
    return tuple(
        Pictured(shown=Shown(case=case, picture=case.rgb), source=sources[case.sample.cad_id]) for case in sets.views(SPEC, "car")
    )


def shown_as(picture: Callable[[Pictured], NDArray[np.uint8]]) -> list[Evidence]:
    return [replace(one, shown=replace(one.shown, picture=picture(one))) for one in whole()]


def of_one_cad_model() -> list[Evidence]:
    first = whole()[0].sample.cad_id
    return [one for one in whole() if one.sample.cad_id == first]


def without_lines() -> list[Evidence]:
    """Return images whose control shows nothing."""
    return [
        replace(one, shown=replace(one.shown, case=replace(one.shown.case, edges=np.zeros_like(one.shown.case.edges))))
        for one in whole()
    ]


def imported() -> list[Evidence]:
    """Return images of which nobody knows more than the pose: no box, no control, no caption, no render."""
    return [Seen.of(one.image(), one.shown.case.pose, one.sample.cad_id, i) for i, one in enumerate(whole())]


BAD: dict[str, Callable[[], Sequence[Evidence]]] = {
    "no image at all": list,
    "one image": lambda: whole()[:1],
    "three samples, one of each CAD model": lambda: whole()[::8],
    "one CAD model": of_one_cad_model,
    "a fold of one image": lambda: whole()[:17],
    "identical images": lambda: shown_as(lambda one: whole()[0].image()),
    "one image in one pose, again and again": lambda: [
        replace(whole()[0], shown=replace(whole()[0].shown, case=replace(whole()[0].shown.case, sample=one.sample)))
        for one in whole()
        if one.sample.cad_id == whole()[0].sample.cad_id
    ],
    "black images": lambda: shown_as(lambda one: np.zeros_like(one.image())),
    "controls that show nothing": without_lines,
    "imported images": imported,
}


CLIP = tempfile.TemporaryDirectory(prefix="dst-clip-")
"""Goes when Python ends."""


@cache
def clip() -> Path:
    return saved(Path(CLIP.name))


def little(spec: Any) -> Any:
    """Return a judge's or readout's spec with settings so low that it learns next to nothing."""
    if isinstance(spec, ClipSpec):
        return replace(spec, model=str(clip()))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if isinstance(value, ReadoutSpec):
            changes[field.name] = little(value)
        elif field.name in LITTLE and type(value) is type(LITTLE[field.name]):
            changes[field.name] = LITTLE[field.name] if isinstance(value, str) else min(value, LITTLE[field.name])
    return replace(spec, **changes)


@cache
def taught(spec: ReadoutSpec) -> bytes:
    import pkgutil

    return bytes(pkgutil.resolve_name(spec.implementation)(spec, device="cpu", threads=1).teach(sets.sources(SPEC, "car")[:1]))


def judged(spec: JudgeSpec, evidence: Sequence[Evidence]) -> Judgement:
    """Return what a judge says, which was taught by one CAD model and heard nobody else if it would."""
    runtime: dict[str, Any] = {"device": "cpu", "threads": 1}
    wanted = spec.taught_by()
    if wanted is not None:
        runtime["readout"] = taught(wanted)
    if spec.reads:
        runtime["scores"] = {}
    judgement: Judgement = JUDGES.load(spec, **runtime).judge(evidence)
    return judgement


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", JUDGES.names)
def test_a_judge_says_what_it_did_not_judge_and_nothing_that_it_did_not_is_kept(kind: str, bad: str) -> None:
    spec, evidence = little(JUDGES.of(kind)()), BAD[bad]()
    made = judged(spec, evidence)
    main = spec.scores[0]
    assert main in made.scores
    for name, values in made.scores.items():
        assert any(fnmatchcase(name, given) for given in spec.scores), f"nobody knows that {kind} gives {name}"
        assert values.shape == (len(evidence),)
        assert not np.isinf(values).any()
    missing = np.isnan(made.scores[main])
    if missing.any():
        assert made.not_judged, f"{missing.sum()} of {len(evidence)} images are not judged by {kind}, and it does not say why"
        assert "\n" not in made.not_judged
    else:
        assert made.not_judged is None or len(evidence) == 0, f"{kind} judged everything and says: {made.not_judged}"
    assert made.facts["words"]
    json.dumps(made.facts, allow_nan=False)
    for rule in (AtMostSpec(score=main, threshold=0.0, reason="high"), AtLeastSpec(score=main, threshold=0.0, reason="low")):
        decision = decide(made.scores, {"rule": rule}, len(evidence))
        assert [kept is None for kept in decision.kept] == missing.tolist(), "what was not judged is neither kept nor dropped"


@pytest.mark.parametrize("kind", JUDGES.names)
def test_identical_images_that_are_annotated_alike_are_judged_alike(kind: str) -> None:
    """But for the judge that looks for doubles, which spares the first."""
    spec = little(JUDGES.of(kind)())
    values = judged(spec, BAD["one image in one pose, again and again"]()).scores[spec.scores[0]]
    rest = values[1:] if kind == "duplicate" else values
    assert np.isnan(rest).all() or np.ptp(rest) < 1e-6


@pytest.mark.parametrize("bad", ["one image", "controls that show nothing", "imported images"])
def test_a_judge_that_hears_others_judges_what_one_of_them_did_and_says_what_none_did(bad: str) -> None:
    evidence = BAD[bad]()
    heard: dict[str, NDArray[np.float64]] = {}
    for kind in ("fidelity", "quality", "kcf"):
        heard |= judged(little(JUDGES.of(kind)()), evidence).scores
    for kind in JUDGES.names:
        spec = little(JUDGES.of(kind)())
        if not spec.reads:
            continue
        # Of the first image nobody said anything.
        scores = {name: np.where(np.arange(len(evidence)) == 0, np.nan, values) for name, values in heard.items()}
        made = JUDGES.load(spec, device="cpu", threads=1, scores=scores).judge(evidence)
        missing = np.isnan(made.scores[spec.scores[0]])
        assert missing.tolist() == [index == 0 for index in range(len(evidence))]
        assert f"1 of {len(evidence)}" in str(made.not_judged)


MISSING = {"ensemble": "models.verdict.weighing.BUNDLED", "text": "models.evaluation.readouts.BUNDLED"}
"""Judges whose weights come with the project: where those lie."""


@pytest.mark.parametrize("kind", JUDGES.names)
def test_a_judge_whose_weights_are_missing_says_so_in_one_line_before_any_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = JUDGES.of(kind)()
    if kind in MISSING:
        assert spec.lacking() is None
        monkeypatch.setattr(MISSING[kind], tmp_path / "gone.bin")
        monkeypatch.setattr("models.verdict.weighing.load.__defaults__", (tmp_path / "gone.bin",))
        said = spec.lacking()
        assert said is not None
        assert "gone.bin" in said
    said = spec.lacking()
    assert said is None or "\n" not in said


VALUES: Mapping[str, list[float]] = {
    "no value at all": [],
    "not one is judged": [np.nan] * 4,
    "one value": [0.7],
    "the same value again and again": [0.7] * 5,
    "one is judged": [np.nan, 0.2, np.nan],
    "half are judged": [np.nan, 0.2, 0.9, np.nan, 0.5, 0.1],
}
SETTINGS = {"score": "some", "reason": "odd", "threshold": 0.5, "share": 0.5, "lose": 0.05}


def rule_of(kind: str) -> RuleSpec:
    spec = RULES.of(kind)
    return spec(**{field.name: SETTINGS[field.name] for field in dataclasses.fields(spec) if field.name in SETTINGS})


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("kind", RULES.names)
def test_a_rule_decides_about_what_was_judged_and_says_how_much_was_not(kind: str, values: str) -> None:
    given = np.array(VALUES[values], np.float64)
    passes, words, threshold = RULES.load(rule_of(kind)).decide(given)
    missing = np.isnan(given)
    assert [one is None for one in passes] == missing.tolist()
    assert "\n" not in words
    assert threshold is None or np.isfinite(threshold)
    assert threshold is not None or missing.all(), "what was judged has a threshold"
    if missing.all():
        assert "not judged" in words
    elif missing.any():
        assert f"({missing.sum()} of {len(given)} not judged)" in words
    assert len({one for one, value in zip(passes, given, strict=True) if value == 0.7}) <= 1, "equal scores are decided alike"
    decision = decide({"some": given}, {"rule": rule_of(kind)}, len(given))
    assert list(decision.kept) == passes
    json.dumps(decision.rules, allow_nan=False)


def test_scores_of_which_one_is_not_judged_leave_the_decision_to_the_others() -> None:
    """A rule that cannot judge an image does not keep it, and does not drop it."""
    rules = {kind: replace(rule_of(kind), score=f"by_{i}") for i, kind in enumerate(RULES.names)}
    nothing = {rule.score: np.full(3, np.nan) for rule in rules.values()}
    assert decide(nothing, rules, 3).kept == (None, None, None)
    for rule in rules.values():
        alone = decide({**nothing, rule.score: np.array([0.1, np.nan, 0.9])}, rules, 3)
        assert (alone.kept[0] is None, alone.kept[1], alone.kept[2] is None) == (False, None, False)
