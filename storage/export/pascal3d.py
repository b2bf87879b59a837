"""PASCAL3D+: pose annotations as .mat files, in its folders and its convention.

Enters: an export. Leaves: `Annotations/<class>_dst/*.mat`, `Images/<class>_dst/*.png`, `Image_sets/<class>_dst_train.txt`,
`CAD/<class>.mat` and `CAD/<class>/*.off`. Its frame is ours (front -y, azimuth 0 sees the front, counter-clockwise, theta as
our in-plane angle); pixels and indices count from 1, as in Matlab; focal times viewport is the focal length in pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from storage.export.format import Export
from storage.export.mesh import off
from storage.export.rows import SamplePictures

VIEWPORT = 3000
"""What PASCAL3D+ and the tools around it multiply `focal` by."""
_COARSE_DEG = 15
_HEADER = b"MATLAB 5.0 MAT-file, 3D-DST"


class Pascal3d:
    """See storage.export.format.Format."""

    name = "pascal3d"
    contents = """
- `Annotations/<class>_dst/<sample>.mat`: a `record` as PASCAL3D+ writes it, `record.objects.viewpoint` with azimuth, elevation,
  distance, theta (degrees), focal, px, py, viewport; boxes and px, py count pixels from 1. There are no keypoints (`anchors` is
  empty).
- `Images/<class>_dst/<sample>.png`, `Image_sets/<class>_dst_train.txt`; `CAD/<class>.mat` with vertices and faces (from 1),
  `cad_index` counts into it; `CAD/<class>/01.off`, ... the same meshes. The longest side of each is 1.
- focal x 3000 (the viewport) is the focal length in pixels. Pictures are PNG: use `record.filename`, not an extension of your
  own.
"""
    loading = """
import glob
import scipy.io

record = scipy.io.loadmat(sorted(glob.glob(f"{OUT}/Annotations/*_dst/*.mat"))[0])["record"]
viewpoint = record["objects"][0][0][0][0]["viewpoint"]
azimuth, elevation = viewpoint["azimuth"][0][0][0][0], viewpoint["elevation"][0][0][0][0]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        places = _places(export)
        entries = []
        for shown in pictures:
            sample = shown.sample
            folder = _folder(sample.class_name)
            export.folder.write(f"Images/{folder}/{sample.name}.png", shown.image)
            export.folder.write(
                f"Annotations/{folder}/{sample.name}.mat",
                _mat({"record": _record(shown, places[sample.class_name, sample.cad_id])}),
            )
            entries.append([sample.class_name, sample.name])
        return entries

    def finish(self, export: Export) -> None:
        places = _places(export)
        for class_name, entries in groupby(export.folder.entries(), key=lambda entry: str(entry[0])):
            with export.folder.open(f"Image_sets/{_folder(class_name)}_train.txt") as file:
                file.writelines(f"{entry[1]}\n".encode() for entry in entries)
        for class_name, models in groupby(sorted(places), key=lambda model: model[0]):
            meshes = []
            for model in models:
                mesh = export.mesh(model)
                export.folder.write(f"CAD/{_name(class_name)}/{places[model]:02d}.off", off(mesh))
                meshes.append((mesh.points, (mesh.faces + 1).astype(np.float64)))
            cads = np.empty((1, len(meshes)), dtype=[("vertices", object), ("faces", object), ("pnames", object)])
            for i, (points, faces) in enumerate(meshes):
                cads[0, i] = (points, faces, np.empty((0, 0), dtype=object))
            export.folder.write(f"CAD/{_name(class_name)}.mat", _mat({_name(class_name): cads}))


def _places(export: Export) -> dict[tuple[str, str], int]:
    """Return the place of each CAD model in its class, from 1."""
    return {
        (class_name, cad_id): place
        for class_name, models in groupby(sorted(export.selection.figures.models), key=lambda model: model[0])
        for place, (_, cad_id) in enumerate(models, start=1)
    }


def _record(shown: SamplePictures, cad_index: int) -> dict[str, Any]:
    sample, row = shown.sample, shown.sample.row
    x0, y0, x1, y1 = (float(value + 1) for value in shown.box)
    viewpoint = {
        "azimuth_coarse": float(round(row["azimuth_deg"] / _COARSE_DEG) * _COARSE_DEG % 360),
        "elevation_coarse": float(round(row["elevation_deg"] / _COARSE_DEG) * _COARSE_DEG),
        "azimuth": float(row["azimuth_deg"]),
        "elevation": float(row["elevation_deg"]),
        "distance": float(row["distance"]),
        "focal": float(shown.K[0, 0]) / VIEWPORT,
        "px": float(shown.K[0, 2]) + 1,
        "py": float(shown.K[1, 2]) + 1,
        "theta": float(row["inplane_deg"] or 0.0),
        "error": 0.0,
        "interval_azimuth": 0.0,
        "interval_elevation": 0.0,
        "num_anchor": 0.0,
        "viewport": float(VIEWPORT),
    }
    cut = float(row["truncated_fraction"] or 0.0)
    return {
        "folder": f"Images/{_folder(sample.class_name)}",
        "filename": f"{sample.name}.png",
        "source": {"database": "3D-DST", "annotation": str(row["sample_id"]), "image": str(row["sha256"])},
        "size": {"width": float(shown.width), "height": float(shown.height), "depth": 3.0},
        "imgsize": np.array([shown.width, shown.height, 3], dtype=np.float64),
        "segmented": 0.0,
        "imgname": f"Images/{_folder(sample.class_name)}/{sample.name}.png",
        "database": "3D-DST",
        "objects": [
            {
                "class": _name(sample.class_name),
                "view": "",
                "truncated": float(cut > 0),
                "occluded": 0.0,
                "difficult": 0.0,
                "label": _name(sample.class_name),
                "bbox": np.array([x0, y0, x1, y1]),
                "bndbox": {"xmin": x0, "ymin": y0, "xmax": x1, "ymax": y1},
                "cad_index": float(cad_index),
                "viewpoint": viewpoint,
                "anchors": np.empty((0, 0)),
            }
        ],
    }


def _mat(variables: dict[str, Any]) -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {name: _cells(value) for name, value in variables.items()}, do_compression=True)
    # The first 116 bytes are free text, in which scipy says the time: equal annotations are equal files.
    return _HEADER.ljust(116) + buffer.getvalue()[116:]


def _cells(value: Any) -> Any:
    """Return nested dicts with lists of dicts as Matlab's struct arrays (1, N)."""
    if isinstance(value, dict):
        return {name: _cells(item) for name, item in value.items()}
    if isinstance(value, list):
        array = np.empty((1, len(value)), dtype=[(name, object) for name in value[0]])
        for i, item in enumerate(value):
            array[0, i] = tuple(_cells(item[name]) for name in value[0])
        return array
    return value


def _name(class_name: str) -> str:
    """Return a class name that Matlab takes for a variable's."""
    name = class_name.replace(" ", "_").replace("-", "_")
    return name if name[0].isalpha() else f"c_{name}"


def _folder(class_name: str) -> str:
    return f"{_name(class_name)}_dst"
