"""The sets of a benchmark: painted views of held-out CAD models with planted failures, as judges are shown them.

Enters: a FiltersSpec, a folder in which painted pictures are kept. Leaves: FilterSets, each the images of one class as evidence
(models.verdict.protocol), the CAD models that a readout is taught by, and the truth. Made in memory; only pictures are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.control.canny import CannySpec
from models.control.protocol import ControlSpec
from models.evaluation import cases
from models.evaluation.cases import Case
from models.evaluation.filters import planted
from models.evaluation.filters.planted import KINDS, PAINTED, Shown, Variant
from models.evaluation.filters.spec import CAD_SEED, VERSION, FiltersSpec, setting
from models.evaluation.painting import Painter
from models.image.controlnet import ControlNetSpec
from models.render.annotation import box2d, normal_picture
from models.render.viewpoint import Pose
from models.sample import SampleId, ViewId
from models.world import geometry, picture
from models.world.spec import VERSION as world_version
from models.world.spec import WorldSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Parametric:
    """A held-out CAD model as readouts are taught by it (models.verdict.protocol.CadSource)."""

    class_name: str
    seed: int
    """Of the parametric CAD model."""
    turned: float = 0.0
    """Degrees by which it stands wrong about its upright axis."""

    @property
    def cad_id(self) -> str:
        return f"parametric-{self.seed}"

    @property
    def symmetry(self) -> int:
        return _facts(self.class_name, self.seed)[0]

    @property
    def keywords(self) -> tuple[str, ...]:
        return _facts(self.class_name, self.seed)[1]

    def glb(self) -> bytes:
        """Return the canonical GLB."""
        return _glb(self.class_name, self.seed, self.turned)


@functools.lru_cache(maxsize=1024)
def _facts(class_name: str, seed: int) -> tuple[int, tuple[str, ...]]:
    from models.cad import parametric

    made = parametric.model(class_name, seed)
    return made.symmetry, tuple(made.keywords)


def _glb(class_name: str, seed: int, turned: float) -> bytes:
    from models.cad import parametric

    made = parametric.glb(class_name, seed)
    if not turned:
        return made
    import io

    import trimesh

    scene = trimesh.load_scene(io.BytesIO(made), file_type="glb", process=False)
    # A canonical GLB's upright axis is y.
    scene.apply_transform(trimesh.transformations.rotation_matrix(np.radians(turned), [0.0, 1.0, 0.0]))
    data: bytes = scene.export(file_type="glb", include_normals=True)
    return data


@functools.lru_cache(maxsize=64)
def _ray_model(source: Parametric) -> geometry.RayModel:
    from models.world.glb import load

    return load(source.glb())


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """One image of a set as judges see it (models.verdict.protocol.Evidence): whatever is annotated follows from the pose."""

    shown: Shown
    """Image, control and what is said of it."""
    source: Parametric
    """The CAD model that it is said to show."""

    @property
    def sample(self) -> SampleId:
        return self.shown.case.sample

    @property
    def class_name(self) -> str:
        return self.shown.case.class_name

    @property
    def caption(self) -> str:
        return self.shown.case.prompt

    @property
    def keywords(self) -> tuple[str, ...]:
        return self.source.keywords

    @property
    def symmetry(self) -> int:
        return self.source.symmetry

    @property
    def controls(self) -> Mapping[str, ControlSpec]:
        return {"canny": CannySpec()}

    @property
    def annotation(self) -> Mapping[str, Any]:
        azimuth, elevation, inplane = self.shown.case.pose
        angles = {"azimuth_deg": azimuth, "elevation_deg": elevation, "inplane_deg": inplane}
        return {**angles, "box": box2d(self.mask())}

    def image(self) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3)."""
        return self.shown.picture

    def control(self, kind: str) -> NDArray[np.uint8]:
        """Return what the generator was told to draw."""
        return self.shown.case.edges

    def depth(self) -> Floats:
        """Return (H, W) depth in longest sides of the CAD model, 0 where nothing is."""
        return self._passes.depth

    def normals(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) normals as the render artifact holds them."""
        return normal_picture(self._passes.normal, self._passes.mask)

    def mask(self) -> NDArray[np.uint8]:
        """Return (H, W), 255 on the object."""
        if self.shown.failure not in planted.LABELS:
            return self.shown.case.mask
        return self._passes.mask

    @property
    def _passes(self) -> picture.Centred:
        # Not kept: those of a large set together would not fit into memory, and they are made in milliseconds.
        model, world = _ray_model(self.source), WorldSpec()
        azimuth, elevation, inplane = self.shown.case.pose
        far = cases.wanted_pose(self.sample.view).distance
        pose = cases.seen_from(model, Pose(azimuth_deg=azimuth, elevation_deg=elevation, inplane_deg=inplane, distance=far))
        view = geometry.camera(azimuth, elevation, inplane, pose.distance, world.lens_mm / world.sensor_mm)
        return picture.seen(model, view, world.resolution)


@dataclass(frozen=True, kw_only=True)
class FilterSet:
    """The images of one class, some of which fail."""

    class_name: str
    part: str
    """`5 %`, `10 %`, ...: share of planted failures of all kinds; `systematic`: of whole CAD models."""
    shown: tuple[Shown, ...]
    """The images in order."""
    sources: tuple[Parametric, ...]
    """The class's CAD models, as they stand in this set."""

    @property
    def name(self) -> str:
        return f"{self.class_name} {self.part}"

    def evidence(self) -> list[Pictured]:
        """Return the images as judges see them."""
        by_id = {source.cad_id: source for source in self.sources}
        return [Pictured(shown=shown, source=by_id[shown.case.sample.cad_id]) for shown in self.shown]

    @property
    def failures(self) -> list[str]:
        """What was planted into each image; "" for one as it was painted."""
        return [shown.failure for shown in self.shown]


def sources(spec: FiltersSpec, class_name: str) -> list[Parametric]:
    """Return the CAD models of a class."""
    return [Parametric(class_name=class_name, seed=CAD_SEED + index) for index in range(spec.cad_models)]


def views(spec: FiltersSpec, class_name: str) -> list[Case]:
    """Return the views of a class, CAD model by CAD model; one that has no edges is left out."""
    made = [_case(source, index) for source in sources(spec, class_name) for index in range(spec.views)]
    return [case for case in made if case is not None]


def kept_views(spec: FiltersSpec, class_name: str, folder: Path) -> list[Case]:
    """Return the views of a class from the folder's file, made if it is not there."""
    what = [VERSION, world_version, class_name, spec.cad_models, spec.views]
    path = folder / f"views-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]}.npz"
    if not path.exists():
        cases.save(views(spec, class_name), path)
    return cases.load(path)


def _case(source: Parametric, index: int, wanted: Pose | None = None) -> Case | None:
    view = ViewId(class_name=source.class_name, cad_id=source.cad_id, view_index=index)
    return cases.case_of(_ray_model(source), view, source.cad_id, source.symmetry, wanted)


def other_side(case: Case, kind: str) -> Case | None:
    """Return the same CAD model at the same height from the opposite side, for `ambiguous_outline` from where front and back are
    exchanged and left and right are not: there a CAD model that is its own mirror image has the same outline."""
    view, source = case.sample.view, Parametric(class_name=case.class_name, seed=int(case.sample.cad_id.rpartition("-")[2]))
    wanted = cases.wanted_pose(view)
    azimuth = 180.0 - wanted.azimuth_deg if kind == "ambiguous_outline" else wanted.azimuth_deg + 180.0
    return _case(source, view.view_index, dataclasses.replace(wanted, azimuth_deg=azimuth % 360.0))


def paint(
    painter: Painter, some: Sequence[Case], title: str, control: float = 1.0, guidance: float | None = None
) -> list[NDArray[np.uint8]]:
    """Return the generator's picture of each case; `control`: factor on the strength of its edges; `guidance`: of its prompt."""
    asked: ControlNetSpec = setting().pinned()
    strength = asked.guidance if guidance is None else guidance
    changed = dataclasses.replace(asked, control_scale=asked.control_scale * control, guidance=strength)
    return painter.paint(changed, some, 0, title).pictures


def shown(painter: Painter, some: Sequence[Case]) -> list[Shown]:
    """Return the painted images of a class."""
    pictures = paint(painter, some, some[0].class_name)
    return [Shown(case=case, picture=made) for case, made in zip(some, pictures, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be painted for the failures of one set."""

    index: int
    """Of the image that fails."""
    kind: str
    variant: Variant


def _seed(spec: FiltersSpec, class_name: str, part: str) -> int:
    return zlib.crc32(f"{spec.seed} {class_name} {part}".encode())


def parts(spec: FiltersSpec) -> dict[str, float]:
    """Return the sets of a class with single failures: name -> share of images that fail."""
    return {f"{rate * 100:g} %": rate for rate in spec.rates}


def wanted(spec: FiltersSpec, class_name: str, part: str, sound: Sequence[Shown], beside: Sequence[Shown]) -> list[Wanted]:
    """Return what has to be painted for one set."""
    asked: dict[tuple[str, int], Wanted] = {}

    def ask(kind: str, index: int) -> NDArray[np.uint8] | None:
        case = sound[index].case
        variant = planted.variant(kind, case, other_side(case, kind), spec.classes)
        if variant is None:
            return None
        asked[kind, index] = Wanted(index=index, kind=kind, variant=variant)
        return sound[index].picture

    made = planted.plant(KINDS, sound, parts(spec)[part], _seed(spec, class_name, part), beside, ask)
    return [asked[one.failure, index] for index, one in enumerate(made) if one.failure in PAINTED]


def paint_wanted(painter: Painter, asked: Sequence[Wanted], title: str) -> dict[tuple[str, int], NDArray[np.uint8]]:
    """Return the pictures of what a set's failures need: (kind, index) -> picture."""
    made: dict[tuple[str, int], NDArray[np.uint8]] = {}
    settings = {(one.variant.control, one.variant.guidance): one for one in asked}
    for control, guidance in settings:
        some = [one for one in asked if (one.variant.control, one.variant.guidance) == (control, guidance)]
        pictures = paint(painter, [one.variant.case for one in some], title, control, guidance)
        made |= {(one.kind, one.index): picture for one, picture in zip(some, pictures, strict=True)}
    return made


def sets_of(
    spec: FiltersSpec,
    class_name: str,
    sound: Sequence[Shown],
    beside: Sequence[Shown],
    painted: Mapping[str, Mapping[tuple[str, int], NDArray[np.uint8]]],
) -> list[FilterSet]:
    """Return the sets of a class: one for each rate, and the systematic one. painted: part -> what `paint_wanted` returned."""
    models = sources(spec, class_name)
    made = [
        FilterSet(
            class_name=class_name,
            part=part,
            shown=tuple(
                planted.plant(
                    KINDS,
                    sound,
                    rate,
                    _seed(spec, class_name, part),
                    beside,
                    lambda kind, index, part=part: painted[part].get((kind, index)),  # type: ignore[misc]
                )
            ),
            sources=tuple(models),
        )
        for part, rate in parts(spec).items()
    ]
    turned = planted.systematic(sound, spec.systematic, _seed(spec, class_name, "systematic"))
    by_id = {one.case.sample.cad_id: planted.TURN[one.failure] for one in turned if one.failure in planted.SYSTEMATIC}
    if by_id:
        standing = tuple(dataclasses.replace(model, turned=by_id.get(model.cad_id, 0.0)) for model in models)
        made.append(FilterSet(class_name=class_name, part="systematic", shown=tuple(turned), sources=standing))
    return made


def sound(spec: FiltersSpec, painter: Painter) -> dict[str, list[Shown]]:
    """Return the images of each class before anything is planted."""
    return {name: shown(painter, kept_views(spec, name, painter.folder)) for name in spec.classes}


def of_class(spec: FiltersSpec, class_name: str, images: Mapping[str, Sequence[Shown]], painter: Painter) -> list[FilterSet]:
    """Return the sets of one class; what its failures need is painted. images: of all classes, from `sound`."""
    beside = [one for other in spec.classes if other != class_name for one in images[other]]
    painted = {
        part: paint_wanted(
            painter, wanted(spec, class_name, part, images[class_name], beside), f"failures of {class_name} {part}"
        )
        for part in parts(spec)
    }
    return sets_of(spec, class_name, images[class_name], beside, painted)


def build(spec: FiltersSpec, painter: Painter) -> list[FilterSet]:
    """Return all sets of a benchmark, in one process; what was painted before is taken from the painter's folder."""
    images = sound(spec, painter)
    return [one for name in spec.classes for one in of_class(spec, name, images, painter)]
