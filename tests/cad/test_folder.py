"""Names, digests, sidecars and folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.cad import spec
from models.cad.parse import referenced_files
from storage.cad import folder
from storage.cad.digest import cad_id
from storage.cad.folder import FoundModel, scan, scan_each
from storage.cad.layouts import SHAPENET
from storage.cad.names import BadClassName, check_class_name
from storage.cad.sidecar import BadSidecar, read_orientations, read_sidecar
from tests.cad import makers


@pytest.mark.parametrize("name", ["car", "coffee mug", "t-shirt", "4x4", "a", "x" * 64])
def test_a_plain_name_is_a_class_name(name: str) -> None:
    assert check_class_name(name) == name


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("Car", "car"), ("coffee_mug", "coffee mug"), ("../etc/passwd", "etc passwd"), ("a/b", "a b"), ("café", "cafe"),
        ("car'; DROP TABLE classes;--", "car drop table classes"), ('say "hi"', "say hi"), (" car", "car"), ("car ", "car"),
        ("a  b", "a b"), ("$(rm -rf)", "rm -rf"), ("x" * 65, "x" * 64), ("\tcar\n", "car"),
    ],
)  # fmt: skip
def test_other_names_are_refused_with_a_spelling_that_is_allowed(name: str, proposal: str) -> None:
    with pytest.raises(BadClassName, match=f'say "{proposal}"') as caught:
        check_class_name(name)
    assert "\n" not in str(caught.value)
    assert check_class_name(proposal) == proposal


@pytest.mark.parametrize("name", ["", "...", "汽车", "\0"])
def test_names_without_a_latin_letter_are_refused_without_a_proposal(name: str) -> None:
    with pytest.raises(BadClassName, match="cannot be a class name"):
        check_class_name(name)


def test_the_id_is_the_digest_of_the_file_and_of_what_it_refers_to_in_order(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(makers.picture())
    path = makers.write_obj(tmp_path / "a.obj", mtl="a.mtl", texture="t.png")
    joined = b"".join((tmp_path / name).read_bytes() for name in ("a.obj", "a.mtl", "t.png"))
    assert [file.name for file in referenced_files(path)] == ["a.mtl", "t.png"]
    assert cad_id(path, referenced_files(path)) == hashlib.sha256(joined).hexdigest()
    alone = makers.write_stl(tmp_path / "b.stl")
    assert cad_id(alone, referenced_files(alone)) == hashlib.sha256(alone.read_bytes()).hexdigest()


def test_a_changed_texture_is_another_cad_model_and_another_place_is_not(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "t.png").write_bytes(makers.picture())
        makers.Gltf().textured({"uri": "t.png"}).gltf(tmp_path / place / "a.gltf")
    one, two = (tmp_path / place / "a.gltf" for place in ("one", "two"))
    assert [file.name for file in referenced_files(one)] == ["wedge.bin", "t.png"]
    assert cad_id(one, referenced_files(one)) == cad_id(two, referenced_files(two))
    (tmp_path / "two" / "t.png").write_bytes(makers.picture((0, 0, 0)))
    assert cad_id(one, referenced_files(one)) != cad_id(two, referenced_files(two))


def test_storage_and_models_agree_on_the_formats() -> None:
    assert folder.FORMATS == spec.FORMATS


def test_a_folder_of_classes_gives_each_mesh_below_with_its_class(tmp_path: Path) -> None:
    for place in (
        "car/a.obj",
        "car/deep/er/b.STL",
        "coffee mug/c.glb",
        "_broken/d.obj",
        ".hidden/e.obj",
        "car/_old/f.obj",
        "car/.g.obj",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("x")
    (tmp_path / "car" / "a.mtl").write_text("x")
    (tmp_path / "car" / "ring").symlink_to(tmp_path / "car")
    assert [(m.path.relative_to(tmp_path).as_posix(), m.class_name) for m in scan(tmp_path)] == [
        ("car/a.obj", "car"),
        ("car/deep/er/b.STL", "car"),
        ("coffee mug/c.glb", "coffee mug"),
    ]


def test_a_file_and_files_directly_in_the_folder_have_no_class_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("x")
    assert scan(tmp_path / "a.obj") == scan(tmp_path) == [FoundModel(path=tmp_path / "a.obj", name="a")]


def test_meshes_for_collisions_or_for_afar_are_told_apart_where_there_is_one_to_be_seen(tmp_path: Path) -> None:
    seen = ["bus/bus.dae", "suv/meshes/suv.obj", "hull.obj", "collar.obj", "lone/lone_vhacd.obj", "colt/coll.stl", "x/a_lod0.obj"]
    stand_ins = {
        "bus/bus_vhacd.obj": "bus.dae", "bus/bus_collision.stl": "bus.dae", "bus/bus-coll.obj": "bus.dae",
        "bus/UCX_bus.obj": "bus.dae", "bus/bus_convex_12.obj": "bus.dae", "bus/bus.lod2.obj": "bus.dae",
        "bus/bus_LOD_1.obj": "bus.dae", "bus/other_collider.obj": "bus.dae",
        "suv/collision/part.obj": "suv.obj", "suv/meshes/collisions/suv.obj": "suv.obj", "x/a_lod1.obj": "a_lod0.obj",
    }  # fmt: skip
    for place in (*seen, *stand_ins):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("x")
    found = {model.path.relative_to(tmp_path).as_posix(): model.stands_in_for for model in scan(tmp_path)}
    assert found == {**dict.fromkeys(seen), **stand_ins}


def test_files_that_are_named_together_are_taken_once_each_and_told_apart(tmp_path: Path) -> None:
    for name in ("bus.obj", "bus_vhacd.obj", "car.obj"):
        (tmp_path / name).write_text("x")
    bus, hull, car = (tmp_path / name for name in ("bus.obj", "bus_vhacd.obj", "car.obj"))
    found = {model.path: model.stands_in_for for model in scan_each([bus, hull, car, tmp_path, bus])}
    assert found == {bus: None, hull: "bus.obj", car: None}
    assert [model.stands_in_for for model in scan_each([hull])] == [None]
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*other\.obj"):
        scan_each([bus, tmp_path / "other.obj"])


def test_a_folders_name_is_spelled_as_a_class(tmp_path: Path) -> None:
    for name in ("Fire_Truck", "fire truck", "fire__engine_", "汽车"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.obj").write_text("x")
    found = {(model.class_name, model.folder) for model in scan(tmp_path)}
    assert found == {("fire engine", "fire__engine_"), ("fire truck", "Fire_Truck"), ("fire truck", None), ("汽车", None)}


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no CAD model in"):
        scan(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        scan(tmp_path / "nowhere")


def test_shapenets_layout_gives_class_orientation_and_name(tmp_path: Path) -> None:
    place = tmp_path / "02958343" / "1a2b3c" / "models" / "model_normalized.obj"
    place.parent.mkdir(parents=True)
    place.write_text("x")
    said = {"axes_by": "ShapeNet's convention", "by_convention": True}
    assert scan(tmp_path) == [FoundModel(path=place, class_name="car", up="+y", front="-z", name="1a2b3c", **said)]  # type: ignore[arg-type]
    assert len(SHAPENET) == 55
    assert all(check_class_name(name) == name for name in SHAPENET.values())


def test_nearer_sidecars_win_field_by_field_and_orientation_as_one(tmp_path: Path) -> None:
    (tmp_path / "car").mkdir()
    for name in ("a.obj", "b.obj", "c.obj"):
        (tmp_path / "car" / name).write_text("x")
    (tmp_path / "dst.toml").write_text('licence = "CC0"\nup = "+z"\nfront = "-y"\nkeywords = "old, car"\n')
    (tmp_path / "car" / "dst.toml").write_text('class = "race car"\nkeywords = ["fast"]\n')
    (tmp_path / "car" / "b.obj.dst.toml").write_text('up = "-x"\n')
    (tmp_path / "car" / "c.dst.toml").write_text('licence = "MIT"\nkeywords = []\n')
    a, b, c = scan(tmp_path)
    assert (a.class_name, a.keywords, a.licence, a.up, a.front) == ("race car", ("fast",), "CC0", "+z", "-y")
    assert (b.up, b.front) == ("-x", "auto")
    assert (c.licence, c.keywords, c.up) == ("MIT", (), "+z")


@pytest.mark.parametrize(
    "text", ["up = 5", 'up = "z"', "keywords = [1]", "licence = 3", 'colour = "red"', "nonsense", 'up = "+z', "class = []"]
)
def test_a_sidecar_that_makes_no_sense_is_named_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "dst.toml").write_text(text)
    with pytest.raises(BadSidecar, match=r"dst\.toml") as caught:
        read_sidecar(tmp_path / "dst.toml")
    assert "\n" not in str(caught.value)


def test_a_list_of_orientations_is_keyed_by_cad_id(tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text('["abc"]\nup = "+z"\nfront = "+x"\n')
    assert read_orientations(tmp_path / "list.toml")["abc"].front == "+x"
    (tmp_path / "list.toml").write_text('up = "+z"\n')
    with pytest.raises(BadSidecar, match="outside of a table"):
        read_orientations(tmp_path / "list.toml")
