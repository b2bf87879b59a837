"""What the judge `shape` is taught by: traced views of a class's CAD models, each with its shape and with shapes that are wrong.

Enters: CAD models. Leaves: for each view a square around the object: pictures in varied materials and scenes, the planes of its
shape (normals and depth), and those of the same CAD model from a view near by, from the opposite side and from anywhere, and of
another CAD model in the same pose. Ray casting, no Blender: some ten milliseconds for a picture, one for a shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.reading.pictures import Untraceable, traceable
from models.render.annotation import box2d, normal_picture
from models.render.viewpoint import Pose, sample_view
from models.sample import ViewId
from models.verdict.crop import crop
from models.verdict.protocol import CadSource, NothingToTeach
from models.world import geometry
from models.world.spec import WorldSpec

RESOLUTION = 96
"""Pixels along a side of a traced picture."""
MARGIN = 1.35
"""The square that is looked at is so much wider than the object's box."""
SLACK = 1.25
"""The square that is kept is so much wider than that, so that it can be moved about."""
DEPTH_GAIN = 2.0
"""Depth is told from its median, in half longest sides."""
NEAR_DEG = (20.0, 60.0)
"""How far a pose is off in azimuth that is nearly right."""

Planes = NDArray[np.float32]
"""(H, W, 4): normals in camera axes and relative depth; 0 where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """N views, cut around the object."""

    pictures: NDArray[np.uint8]
    """(N, looks, side, side, 3)."""
    shapes: NDArray[np.float16]
    """(N, 1 + rivals, side, side, 4): a view's own planes, then those that are wrong for its pictures."""
    cad_ids: tuple[str, ...]
    """CAD models that are shown."""
    left_out: dict[str, str]
    """cad_id -> why it cannot be traced."""


def planes(depth: NDArray[np.float32], normals: NDArray[np.uint8]) -> Planes:
    """Return a render's depth (H, W), 0 where nothing is, and normals (H, W, 3) as its picture holds them, as planes."""
    there = depth > 0
    made = np.zeros((*depth.shape, 4), np.float32)
    made[there, :3] = (normals[there].astype(np.float32) - 127.5) / 127.5
    made[there, 3] = np.clip((np.median(depth[there]) - depth[there]) * DEPTH_GAIN, -1.0, 1.0)
    return made


def cut(
    image: NDArray[np.uint8], depth: NDArray[np.float32], normals: NDArray[np.uint8], side: int, margin: float = MARGIN
) -> tuple[NDArray[np.uint8], Planes]:
    """Return the square around the rendered object out of an image and out of its render's planes, at side x side pixels.

    The image may be larger or smaller than the render.
    """
    box = np.array(box2d((depth > 0).astype(np.uint8)))
    scale = image.shape[1] / depth.shape[1]
    shape = crop(planes(depth, normals), box.tolist(), side, margin)
    return crop(image, ((box + 0.5) * scale - 0.5).tolist(), side, margin), shape


def lesson(
    models: Sequence[CadSource], views: int, looks: int, seed: int, side: int, tell: Callable[[int], None] = lambda done: None
) -> Lesson:
    """Return `views` views, dealt round the CAD models (those beyond as many are not shown), cut at side x side pixels.

    tell: gets the views that are done. Raises NothingToTeach where none of the CAD models can be traced.
    """
    sources = sorted(models, key=lambda model: model.cad_id)[:views]
    left_out: dict[str, str] = {}
    loaded: list[tuple[CadSource, geometry.RayModel]] = []
    for source in sources:
        try:
            loaded.append((source, traceable(source)))
        except Untraceable as why:
            left_out[source.cad_id] = str(why)
    if not loaded:
        told = "; ".join(f"{cad_id[:12]}: {why}" for cad_id, why in list(left_out.items())[:3]) or "the class has none"
        raise NothingToTeach(f"none of {len(sources)} CAD models can be traced ({told})")
    pictures, shapes = [], []
    for number in range(views):
        source, model = loaded[number % len(loaded)]
        others = [other for _, other in loaded if other is not model]
        index = number // len(loaded)
        view = ViewId(class_name=source.class_name, cad_id=source.cad_id, view_index=index)
        seen = _view(model, others, view, looks, seed, side)
        if seen is not None:
            pictures.append(seen[0])
            shapes.append(seen[1])
        tell(number + 1)
    if not pictures:
        raise NothingToTeach(f"in none of {views} views anything is seen of the class's {len(loaded)} CAD models")
    return Lesson(
        pictures=np.stack(pictures),
        shapes=np.stack(shapes),
        cad_ids=tuple(source.cad_id for source, _ in loaded),
        left_out=left_out,
    )


def _view(
    model: geometry.RayModel, others: Sequence[geometry.RayModel], view: ViewId, looks: int, seed: int, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]] | None:
    """Return a view's pictures and shapes, or None where nothing is seen."""
    from models.world import picture, shading
    from models.world.scene import sample_look

    rng = view.rng(f"twins {seed}")
    world = WorldSpec(resolution=RESOLUTION, supersampling=1)
    turn = ViewId(class_name=view.class_name, cad_id=f"{view.cad_id}{seed}", view_index=view.view_index)
    pose = _placed(model, sample_view(picture.viewpoint(world, turn), turn), world)
    passes = picture.cast(world, model, view, pose)
    centred = picture.centre_passes(passes, RESOLUTION)
    if not centred.mask.any():
        return None
    depth, normals = centred.depth, normal_picture(centred.normal, centred.mask)
    pictures = [shading.picture(passes, sample_look(rng, pose.azimuth_deg), RESOLUTION) for _ in range(looks)]
    cuts = [cut(shaded, depth, normals, side, MARGIN * SLACK) for shaded in pictures]
    off = {
        "near": dataclasses.replace(
            pose,
            azimuth_deg=(pose.azimuth_deg + rng.choice([-1.0, 1.0]) * rng.uniform(*NEAR_DEG)) % 360.0,
            elevation_deg=float(np.clip(pose.elevation_deg + rng.normal(0.0, 8.0), -89.0, 89.0)),
        ),
        "turned": dataclasses.replace(pose, azimuth_deg=(pose.azimuth_deg + 180.0) % 360.0),
        "far": dataclasses.replace(pose, azimuth_deg=rng.uniform(0.0, 360.0), elevation_deg=rng.uniform(-10.0, 60.0)),
    }
    shapes = [_shape(model, wrong, world, side) for wrong in off.values()]
    # With a single CAD model, another one of its views takes the place of another CAD model.
    other = others[int(rng.integers(len(others)))] if others else model
    shapes.append(_shape(other, pose if others else dataclasses.replace(pose, azimuth_deg=rng.uniform(0.0, 360.0)), world, side))
    own = cuts[0][1]
    # A view in which nothing is seen stands for nothing: the shape itself, which is never taken for a wrong one.
    told = [own, *(own if shape is None else shape for shape in shapes)]
    return np.stack([cut_picture for cut_picture, _ in cuts]), np.stack(told).astype(np.float16)


def _placed(model: geometry.RayModel, wanted: Pose, world: WorldSpec) -> Pose:
    """Return the pose with the distance from which the whole object is seen."""
    from models.render.camera import place
    from models.world import picture

    _, distance, _ = place(wanted, model.vertices.astype(np.float64), picture.render_spec(world))
    return dataclasses.replace(wanted, distance=distance)


def _shape(model: geometry.RayModel, wanted: Pose, world: WorldSpec, side: int) -> Planes | None:
    """Return the planes of a CAD model in a pose, cut around it; None where nothing is seen."""
    pose = _placed(model, wanted, world)
    depth, normals = shape_of(model, pose, world)
    if not (depth > 0).any():
        return None
    box = box2d((depth > 0).astype(np.uint8))
    return crop(planes(depth, normals), box, side, MARGIN * SLACK)


def shape_of(model: geometry.RayModel, pose: Pose, world: WorldSpec) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return depth (H, W) and normals (H, W, 3), as a render would give them, of a CAD model in a pose."""
    from models.world import picture

    camera = geometry.camera(
        pose.azimuth_deg, pose.elevation_deg, pose.inplane_deg, pose.distance, world.lens_mm / world.sensor_mm
    )
    centred = picture.seen(model, camera, world.resolution)
    return centred.depth, normal_picture(centred.normal, centred.mask)
