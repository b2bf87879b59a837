"""Views that a generator is asked to paint: of CAD models that no training saw, each with a render that shows what is asked for.

Enters: classes and counts, or canonical GLBs. Leaves: Cases, the same in every process. Held-out CAD models have parametric seeds
from EVALUATION_SEED on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.render.viewpoint import Pose, sample_view
from models.sample import SampleId, ViewId
from models.world.spec import EVALUATION_SEED, WorldSpec

if TYPE_CHECKING:
    from models.training.spec import Learned
    from models.world import geometry

LOW_DEG, HIGH_DEG = -10.0, 60.0
"""Elevations beyond these are uncommon, as vocabulary.height names them."""
FACE_DEG, LEVEL_DEG = 12.0, 15.0
"""A camera so near to the middle of a side, and so near to the horizon, sees one face of the object and little depth."""
KINDS = ("common", "steep", "one face")
"""Of viewpoints: the last two are uncommon."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A view of a CAD model, with what is asked for and a render that shows it."""

    sample: SampleId
    """Whose picture it is; the generator's seed follows from it."""
    rgb: NDArray[np.uint8]
    """(H, W, 3) the world's own render with these words."""
    edges: NDArray[np.uint8]
    """(H, W) 0 or 255: the control."""
    mask: NDArray[np.uint8]
    """(H, W) 0 or 255: where the object should be."""
    words: dict[str, str]
    """colour, material, scene and light that the prompt asks for."""
    prompt: str
    """What the generator is told."""
    pose: tuple[float, float, float]
    """Azimuth, elevation and in-plane angle in degrees."""
    symmetry: int = 1
    """Rotational symmetry of the object about +z."""
    name: str = ""
    """Of a CAD model from a file; empty for a parametric one."""

    @property
    def class_name(self) -> str:
        return self.sample.class_name

    @property
    def kind(self) -> str:
        """Of the viewpoint: one of KINDS."""
        return kind_of(self.pose[0], self.pose[1])


def kind_of(azimuth_deg: float, elevation_deg: float) -> str:
    """Return which of KINDS a viewpoint is."""
    if not LOW_DEG <= elevation_deg <= HIGH_DEG:
        return "steep"
    aside = abs((azimuth_deg + 45.0) % 90.0 - 45.0)
    return "one face" if aside <= FACE_DEG and abs(elevation_deg) <= LEVEL_DEG else "common"


def control_of(case: Case, learned: Learned) -> NDArray[np.uint8]:
    """Return what a ControlNet that has learned this is shown of a case, (H, W) or (H, W, C).

    Raises ValueError for other controls than edges where the case is of no parametric CAD model: its mesh is not kept.
    """
    if learned == "edges":
        return case.edges
    from models.training import controls
    from models.world.picture import parametric_model

    _, dash, seed = case.sample.cad_id.partition("parametric-")
    if not dash:
        raise ValueError(f"{case.name or case.sample}: views of CAD files are evaluated with edges alone")
    pose = seen_from(parametric_model(case.class_name, int(seed)), wanted_pose(case.sample.view))
    return controls.of_parametric(learned, {"class_name": case.class_name, "cad_seed": int(seed), **vars(pose)}, case.edges)


OTHERS = 6000
"""Held-out CAD models from this one on are in no group but the world that pictures are compared with as a set."""


def held_out(
    count: int, classes: Sequence[str], kind: str | None = None, source: str = "canny", others: bool = False
) -> list[Case]:
    """Return `count` views of held-out CAD models, classes dealt round; with `kind`, only such viewpoints, of other CAD models;
    `others`: of CAD models that are in no other group.

    The first n of more are the same as n.
    """
    from models.world import picture

    world = WorldSpec()
    made: list[Case] = []
    first = 2000 * KINDS.index(kind) if kind else OTHERS if others else 0
    for class_name, seed in _dealt(classes, first):
        if len(made) == count:
            break
        placed = picture.Placed(class_name=class_name, cad_seed=seed, view_index=0)
        pose = sample_view(picture.viewpoint(world, placed.identity), placed.identity)
        if kind is not None and kind_of(pose.azimuth_deg, pose.elevation_deg) != kind:
            continue
        case = parametric_case(class_name, seed, source)
        if case is not None:
            made.append(case)
    return made


def _dealt(classes: Sequence[str], first: int) -> Iterator[tuple[str, int]]:
    turn = 0
    while True:
        yield classes[turn % len(classes)], EVALUATION_SEED + first + turn // len(classes)
        turn += 1


def parametric_case(class_name: str, seed: int, source: str = "canny") -> Case | None:
    """Return one view of a parametric CAD model, or None where no edge can be drawn."""
    from models.cad import parametric
    from models.world import picture

    traced = picture.trace(WorldSpec(), picture.Placed(class_name=class_name, cad_seed=seed, view_index=0))
    if traced is None:
        return None
    painted = picture.paint(traced, 0)
    return Case(
        sample=SampleId(class_name=class_name, cad_id=f"parametric-{seed}", view_index=0),
        rgb=painted.rgb,
        edges=traced.edge_canny if source == "canny" else traced.edge_geometry,
        mask=traced.mask,
        words={name: str(painted.words[name]) for name in ("colour", "material", "scene", "light")},
        prompt=painted.captions[0],
        pose=(traced.pose.azimuth_deg, traced.pose.elevation_deg, traced.pose.inplane_deg),
        symmetry=parametric.symmetry(class_name, seed),
    )


def file_cases(glb: bytes, class_name: str, cad_id: str, name: str, symmetry: int, count: int) -> list[Case]:
    """Return `count` views of a canonical GLB in the world's materials and scenes (its own textures do not count)."""
    from models.world.glb import load

    model = load(glb)
    views = (ViewId(class_name=class_name, cad_id=cad_id, view_index=index) for index in range(count))
    made = (case_of(model, view, name, symmetry) for view in views)
    return [case for case in made if case is not None]


def wanted_pose(view: ViewId) -> Pose:
    """Return the pose that the world's strategies draw for a view."""
    from models.world import picture

    return sample_view(picture.viewpoint(WorldSpec(), view), view)


def seen_from(model: geometry.RayModel, pose: Pose) -> Pose:
    """Return the pose with the distance from which all of the object is seen."""
    from models.render.camera import place
    from models.world import picture

    _, distance, _ = place(pose, model.vertices.astype(np.float64), picture.render_spec(WorldSpec()))
    return dataclasses.replace(pose, distance=distance)


def case_of(model: geometry.RayModel, view: ViewId, name: str, symmetry: int, wanted: Pose | None = None) -> Case | None:
    """Return one view of a CAD model, from `wanted` or from where the world's strategies put it; None where it has no edges."""
    from models.caption.grammar import compose
    from models.control.canny import Canny, CannySpec
    from models.control.protocol import EmptyControl
    from models.control.protocol import View as Rendered
    from models.render.light import sample_light
    from models.render.spec import LightSpec
    from models.world import picture, shading
    from models.world.scene import sample_look

    world = WorldSpec()
    pose = seen_from(model, wanted or wanted_pose(view))
    passes = picture.cast(world, model, view, pose)
    centred = picture.centre_passes(passes, world.resolution)
    rgba = picture.neutral(passes, sample_light(LightSpec(), view, pose), world.resolution)
    try:
        drawn = Canny(CannySpec()).draw(Rendered(rgba=rgba, mask=centred.mask))
    except EmptyControl:
        return None
    look = sample_look(view.rng("look-0"), pose.azimuth_deg)
    words = {"colour": look.colour, "material": look.material, "scene": look.scene, "light": look.light}
    told = {**words, "class_name": view.class_name, "azimuth": pose.azimuth_deg, "elevation": pose.elevation_deg}
    return Case(
        sample=SampleId(class_name=view.class_name, cad_id=view.cad_id, view_index=view.view_index),
        rgb=shading.picture(passes, look, world.resolution),
        edges=drawn,
        mask=centred.mask,
        words=words,
        prompt=compose(told, view.rng("caption-0")),
        pose=(pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg),
        symmetry=symmetry,
        name=name,
    )


def symmetry_of_shape(glb: bytes) -> int:
    """Return the rotational symmetry about +z of a canonical GLB's shape alone, for the world paints over its colours."""
    import tempfile

    from models.cad.glb import write_glb
    from models.cad.gltf import read_gltf
    from models.cad.symmetry import find

    with tempfile.TemporaryDirectory(prefix="dst-evaluation-") as folder:
        path = Path(folder) / "model.glb"
        path.write_bytes(glb)
        parts = [dataclasses.replace(part, material=None, colors=None, uv=None) for part in read_gltf(path, 10**8).parts]
        path.write_bytes(write_glb(parts, []))
        found = find(path)
    return 1 if found is None else found.times


def save(cases: Sequence[Case], path: Path) -> None:
    """Write cases at once."""
    rows = [
        {
            "sample": dataclasses.asdict(case.sample),
            **{name: getattr(case, name) for name in ("words", "prompt", "pose", "symmetry", "name")},
        }
        for case in cases
    ]
    arrays: dict[str, Any] = {name: np.stack([getattr(case, name) for case in cases]) for name in ("rgb", "edges", "mask")}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), **arrays)
    temporary.replace(path)


def load(path: Path) -> list[Case]:
    """Return the cases of a file."""
    with np.load(path, allow_pickle=False) as file:
        rows = json.loads(file["rows"].tobytes())
        arrays = {name: file[name] for name in ("rgb", "edges", "mask")}
    return [
        Case(
            sample=SampleId(**row["sample"]),
            words=row["words"],
            prompt=row["prompt"],
            pose=(row["pose"][0], row["pose"][1], row["pose"][2]),
            symmetry=row["symmetry"],
            name=row["name"],
            **{name: array[index] for name, array in arrays.items()},
        )
        for index, row in enumerate(rows)
    ]
