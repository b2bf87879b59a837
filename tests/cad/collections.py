"""Every collection in its publishers' layout, filled with bundled parametric CAD models and the wedge of the makers."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

from models.cad import parametric
from tests.cad import makers

DUCK, LAMP = "a" * 32, "b" * 32
"""Objaverse uids."""


def shapenet(root: Path) -> Path:
    """Cars 1 to 3 (2 and 3 of the same bytes), one broken, one without its mesh; a mug; a synset beyond the 55."""
    for number, seed in ((1, 1), (2, 2), (3, 2)):
        wedge = makers.write_obj(root / "02958343" / f"c{number}" / "models" / "model_normalized.obj", "+y", "-z")
        wedge.write_text(wedge.read_text() + f"# {seed}\n")
    (root / "02958343" / "c4" / "models").mkdir(parents=True)
    (root / "02958343" / "c4" / "models" / "model_normalized.obj").write_text("v 0 0 0\n")
    (root / "02958343" / "c5" / "models").mkdir(parents=True)
    makers.write_obj(root / "03797390" / "m1" / "models" / "model_normalized.obj", "+y", "-z")
    makers.write_obj(root / "00000001" / "x1" / "model.obj", "+y", "-z")
    (root / "taxonomy.json").write_text(
        json.dumps(
            [
                {"synsetId": "02958343", "name": "car,auto,automobile", "children": [], "numInstances": 5},
                {"synsetId": "03797390", "name": "mug", "children": [], "numInstances": 1},
                {"synsetId": "00000001", "name": "Glass eye", "children": [], "numInstances": 1},
            ]
        )
    )
    return root


def objaverse(root: Path) -> Path:
    """Two GLBs as the publishers' package keeps them, with names, tags, licences and LVIS classes."""
    for uid, name in ((DUCK, "cup"), (LAMP, "lamp")):
        path = root / "glbs" / "000-023" / f"{uid}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parametric.glb(name, 3))
    said = {
        DUCK: {"name": "Blue cup", "tags": [{"name": "cup"}, {"name": "ceramic"}], "license": "by"},
        LAMP: {"name": "Lamp", "tags": [], "license": "cc0"},
    }
    (root / "metadata").mkdir()
    (root / "metadata" / "000-023.json.gz").write_bytes(gzip.compress(json.dumps(said).encode()))
    (root / "lvis-annotations.json.gz").write_bytes(gzip.compress(json.dumps({"Cup": [DUCK], "lamp_(floor)": [LAMP]}).encode()))
    return root


def omniobject3d(root: Path) -> Path:
    makers.write_obj(root / "raw" / "raw_scans" / "toy_animals" / "toy_animals_001" / "Scan" / "Scan.obj")
    makers.write_obj(root / "raw" / "raw_scans" / "teapot" / "teapot_007" / "Scan" / "Scan.obj")
    return root


def toys4k(root: Path) -> Path:
    makers.write_obj(root / "toys4k_obj_files" / "airplane" / "airplane_000" / "mesh.obj")
    (root / "toys4k_obj_files" / "airplane" / "airplane_001").mkdir()
    (root / "toys4k_obj_files" / "airplane" / "airplane_001" / "airplane_001.blend").write_bytes(b"BLENDER-v293")
    return root


def folder(root: Path, real: Path | None = None) -> Path:
    """Folders of classes; with the real CAD models that nobody here wrote, where there are some."""
    (root / "car").mkdir(parents=True)
    makers.write_stl(root / "car" / "small.stl")
    makers.write_obj(root / "Coffee Mug" / "b.obj")
    (root / "Coffee Mug" / "dst.toml").write_text('symmetry = 0\nlicence = "CC0"\n')
    if real is not None:
        shutil.copytree(real / "car", root / "real cars")
    return root


LAYOUTS = {"shapenet": shapenet, "objaverse": objaverse, "omniobject3d": omniobject3d, "toys4k": toys4k, "folder": folder}
