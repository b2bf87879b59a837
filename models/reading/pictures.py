"""Pictures that teach: CAD models of a class, traced in varied materials and scenes of the world, without Blender.

Enters: CAD models, a count of views, a seed. Leaves: small pictures with masks and poses, the same for the same CAD models in
every process. A view is traced once and shaded in several looks. The camera is zoomed in on the object from where a render's
camera would stand, so that few rays miss it and perspective stays what it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.render.viewpoint import Pose
from models.sample import ViewId
from models.verdict.protocol import CadSource, NothingToTeach
from models.world import geometry
from models.world.spec import WorldSpec

SIDE = 96
"""Pixels along a picture's side; the object takes two thirds of it."""
ROOM = 1.5
"""A picture's side over the longer half of what the object takes, both from the centre."""
LEVEL_SHARE = 0.8
"""Share of the views from LEVEL_DEG; the others are from anywhere within STEEP_DEG."""
LEVEL_DEG, STEEP_DEG = (-12.0, 62.0), (-85.0, 88.0)
DISTANCE = (1.2, 2.4)
"""In longest sides; a camera that would crop the object is moved back."""
GOLDEN_DEG = 137.50776
"""Step of the azimuth from view to view: any number of them is spread evenly."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """N traced pictures of a class."""

    rgb: NDArray[np.uint8]
    """(N, SIDE, SIDE, 3)."""
    mask: NDArray[np.uint8]
    """(N, SIDE, SIDE) 0 or 255."""
    poses: NDArray[np.float64]
    """(N, 3) azimuth, elevation and in-plane angle in degrees; the last is 0."""
    symmetry: NDArray[np.int64]
    """(N,) rotational symmetry of each picture's CAD model."""
    view: NDArray[np.int64]
    """(N,) which pictures show the same view in other looks."""
    cad: NDArray[np.int64]
    """(N,) which of `cad_ids` each picture shows."""
    cad_ids: tuple[str, ...]
    """CAD models that are shown."""
    left_out: dict[str, str]
    """cad_id -> why it could not be traced."""

    def __len__(self) -> int:
        return len(self.rgb)


def traced(
    models: Sequence[CadSource], views: int, looks: int, seed: int, tell: Callable[[int], None] = lambda done: None
) -> Pictures:
    """Return `views` views, dealt round the CAD models, in `looks` looks each; `tell` gets the views that are done.

    CAD models beyond `views` are not shown. Raises NothingToTeach where none can be traced.
    """
    shown = sorted(models, key=lambda model: model.cad_id)[:views]
    left_out: dict[str, str] = {}
    rgb, mask, poses, symmetry, cad_ids = [], [], [], [], []
    view: list[int] = []
    cad: list[int] = []
    for index, source in enumerate(shown):
        count = views // len(shown) + (index < views % len(shown))
        try:
            model = traceable(source)
        except Untraceable as why:
            left_out[source.cad_id] = str(why)
            continue
        cad_ids.append(source.cad_id)
        for number, (pose, shape, pictures) in enumerate(_views(model, source, count, looks, seed)):
            rgb += pictures
            mask += [shape] * len(pictures)
            poses += [(pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg)] * len(pictures)
            symmetry += [source.symmetry] * len(pictures)
            view += [view[-1] + 1 if view else 0] * len(pictures)
            cad += [len(cad_ids) - 1] * len(pictures)
            tell(index * views // len(shown) + number + 1)
    if not rgb:
        told = "; ".join(f"{cad_id[:12]}: {why}" for cad_id, why in list(left_out.items())[:3]) or "the class has none"
        raise NothingToTeach(f"none of {len(shown)} CAD models can be traced ({told})")
    return Pictures(
        rgb=np.stack(rgb),
        mask=np.stack(mask),
        poses=np.array(poses),
        symmetry=np.array(symmetry, np.int64),
        view=np.array(view, np.int64),
        cad=np.array(cad, np.int64),
        cad_ids=tuple(cad_ids),
        left_out=left_out,
    )


class Untraceable(Exception):
    """A CAD model that rays cannot meet."""


def traceable(source: CadSource) -> geometry.RayModel:
    """Return a CAD model for the ray caster. Raises Untraceable."""
    from models.world.glb import load

    try:
        model = load(source.glb())
    except ValueError:
        # What numpy and trimesh say of a file without a face.
        raise Untraceable("no faces that a ray can meet") from None
    if not len(model.faces) or not np.isfinite(model.vertices).all() or np.ptp(model.vertices, axis=0).max() < 1e-6:
        raise Untraceable("no faces that a ray can meet")
    return model


def _views(
    model: geometry.RayModel, source: CadSource, count: int, looks: int, seed: int
) -> Iterator[tuple[Pose, NDArray[np.uint8], list[NDArray[np.uint8]]]]:
    """Yield pose, mask and pictures of `count` views of a CAD model; a view in which nothing is seen is left out."""
    from models.world import picture, shading
    from models.world.scene import sample_look

    first = ViewId(class_name=source.class_name, cad_id=source.cad_id, view_index=0).rng(f"readout {seed}").random()
    for index in range(count):
        view = ViewId(class_name=source.class_name, cad_id=source.cad_id, view_index=index)
        rng = view.rng(f"readout {seed}")
        low, high = LEVEL_DEG if rng.random() < LEVEL_SHARE else STEEP_DEG
        wanted = Pose(
            azimuth_deg=(360.0 * first + index * GOLDEN_DEG) % 360.0,
            elevation_deg=float(rng.uniform(low, high)),
            inplane_deg=0.0,
            distance=float(rng.uniform(*DISTANCE)),
        )
        pose, world = _zoomed(model, wanted)
        passes = picture.cast(world, model, view, pose)
        mask = picture.centre_passes(passes, SIDE).mask
        if not mask.any():
            continue
        yield pose, mask, [shading.picture(passes, sample_look(rng, pose.azimuth_deg), SIDE) for _ in range(looks)]


def _zoomed(model: geometry.RayModel, wanted: Pose) -> tuple[Pose, WorldSpec]:
    """Return where the camera stands, and a world whose lens makes the object as large as a teaching picture wants it."""
    from models.render.camera import place
    from models.world import picture

    world = WorldSpec(resolution=SIDE, supersampling=1)
    _, distance, _ = place(wanted, model.vertices.astype(np.float64), picture.render_spec(world))
    pose = dataclasses.replace(wanted, distance=distance)
    focal = world.lens_mm / world.sensor_mm
    camera = geometry.camera(pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg, pose.distance, focal)
    half = float(np.abs(geometry.project(camera, model.vertices)).max())
    return pose, dataclasses.replace(world, lens_mm=world.lens_mm * 0.5 / max(half * ROOM, 1e-3))
