"""BOP: what the benchmark for 6D object pose reads, a scene for each CAD model.

Enters: an export. Leaves: `train/<scene>/` with pictures, depth, masks and the three scene files, `models/` in millimetres. R and
t are ours as they are (OpenCV), lengths times 1000: the longest side of a CAD model stands for a metre.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from storage.catalog.catalog import Catalog
from storage.export.format import Export, write_json, write_mapping
from storage.export.mesh import ply
from storage.export.rows import MM, SamplePictures


class Bop:
    """See storage.export.format.Format."""

    name = "bop"
    contents = """
- `train/<scene>/`: a scene for each CAD model, named by its `obj_id`; in it `rgb/`, `depth/` (16 bit, times `depth_scale` =
  millimetres), `mask/`, `mask_visib/`, `scene_camera.json`, `scene_gt.json`, `scene_gt_info.json`; and `samples.json`, which says
  which sample an image is.
- `models/obj_<obj_id>.ply` (millimetres, canonical frame, vertex normals and colours) and `models_info.json` with diameter,
  extent and symmetry; `objects.json` says which CAD model an `obj_id` is; `camera.json` holds the first image's camera.
- The longest side of every CAD model stands for 1000 mm. `bbox_obj` reaches beyond the picture where the object does; widths and
  heights are last minus first pixel, as the toolkit computes them.
"""
    loading = """
import json

scene = f"{OUT}/train/000001"
ground_truth = json.load(open(f"{scene}/scene_gt.json"))["0"][0]
R, t_mm = ground_truth["cam_R_m2c"], ground_truth["cam_t_m2c"]  # row by row; millimetres
K = json.load(open(f"{scene}/scene_camera.json"))["0"]["cam_K"]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        @lru_cache(maxsize=1)
        def points(model: tuple[str, str]) -> Any:
            return export.mesh(model).points

        entries = []
        for shown in pictures:
            sample = shown.sample
            model = (sample.class_name, sample.cad_id)
            scene, image = f"train/{export.object_ids[model]:06d}", f"{sample.place:06d}"
            export.folder.write(f"{scene}/rgb/{image}.png", shown.image)
            export.folder.write(f"{scene}/depth/{image}.png", shown.depth_png)
            export.folder.write(f"{scene}/mask/{image}_000000.png", shown.mask_png)
            export.folder.write(f"{scene}/mask_visib/{image}_000000.png", shown.mask_png)
            seen = int(np.count_nonzero(shown.mask))
            share = float(sample.row["visible_fraction"] or 1.0)
            box = _span(shown.box)
            whole = box if share >= 1.0 else _reach(shown, points(model)) or box
            entries.append(
                {
                    "scene": export.object_ids[model],
                    "image": sample.place,
                    "size": [shown.width, shown.height],
                    "sample": sample.provenance(),
                    "camera": {"cam_K": shown.K.reshape(-1).tolist(), "depth_scale": shown.depth_scale * MM},
                    "gt": {
                        "cam_R_m2c": sample.R.reshape(-1).tolist(),
                        "cam_t_m2c": (sample.t * MM).tolist(),
                        "obj_id": export.object_ids[model],
                    },
                    "info": {
                        "bbox_obj": whole,
                        "bbox_visib": box,
                        "px_count_all": max(round(seen / share), seen),
                        "px_count_valid": int(np.count_nonzero(shown.depth[shown.mask > 0])),
                        "px_count_visib": seen,
                        "visib_fract": share,
                    },
                }
            )
        return entries

    def finish(self, export: Export) -> None:
        first: dict[str, Any] | None = None
        for scene, found in groupby(export.folder.entries(), key=lambda entry: int(entry["scene"])):
            entries = list(found)
            first = first or entries[0]
            for name, what in (("scene_camera", "camera"), ("scene_gt", "gt"), ("scene_gt_info", "info"), ("samples", "sample")):
                with export.folder.open(f"train/{scene:06d}/{name}.json") as file:
                    write_mapping(file, _listed(entries, what))
        assert first is not None
        fx, _, cx, _, fy, cy, *_ = first["camera"]["cam_K"]
        width, height = first["size"]
        camera = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": width, "height": height}
        with export.folder.open("camera.json") as file:
            write_json(file, camera | {"depth_scale": first["camera"]["depth_scale"]})
        infos, objects = {}, {}
        symmetries = symmetries_said(export.catalog, export.class_ids)
        for model, number in export.object_ids.items():
            mesh = export.mesh(model)
            export.folder.write(f"models/obj_{number:06d}.ply", ply(mesh, MM))
            low, size = mesh.points.min(axis=0) * MM, np.ptp(mesh.points, axis=0) * MM
            infos[str(number)] = {
                "diameter": mesh.diameter() * MM,
                **{f"min_{axis}": float(value) for axis, value in zip("xyz", low)},
                **{f"size_{axis}": float(value) for axis, value in zip("xyz", size)},
                **_symmetry(symmetries.get(model)),
            }
            objects[str(number)] = {
                "class_name": model[0],
                "cad_id": model[1],
                "name": export.selection.figures.models[model]["name"],
            }
        with export.folder.open("models/models_info.json") as file:
            write_mapping(file, infos.items())
        with export.folder.open("objects.json") as file:
            write_mapping(file, objects.items())


def _listed(entries: list[dict[str, Any]], what: str) -> Iterator[tuple[str, Any]]:
    # Ground truth is a list of the objects in a picture; ours shows one.
    return ((str(entry["image"]), [entry[what]] if what in ("gt", "info") else entry[what]) for entry in entries)


def _span(box: tuple[int, int, int, int]) -> list[int]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _reach(shown: SamplePictures, points: Any) -> list[int] | None:
    """Return the box of the whole silhouette, also outside the picture; None where part of the object is behind the camera."""
    seen = points @ shown.sample.R.T + shown.sample.t
    if seen[:, 2].min() <= 1e-3:
        return None
    pixels = seen @ shown.K.T
    pixels = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return [int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])]


def symmetries_said(catalog: Catalog, classes: Iterable[str]) -> dict[tuple[str, str], int | None]:
    """Return (class, cad_id) -> its symmetry, None where it is not known well enough to be published.

    `mesh` is where versions before 0.2 found symmetries that were not there: adding the file again looks anew.
    """
    return {
        (class_name, row["cad_id"]): None if row["symmetry_origin"] == "mesh" else row["symmetry"]
        for class_name in classes
        for row in catalog.cad_models(class_name, status=None)
    }


def _symmetry(fold: int | None) -> dict[str, Any]:
    """Return BOP's words for a rotational symmetry about +z: 0 any angle, n-fold, 1 none."""
    if fold == 0:
        return {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]}
    if fold is None or fold == 1:
        return {}
    turns = []
    for step in range(1, fold):
        c, s = math.cos(2 * math.pi * step / fold), math.sin(2 * math.pi * step / fold)
        turns.append([c, -s, 0.0, 0.0, s, c, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return {"symmetries_discrete": turns}
