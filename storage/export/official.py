"""The layout of the official 3D-DST code, so that its loaders read a release.

Enters: an export. Leaves: `train/<class>/<cad>/` with image_render, image_dst, annotation and depth, prompts.json and
kcf_losses.json a class. In its convention the front is at azimuth 90 and polar angles count from +z: its world is ours turned
by 180 degrees about z.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.artifacts import ArtifactError
from storage.export.format import Export, write_mapping
from storage.export.rows import LostFiles, SamplePictures, lost_line

SENSOR_MM = (32.0, 24.0)
"""Width of the official code's sensor, and the height that Blender states with it."""
BACKGROUND = 1e10
"""Depth where nothing is, as Blender writes it."""
_TURN = np.diag([-1.0, -1.0, 1.0])
_NEAR, _FAR = 0.1, 100.0
_STRATEGIES = {
    ((0, 360), "normal", 90): 1,
    ((-105, 105), "normal", 90): 2,
    ((0, 360), "normal", 60): 3,
    ((-105, 105), "normal", 60): 4,
    ((0, 360), "uniform", 60): 5,
}


class Official:
    """See storage.export.format.Format."""

    name = "official"
    contents = """
- `train/<class>/<cad>/image_dst/000_00.png` the picture, `image_render/000.png` its render, `annotation/000.npy` the annotation
  dictionary (a pickled dict, as the official code writes it), `depth/000.exr` depth along the optical axis, 1e10 for background.
- `train/<class>/prompts.json` and `train/<class>/kcf_losses.json` as its scripts write them; `samples.json` says which sample a
  file is.
- In its convention: `theta` = azimuth + 90 degrees, `phi` = 90 degrees - elevation, in radians, front at theta = 90 degrees;
  matrices are Blender's, in that frame. Labels are in the class's canonical frame, so `azimuth` and `elevation` (a CAD model's
  offsets) are 0.
"""
    loading = """
import glob
import numpy

picture = sorted(glob.glob(f"{OUT}/train/*/*/image_dst/*_00.png"))[0]
annotation = numpy.load(picture.replace("_00.png", ".npy").replace("image_dst", "annotation"), allow_pickle=True)[()]
azimuth, elevation = annotation["theta"], numpy.pi / 2 - annotation["phi"]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        entries, lost = [], []
        strategies = {entry["spec_key"]: _strategy(entry["spec"]) for entry in export.facts["specs"].get("render", ())}
        for shown in pictures:
            sample = shown.sample
            folder, stem = f"train/{sample.class_name}/{sample.cad_id[:12]}", f"{sample.place:03d}"
            try:
                render = export.store.read(shown.render, "rgba.png")
                matrix = np.array(export.store.get("cad", str(sample.row["cad_key"])).record.values["canonical_from_source"])
            except (ArtifactError, KeyError):
                lost.append(str(sample.row["sample_id"]))
                continue
            export.folder.write(f"{folder}/image_render/{stem}.png", render)
            export.folder.write(f"{folder}/image_dst/{stem}_00.png", shown.image)
            buffer = io.BytesIO()
            said = annotation(shown, matrix) | {"pose_sampling": strategies.get(sample.row["render_spec"], 0)}
            np.save(buffer, np.array(said, dtype=object), allow_pickle=True)
            export.folder.write(f"{folder}/annotation/{stem}.npy", buffer.getvalue())
            export.folder.write(f"{folder}/depth/{stem}.exr", _exr(export, shown))
            entries.append(
                {
                    "class": sample.class_name,
                    "cad": sample.cad_id[:12],
                    "stem": f"{stem}_00",
                    "prompt": sample.row["prompt"],
                    "kcf": sample.row["scores"].get("kcf"),
                    "sample": sample.provenance(),
                }
            )
        if lost:
            raise LostFiles(lost_line(lost, sample.class_name))
        return entries

    def finish(self, export: Export) -> None:
        for class_name, entries in _by_class(export):
            with export.folder.open(f"train/{class_name}/prompts.json") as file:
                write_mapping(
                    file,
                    (
                        (cad, {entry["stem"]: entry["prompt"] or "" for entry in found})
                        for cad, found in groupby(entries, key=lambda entry: str(entry["cad"]))
                    ),
                )
        for class_name, entries in _by_class(export):
            with export.folder.open(f"train/{class_name}/kcf_losses.json") as file:
                judged = (entry for entry in entries if entry["kcf"] is not None)
                write_mapping(file, ((f"{entry['cad']}/image_dst/{entry['stem']}.png", entry["kcf"]) for entry in judged))
        with export.folder.open("samples.json") as file:
            paths = ((f"train/{e['class']}/{e['cad']}/image_dst/{e['stem']}.png", e["sample"]) for e in export.folder.entries())
            write_mapping(file, paths)


def annotation(shown: SamplePictures, canonical_from_source: NDArray[np.float64]) -> dict[str, Any]:
    """Return the annotation dictionary under the official code's keys and in its frame."""
    sample, row = shown.sample, shown.sample.row
    flip = np.diag([1.0, -1.0, -1.0])
    modelview = np.eye(4)
    modelview[:3, :3], modelview[:3, 3] = flip @ sample.R @ _TURN.T, flip @ sample.t
    principal = np.array([shown.K[0, 2] + 0.5, shown.K[1, 2] + 0.5])
    return {
        "theta": float(np.radians((row["azimuth_deg"] + 90.0) % 360.0)),
        "phi": float(np.radians(90.0 - row["elevation_deg"])),
        "dist": float(row["distance"]),
        "camera_rotation": float(np.radians(row["inplane_deg"] or 0.0)),
        "principal": principal,
        "source": "3d-dst",
        "shape_id": sample.cad_id,
        "rendering_scale": float(np.cbrt(abs(np.linalg.det(canonical_from_source[:3, :3])))),
        "rendering_offset": _TURN @ canonical_from_source[:3, 3],
        "azimuth": 0.0,
        "elevation": 0.0,
        "pose_sampling": 0,
        "strength": 1,
        "matrix_world": np.linalg.inv(modelview),
        "modelview_matrix": modelview,
        "projection_matrix": _projection(shown),
        "focal_length": float(shown.K[0, 0] / shown.width * SENSOR_MM[0]),
        "sensor_width": SENSOR_MM[0],
        "sensor_height": SENSOR_MM[1],
    }


def _projection(shown: SamplePictures) -> NDArray[np.float64]:
    """Return OpenGL's projection: from the camera's frame (y up, z backwards) to -1..1 over the picture."""
    fx, fy, cx, cy = shown.K[0, 0], shown.K[1, 1], shown.K[0, 2] + 0.5, shown.K[1, 2] + 0.5
    return np.array(
        [
            [2 * fx / shown.width, 0.0, 1 - 2 * cx / shown.width, 0.0],
            [0.0, 2 * fy / shown.height, 2 * cy / shown.height - 1, 0.0],
            [0.0, 0.0, -(_FAR + _NEAR) / (_FAR - _NEAR), -2 * _FAR * _NEAR / (_FAR - _NEAR)],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )


def _strategy(spec: Mapping[str, Any]) -> int:
    """Return which of the official viewpoint strategies a render obeyed, 0 for one of our own."""
    viewpoint = spec.get("viewpoint", {})
    azimuth = tuple(viewpoint.get("azimuth_range_deg", ()))
    return _STRATEGIES.get((azimuth, viewpoint.get("polar"), viewpoint.get("polar_mean_deg")), 0)


def _exr(export: Export, shown: SamplePictures) -> bytes:
    """Return depth in longest sides as an EXR with one 32-bit channel."""
    import OpenEXR

    depth = shown.depth.astype(np.float32) * np.float32(shown.depth_scale)
    depth[shown.depth == 0] = BACKGROUND
    # The library writes files only; a name of its own, so that two writers never share it.
    temporary = export.folder.place / f"depth-{os.getpid()}.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": depth}).write(str(temporary))
    data = temporary.read_bytes()
    temporary.unlink()
    return data


def _by_class(export: Export) -> Iterator[tuple[str, Iterator[Any]]]:
    return groupby(export.folder.entries(), key=lambda entry: str(entry["class"]))
