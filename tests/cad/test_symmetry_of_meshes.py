"""How often a CAD model looks the same in one turn: found from pictures of it turned, given by a person, kept in its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw, ImageFont

from flows.commands import cad as commands
from models.cad import parametric
from models.cad.canonical import canonicalise
from models.cad.spec import CadSpec
from models.cad.symmetry import Found, find
from storage.cad.sidecar import BadSidecar, read_orientations, read_sidecar
from storage.catalog.catalog import Catalog
from storage.export.bop import symmetries_said
from storage.settings import Settings
from tasks.intake.model import identify
from tests.cad import makers
from tests.cad.test_real_models import ORIENTATIONS


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def look(path: Path, spec: CadSpec | None = None) -> Found:
    glb = path.with_suffix(".canonical.glb")
    glb.write_bytes(canonicalise(path, spec or CadSpec()).glb)
    found = find(glb)
    assert found is not None
    return found


def times(mesh: trimesh.Trimesh | trimesh.Scene, path: Path) -> int:
    """The symmetry found of a mesh that stands upright along its +z."""
    path.write_bytes(mesh.export(file_type="glb"))
    return look(path, CadSpec(up="+z", front="-y")).times


@pytest.mark.parametrize("class_name", ["car", "airplane", "table", "cup", "teapot"])
def test_parametric_shapes_have_the_symmetry_they_say(class_name: str, tmp_path: Path) -> None:
    for seed in range(2):
        path = tmp_path / f"{seed}.glb"
        path.write_bytes(parametric.glb(class_name, seed))
        assert look(path).times == parametric.symmetry(class_name, seed), f"{class_name} {seed}"


def test_a_lamp_has_the_symmetry_of_the_spokes_in_its_shade(tmp_path: Path) -> None:
    (tmp_path / "lamp.glb").write_bytes(parametric.glb("lamp", 3))
    assert look(tmp_path / "lamp.glb").times == 3


@pytest.mark.parametrize(("sides", "expected"), [(3, 3), (10, 10), (48, 0)])
def test_prisms_are_counted_and_what_is_nearly_round_is_round(sides: int, expected: int, tmp_path: Path) -> None:
    prism = trimesh.creation.cylinder(radius=0.5, height=0.6, sections=sides)
    # Not about its own middle, as files come.
    prism.apply_translation([3.0, -1.0, 2.0])
    prism.export(tmp_path / "prism.stl")
    found = look(tmp_path / "prism.stl")
    assert (found.times, found.sure) == (expected, True)


def test_what_is_hidden_does_not_count_and_what_is_seen_does(tmp_path: Path) -> None:
    jar = trimesh.creation.cylinder(radius=0.4, height=1.0, sections=48)
    inside = trimesh.creation.box([0.1, 0.5, 0.2])
    assert times(trimesh.util.concatenate([jar, inside]), tmp_path / "jar.glb") == 0
    handle = trimesh.creation.box([0.1, 0.3, 0.3])
    handle.apply_translation([0.0, 0.5, 0.1])
    assert times(trimesh.util.concatenate([jar, handle]), tmp_path / "mug.glb") == 1


def hydrant(lengths: tuple[float, ...], apart_deg: float) -> trimesh.Trimesh:
    """A post with round outlets of these lengths about it, so many degrees apart."""
    parts = [trimesh.creation.cylinder(radius=0.15, height=0.8, sections=48)]
    for number, length in enumerate(lengths):
        outlet = trimesh.creation.cylinder(radius=0.06, height=length, sections=24)
        outlet.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
        outlet.apply_translation([0.15, 0, 0.2])
        outlet.apply_transform(trimesh.transformations.rotation_matrix(np.radians(number * apart_deg), [0, 0, 1]))
        parts.append(outlet)
    return trimesh.util.concatenate(parts)


def test_outlets_that_are_unequal_are_no_symmetry(tmp_path: Path) -> None:
    assert times(hydrant((0.2, 0.2, 0.2), 120.0), tmp_path / "equal.glb") == 3
    for lengths, apart_deg in (((0.2, 0.2, 0.26), 120.0), ((0.2, 0.2, 0.26), 90.0), ((0.1, 0.1, 0.13), 90.0)):
        assert times(hydrant(lengths, apart_deg), tmp_path / "unequal.glb") == 1, (lengths, apart_deg)


def gear(teeth: int, first: int = 0) -> trimesh.Trimesh:
    parts = [trimesh.creation.cylinder(radius=0.5, height=0.2, sections=64)]
    for number in range(first, teeth):
        tooth = trimesh.creation.box([0.1, 1.4 / teeth, 0.2])
        tooth.apply_translation([0.5, 0, 0])
        tooth.apply_transform(trimesh.transformations.rotation_matrix(2 * np.pi * number / teeth, [0, 0, 1]))
        parts.append(tooth)
    return trimesh.util.concatenate(parts)


@pytest.mark.parametrize("teeth", [5, 6])
def test_one_missing_tooth_is_seen(teeth: int, tmp_path: Path) -> None:
    assert times(gear(teeth), tmp_path / "whole.glb") == teeth
    assert times(gear(teeth, first=1), tmp_path / "broken.glb") == 1


def bottle(*printed: str, fill: tuple[int, int, int] = (20, 40, 160), size: int = 60) -> trimesh.Scene:
    """A pale cylinder with words printed on it, evenly round about."""
    around = np.linspace(0, 2 * np.pi, 65)
    points = [[0.3 * np.cos(angle), 0.3 * np.sin(angle), z] for z in (0, 1) for angle in around]
    faces = [face for i in range(64) for face in ([i, i + 1, i + 66], [i, i + 66, i + 65])]
    picture = Image.new("RGB", (1024, 512), (235, 235, 235))
    for number, word in enumerate(printed):
        place = (200 + 1024 * number / len(printed), 220)
        ImageDraw.Draw(picture).text(place, word, font=ImageFont.load_default(size), fill=fill, anchor="mm")
    paper = trimesh.visual.material.PBRMaterial(baseColorTexture=picture, metallicFactor=0.0)
    uv = np.array([[angle / 2 / np.pi, z] for z in (0, 1) for angle in around])
    label = trimesh.Trimesh(points, faces, process=False, visual=trimesh.visual.TextureVisuals(uv=uv, material=paper))
    ends = [trimesh.creation.cylinder(radius=0.3, height=0.001, sections=64) for _ in range(2)]
    ends[1].apply_translation([0, 0, 1])
    pale = trimesh.visual.material.PBRMaterial(baseColorFactor=[235, 235, 235, 255])
    for end in ends:
        end.visual = trimesh.visual.TextureVisuals(material=pale)
    return trimesh.Scene([label, *ends])


def test_a_print_counts_wherever_it_is_and_words_are_told_apart(tmp_path: Path) -> None:
    assert times(bottle(), tmp_path / "plain.glb") == 0
    assert times(bottle("MILK"), tmp_path / "one.glb") == 1
    assert times(bottle("MILK", "MILK"), tmp_path / "two.glb") == 2
    assert times(bottle("MILK", "MLIK"), tmp_path / "unlike.glb") == 1
    assert times(bottle("MM", fill=(215, 215, 220), size=300), tmp_path / "faint.glb") == 1


def test_what_agrees_nearly_is_in_doubt_and_then_there_is_no_symmetry(tmp_path: Path) -> None:
    (tmp_path / "small.glb").write_bytes(bottle("since 1870", fill=(180, 180, 190), size=36).export(file_type="glb"))
    found = look(tmp_path / "small.glb", CadSpec(up="+z", front="-y"))
    assert (found.times, found.sure) == (1, False)
    assert found.detail.startswith("in doubt: turned anyhow, 0.")


REAL = {"bus.obj": 1, "hatchback.obj": 1, "suv.obj": 1, "cow.obj": 1, "Duck.glb": 1, "teapot.obj": 1, "CesiumMilkTruck.glb": 1}
REAL |= {"plastic_cup.dae": 0, "textured-0008192.obj": 1}
# Its shape is a square table's, the grain of its wood is not.
REAL |= {"cafe_table.dae": 1}


def test_real_models_have_the_symmetry_a_person_sees(tmp_path: Path, shared_cad_or_none: Path | None) -> None:
    if shared_cad_or_none is None:
        pytest.skip("no real CAD models beside this checkout")
    orientations = read_orientations(ORIENTATIONS)
    for name, expected in REAL.items():
        (path,) = shared_cad_or_none.rglob(name)
        said = orientations[identify(path)]
        glb = tmp_path / f"{name}.glb"
        glb.write_bytes(canonicalise(path, CadSpec(up=str(said.up), front=str(said.front))).glb)
        found = find(glb)
        assert found is not None
        assert found.times == expected, (name, found.detail)


# -- rows --------------------------------------------------------------------------------------------------------------


def row(settings: Settings) -> dict[str, Any]:
    (only,) = Catalog(settings.catalog).cad_models()
    return only


def test_a_registered_model_says_its_symmetry_and_where_that_comes_from(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "table.glb").write_bytes(parametric.glb("table", 0))
    commands.add(tmp_path / "table.glb", class_name="table")
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (4, "views")
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
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (2, "views")


def test_what_an_earlier_version_found_is_found_anew_when_the_file_is_added_again(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "table.glb"
    path.write_bytes(parametric.glb("table", 0))
    commands.add(path, class_name="table", symmetry=3)
    catalog = Catalog(settings.catalog, settings.store)
    kept = {name: row(settings)[name] for name in ("class_name", "cad_id", "source", "cad_key", "up", "front")}
    catalog.add_cad_model(**kept, symmetry=5, symmetry_origin="mesh")
    assert symmetries_said(catalog, ["table"]) == {("table", row(settings)["cad_id"]): None}
    commands.add(path, class_name="table")
    assert (row(settings)["symmetry"], row(settings)["symmetry_origin"]) == (4, "views")
    assert symmetries_said(catalog, ["table"]) == {("table", row(settings)["cad_id"]): 4}


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
