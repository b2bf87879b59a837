"""The cohort of a class and what of it is still to be made.

Enters: a class's CAD models (catalog rows), a recipe, a number of samples. Leaves: every sample with the keys of all its
artifacts. Keys follow from specs and identities alone, so this needs no renderer, no network and no server: what is pending
is known in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.render.spec import RenderSpec, ViewpointSpec
from models.sample import SampleId
from storage.artifacts import Artifact, ArtifactStore, DamagedArtifact, MissingArtifact
from storage.stages import OF_A_SAMPLE, before
from tasks import stages
from tasks.plan.recipe import Recipe

SHARDS_AT_MOST = 16
"""Task runs a stage: Prefect's server is the slowest part of a large run, so shards grow with the cohort, not in number."""
SHARD_AT_LEAST = 64
"""Samples a shard: below this a task run costs more than its work."""


@dataclass(frozen=True, kw_only=True)
class CadModel:
    """What the cohort needs to know of a registered CAD model."""

    cad_id: str
    """sha256 of the source."""
    cad_key: str
    """Key of the canonical GLB."""
    keywords: tuple[str, ...]
    """Words about this CAD model, for its captions."""
    camera: Mapping[str, Any] | None = None
    """What its list asks of the camera (ViewpointSpec.asked); None: the recipe's viewpoints."""
    symmetry: int = 1
    """Rotational symmetry about +z (models.symmetry); 1 also where it is not known."""
    captions: tuple[str, ...] = ()
    """Captions others wrote for it, of which each sample takes one; empty: the recipe's captioner writes them."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A sample and the keys of everything that is made for it."""

    sample: SampleId
    """Which sample."""
    keywords: tuple[str, ...]
    """Words about its CAD model."""
    keys: Mapping[str, Mapping[str, str]]
    """Stage -> the keys of the sample's artifacts of it: {"": key} of a single one, {kind: key} of its controls."""
    viewpoint: ViewpointSpec | None = None
    """Where this CAD model's cameras stand, if it asks for something of its own."""
    symmetry: int = 1
    """Rotational symmetry of the CAD model about +z."""
    written: str | None = None
    """The caption somebody else wrote for this sample, if captions are imported."""

    def render_spec(self, recipe: Recipe) -> RenderSpec:
        """Return what this sample's render obeys: the recipe's, with the CAD model's own viewpoints if it has any."""
        return recipe.render if self.viewpoint is None else replace(recipe.render, viewpoint=self.viewpoint)

    def key(self, stage: str) -> str:
        """Return the key of this sample's artifact of a stage; of its controls, that of the first in order of kind."""
        return next(iter(self.keys[stage].values()))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The samples that one task run covers. How samples are dealt into shards changes no key."""

    index: int
    """0, 1, ... within the cohort."""
    samples: tuple[Planned, ...]
    """In order of their identity."""

    @property
    def class_name(self) -> str:
        """The class of all of them."""
        return self.samples[0].sample.class_name

    def keys(self, stage: str) -> set[str]:
        """Return the keys of all artifacts of a stage that it answers for."""
        return {key for planned in self.samples for key in planned.keys[stage].values()}

    def __str__(self) -> str:
        return f"{self.class_name}/{self.index:04d}"


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The samples a class consists of under a recipe."""

    class_name: str
    """The class."""
    recipe: Recipe
    """All specs."""
    samples: tuple[Planned, ...]
    """View 0 of every CAD model, then view 1, ..."""
    models: tuple[CadModel, ...]
    """All CAD models of the class, in order of cad_id; of few samples some have none."""

    @property
    def cad_models(self) -> int:
        """Of how many CAD models its samples are."""
        return len({planned.sample.cad_id for planned in self.samples})

    def shards(self) -> list[Shard]:
        """Deal the samples into at most SHARDS_AT_MOST shards, whole CAD models together where they fit."""
        size = max(SHARD_AT_LEAST, -(-len(self.samples) // SHARDS_AT_MOST))
        ordered = sorted(self.samples, key=lambda planned: planned.sample)
        return [Shard(index=i // size, samples=tuple(ordered[i : i + size])) for i in range(0, len(ordered), size)]

    def keys(self, stage: str) -> set[str]:
        """Return the keys of all artifacts of a stage of single samples."""
        return {key for planned in self.samples for key in planned.keys[stage].values()}

    def made(self, store: ArtifactStore) -> list[Planned]:
        """Return the samples whose image is there."""
        found = ((planned, store.find("image", planned.key("image"))) for planned in self.samples)
        return [planned for planned, artifact in found if artifact is not None and artifact.record.outcome == "made"]

    def missing(self, store: ArtifactStore, stage: str) -> set[str]:
        """Return the keys of a stage that are still to be made: nothing there, and no earlier stage failed."""
        return {
            key
            for planned in self.samples
            for key in planned.keys[stage].values()
            if not store.has(stage, key) and failure(store, planned, before(stage)) is None
        }

    def judged(self, made: Sequence[Planned]) -> dict[tuple[str, str], str]:
        """Return (stage, part) -> key of what is made for the class as a whole: readouts, each judge's scores, the verdict."""
        return {
            (stage.name, part): blueprint.key
            for stage in stages.OF_A_COHORT
            for part, blueprint in stage.blueprints(self, made).items()
        }

    def verdict_key(self, made: Sequence[Planned]) -> str:
        """Return the key of the verdict over these samples."""
        return self.judged(made)["verdict", ""]


def plan(class_name: str, recipe: Recipe, models: Sequence[CadModel], samples: int) -> Cohort:
    """Return the cohort of `samples` samples: the first views of each CAD model, dealt round.

    Raises ValueError for zero samples or a class without CAD models.
    """
    check_count(samples)
    if not models:
        raise ValueError(f'class "{class_name}" has no usable CAD model; add one: dst cad add PATH --class "{class_name}"')
    return Cohort(
        class_name=class_name,
        recipe=recipe,
        samples=tuple(_planned(class_name, recipe, model, view) for model, view in deal(models, samples)),
        models=tuple(sorted(models, key=lambda model: model.cad_id)),
    )


def check_count(samples: int) -> None:
    """Raise ValueError unless a run can have so many samples."""
    if samples < 1:
        raise ValueError(f"a run needs at least 1 sample, not {samples}; say --samples 24")


def deal(models: Sequence[CadModel], samples: int) -> Iterator[tuple[CadModel, int]]:
    """Yield (CAD model, view index): view 0 of every CAD model in order of cad_id, then view 1, ..., `samples` in all."""
    ordered = sorted(models, key=lambda model: model.cad_id)
    for i in range(samples):
        yield ordered[i % len(ordered)], i // len(ordered)


def _planned(class_name: str, recipe: Recipe, model: CadModel, view_index: int) -> Planned:
    """Return a sample with the keys of its artifacts, found by walking the graph of stages."""
    sample = SampleId(class_name=class_name, cad_id=model.cad_id, view_index=view_index, draw_index=0)
    planned = Planned(
        sample=sample,
        keywords=model.keywords,
        keys={"cad": {"": model.cad_key}},
        viewpoint=None if model.camera is None else recipe.render.viewpoint.asked(model.camera),
        symmetry=model.symmetry,
        written=_written(model.captions, sample),
    )
    for stage in stages.OF_A_SAMPLE:
        if stage.name not in planned.keys:
            keys = {part: blueprint.key for part, blueprint in stage.blueprints(recipe, planned).items()}
            planned = replace(planned, keys={**planned.keys, stage.name: keys})
    return planned


def _written(captions: Sequence[str], sample: SampleId) -> str | None:
    """Return the caption of one sample: each is taken once, in the CAD model's own order, before one is taken again."""
    if not captions:
        return None
    first = replace(sample, view_index=0, draw_index=0)
    order = first.rng("imported caption").permutation(len(captions))
    return captions[int(order[(sample.view_index + sample.draw_index) % len(captions)])]


def failure(store: ArtifactStore, planned: Planned, among: Sequence[str] = OF_A_SAMPLE) -> tuple[str, Artifact] | None:
    """Return the first of the stages `among` at which a sample has failed, with its artifact, or None."""
    for stage in among:
        for key in planned.keys[stage].values():
            artifact = store.find(stage, key)
            if artifact is not None and artifact.record.outcome == "failed":
                return stage, artifact
    return None


def check(store: ArtifactStore, cohort: Cohort) -> Mapping[str, int]:
    """Read every artifact of the cohort, set damaged ones aside, and return stage -> how many were damaged or lost since made."""
    damaged: dict[str, int] = {}
    for stage in OF_A_SAMPLE:
        for key in sorted(cohort.keys(stage)):
            try:
                store.verify(store.get(stage, key))
            except MissingArtifact:
                continue
            except DamagedArtifact:
                store.set_aside(stage, key)
                damaged[stage] = damaged.get(stage, 0) + 1
    return damaged
