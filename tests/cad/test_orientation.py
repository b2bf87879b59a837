"""Which way CAD models face: who says so, what speaks against it, and that a person hears of it."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from flows import runs
from flows.commands import cad as commands
from flows.recipes import embedded
from models.cad import parametric
from models.cad.canonical import canonicalise
from models.cad.orientation import unlike_others
from models.cad.sheet import sheet
from models.cad.spec import CadSpec
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.plan.place import Place
from tests.benchmarks import orientation as measured
from tests.cad import makers


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def car(tmp_path: Path) -> Path:
    path = tmp_path / "car.glb"
    path.write_bytes(parametric.glb("car", 0))
    return path


def row(settings: Settings) -> dict[str, Any]:
    (only,) = Catalog(settings.catalog, settings.store).cad_models()
    return only


# -- the shape alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "front", "said"),
    [
        ("+y", "+z", None),
        ("+z", "-y", "with another side up: else say --up +y or -y"),
        ("+x", "+z", "times as often with another side up: else say --up +y"),
        ("+y", "+x", "front and rear are mirror images, its left and right are not: else say --front"),
    ],
)
def test_a_car_on_its_nose_or_its_side_or_facing_sideways_is_doubted(up: str, front: str, said: str | None, car: Path) -> None:
    found = measured.doubted(car, CadSpec(up=up, front=front))
    assert (found == []) if said is None else (len(found) == 1 and said in found[0]), found


def test_what_is_round_about_a_level_axis_lies_on_its_side(tmp_path: Path) -> None:
    jar = trimesh.util.concatenate(
        [trimesh.creation.cone(radius=0.4, height=1.2, sections=32), trimesh.creation.cylinder(radius=0.2, height=0.6)]
    )
    jar.export(tmp_path / "jar.stl")
    assert measured.doubted(tmp_path / "jar.stl", CadSpec(up="+z", front="-y")) == []
    (said,) = measured.doubted(tmp_path / "jar.stl", CadSpec(up="+y", front="+z"))
    assert "--up" in said
    assert "z" in said.split("--up")[1]


def test_a_sheet_of_paper_and_a_ball_are_not_doubted(tmp_path: Path) -> None:
    paper = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    paper.export(tmp_path / "paper.ply")
    trimesh.creation.icosphere(subdivisions=4).export(tmp_path / "ball.ply")
    for name in ("paper", "ball"):
        assert measured.doubted(tmp_path / f"{name}.ply", CadSpec()) == [], name


def test_proportions_unlike_the_others_are_doubted_only_where_other_axes_would_fit() -> None:
    cars = {"a": (0.42, 1.0, 0.33), "b": (0.45, 1.0, 0.4), "c": (0.4, 1.0, 0.3)}
    assert unlike_others(cars) == {}
    found = unlike_others({**cars, "stands": (0.42, 0.33, 1.0)})
    assert list(found) == ["stands"]
    assert "long 0.33 (1.00), high 1.00 (0.30 to 0.40)" in found["stands"]
    # A flat car is another thing, and no axes make it one of these; a class of one has no others.
    assert unlike_others({**cars, "flat": (0.9, 1.0, 0.05)}) == {}
    assert unlike_others({"alone": (1.0, 0.1, 0.1)}) == {}


def test_of_the_real_models_the_wrong_ones_are_doubted_and_not_the_right_ones(shared_cad_or_none: Path | None) -> None:
    """Three of ten; `python -m tests.benchmarks.orientation` asks all."""
    if shared_cad_or_none is None:
        pytest.skip("no real CAD models beside this checkout")
    found = {name: (path, axes) for name, path, axes in measured.real(shared_cad_or_none)}
    for name in ("hatchback", "plastic_cup", "cow"):
        path, axes = found[name]
        assert len(measured.doubted(path, CadSpec())) == 1, name
        assert measured.doubted(path, axes) == [], name


# -- why the axes are what they are --------------------------------------------------------------------------------------


def test_an_accepted_file_says_why_its_axes_are_what_they_are(tmp_path: Path) -> None:
    turned = makers.Gltf()
    turned.json["nodes"][0]["rotation"] = [-(0.5**0.5), 0, 0, 0.5**0.5]
    said = {
        "says nothing of axes; most programs write +y up, front +z": makers.write_obj(tmp_path / "a.obj"),
        "most parts are drawn +z up, front -y": makers.write_stl(tmp_path / "a.stl"),
        "the file declares +": makers.write_dae(tmp_path / "a.dae"),
        "glTF is +y up and faces +z": makers.Gltf().gltf(tmp_path / "a.gltf"),
        "faces +z; a matrix in the file turns all of it, and was obeyed": turned.gltf(tmp_path / "b.gltf"),
    }
    for expected, path in said.items():
        assert expected in canonicalise(path, CadSpec()).facts["axes"], path.name
    assert canonicalise(tmp_path / "a.obj", CadSpec(up="+z", front="-y")).facts["axes"] == "said"
    assert canonicalise(tmp_path / "a.obj", CadSpec(up="+z")).facts["axes"] == "up is said, front follows"


def test_assumed_set_and_confirmed_are_told_apart_and_survive_a_rebuild(
    settings: Settings, car: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.add(car, class_name="car", up="+z", front="-y")
    assert (row(settings)["orientation"], row(settings)["orientation_why"]) == ("set", "dst cad add")
    assert "up +z, front -y (set: dst cad add)" in capsys.readouterr().out
    commands.align("car", up="+y", front="+z")
    assert (row(settings)["orientation"], row(settings)["orientation_why"]) == ("set", "dst cad align")
    assert row(settings)["orientation_doubts"] == []
    before = row(settings)["cad_key"]
    capsys.readouterr()
    commands.align("car", ok=True)
    assert "confirmed car/car" in capsys.readouterr().out
    assert (row(settings)["orientation"], row(settings)["cad_key"]) == ("confirmed", before)
    # The same file again, with axes or without, leaves it confirmed.
    commands.add(car, class_name="car")
    commands.add(car, class_name="car", up="+y", front="+z")
    said = row(settings)
    assert said["orientation"] == "confirmed"
    (settings.root / "catalog.sqlite").unlink()
    Catalog(settings.catalog, settings.store).rebuild(settings.store.records())
    assert row(settings) == said
    capsys.readouterr()
    commands.list_("car")
    assert "confirmed" in capsys.readouterr().out
    commands.show("car")
    assert "up +y, front +z (confirmed: dst cad align)" in capsys.readouterr().out
    # Other axes than the confirmed ones are nobody's yet.
    commands.align("car", front="+x")
    assert row(settings)["orientation"] == "set"


def test_sidecars_and_conventions_say_who_they_are(settings: Settings, tmp_path: Path) -> None:
    chair = tmp_path / "03001627" / "uid" / "models" / "model_normalized.obj"
    makers.write_obj(chair)
    commands.add(tmp_path / "03001627" / "uid" / "models" / "model_normalized.obj", class_name="chair")
    assert (row(settings)["orientation"], row(settings)["orientation_why"]) == ("assumed", "ShapeNet's convention")
    (chair.parent / "dst.toml").write_text('up = "+y"\nfront = "-z"\n')
    commands.add(chair, class_name="chair")
    assert (row(settings)["orientation"], row(settings)["orientation_why"]) == ("set", "a sidecar")


# -- what a person hears -------------------------------------------------------------------------------------------------


def test_what_was_assumed_and_is_doubted_is_said_when_it_is_added_and_when_a_run_starts(
    settings: Settings, car: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    stl = car.with_suffix(".stl")
    trimesh.load_mesh(car).export(stl)
    commands.add(stl, class_name="car")
    said = capsys.readouterr().out
    assert "up +z, front -y (assumed: STL says nothing of axes" in said
    assert "doubt: thrown, it would come to rest" in said
    assert 'dst cad show "car/car"' in said
    place = Place.of(settings)
    with caplog.at_level(logging.WARNING, "dst"):
        runs.announce(place, runs.cohort(place, "car", 1, embedded()))
    assert "nobody has confirmed which way 1 of 1 CAD models face: car; look: dst cad show" in caplog.text
    assert "else say --up +y or -y" in caplog.text
    caplog.clear()
    commands.align("car", ok=True)
    with caplog.at_level(logging.WARNING, "dst"):
        runs.announce(place, runs.cohort(place, "car", 1, embedded()))
    assert "confirmed" not in caplog.text


def test_a_model_unlike_the_others_of_its_class_is_named_when_it_joins(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, sides in (("one", (0.4, 1.0, 0.3)), ("two", (0.45, 1.0, 0.35)), ("three", (0.4, 0.3, 1.0))):
        trimesh.creation.box(sides).export(tmp_path / f"{name}.stl")
        commands.add(tmp_path / f"{name}.stl", class_name="brick", up="+z", front="-y")
    said = capsys.readouterr().out
    assert "doubt     brick/three: its sides are unlike those of the class's others" in said
    assert "doubt     brick/one" not in said.splitlines()[-1]


def test_bundled_models_are_nobodys_to_confirm(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.commands import demo

    monkeypatch.setattr(demo, "MODELS", 1)
    demo._register(Place.of(settings), "car")
    assert row(settings)["orientation"] == "set"


# -- the sheet -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shade", "paper"), [(250, "dark"), (15, "light")])
def test_the_sheet_shows_white_on_dark_and_dark_on_light_and_writes_front_whole(shade: int, paper: str, tmp_path: Path) -> None:
    box = trimesh.creation.box([0.5, 1.0, 0.5])
    box.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[shade] * 3 + [255], metallicFactor=0.0)
    )
    (tmp_path / "box.glb").write_bytes(box.export(file_type="glb"))
    (tmp_path / "canonical.glb").write_bytes(canonicalise(tmp_path / "box.glb", CadSpec(up="+z", front="-y")).glb)
    page = np.asarray(Image.open(io.BytesIO(sheet(tmp_path / "canonical.glb", size=300))).convert("RGB")).astype(int)
    assert (page[40, 10].mean() < 100) == (paper == "dark")
    # The same word is written over an arrow that points left (second view) and right (fourth): all of it, both times.
    reds = (page[..., 0] - page[..., 1] > 80) & (page[..., 0] - page[..., 2] > 80)
    left, right = reds[26:326, 302:602].sum(), reds[328:628, 0:300].sum()
    assert left > 150
    assert right == pytest.approx(left, rel=0.05)
