"""How often a CAD model looks the same in one turn: found from its mesh, given by a person, kept in its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from flows.commands import cad as commands
from models.cad import parametric
from models.cad.canonical import canonicalise
from models.cad.spec import CadSpec
from models.cad.symmetry import symmetry_of
from storage.cad.sidecar import BadSidecar, read_orientations, read_sidecar
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.intake.model import identify
from tests.cad import makers
from tests.cad.test_real_models import ORIENTATIONS


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def found(path: Path, spec: CadSpec | None = None) -> int | None:
    glb = path.with_suffix(".canonical.glb")
    glb.write_bytes(canonicalise(path, spec or CadSpec()).glb)
    return symmetry_of(glb)


@pytest.mark.parametrize("class_name", ["car", "bus", "airplane", "table", "cup", "teapot", "lamp"])
def test_parametric_shapes_have_the_symmetry_they_say(class_name: str, tmp_path: Path) -> None:
    for seed in range(4):
        path = tmp_path / f"{seed}.glb"
        path.write_bytes(parametric.glb(class_name, seed))
        assert found(path) == parametric.symmetry(class_name, seed), f"{class_name} {seed}"


@pytest.mark.parametrize(
    ("sides", "expected"), [(3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (10, 10), (16, 0), (48, 0)], ids=lambda value: str(value)
)
def test_prisms_are_counted_and_what_is_nearly_round_is_round(sides: int, expected: int, tmp_path: Path) -> None:
    prism = trimesh.creation.cylinder(radius=0.5, height=0.6, sections=sides)
    # Not about its own middle, as files come.
    prism.apply_translation([3.0, -1.0, 2.0])
    prism.export(tmp_path / "prism.stl")
    assert found(tmp_path / "prism.stl") == expected


def test_what_is_hidden_does_not_count_and_what_is_seen_does(tmp_path: Path) -> None:
    jar = trimesh.creation.cylinder(radius=0.4, height=1.0, sections=48)
    inside = trimesh.creation.box([0.1, 0.5, 0.2])
    trimesh.util.concatenate([jar, inside]).export(tmp_path / "jar.stl")
    assert found(tmp_path / "jar.stl") == 0
    handle = trimesh.creation.box([0.1, 0.3, 0.3])
    handle.apply_translation([0.0, 0.5, 0.1])
    trimesh.util.concatenate([jar, handle]).export(tmp_path / "mug.stl")
    assert found(tmp_path / "mug.stl") == 1


def test_a_colour_on_one_side_counts(tmp_path: Path) -> None:
    jar = trimesh.creation.cylinder(radius=0.4, height=1.0, sections=48)
    jar.visual.vertex_colors = np.where(jar.vertices[:, 1:2] > 0, [[220, 30, 30, 255]], [[230, 230, 230, 255]])
    jar.export(tmp_path / "jar.ply")
    assert found(tmp_path / "jar.ply") == 1
    jar.visual.vertex_colors = [200, 30, 30, 255]
    jar.export(tmp_path / "plain.ply")
    assert found(tmp_path / "plain.ply") == 0


REAL = {"bus.obj": 1, "hatchback.obj": 1, "suv.obj": 1, "cow.obj": 1, "Duck.glb": 1, "cafe_table.dae": 4, "teapot.obj": 1}
REAL |= {"CesiumMilkTruck.glb": 1, "plastic_cup.dae": 0}


def test_real_models_have_the_symmetry_a_person_sees(tmp_path: Path, shared_cad_or_none: Path | None) -> None:
    if shared_cad_or_none is None:
        pytest.skip("no real CAD models beside this checkout")
    orientations = read_orientations(ORIENTATIONS)
    for name, expected in REAL.items():
        (path,) = shared_cad_or_none.rglob(name)
        said = orientations.get(identify(path))
        spec = CadSpec() if said is None else CadSpec(up=said.up or "auto", front=said.front or "auto")
        glb = tmp_path / f"{name}.glb"
        glb.write_bytes(canonicalise(path, spec).glb)
        assert symmetry_of(glb) == expected, name


# -- rows --------------------------------------------------------------------------------------------------------------


def row(settings: Settings) -> dict[str, Any]:
    (only,) = Catalog(settings.catalog).cad_models()
    return only


def test_a_registered_model_says_its_symmetry_and_where_that_comes_from(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "table.glb").write_bytes(parametric.glb("table", 0))
    commands.add(tmp_path / "table.glb", class_name="table")
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (4, "mesh")
    commands.add(tmp_path / "table.glb", class_name="table", symmetry=2)
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (2, "given")
    # Nobody says anything: what was given holds, through a new alignment as well.
    commands.add(tmp_path / "table.glb", class_name="table")
    commands.align("table", up="+y", front="+x")
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (2, "given")
    with pytest.raises(ValueError, match="rotational symmetry"):
        commands.add(tmp_path / "table.glb", class_name="table", symmetry=-1)


def test_what_was_found_is_found_again_when_the_axes_change(settings: Settings, tmp_path: Path) -> None:
    cylinder = trimesh.creation.cylinder(radius=0.3, height=1.0, sections=48)
    cylinder.export(tmp_path / "lamp.stl")
    commands.add(tmp_path / "lamp.stl", class_name="lamp")
    assert row(settings)["symmetry"] == 0
    commands.align("lamp", up="+x", front="-y")
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (2, "mesh")


def test_sidecars_speak_for_a_model_or_for_its_class(settings: Settings, tmp_path: Path) -> None:
    makers.write_stl(_folder(tmp_path / "cad" / "vase") / "one.stl")
    (tmp_path / "cad" / "vase" / "two.stl").write_bytes((tmp_path / "cad" / "vase" / "one.stl").read_bytes() + b" ")
    (tmp_path / "cad" / "vase" / "dst.toml").write_text("symmetry = 0\n")
    (tmp_path / "cad" / "vase" / "two.stl.dst.toml").write_text("symmetry = 3\n")
    commands.add(tmp_path / "cad")
    said = {r["cad_name"]: (r["symmetry"], r["symmetry_origin"]) for r in Catalog(settings.catalog).cad_models()}
    assert said == {"one": (0, "class"), "two": (3, "given")}
    for wrong in ("-1", "2.5", '"two"', "true", "1000"):
        (tmp_path / "dst.toml").write_text(f"symmetry = {wrong}\n")
        with pytest.raises(BadSidecar, match="symmetry is"):
            read_sidecar(tmp_path / "dst.toml")


def test_the_catalog_is_rebuilt_with_it(settings: Settings, tmp_path: Path) -> None:
    commands.add(makers.write_stl(tmp_path / "a.stl"), class_name="car", symmetry=6)
    before = row(settings)
    (settings.root / "catalog.sqlite").unlink()
    Catalog(settings.catalog, settings.store).rebuild(settings.store.records())
    assert row(settings) == before


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
