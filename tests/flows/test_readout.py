"""The stage `readout`: taught once for a class by its CAD models alone, and known wherever stages are listed.

No server and no renderer: the stages' own functions, as Prefect calls them, and a readout that counts bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import ahead, estimate, generate, pending, recipes, runs
from models.image.kinds import GENERATORS
from models.verdict.kinds import JUDGES
from models.verdict.protocol import CadSource, Evidence, Judgement, JudgeSpec, NothingToTeach, Progress, ReadoutSpec
from models.verdict.readout import facts_of, pack, tensors_of
from storage.catalog import prune
from storage.report.collect import collect
from tasks import stages, stopping
from tasks.plan import cohort as planning
from tasks.plan.cohort import CadModel, Cohort
from tasks.plan.place import Place
from tasks.score import Stored
from tests.flows.test_credits import complete, make, same
from tests.flows.test_place import CHEAP, SAMPLES, PlainSpec, place, planned

THIS = "tests.flows.test_readout"
TAUGHT: list[tuple[str, ...]] = []
"""The CAD models of each lesson that was given."""


@dataclass(frozen=True, kw_only=True)
class CountingSpec(ReadoutSpec):
    """A toy: how large are the class's GLBs?"""

    implementation: ClassVar[str] = f"{THIS}:Counting"
    version: ClassVar[int] = 1

    kind: Literal["counting"] = "counting"
    least: int = 0
    """Smaller ones teach nothing."""


class Counting:
    def __init__(self, spec: CountingSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec = spec

    def teach(self, models: Sequence[CadSource], progress: Progress | None = None) -> bytes:
        TAUGHT.append(tuple(model.cad_id for model in models))
        sizes = {model.cad_id: len(model.glb()) for model in models}
        large = {cad_id: size for cad_id, size in sizes.items() if size >= self.spec.least}
        if not large:
            raise NothingToTeach(f"none of {len(sizes)} CAD models is large enough")
        if progress:
            progress(1, 1)
        left_out = {cad_id: "too small" for cad_id in sizes if cad_id not in large}
        facts = {"words": f"{len(large)} sizes", "left_out": left_out}
        return pack({"sizes": np.array(sorted(large.values()))}, facts)


@dataclass(frozen=True, kw_only=True)
class LargeSpec(JudgeSpec):
    """A toy: how large is the image, in mean sizes of the class's GLBs?"""

    implementation: ClassVar[str] = f"{THIS}:Large"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("large",)

    kind: Literal["large"] = "large"
    readout: CountingSpec = field(default_factory=CountingSpec)

    def taught_by(self) -> ReadoutSpec:
        return self.readout


class Large:
    def __init__(self, spec: LargeSpec, device: str = "cpu", threads: int | None = None, readout: bytes = b"") -> None:
        self.mean = float(tensors_of(readout)["sizes"].mean())

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        return Judgement(scores={"large": np.array([one.image().size / self.mean for one in evidence])})


LARGE: Mapping[str, Any] = {
    "judges": {"kcf": False, "large": {}},
    "rules": {"pose": {"kind": "at_least", "score": "large", "threshold": 0.0, "reason": "too_small"}},
}
"""A recipe's verdict with the taught judge."""


def wants(changes: Mapping[str, Any] | None = None, **readout: Any) -> dict[str, Any]:
    judges = {**LARGE["judges"], "large": {"readout": {"kind": "counting", **readout}}}
    return {**CHEAP, "verdict": {**LARGE, "judges": judges}, **(changes or {})}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There are toys, a generator that needs no network, and nobody who would be shown anything."""
    GENERATORS.register(PlainSpec)
    JUDGES.register(LargeSpec)
    TAUGHT.clear()
    with stopping.flow_run():
        pass
    monkeypatch.setattr("tasks.catalog.create_table_artifact", lambda *said, **more: None)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield
    JUDGES.unregister(LargeSpec)
    GENERATORS.unregister(PlainSpec)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a car and nothing made of it."""
    home = tmp_path_factory.mktemp("readout") / "home"
    GENERATORS.register(PlainSpec)
    planned(place(home), 30_000)
    GENERATORS.unregister(PlainSpec)
    return home


@pytest.fixture
def here(registered: Path, tmp_path: Path) -> Place:
    """A copy of that home."""
    shutil.copytree(registered, tmp_path / "here")
    return place(tmp_path / "here", run="first")


def asked(here: Place, samples: int = SAMPLES, changes: Mapping[str, Any] | None = None, **readout: Any) -> Cohort:
    return runs.cohort(here, "car", samples, recipes.resolve("embedded-quick", wants(changes, **readout)))


# -- keys --------------------------------------------------------------------------------------------------------------

MODELS = tuple(CadModel(cad_id=letter * 64, cad_key=letter.upper() * 64, keywords=()) for letter in "abc")


def key(models: Sequence[CadModel] = MODELS, samples: int = 4, changes: Mapping[str, Any] | None = None, **readout: Any) -> str:
    recipe = recipes.resolve("embedded-quick", wants(changes, **readout))
    return planning.plan("car", recipe, models, samples).judged([])["readout", "large"]


def test_a_readouts_key_is_of_the_classs_cad_models_and_what_teaches_and_of_nothing_else() -> None:
    verdict = wants()["verdict"]
    stricter = {**verdict, "rules": {"pose": {**verdict["rules"]["pose"], "threshold": 0.5}}}
    fewer = {**verdict, "judges": {**verdict["judges"], "fidelity": False}, "rules": {**verdict["rules"], "control": False}}
    same_key = [
        key(samples=1),
        key(samples=400),
        key(models=MODELS[::-1]),
        key(changes={"caption": {"suffix": "sharp"}}),
        key(changes={"render": {"samples": 3}}),
        key(changes={"verdict": stricter}),
        key(changes={"verdict": fewer}),
    ]
    assert set(same_key) == {key()}
    turned = (replace(MODELS[0], symmetry=2), *MODELS[1:])
    others = [key(models=MODELS[:2]), key(models=turned), key(least=1)]
    assert len({key(), *others}) == 4


def test_a_taught_judges_scores_rest_on_its_readout_and_nobody_elses_do() -> None:
    recipe = recipes.resolve("embedded-quick", wants())
    few, more = planning.plan("car", recipe, MODELS, 2), planning.plan("car", recipe, MODELS[:2], 2)
    assert few.keys("image") == more.keys("image")
    then, now = few.judged(few.samples), more.judged(more.samples)
    assert then["score", "large"] != now["score", "large"]
    assert then["score", "fidelity"] == now["score", "fidelity"]


# -- the task ----------------------------------------------------------------------------------------------------------


def test_a_class_is_taught_once_before_there_is_any_image_and_other_cohorts_find_it_there(here: Place) -> None:
    cohort = asked(here)
    make(here, cohort, "readout")
    (at,) = here.store.records("readout")
    assert at.record.values == {"words": "1 sizes", "left_out": {}}
    assert at.record.inputs == {"class_name": "car", "cads": [cohort.models[0].cad_key]}
    assert at.record.runtime["run"] == "first"
    assert list(here.store.records("score")) == []
    make(here, cohort)
    make(here, asked(here, samples=SAMPLES + 2, changes={"caption": {"suffix": "sharp"}}))
    assert len(TAUGHT) == 1
    scores = [artifact for artifact in here.store.records("score") if artifact.record.spec["kind"] == "large"]
    assert [artifact.record.inputs["readout"] for artifact in scores] == [at.key, at.key]
    assert [artifact.record.values["readout"] for artifact in scores] == [at.key, at.key]


def test_where_no_cad_model_teaches_anything_the_judge_does_not_judge_and_says_why(here: Place) -> None:
    cohort = asked(here, least=10**9)
    make(here, cohort)
    make(here, cohort)
    assert len(TAUGHT) == 1, "it is tried once"
    (failed,) = here.store.records("readout")
    assert (failed.record.outcome, failed.record.reason) == ("failed", "nothing_to_teach")
    (score,) = (artifact.record for artifact in here.store.records("score") if artifact.record.spec["kind"] == "large")
    why = "none of 1 CAD models is large enough"
    assert (score.values["judged"], score.values["not_judged"]) == (0, why)
    (verdict,) = here.store.records("verdict")
    assert f"not judged, {why}" in verdict.record.values["judges"]["large"]["words"]
    assert verdict.record.values["reasons"] == {}
    assert runs.to_make(here.store, cohort) == {}


def test_evidence_from_the_store_has_what_was_rendered_and_said(here: Place) -> None:
    cohort = asked(here, changes={"caption": {"suffix": "sharp"}})
    make(here, cohort, "cad", "render", "control", "caption", "image")
    seen: Evidence = Stored(store=here.store, planned=cohort.samples[0], controls=cohort.recipe.controls)
    assert seen.class_name == "car"
    assert seen.caption.endswith("sharp")
    assert seen.keywords == cohort.samples[0].keywords
    mask, depth, normals = seen.mask(), seen.depth(), seen.normals()
    assert mask is not None
    assert depth is not None
    assert normals is not None
    assert depth.dtype == np.float32
    assert ((depth > 0) == (mask > 0)).all()
    assert 0.5 < depth[mask > 0].min() < depth.max() < 6.5
    assert normals.shape == (*mask.shape, 3)
    assert not normals[mask == 0].any()


def test_the_judge_pose_is_taught_by_what_is_registered_and_reads_what_was_made(here: Place) -> None:
    tiny = {"kind": "pose", "views": 8, "looks": 1, "variants": 1, "steps": 2, "batch": 4}
    rule = {"kind": "at_most", "score": "pose", "threshold": 3.0, "reason": "pose_inconsistent"}
    verdict = {"judges": {"kcf": False, "pose": {"readout": tiny}}, "rules": {"pose": rule}}
    cohort = runs.cohort(here, "car", SAMPLES, recipes.resolve("embedded-quick", {**CHEAP, "verdict": verdict}))
    make(here, cohort)
    (taught,) = here.store.records("readout")
    assert taught.record.values["words"].startswith("8 pictures of 1 CAD models")
    (score,) = (artifact.record for artifact in here.store.records("score") if artifact.record.spec["kind"] == "pose")
    # So little teaches hardly more than nothing: either it judges all of them, or it says why it does not.
    assert score.values["judged"] == SAMPLES or "look alike from all sides" in score.values["not_judged"]


# -- wherever stages are listed ----------------------------------------------------------------------------------------


def test_run_catalog_report_and_upkeep_know_the_readout(here: Place) -> None:
    cohort = asked(here)
    assert runs.missing(here.store, cohort)["readout"] == 1
    assert ahead.table(here, [cohort], ahead.missing_of(here, [cohort]))[0]["readout"] == "missing"
    run_id = complete(here, cohort)
    (at,) = here.store.records("readout")
    catalog = here.catalog
    costs = catalog.query("select stage, made from costs order by stage").values.tolist()
    assert ["readout", 1] in costs
    score, verdict = (cohort.judged(cohort.made(here.store))[part] for part in (("score", "large"), ("verdict", "")))
    above = {
        name: catalog.query(f"select upstream_key from lineage where key = '{name}' and upstream_stage = 'readout'")
        for name in (score, verdict)
    }
    assert [frame.upstream_key.tolist() for frame in above.values()] == [[at.key], [at.key]]
    made_of = catalog.query(f"select upstream_stage, upstream_key, file from lineage where key = '{at.key}' order by depth")
    assert made_of.upstream_stage.tolist() == ["cad", "source"]
    assert made_of.upstream_key[0] == cohort.models[0].cad_key
    assert made_of.file[0].endswith("/readout.safetensors")
    (row,) = (row for row in collect(catalog, here.store, run_id).stages if row.stage == "readout")
    assert row.made == 1
    assert same(here)
    assert [item.stage for item in prune.plan(catalog, here.store, 0.0).unreferenced] == []


def test_what_waits_for_a_readout_is_pending_and_one_that_has_gone_is_made_again(here: Place) -> None:
    cohort = asked(here)
    complete(here, cohort)
    (at,) = here.store.records("readout")
    here.store.remove(f"readout/{at.key[:2]}/{at.key}")
    assert runs.to_make(here.store, cohort) == {"readout": 1}
    table = ahead.table(here, [cohort], ahead.missing_of(here, [cohort]))[0]
    assert (table["readout"], table["score"]) == ("missing", "cached")
    looked_up = {stage.stage: stage for stage in pending._looked_up(here.store, cohort, "2026")["stages"]}
    assert (looked_up["readout"].pending, looked_up["score"].pending) == (SAMPLES, 0)
    make(here, cohort)
    assert runs.to_make(here.store, cohort) == {}
    assert len(TAUGHT) == 2


def test_a_readout_is_priced_once_and_not_for_each_sample(here: Place) -> None:
    cohort = asked(here)
    complete(here, cohort)
    costs = estimate.costs(here, cohort.recipe)
    assert ahead._priced(cohort, {"readout": 1, "score": 2}) == {"readout": 1, "score": SAMPLES}
    assert "readout" in costs.seconds


def test_a_recipe_without_taught_judges_lists_no_readout(here: Place) -> None:
    cohort = runs.cohort(here, "car", SAMPLES, recipes.resolve("embedded-quick", CHEAP))
    assert "readout" not in ahead.table(here, [cohort], ahead.missing_of(here, [cohort]))[0]
    assert "readout" not in runs.missing(here.store, cohort)
    run_id = complete(here, cohort)
    assert "readout" not in {row.stage for row in collect(here.catalog, here.store, run_id).stages}


# -- in a run ----------------------------------------------------------------------------------------------------------


def test_a_readout_is_submitted_behind_the_cad_models_and_only_its_own_judge_waits_for_it(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, str, list[str]]] = []

    class Submitting:
        def __init__(self, name: str) -> None:
            self.name = name

        def with_options(self, **options: Any) -> Submitting:
            return self

        def submit(self, place: Place, of: Any, part: Any, *before: str) -> str:
            name = f"{self.name} {part}" if isinstance(of, Cohort) else self.name
            order.append((self.name, name, sorted(before)))
            return name

    monkeypatch.setattr(stages._Stage, "run", lambda stage: Submitting(stage.name))
    cohort = asked(here)
    made = generate.samples_of(here, cohort, readouts=True)
    generate.verdicts_on(here, cohort, made)
    names = [name for _, name, _ in order]
    waits = {name: before for _, name, before in order}
    assert names.index("readout large") < names.index("render")
    assert waits["readout large"] == ["cad"]
    assert waits["score large"] == ["image", "readout large"]
    assert waits["score fidelity"] == ["image"]
    assert waits["verdict "] == ["score fidelity", "score large"]


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_readouts_file_says_in_its_header_what_was_taught_and_is_the_same_for_the_same_content() -> None:
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(2, np.int64)}
    facts = {"words": "zwei Größen", "left_out": {"ab": "no faces"}}
    packed = pack(tensors, facts)
    assert packed == pack(dict(reversed(tensors.items())), facts)
    assert facts_of(packed) == facts
    assert (tensors_of(packed)["b"] == tensors["b"]).all()
