"""CAD models that nobody here wrote, as a person saw them on six-view sheets; and Blender as the one that has to read the result.

Where this checkout has no folder of real models beside it, the wedge of tests/cad/makers.py stands in for them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.cad.canonical import CanonicalModel, canonicalise
from models.cad.parse import referenced_files
from models.cad.spec import CadSpec
from storage.cad.digest import cad_id
from storage.cad.folder import scan
from storage.cad.sidecar import read_orientations
from tests.cad import makers

ORIENTATIONS = Path(__file__).parent / "orientations.toml"
TEXTURED = {"bus", "hatchback", "suv", "textured-0008192", "Duck", "cafe_table", "CesiumMilkTruck"}


@pytest.fixture(scope="module")
def models(shared_cad_or_none: Path | None, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, CanonicalModel]:
    if shared_cad_or_none is None:
        folder = tmp_path_factory.mktemp("models")
        return {
            path: canonicalise(path, CadSpec())
            for path in (makers.write_obj(folder / "a.obj"), makers.write_dae(folder / "a.dae"))
        }
    said = read_orientations(ORIENTATIONS)
    made = {}
    for found in scan(shared_cad_or_none):
        name = cad_id(found.path, referenced_files(found.path))
        assert name in said, f"nobody has looked at {found.path}: see dst cad show, then add it to {ORIENTATIONS.name}"
        made[found.path] = canonicalise(found.path, CadSpec(up=str(said[name].up), front=str(said[name].front)))
    return made


def test_each_is_one_unit_long_and_centred(models: dict[Path, CanonicalModel]) -> None:
    for path, made in models.items():
        points = makers.canonical_points(made.glb)
        assert np.ptp(points, axis=0).max() == pytest.approx(1, abs=1e-5), path
        np.testing.assert_allclose(points.min(axis=0), -points.max(axis=0), atol=1e-5, err_msg=str(path))


def test_the_matrix_takes_each_source_as_trimesh_reads_it_to_the_canonical_frame(models: dict[Path, CanonicalModel]) -> None:
    import trimesh

    for path, made in models.items():
        source = np.asarray(trimesh.load_scene(path, process=False).to_geometry().vertices)
        moved = source @ made.canonical_from_source[:3, :3].T + made.canonical_from_source[:3, 3]
        points = makers.canonical_points(made.glb)
        np.testing.assert_allclose(moved.min(axis=0), points.min(axis=0), atol=1e-5, err_msg=str(path))
        np.testing.assert_allclose(moved.max(axis=0), points.max(axis=0), atol=1e-5, err_msg=str(path))


def test_only_doubled_faces_are_lost_and_textures_arrive(models: dict[Path, CanonicalModel]) -> None:
    import trimesh

    for path, made in models.items():
        source = trimesh.load_scene(path, process=False).to_geometry()
        doubled = {"cafe_table": 34, "textured-0008192": 1}.get(path.stem, 0)
        assert made.facts["faces"] == len(source.faces) - doubled, path
        assert made.facts["textured"] == (path.stem in TEXTURED), path


def test_vehicles_stand_on_their_wheels_and_look_forward(models: dict[Path, CanonicalModel]) -> None:
    """A vehicle is longest along the canonical y, and its wheels' centres lie below its middle."""
    for path, made in models.items():
        if path.stem not in ("hatchback", "suv", "bus", "CesiumMilkTruck"):
            continue
        points = makers.canonical_points(made.glb)
        size = np.ptp(points, axis=0)
        assert size[1] == pytest.approx(1, abs=1e-5)
        low = points[points[:, 2] < points[:, 2].min() + 0.02]
        # What touches the ground does so at four places, two in front and two behind.
        assert {(x > 0, y > 0) for x, y, _ in low} == {(False, False), (False, True), (True, False), (True, True)}


def test_the_bus_keeps_its_texture_although_its_wheels_texture_is_missing(models: dict[Path, CanonicalModel]) -> None:
    for path, made in models.items():
        if path.stem == "bus":
            assert [warning.split(":")[0] for warning in made.facts["warnings"]] == ["texture_missing"]


@pytest.mark.slow
def test_blender_reads_every_format_with_its_textures(models: dict[Path, CanonicalModel], tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(makers.picture())
    own = [
        makers.write_obj(tmp_path / "own.obj", mtl="own.mtl", texture="t.png"),
        makers.write_dae(tmp_path / "own_dae.dae", texture="t.png"),
        makers.Gltf().textured({"uri": "t.png"}).gltf(tmp_path / "own_gltf.gltf"),
        makers.write_ply(tmp_path / "own_ply.ply", colors=True),
        makers.write_stl(tmp_path / "own_stl.stl"),
        makers.write_off(tmp_path / "own_off.off"),
    ]
    everything = {**models, **{path: canonicalise(path, CadSpec()) for path in own}}
    glbs = {}
    for path, made in everything.items():
        glbs[path] = tmp_path / f"{path.stem}.glb"
        glbs[path].write_bytes(made.glb)
    script = Path(__file__).with_name("blender_reads.py")
    # -P: the folder of the script has a module `collections`, which would stand before Python's own.
    command = [sys.executable, "-P", script, tmp_path / "out.json", *glbs.values()]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    read = json.loads((tmp_path / "out.json").read_text())
    for path, made in everything.items():
        found = read[str(glbs[path])]
        points = makers.canonical_points(made.glb)
        assert found["types"] == ["MESH"], path
        assert found["faces"] == made.facts["faces"], path
        assert (found["one_sided"], found["actions"]) == (0, 0), path
        np.testing.assert_allclose(found["low"], points.min(axis=0), atol=1e-5, err_msg=str(path))
        np.testing.assert_allclose(found["high"], points.max(axis=0), atol=1e-5, err_msg=str(path))
        assert all(width * height * 4 == pixels > 0 for width, height, pixels in found["pictures"]), path
        assert bool(found["pictures"]) == made.facts["textured"], path
        assert (found["painted"] > 0) == (made.facts["textured"] or path.suffix == ".ply"), path
