"""The cohort of a class and what of it is still to be made.

Enters: a class's CAD models (catalog rows), a recipe, a number of samples. Leaves: every sample with the keys of all its
artifacts. Keys follow from specs and identities alone, so this needs no renderer, no network and no server: what is pending
is known in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models import edge
from models.caption import spec as caption
from models.image import spec as image
from models.render import spec as render
from models.render.spec import RenderSpec, ViewpointSpec
from models.sample import SampleId
from models.verdict import spec as verdict
from storage.artifacts import Artifact, ArtifactStore
from storage.keys import artifact_key, plain
from tasks.recipe import Recipe

SHARDS_AT_MOST = 16
"""Task runs a stage: Prefect's server is the slowest part of a large run, so shards grow with the cohort, not in number."""
SHARD_AT_LEAST = 32
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
    keywords: tuple[str, ...]
    cad_key: str
    render_key: str
    edge_key: str
    caption_key: str
    image_key: str
    viewpoint: ViewpointSpec | None = None
    """Where this CAD model's cameras stand, if it asks for something of its own."""
    symmetry: int = 1
    """Rotational symmetry of the CAD model about +z."""
    prompt: str | None = None
    """The caption somebody else wrote for this sample, if captions are imported."""

    def render_spec(self, recipe: Recipe) -> RenderSpec:
        """Return what this sample's render obeys: the recipe's, with the CAD model's own viewpoints if it has any."""
        return recipe.render if self.viewpoint is None else replace(recipe.render, viewpoint=self.viewpoint)

    def key(self, stage: str) -> str:
        """Return the key of this sample's artifact of a stage: cad, render, edge, caption or image."""
        return str(getattr(self, f"{stage}_key"))

    def render_inputs(self) -> dict[str, Any]:
        view = self.sample.view
        return {"cad": self.cad_key, "class_name": view.class_name, "cad_id": view.cad_id, "view_index": view.view_index}

    def edge_inputs(self) -> dict[str, Any]:
        return {"render": self.render_key}

    def caption_inputs(self, recipe: Recipe) -> dict[str, Any]:
        inputs = {**plain(self.sample), "keywords": list(self.keywords), "viewpoint": plain(self.render_spec(recipe).viewpoint)}
        return inputs if self.prompt is None else {**inputs, "prompt": self.prompt}

    def image_inputs(self) -> dict[str, Any]:
        return {**plain(self.sample), "edge": self.edge_key, "caption": self.caption_key}


STAGES = ("cad", "render", "edge", "caption", "image")
"""Stages with an artifact for each sample, in the order in which a sample can fail."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The samples that one task run covers. How samples are dealt into shards changes no key."""

    index: int
    samples: tuple[Planned, ...]

    @property
    def class_name(self) -> str:
        return self.samples[0].sample.class_name

    def __str__(self) -> str:
        return f"{self.class_name}/{self.index:04d}"


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The samples a class consists of under a recipe."""

    class_name: str
    recipe: Recipe
    samples: tuple[Planned, ...]

    def shards(self) -> list[Shard]:
        """Deal the samples into at most SHARDS_AT_MOST shards, whole CAD models together where they fit."""
        size = max(SHARD_AT_LEAST, -(-len(self.samples) // SHARDS_AT_MOST))
        ordered = sorted(self.samples, key=lambda planned: planned.sample)
        return [Shard(index=i // size, samples=tuple(ordered[i : i + size])) for i in range(0, len(ordered), size)]

    def made(self, store: ArtifactStore) -> list[Planned]:
        """Return the samples whose image is there."""
        found = ((planned, store.find("image", planned.image_key)) for planned in self.samples)
        return [planned for planned, artifact in found if artifact is not None and artifact.record.outcome == "made"]

    def pending(self, store: ArtifactStore, stage: str) -> list[Planned]:
        """Return the samples for which a stage has still something to do: nothing there and no earlier stage failed."""
        missing = [planned for planned in self.samples if not store.has(stage, planned.key(stage))]
        before = STAGES[: STAGES.index(stage)]
        return [planned for planned in missing if failure(store, planned, before) is None]

    def verdict_key(self, made: Sequence[Planned]) -> str:
        """Return the key of the verdicts over these samples."""
        return artifact_key(verdict.STAGE, verdict.VERSION, self.recipe.verdict, self.verdict_inputs(made))

    def verdict_inputs(self, made: Sequence[Planned]) -> dict[str, Any]:
        inputs = {"class_name": self.class_name, "images": sorted(planned.image_key for planned in made)}
        turns = {planned.sample.cad_id: planned.symmetry for planned in made if planned.symmetry != 1}
        return {**inputs, "symmetry": turns} if turns else inputs


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
    sample = SampleId(class_name=class_name, cad_id=model.cad_id, view_index=view_index, draw_index=0)
    bare = Planned(
        sample=sample,
        keywords=model.keywords,
        cad_key=model.cad_key,
        render_key="",
        edge_key="",
        caption_key="",
        image_key="",
        viewpoint=None if model.camera is None else recipe.render.viewpoint.asked(model.camera),
        symmetry=model.symmetry,
        prompt=_written(model.captions, sample),
    )
    spec = bare.render_spec(recipe)
    rendered = _with(bare, render_key=artifact_key(render.STAGE, render.VERSION, spec, bare.render_inputs()))
    edged = _with(rendered, edge_key=artifact_key(edge.STAGE, edge.VERSION, recipe.edge, rendered.edge_inputs()))
    captioned = _with(
        edged, caption_key=artifact_key(caption.STAGE, caption.VERSION, recipe.caption, edged.caption_inputs(recipe))
    )
    return _with(captioned, image_key=artifact_key(image.STAGE, image.VERSION, recipe.image, captioned.image_inputs()))


def _written(captions: Sequence[str], sample: SampleId) -> str | None:
    """Return the caption of one sample: each is taken once, in the CAD model's own order, before one is taken again."""
    if not captions:
        return None
    first = replace(sample, view_index=0, draw_index=0)
    order = first.rng("imported caption").permutation(len(captions))
    return captions[order[(sample.view_index + sample.draw_index) % len(captions)]]


def _with(planned: Planned, **keys: str) -> Planned:
    return Planned(**{**{name: getattr(planned, name) for name in Planned.__dataclass_fields__}, **keys})


def failure(store: ArtifactStore, planned: Planned, stages: Sequence[str] = STAGES) -> tuple[str, Artifact] | None:
    """Return the first of `stages` at which a sample has failed, with its record, or None."""
    for stage in stages:
        artifact = store.find(stage, planned.key(stage))
        if artifact is not None and artifact.record.outcome == "failed":
            return stage, artifact
    return None


def check(store: ArtifactStore, cohort: Cohort) -> Mapping[str, int]:
    """Read every artifact of the cohort, set damaged ones aside, and return stage -> how many were damaged or lost since made."""
    damaged: dict[str, int] = {}
    for stage in STAGES:
        for key in sorted({planned.key(stage) for planned in cohort.samples}):
            folder_there = store.folder(stage, key).exists()
            if folder_there and store.sound(stage, key) is None:
                damaged[stage] = damaged.get(stage, 0) + 1
    return damaged
