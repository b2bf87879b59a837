"""The graph of stages: what each reads, obeys and runs.

    cad -> render -> control ---+
    class, keywords -> caption -+-> image -> score -> verdict
    cad (all of the class) -> readout ---------^

A stage is data. Its artifacts' keys follow from it (storage.keys): stage, version, spec, the keys of what it reads, and what else
identifies a sample. Cohorts, flows, previews and reproductions walk this table; nothing else says what comes behind what.
Importing it imports no Prefect, no network and no renderer.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.render import spec as render
from models.verdict import spec as verdict
from storage.artifacts import Record
from storage.keys import artifact_key, plain

if TYPE_CHECKING:
    from models.verdict.protocol import ReadoutSpec
    from tasks.plan.cohort import Cohort, Planned
    from tasks.plan.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that determines one artifact."""

    stage: str
    """The stage that makes it."""
    version: int
    """The version of the code that obeys the spec."""
    spec: Any
    """What is obeyed."""
    inputs: Mapping[str, Any]
    """The keys of what goes in, and the identity of what comes out."""

    @property
    def key(self) -> str:
        """The artifact's key."""
        return artifact_key(self.stage, self.version, self.spec, self.inputs)

    def record(self, key: str | None = None, **found: Any) -> Record:
        """Return the artifact's record with what was found out while making it; `key`: as planned, where that is at hand."""
        return Record(
            key=key or self.key,
            stage=self.stage,
            version=self.version,
            spec=plain(self.spec),
            inputs=plain(self.inputs),
            **found,
        )


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What every stage says of itself."""

    name: str
    """Its name, one of storage.stages."""
    reads: tuple[str, ...]
    """The stages whose artifacts go in."""
    task: str
    """Its task, `package.module:name`; imported when a flow runs it."""
    obeys: str
    """The table of a recipe that holds its spec, or its specs by name; "" for none."""
    needs: str = ""
    """What a worker of a cluster must offer to do it (tasks.plan.fit: GPU, RENDER); "": any can."""

    def run(self) -> Any:
        """Return its task."""
        return pkgutil.resolve_name(self.task)


@dataclass(frozen=True, kw_only=True)
class Stage(_Stage):
    """A stage with artifacts of single samples."""

    specs: Callable[[Recipe, Planned], Mapping[str, Any]]
    """The specs of a sample's artifacts of this stage, by what tells these apart: {"": spec} for a single one, {kind: spec} for
    its controls."""
    version: Callable[[Any], int]
    """The version of the code that obeys a spec."""
    identity: Callable[[Recipe, Planned], Mapping[str, Any]]
    """What identifies an artifact besides its spec and what it reads."""

    def blueprints(self, recipe: Recipe, planned: Planned) -> dict[str, Blueprint]:
        """Return what determines each of a sample's artifacts of this stage; the keys of the stages it reads are planned."""
        inputs = dict(self.identity(recipe, planned))
        for name in self.reads:
            keys = planned.keys[name]
            inputs |= {name: keys[""]} if "" in keys else {f"{name}s": dict(keys)}
        return {
            part: Blueprint(stage=self.name, version=self.version(spec), spec=spec, inputs=inputs)
            for part, spec in self.specs(recipe, planned).items()
        }


@dataclass(frozen=True, kw_only=True)
class CohortStage(_Stage):
    """A stage with artifacts of a class as a whole; its task runs once for each of them."""

    parts: Callable[[Recipe], Sequence[str]]
    """What tells its artifacts apart: the judges' names, or "" for the one verdict."""
    blueprints: Callable[[Cohort, Sequence[Planned]], Mapping[str, Blueprint]]
    """What determines each of them, over the samples that have an image."""
    behind: Callable[[Recipe, str], Sequence[str]] = lambda recipe, part: ()
    """The parts of this same stage that a part reads, and waits for; they stand before it."""
    of_images: bool = True
    """Whether it looks at images, and so waits for all of them; a readout is taught by CAD models alone."""


def _view(recipe: Recipe, planned: Planned) -> dict[str, Any]:
    view = planned.sample.view
    return {"class_name": view.class_name, "cad_id": view.cad_id, "view_index": view.view_index}


def _words(recipe: Recipe, planned: Planned) -> dict[str, Any]:
    """A caption knows the class, the keywords, the pose and how much the generator can read; nothing of a render."""
    viewpoint = plain(planned.render_spec(recipe).viewpoint)
    known = {**plain(planned.sample), "keywords": list(planned.keywords), "viewpoint": viewpoint}
    known["most_tokens"] = recipe.image.most_tokens
    if recipe.caption.counts_tokens:
        known["tokenizer"] = recipe.image.model_revision
    return known if planned.written is None else {**known, "prompt": planned.written}


def _taught(recipe: Recipe) -> dict[str, ReadoutSpec]:
    """Return judge -> what teaches it, of the judges that are taught."""
    specs = {name: judge.taught_by() for name, judge in recipe.verdict.judges.items()}
    return {name: spec for name, spec in specs.items() if spec is not None}


def _readouts(cohort: Cohort, made: Sequence[Planned] = ()) -> dict[str, Blueprint]:
    """Nothing of images, prompts or rules is in these keys: a readout is taught once for a class."""
    symmetric = {model.cad_id: model.symmetry for model in cohort.models if model.symmetry != 1}
    inputs: dict[str, Any] = {"class_name": cohort.class_name, "cads": sorted(model.cad_key for model in cohort.models)}
    inputs |= {"symmetry": symmetric} if symmetric else {}
    return {
        name: Blueprint(stage="readout", version=spec.version, spec=spec, inputs=inputs | spec.identity())
        for name, spec in _taught(cohort.recipe).items()
    }


def _judges(recipe: Recipe) -> list[str]:
    """Return the names of a recipe's judges: those that read what others say behind the others."""
    return sorted(recipe.verdict.judges, key=lambda name: (bool(recipe.verdict.judges[name].reads), name))


def _heard(recipe: Recipe, part: str) -> list[str]:
    """Return the names of the judges that a judge reads; none reads one that reads others."""
    judges = recipe.verdict.judges
    return [name for name in _judges(recipe) if judges[name].kind in judges[part].reads and not judges[name].reads]


def _scores(cohort: Cohort, made: Sequence[Planned]) -> dict[str, Blueprint]:
    readouts = {name: {"readout": blueprint.key} for name, blueprint in _readouts(cohort).items()}
    symmetry = {planned.sample.cad_id: planned.symmetry for planned in made}
    images = sorted(planned.key("image") for planned in made)
    made_by: dict[str, Blueprint] = {}
    for name in _judges(cohort.recipe):
        judge = cohort.recipe.verdict.judges[name]
        heard = {other: made_by[other].key for other in _heard(cohort.recipe, name)}
        made_by[name] = Blueprint(
            stage="score",
            version=judge.version,
            spec=judge,
            inputs={
                "class_name": cohort.class_name,
                "images": images,
                **judge.identity(symmetry, cohort.recipe.controls),
                **readouts.get(name, {}),
                **({"scores": heard} if judge.reads else {}),
            },
        )
    return made_by


def _verdict(cohort: Cohort, made: Sequence[Planned]) -> dict[str, Blueprint]:
    scores = {judge: blueprint.key for judge, blueprint in _scores(cohort, made).items()}
    images = sorted(planned.key("image") for planned in made)
    inputs = {"class_name": cohort.class_name, "images": images, "scores": scores}
    return {"": Blueprint(stage="verdict", version=verdict.VERSION, spec=cohort.recipe.verdict.rules, inputs=inputs)}


OF_A_SAMPLE = (
    Stage(
        name="cad",
        reads=(),
        task="tasks.cad:cad",
        obeys="",
        # Made when the CAD model was registered, under a spec of its own: its key is given.
        specs=lambda recipe, planned: {},
        version=lambda spec: 0,
        identity=lambda recipe, planned: {},
    ),
    Stage(
        name="render",
        reads=("cad",),
        task="tasks.render:render",
        needs="render",
        obeys="render",
        specs=lambda recipe, planned: {"": planned.render_spec(recipe)},
        version=lambda spec: render.VERSION,
        identity=_view,
    ),
    Stage(
        name="control",
        reads=("render",),
        task="tasks.control:control",
        obeys="controls",
        specs=lambda recipe, planned: recipe.controls,
        version=lambda spec: spec.version,
        identity=lambda recipe, planned: {},
    ),
    Stage(
        name="caption",
        reads=(),
        task="tasks.caption:caption",
        obeys="caption",
        specs=lambda recipe, planned: {"": recipe.caption},
        version=lambda spec: spec.version,
        identity=_words,
    ),
    Stage(
        name="image",
        reads=("control", "caption"),
        task="tasks.image:image",
        needs="gpu",
        obeys="image",
        specs=lambda recipe, planned: {"": recipe.image},
        version=lambda spec: spec.version,
        identity=lambda recipe, planned: plain(planned.sample),
    ),
)
"""In the order in which a sample goes through them."""

OF_A_COHORT = (
    CohortStage(
        name="readout",
        reads=("cad",),
        task="tasks.readout:readout",
        needs="gpu",
        obeys="verdict",
        parts=lambda recipe: list(_taught(recipe)),
        blueprints=_readouts,
        of_images=False,
    ),
    CohortStage(
        name="score",
        reads=("image", "readout"),
        task="tasks.score:score",
        needs="gpu",
        obeys="verdict",
        parts=_judges,
        behind=_heard,
        blueprints=_scores,
    ),
    CohortStage(
        name="verdict",
        reads=("score",),
        task="tasks.verdict:verdict",
        obeys="verdict",
        parts=lambda recipe: [""],
        blueprints=_verdict,
    ),
)

BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in OF_A_SAMPLE}
OVER_A_COHORT: Mapping[str, CohortStage] = {stage.name: stage for stage in OF_A_COHORT}
