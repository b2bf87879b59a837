"""The published CAD list: its rows are checked, its offsets become rotations, its distances and strategies are kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import recipes, runs
from flows.commands import cad as commands
from models.cad.alignment import turn_of
from models.cad.canonical import canonicalise
from models.cad.spec import STAGE, VERSION, CadSpec
from models.render.camera import rotation
from models.render.spec import ViewpointSpec
from models.render.viewpoint import Pose
from storage.cad.collections.entry import BadCollection
from storage.cad.collections.published import read_cad_list
from storage.catalog.catalog import Catalog
from storage.keys import artifact_key
from storage.settings import Settings
from tasks.intake.model import cad_key, spec_of
from tasks.plan.cohort import CadModel, plan
from tests.cad import collections as made
from tests.cad import makers

HEAD = "synset,model,distance,azimuth,elevation,strength,sampling\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def csv(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(head + "".join(f"{row}\n" for row in rows))
    return path


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_say_class_model_offsets_and_camera(tmp_path: Path) -> None:
    path = csv(tmp_path, "n02690373,1a04e3,1.5,-90,10,1,3", "02958343,c1,,,,2,", "Coffee Mug,omniobject3d_cup_001,2,0,0,1,5")
    rows = read_cad_list(path)
    assert [(row.class_name, row.model, row.azimuth, row.elevation, dict(row.camera)) for row in rows] == [
        ("airliner", "1a04e3", -90.0, 10.0, {"distance": 1.5, "strategy": 3, "strength": 1}),
        ("car", "c1", 0.0, 0.0, {"strength": 2}),
        ("coffee mug", "omniobject3d_cup_001", 0.0, 0.0, {"distance": 2.0, "strategy": 5, "strength": 1}),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("n99999999,a,1.5,0,0,1,1", 'line 2: no synset "n99999999"'),
        ("n02690373,a,1.5,4000,0,1,1", 'line 2: azimuth is "4000"; it is a number from -360 to 360'),
        ("n02690373,a,1.5,0,nan,1,1", 'line 2: elevation is "nan"'),
        ("n02690373,a,inf,0,0,1,1", 'line 2: distance is "inf"'),
        ("n02690373,a,1.5,0,0,3,1", 'line 2: strength is "3"; it is a number from 1 to 2'),
        ("n02690373,a,1.5,0,0,1,2.5", 'line 2: sampling is "2.5"; it is a whole number'),
        ("n02690373,../../etc/passwd,1.5,0,0,1,1", "line 2: .* cannot be the name of a CAD model inside a collection"),
        ("n02690373,/etc/passwd,1.5,0,0,1,1", "line 2: .* cannot be the name"),
        ("n02690373,a\\..\\b,1.5,0,0,1,1", "line 2: .* cannot be the name"),
        ("n02690373,a,1.5,0,0,1", "line 2: has 6 cells, not 7"),
    ],
)
def test_a_wrong_row_is_one_line_and_nothing_is_done(
    row: str, said: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made.shapenet(tmp_path / "sn")
    with pytest.raises(BadCollection, match=said) as caught:
        commands.import_("shapenet", root, cad_list=csv(tmp_path, row, "n02690373,b,1.5,9000,0,1,1"))
    assert "\n" not in str(caught.value)
    assert "(and 1 more lines)" in str(caught.value)
    assert not (settings.root / "catalog.sqlite").exists()


def test_tables_that_are_none_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadCollection, match="lacks the columns distance, sampling"):
        read_cad_list(csv(tmp_path, head="synset,model,azimuth,elevation,strength\n"))
    with pytest.raises(BadCollection, match='has two columns called "distance"'):
        read_cad_list(csv(tmp_path, head=HEAD.strip() + ",Distance\n"))
    with pytest.raises(BadCollection, match="has no rows"):
        read_cad_list(csv(tmp_path))
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(BadCollection, match="no UTF-8"):
        read_cad_list(tmp_path / "list.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_cad_list(tmp_path / "gone.csv")


def test_a_distance_inside_the_object_is_refused_before_anything_is_read(settings: Settings, tmp_path: Path) -> None:
    root = made.shapenet(tmp_path / "sn")
    with pytest.raises(BadCollection, match="puts the camera inside the object; nothing was done"):
        commands.import_("shapenet", root, cad_list=csv(tmp_path, "02958343,c1,0.2,0,0,1,3"))
    assert not (settings.root / "catalog.sqlite").exists()


# -- alignment ---------------------------------------------------------------------------------------------------------


def raw_wedge(path: Path, azimuth: float, elevation: float) -> Path:
    """Write the wedge so that the official code, with these offsets, sees it from its front where a class wants its front."""
    points, quads = makers.wedge()
    a, e = math.radians(azimuth), math.radians(elevation)
    tip = np.array([[1, 0, 0], [0, math.cos(e), math.sin(e)], [0, -math.sin(e), math.cos(e)]])
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    file = makers.turned(points @ (turn @ tip).T, "+y", "-z")
    lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in file]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *("f " + " ".join(str(c + 1) for c in quad) for quad in quads)]) + "\n")
    return path


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (90, 0), (-90, 0), (0, 30), (0, -90), (35, 20), (200, -50)])
def test_offsets_bring_a_model_whose_front_is_known_into_the_canonical_frame(
    azimuth: float, elevation: float, tmp_path: Path
) -> None:
    path = raw_wedge(tmp_path / "a.obj", azimuth, elevation)
    aligned = canonicalise(path, CadSpec(up="+y", front="-z", turn=turn_of(azimuth, elevation)))
    upright = canonicalise(makers.write_obj(tmp_path / "b.obj"), CadSpec())
    found, wanted = (np.unique(makers.canonical_points(m.glb).round(5), axis=0) for m in (aligned, upright))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    # The recorded matrix says the same as the mesh.
    points, _ = makers.wedge()
    source = np.loadtxt([line[2:] for line in path.read_text().splitlines() if line.startswith("v ")])
    there = source @ aligned.canonical_from_source[:3, :3].T + aligned.canonical_from_source[:3, 3]
    np.testing.assert_allclose(there, (points - (points.min(0) + points.max(0)) / 2) / 4.5, atol=1e-6)
    assert aligned.facts["extents"] == pytest.approx([2.2, 4.5, 1.0] if (azimuth, elevation) != (0, 0) else [2.2, 1.0, 4.5])


@pytest.mark.parametrize(("azimuth", "elevation"), [(30, 0), (-120, 0), (30, 25), (250, -40)])
def test_our_picture_is_the_official_codes_wherever_that_is_right(azimuth: float, elevation: float) -> None:
    """It looks from azimuth + offset and elevation + offset: right for the front, and from all sides without an elevation."""
    turn = np.array(turn_of(azimuth, elevation))
    for a, e in ((0.0, 0.0), (0.0, 20.0), *(((130.0, 35.0), (220.0, -10.0)) if elevation == 0 else ())):
        ours = rotation(Pose(azimuth_deg=a, elevation_deg=e, inplane_deg=0, distance=2)) @ turn
        theirs = rotation(Pose(azimuth_deg=a + azimuth, elevation_deg=e + elevation, inplane_deg=0, distance=2))
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_a_turn_that_nobody_gave_changes_no_key_and_one_that_somebody_gave_changes_it_alone() -> None:
    plain = artifact_key(STAGE, VERSION, {"up": "auto", "front": "auto"}, {"cad_id": "0" * 64})
    assert cad_key("0" * 64, CadSpec()) == plain
    assert cad_key("0" * 64, CadSpec(turn=turn_of(10, 0))) != plain
    assert turn_of(0, 0) is None
    assert turn_of(360, -360) is None
    for bad in (((1, 0, 0), (0, 1, 0)), ((2, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 1, 0), (1, 0, 0), (0, 0, 1))):
        with pytest.raises(ValueError, match="rotation"):
            CadSpec(turn=bad)  # type: ignore[arg-type]


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_list_brings_in_what_is_there_and_lists_what_is_missing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, other = made.shapenet(tmp_path / "sn"), made.objaverse(tmp_path / "ob")
    path = csv(
        tmp_path,
        "02958343,c1,2.0,90,0,1,4",
        "n02930766,c1,1.5,0,0,2,3",
        "02958343,nowhere,1.5,0,0,1,3",
        f"n04380533,{made.LAMP},1.5,0,0,1,5",
    )
    commands.import_("shapenet", root, cad_list=path)
    out = capsys.readouterr().out
    assert "shapenet: 2 added" in out
    assert "missing   2 models of the list" in out
    listed = (settings.root / "imports" / "shapenet-missing.csv").read_text().splitlines()
    assert listed == ["class,model,line", "car,nowhere,4", f"table lamp,{made.LAMP},5"]
    commands.import_("objaverse", other, cad_list=path, strength=1)
    assert "missing   1 models of the list" in capsys.readouterr().out
    found = {(row["class_name"], row["uid"]): row for row in Catalog(settings.catalog).cad_models()}
    assert set(found) == {("car", "c1"), ("cab", "c1"), ("table lamp", made.LAMP)}
    car = found[("car", "c1")]
    assert (car["up"], car["front"], car["camera"]) == ("+y", "-z", {"distance": 2, "strategy": 4, "strength": 1})
    assert car["alignment"] == [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    assert found[("cab", "c1")]["alignment"] is None
    # What is round has spokes in its shade.
    assert found[("table lamp", made.LAMP)]["symmetry"] == 3
    # Aligned by hand afterwards, its axes say all.
    commands.align("car/c1", up="+y", front="+z")
    (row,) = Catalog(settings.catalog).cad_models("car")
    assert spec_of(row) == CadSpec(up="+y", front="+z")
    assert row["camera"] == car["camera"]
    with pytest.raises(BadCollection, match='the list has no class "truck"'):
        commands.import_("shapenet", root, cad_list=path, class_names=["truck"])


def test_a_cad_models_own_distance_and_strategy_reach_its_renders_and_no_others(settings: Settings, tmp_path: Path) -> None:
    recipe = recipes.resolve("embedded")
    asked: dict[str, Any] = {"distance": 2.5, "strategy": 2, "strength": 1}
    plainly = CadModel(cad_id="a" * 64, cad_key="k", keywords=())
    one = plan("car", recipe, [plainly, replace(plainly, cad_id="b" * 64)], 4)
    other = plan("car", recipe, [plainly, replace(plainly, cad_id="b" * 64, camera=asked)], 4)
    for before, after in zip(one.samples, other.samples, strict=True):
        own = after.sample.cad_id[0] == "b"
        assert (before.key("render") != after.key("render")) == own
        assert (before.key("caption") != after.key("caption")) == own
    spec = other.samples[1].render_spec(recipe).viewpoint
    official = ViewpointSpec.official(2)
    assert (spec.distance, spec.azimuth_range_deg, spec.polar_mean_deg) == (2.5, official.azimuth_range_deg, 90.0)
    assert spec.distance_range == recipe.render.viewpoint.distance_range
    assert replace(other.samples[1].render_spec(recipe), viewpoint=recipe.render.viewpoint) == recipe.render
    # Asking for nothing but a strength is asking for nothing.
    alike = plan("car", recipe, [replace(plainly, camera={"strength": 2})], 2)
    assert alike.samples[0].key("render") == one.samples[0].key("render")


def test_a_row_of_the_catalog_says_what_the_cohort_needs(settings: Settings) -> None:
    row = {"cad_id": "a", "cad_key": "k", "keywords": ["x"], "camera": {"strategy": 1}, "symmetry": None, "uid": None}
    model = runs.cad_model(row)
    assert (model.camera, model.symmetry, model.keywords) == ({"strategy": 1}, 1, ("x",))
    assert runs.cad_model({**row, "symmetry": 0}).symmetry == 0
