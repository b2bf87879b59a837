"""From a file to a row and an artifact, through `register`, `align` and the commands."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.commands import cad as commands
from models.cad.bad import BadModel
from models.cad.spec import CadSpec
from storage.cad.sidecar import Sidecar
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.intake.model import align, cad_key, register
from tasks.plan.place import Place
from tests.cad import makers


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def rows(settings: Settings, class_name: str | None = None) -> list[dict[str, Any]]:
    return Catalog(settings.catalog).cad_models(class_name, status=None)


def test_a_registered_file_has_an_artifact_and_a_row(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "sports car.obj")
    made = register(Place.of(settings), path, "car", keywords=("fast", " red "), licence="CC0")
    assert (made.status, made.class_name, made.name) == ("added", "car", "sports car")
    (row,) = rows(settings)
    assert (row["cad_id"], row["source"], row["keywords"], row["licence"]) == (made.cad_id, str(path), ["fast", "red"], "CC0")
    assert (row["status"], row["faces"], row["watertight"], row["textured"]) == ("ok", 36, 1, 0)
    assert row["spec_key"] is not None
    artifact = settings.store.sound("cad", row["cad_key"])
    assert artifact is not None
    assert settings.store.read(artifact, "model.glb")[:4] == b"glTF"
    assert artifact.record.inputs == {"cad_id": made.cad_id}
    assert artifact.record.values["canonical_from_source"][3] == [0, 0, 0, 1]


def test_the_same_bytes_again_are_reported_as_known_wherever_they_lie(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    copy = tmp_path / "copy" / "b.stl"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    register(Place.of(settings), path, "car")
    again = register(Place.of(settings), copy, "car")
    assert again.status == "known"
    assert again.detail is not None
    assert str(path) in again.detail
    assert len(rows(settings)) == 1
    assert register(Place.of(settings), path, "truck").status == "added"


def test_what_is_said_anew_changes_the_row_and_keeps_the_rest(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    register(Place.of(settings), path, "car", keywords=("fast",), licence="MIT")
    assert register(Place.of(settings), path, "car", keywords=("slow",)).status == "changed"
    assert (rows(settings)[0]["keywords"], rows(settings)[0]["licence"]) == (["slow"], "MIT")
    assert register(Place.of(settings), path, "car").status == "known"


def test_align_makes_a_new_artifact_and_the_old_one_stays(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "a.obj", up="+z", front="+x")
    first = register(Place.of(settings), path, "car")
    second = align(Place.of(settings), "car", first.cad_id, "+z", "+x")
    assert second.cad_key != first.cad_key
    assert settings.store.sound("cad", str(first.cad_key)) is not None
    right = register(Place.of(settings), makers.write_obj(tmp_path / "b.obj"), "car")
    artifacts = [settings.store.get("cad", str(made.cad_key)) for made in (second, right)]
    glbs = [settings.store.read(artifact, "model.glb") for artifact in artifacts]
    assert sorted(makers.canonical_points(glbs[0]).round(5).tolist()) == sorted(
        makers.canonical_points(glbs[1]).round(5).tolist()
    )
    # A later scan of the same folder, in which nobody says axes, leaves the correction alone.
    assert register(Place.of(settings), path, "car").status == "known"
    assert [(row["up"], row["front"]) for row in rows(settings) if row["cad_id"] == first.cad_id] == [("+z", "+x")]


def test_align_says_when_the_source_has_gone_or_changed(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    made = register(Place.of(settings), path, "car")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="has changed since"):
        align(Place.of(settings), "car", made.cad_id, "+y", "+z")
    path.unlink()
    with pytest.raises(ValueError, match="has gone from"):
        align(Place.of(settings), "car", made.cad_id, "+y", "+z")
    with pytest.raises(ValueError, match="no CAD model"):
        align(Place.of(settings), "truck", made.cad_id, "+y", "+z")


def test_a_bad_file_is_a_rejected_row_and_a_file_that_is_none_is_not(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    made = register(Place.of(settings), tmp_path / "a.obj", "car")
    assert (made.status, made.reason) == ("rejected", "no_faces")
    (row,) = rows(settings)
    assert (row["status"], row["reason"]) == ("rejected", "no_faces")
    assert row["detail"]
    assert Catalog(settings.catalog).cad_models("car") == []
    with pytest.raises(BadModel, match="no such file"):
        register(Place.of(settings), tmp_path / "b.obj", "car")
    with pytest.raises(ValueError, match="class name"):
        register(Place.of(settings), tmp_path / "a.obj", "Car/x")


def test_a_mesh_above_the_limit_is_taken_once_the_limit_is_raised(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    assert register(Place.of(Settings(max_faces=10)), path, "car").reason == "too_many_faces"
    assert register(Place.of(settings), path, "car").status == "changed"
    assert rows(settings)[0]["status"] == "ok"


def test_a_list_of_orientations_speaks_for_what_the_command_leaves_open(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    said = {register(Place.of(settings), path, "car").cad_id: Sidecar(up="+x", front="+y", keywords=("odd",))}
    assert register(Place.of(settings), path, "car", said=said).status == "changed"
    assert (rows(settings)[0]["up"], rows(settings)[0]["keywords"]) == ("+x", ["odd"])
    assert register(Place.of(settings), path, "car", up="-z", front="-y", said=said).status == "changed"
    assert rows(settings)[0]["up"] == "-z"


def test_a_lost_or_damaged_artifact_is_made_again(settings: Settings, tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    made = register(Place.of(settings), path, "car")
    glb = settings.root / "artifacts" / settings.store.address(settings.store.get("cad", str(made.cad_key)), "model.glb")
    before = glb.read_bytes()
    glb.write_bytes(before[:-1] + b"x")
    assert register(Place.of(settings), path, "car").status == "known"
    assert glb.read_bytes() == before


def test_the_catalog_can_be_rebuilt_from_the_store(settings: Settings, tmp_path: Path) -> None:
    register(Place.of(settings), makers.write_stl(tmp_path / "a.stl"), "car", keywords=("x",))
    before = rows(settings)
    (settings.root / "catalog.sqlite").unlink()
    Catalog(settings.catalog, settings.store).rebuild(settings.store.records())
    assert rows(settings) == before


# -- commands ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_classes_is_added_whole_and_its_bad_files_do_no_harm(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    makers.write_obj(tmp_path / "cad" / "car" / "good.obj")
    (tmp_path / "cad" / "car" / "bad.obj").write_text("v 0 0 0\n")
    (tmp_path / "cad" / "car" / "empty.glb").write_bytes(b"")
    (tmp_path / "cad" / "mug").mkdir()
    makers.write_stl(tmp_path / "cad" / "mug" / "one.stl")
    (tmp_path / "cad" / "mug" / "dst.toml").write_text('keywords = ["blue"]\nlicence = "CC0"\n')
    commands.add(tmp_path / "cad")
    said = capsys.readouterr().out
    assert "2 added, 1 left out, 1 rejected" in said
    assert f"left out  {tmp_path / 'cad' / 'car' / 'empty.glb'}: " in said
    assert {(row["class_name"], row["cad_name"], row["status"]) for row in rows(settings)} == {
        ("car", "good", "ok"),
        ("car", "bad", "rejected"),
        ("mug", "one", "ok"),
    }
    assert (rows(settings, "mug")[0]["keywords"], rows(settings, "mug")[0]["licence"]) == (["blue"], "CC0")
    commands.list_()
    assert "rejected: no_faces" in capsys.readouterr().out


def test_underscores_of_a_folder_become_blanks_and_what_is_no_class_is_left_out_while_the_rest_goes_on(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("Fire_Truck", "汽车", "mug"):
        makers.write_stl(_made(tmp_path / "cad" / folder) / "a.stl")
    (tmp_path / "cad" / "mug" / "a.stl.dst.toml").write_text('up = "+z"\nfront = "-z"\n')
    commands.add(tmp_path / "cad")
    said = capsys.readouterr().out
    assert 'the folder "Fire_Truck" is taken as class "fire truck"' in said
    assert "cannot be a class name" in said.split("left out", 1)[1]
    assert "up +z and front -z lie on one line" in said.split("left out", 1)[1]
    assert "1 added, 2 left out" in said
    assert [row["class_name"] for row in rows(settings)] == ["fire truck"]
    with pytest.raises(ValueError, match="which class is"):
        commands.add(tmp_path / "cad" / "Fire_Truck" / "a.stl")
    with pytest.raises(ValueError, match=r'say "coffee mug"'):
        commands.add(tmp_path / "cad" / "mug", class_name="Coffee_Mug")
    commands.add(tmp_path / "cad" / "Fire_Truck", class_name="fire truck")
    assert "known     fire truck/a" in (said := capsys.readouterr().out)
    assert "(a.stl: the same bytes are in class" in said


def test_meshes_for_collisions_are_left_out_unless_a_person_asks_for_them(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _made(tmp_path / "cad" / "car")
    for name in ("suv.stl", "suv_vhacd.stl"):
        makers.write_stl(folder / name)
    # Other bytes, so that it is another CAD model.
    (folder / "suv_vhacd.stl").write_bytes((folder / "suv.stl").read_bytes() + b" ")
    commands.add(tmp_path / "cad")
    said = capsys.readouterr().out
    assert "suv_vhacd.stl: by its name a mesh for collisions, or for afar, of suv.stl" in said
    assert f'dst cad add "{folder / "suv_vhacd.stl"}" --class "car"' in said
    assert [row["cad_name"] for row in rows(settings)] == ["suv"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "y" if "all the same" in question else "")
    commands.add(tmp_path / "cad")
    assert sorted(row["cad_name"] for row in rows(settings)) == ["suv", "suv_vhacd"]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_class_with_one_cad_model_is_told_what_that_costs_until_another_one_joins(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.add(makers.write_obj(tmp_path / "a.obj"), class_name="car")
    assert "car: This class has one CAD model." in capsys.readouterr().out
    commands.add(makers.write_stl(tmp_path / "b.stl"), class_name="car")
    assert "one CAD model" not in capsys.readouterr().out


def test_adding_only_bad_files_exits_with_an_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with pytest.raises(SystemExit) as caught:
        commands.add(tmp_path / "a.obj", class_name="car")
    assert caught.value.code == 1


def test_show_writes_a_sheet_and_align_turns_it(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.add(makers.write_obj(tmp_path / "a.obj", up="+z", front="+y"), class_name="car")
    (row,) = rows(settings)
    commands.show(row["cad_id"][:8], out=tmp_path / "sheet.png")
    before = (tmp_path / "sheet.png").read_bytes()
    assert "canonical_from_source" in capsys.readouterr().out
    commands.align("a", up="+z", front="+y")
    commands.show("car/a", out=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() != before
    commands.align("a", front="-x")
    assert (rows(settings)[0]["up"], rows(settings)[0]["front"]) == ("+z", "-x")
    for wrong in ("zzz", row["cad_id"][:2]):
        with pytest.raises(ValueError, match="dst cad list"):
            commands.show(wrong)
    with pytest.raises(ValueError, match="say which way"):
        commands.align("a")


def test_the_key_depends_on_the_source_and_its_axes_alone() -> None:
    one = cad_key("0" * 64, CadSpec())
    assert one == cad_key("0" * 64, CadSpec())
    assert len({one, cad_key("1" * 64, CadSpec()), cad_key("0" * 64, CadSpec(up="+z"))}) == 3
