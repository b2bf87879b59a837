"""The bundled CAD models: sound geometry, the canonical frame, the same bytes everywhere, real variety."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from models.cad import parametric
from models.cad.shapes.part import Model, Part
from models.caption.vocabulary import COLOURS
from tests.cad.raycast import Caster
from tests.conftest import ROOT

SEEDS = range(4)


def part(model: Model, name: str) -> Part:
    return next(each for each in model.parts if each.name == name)


def middle(model: Model, name: str) -> np.ndarray:
    vertices = part(model, name).solid.vertices
    return (vertices.min(axis=0) + vertices.max(axis=0)) / 2


def first_with(class_name: str, word: str) -> Model:
    return next(m for m in (parametric.model(class_name, seed) for seed in range(300)) if word in m.keywords)


@pytest.mark.parametrize("class_name", parametric.CLASSES)
def test_each_part_is_closed_and_looks_outward(class_name: str) -> None:
    for seed in SEEDS:
        for each in parametric.model(class_name, seed).parts:
            mesh = trimesh.Trimesh(each.solid.vertices, each.solid.faces, process=True)
            assert np.isfinite(mesh.vertices).all(), (seed, each.name)
            assert mesh.is_watertight, (seed, each.name)
            assert mesh.is_winding_consistent, (seed, each.name)
            for piece in mesh.split(only_watertight=False):
                assert piece.volume > 0, (seed, each.name)


@pytest.mark.parametrize("class_name", parametric.CLASSES)
def test_a_model_is_of_modest_size_and_has_parts_of_its_own_names(class_name: str) -> None:
    for seed in SEEDS:
        made = parametric.model(class_name, seed)
        names = [each.name for each in made.parts]
        assert len(names) >= 2
        assert len(set(names)) == len(names)
        assert 400 <= sum(len(each.solid.faces) for each in made.parts) <= 11_000
        assert made.keywords
        assert all(0 <= channel <= 1 for each in made.parts for channel in each.colour)


@pytest.mark.parametrize("class_name", parametric.CLASSES)
def test_a_scene_has_longest_side_one_and_its_box_is_centred(class_name: str) -> None:
    scene = parametric.build(class_name, 3)
    assert scene.extents.max() == pytest.approx(1.0, abs=1e-9)
    assert np.abs(scene.bounds.mean(axis=0)).max() < 1e-9
    made = parametric.model(class_name, 3)
    assert set(scene.geometry) == {each.name for each in made.parts}
    for each in made.parts:
        colour = scene.geometry[each.name].visual.material.baseColorFactor
        assert np.abs(np.asarray(colour[:3]) / 255 - each.colour).max() < 0.003


@pytest.mark.parametrize("class_name", parametric.CLASSES)
def test_the_glb_is_the_canonical_scene_with_y_up_and_front_to_plus_z(class_name: str) -> None:
    scene = parametric.build(class_name, 2)
    loaded = trimesh.load(io.BytesIO(parametric.glb(class_name, 2)), file_type="glb")
    assert set(loaded.geometry) == set(scene.geometry)
    for name, geometry in scene.geometry.items():
        x, y, z = loaded.geometry[name].vertices.T
        back = np.stack([x, -z, y], axis=-1)
        assert np.abs(back.min(axis=0) - geometry.vertices.min(axis=0)).max() < 2e-6, name
        assert np.abs(back.max(axis=0) - geometry.vertices.max(axis=0)).max() < 2e-6, name


def test_the_glb_carries_normals_that_agree_with_its_faces() -> None:
    loaded = trimesh.load(io.BytesIO(parametric.glb("car", 0)), file_type="glb", process=False)
    body = loaded.geometry["body"]
    agreement = np.einsum("ij,ij->i", body.vertex_normals[body.faces].mean(axis=1), body.face_normals)
    assert np.quantile(agreement, 0.02) > 0.7


def test_another_process_makes_the_same_bytes() -> None:
    code = (
        "import hashlib; from models.cad import parametric as p\n"
        "print(hashlib.sha256(b''.join(p.glb(c, 7) for c in p.CLASSES)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    assert other.stdout.strip() == hashlib.sha256(b"".join(parametric.glb(c, 7) for c in parametric.CLASSES)).hexdigest()


def test_naming_the_classes_loads_neither_trimesh_nor_torch() -> None:
    code = "import sys, models.cad.parametric as p; p.keywords('car', 0); print(*{'trimesh', 'torch'} & {*sys.modules})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert other.stdout.split() == []


@pytest.mark.parametrize("class_name", parametric.CLASSES)
def test_no_two_seeds_make_the_same_shape_and_several_kinds_occur(class_name: str) -> None:
    models = [parametric.model(class_name, seed) for seed in range(24)]
    shapes = {np.round(np.concatenate([each.solid.vertices for each in m.parts]), 4).tobytes() for m in models}
    assert len(shapes) == len(models)
    assert len({m.keywords[0] for m in models}) >= 4


@pytest.mark.parametrize("class_name", ["car", "bus", "truck"])
def test_headlights_are_in_front_of_tail_lights_and_the_mirror_pairs_are_level(class_name: str) -> None:
    for seed in range(10):
        made = parametric.model(class_name, seed)
        assert middle(made, "headlights")[1] < middle(made, "tail_lights")[1] - 2
        assert min(each.solid.vertices[:, 2].min() for each in made.parts) == pytest.approx(0, abs=1e-6), (
            "wheels touch the ground"
        )


def test_a_bus_has_its_doors_at_its_own_right() -> None:
    for seed in range(8):
        assert middle(parametric.model("bus", seed), "doors")[0] < -0.8


def test_fronts_and_rears_of_the_other_classes_are_where_the_docstring_says() -> None:
    for seed in range(8):
        assert middle(parametric.model("airplane", seed), "tailplane")[1] > 3
        teapot = parametric.model("teapot", seed)
        assert middle(teapot, "spout")[1] < -0.5
        assert middle(teapot, "handle")[1] > -0.1
        assert middle(parametric.model("cup", seed), "handle")[0] < -0.5
        chair = parametric.model("chair", seed)
        high = np.concatenate([each.solid.vertices for each in chair.parts])
        top = high[high[:, 2] > high[:, 2].max() - 0.1]
        assert top[:, 1].mean() > 0.1
    assert middle(first_with("lamp", "desk lamp"), "head")[1] < -0.02
    assert middle(first_with("boat", "motor boat"), "outboard")[1] > 2


@pytest.mark.parametrize(
    ("class_name", "word", "name"),
    [
        ("car", "pickup", "bed_walls"),
        ("bus", "school bus", "stop_sign"),
        ("truck", "tank truck", "tank"),
        ("truck", "hooded cab", "hood"),
        ("airplane", "winglets", "winglets"),
        ("airplane", "twin fins", "fins"),
        ("airplane", "biplane", "upper_wings"),
        ("chair", "with arms", "arms"),
        ("chair", "spindle-back chair", "spindles"),
        ("table", "with shelf", "shelf"),
        ("cup", "cup and saucer", "saucer"),
        ("teapot", "bail handle", "handle"),
        ("lamp", "with tray", "tray"),
        ("boat", "sailing boat", "mainsail"),
    ],
)
def test_a_keyword_promises_a_part(class_name: str, word: str, name: str) -> None:
    for seed in range(40):
        made = parametric.model(class_name, seed)
        if word in made.keywords:
            assert name in {each.name for each in made.parts}
    assert name in {each.name for each in first_with(class_name, word).parts}


def test_the_keywords_are_those_of_the_built_model() -> None:
    assert parametric.keywords("truck", 5) == tuple(parametric.build("truck", 5).metadata["keywords"])


def test_a_car_is_painted_in_a_colour_that_captions_name() -> None:
    for seed in range(12):
        assert part(parametric.model("car", seed), "body").colour in COLOURS.values()


def test_a_table_looks_the_same_after_half_a_turn_and_a_chair_does_not() -> None:
    def overlap(class_name: str, seed: int) -> float:
        caster = Caster(parametric.model(class_name, seed))
        one, two = (
            caster.picture(a, 25.0, 96).std(axis=-1) + abs(caster.picture(a, 25.0, 96)[..., 0] - 0.75) > 1e-6
            for a in (30.0, 210.0)
        )
        return float((one & two).sum() / (one | two).sum())

    assert parametric.symmetry("table") == 2
    assert min(overlap("table", seed) for seed in range(6)) > 0.93
    assert parametric.symmetry("chair") == 1
    assert max(overlap("chair", seed) for seed in range(6)) < 0.9


def test_a_class_that_is_not_bundled_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no parametric CAD models of class 'cra'; there are: car, bus"):
        parametric.build("cra", 0)
    with pytest.raises(ValueError, match="at least 0"):
        parametric.glb("car", -1)
