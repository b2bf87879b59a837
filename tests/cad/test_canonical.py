"""Every format becomes the same canonical GLB."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.cad.canonical import canonicalise, rotation
from models.cad.spec import AXES, VERSION, CadSpec, resolve_axes
from tests.cad import makers

WRITERS: dict[str, Callable[[Path], Path]] = {
    "wedge.obj": makers.write_obj,
    "wedge.stl": makers.write_stl,
    "text.stl": lambda path: makers.write_stl(path, text=True),
    "wedge.off": makers.write_off,
    "wedge.ply": makers.write_ply,
    "text.ply": lambda path: makers.write_ply(path, text=True),
    "big.ply": lambda path: makers.write_ply(path, order=">"),
    "wedge.dae": makers.write_dae,
    "wedge.glb": lambda path: makers.Gltf().glb(path),
    "wedge.gltf": lambda path: makers.Gltf().gltf(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_shape_has_the_same_canonical_form_in_every_format(name: str, tmp_path: Path) -> None:
    made = canonicalise(WRITERS[name](tmp_path / name), CadSpec())
    points, quads = makers.wedge()
    expected = (points - (points.min(axis=0) + points.max(axis=0)) / 2) / 4.5
    found = makers.canonical_points(made.glb)
    # Each expected point is there, and nothing else.
    distances = np.linalg.norm(found[:, None] - expected[None], axis=2)
    assert distances.min(axis=0).max() < 1e-6
    assert distances.min(axis=1).max() < 1e-6
    assert made.facts["faces"] == 2 * len(quads)
    assert made.facts["watertight"]


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_file_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name)
    assert canonicalise(path, CadSpec()).glb == canonicalise(path, CadSpec()).glb


GOLDEN = (2, "b5c7b97421331b8d6f9ab22fae56cb7e191495e53f40b71acf8238727ba21dbd")
"""The cad stage's VERSION, and what it makes of the wedge as OBJ."""


def test_other_bytes_for_the_same_file_mean_another_version(tmp_path: Path) -> None:
    made = canonicalise(makers.write_obj(tmp_path / "wedge.obj"), CadSpec())
    assert (VERSION, hashlib.sha256(made.glb).hexdigest()) == GOLDEN, "raise VERSION in models/cad/spec.py, then write both here"


@pytest.mark.parametrize("name", WRITERS)
def test_the_matrix_takes_the_files_own_points_to_canonical_ones(name: str, tmp_path: Path) -> None:
    import trimesh

    path = WRITERS[name](tmp_path / name)
    made = canonicalise(path, CadSpec())
    source = trimesh.load_scene(path, process=False).to_geometry().vertices
    moved = source @ made.canonical_from_source[:3, :3].T + made.canonical_from_source[:3, 3]
    found = makers.canonical_points(made.glb)
    np.testing.assert_allclose(moved.min(axis=0), found.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(moved.max(axis=0), found.max(axis=0), atol=1e-6)
    assert np.linalg.norm(moved[:, None] - found[None], axis=2).min(axis=1).max() < 1e-5


@pytest.mark.parametrize("up", AXES)
@pytest.mark.parametrize("front", AXES)
def test_given_axes_turn_any_file_into_the_same_shape(up: str, front: str, tmp_path: Path) -> None:
    if up[1] == front[1]:
        with pytest.raises(ValueError, match="one line"):
            CadSpec(up=up, front=front)
        return
    assert np.linalg.det(rotation(up, front)) == pytest.approx(1)
    plain = canonicalise(makers.write_obj(tmp_path / "plain.obj"), CadSpec())
    turned = canonicalise(makers.write_obj(tmp_path / "turned.obj", up, front), CadSpec(up=up, front=front))
    np.testing.assert_allclose(
        np.sort(makers.canonical_points(plain.glb), axis=0), np.sort(makers.canonical_points(turned.glb), axis=0), atol=1e-6
    )


def test_front_is_minus_y_up_is_plus_z_and_its_left_is_plus_x(tmp_path: Path) -> None:
    points = makers.canonical_points(canonicalise(makers.write_obj(tmp_path / "a.obj"), CadSpec()).glb)
    assert points.min() == pytest.approx(-0.5, abs=1e-6)
    assert points.max() == pytest.approx(0.5, abs=1e-6)
    nose = points[points[:, 1] < -0.49]
    assert np.abs(nose[:, 0]).max() < 0.14, "the narrow nose is at the front"
    assert nose[:, 2].max() < 0.01, "the nose is low, so up is up"
    fin = points[points[:, 0] > points[:, 0].max() - 1e-6]
    assert fin[:, 1].max() - fin[:, 1].min() < 0.1, "the small fin is on its own left, so nothing is mirrored"


def test_conventions_fill_in_what_nobody_said() -> None:
    assert resolve_axes(CadSpec(), ".obj") == ("+y", "+z")
    assert resolve_axes(CadSpec(), ".glb") == ("+y", "+z")
    assert resolve_axes(CadSpec(), ".stl") == ("+z", "-y")
    assert resolve_axes(CadSpec(), ".dae", "+z") == ("+z", "-y")
    assert resolve_axes(CadSpec(up="+z"), ".obj") == ("+z", "-y")
    assert resolve_axes(CadSpec(front="+y"), ".obj") == ("+z", "+y")
    with pytest.raises(ValueError, match="choose one of"):
        CadSpec(up="z")


def test_units_and_place_do_not_matter(tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "a.obj")
    points, _ = makers.wedge()
    far = makers.turned(points * 1000 + (1e6, -2e6, 3e6), "+y", "+z")
    text = path.read_text().splitlines()
    faces = [line for line in text if line[0] == "f"]
    (tmp_path / "b.obj").write_text(
        "\n".join([*("v {!r} {!r} {!r}".format(*tuple(p)) for p in far.tolist()), *(f.replace("/", "//") for f in faces)])
    )
    (tmp_path / "b.obj").write_text((tmp_path / "b.obj").read_text().replace("//", "/"))
    one = makers.canonical_points(canonicalise(path, CadSpec()).glb)
    other = makers.canonical_points(canonicalise(tmp_path / "b.obj", CadSpec()).glb)
    np.testing.assert_allclose(np.sort(one, axis=0), np.sort(other, axis=0), atol=1e-5)


def test_a_concave_polygon_is_filled_as_it_is_drawn(tmp_path: Path) -> None:
    corners = [(0, 0), (4, 0), (4, 1), (1, 1), (1, 4), (0, 4)]
    lines = [f"v {x} {y} 0" for x, y in corners]
    for shift in range(6):
        order = [(i + shift) % 6 + 1 for i in range(6)]
        (tmp_path / "l.obj").write_text("\n".join([*lines, "f " + " ".join(map(str, order))]))
        import trimesh

        mesh = trimesh.load_scene(io.BytesIO(canonicalise(tmp_path / "l.obj", CadSpec()).glb), file_type="glb").to_geometry()
        assert mesh.area == pytest.approx(7 / 16, rel=1e-5)


def test_faces_wound_against_their_normals_are_turned_and_none_is_lost(tmp_path: Path) -> None:
    points, quads = makers.wedge()
    centres = points[quads].mean(axis=1)
    bodies = np.repeat(points.reshape(3, 8, 3).mean(axis=1), 6, axis=0)
    lines = ["v {:f} {:f} {:f}".format(*tuple(p)) for p in points] + [
        "vn {:f} {:f} {:f}".format(*tuple(n)) for n in centres - bodies
    ]
    for i, quad in enumerate(quads):
        wound = quad[::-1] if i % 3 == 0 else quad
        lines.append("f " + " ".join(f"{corner + 1}//{i + 1}" for corner in wound))
    (tmp_path / "a.obj").write_text("\n".join(lines))
    made = canonicalise(tmp_path / "a.obj", CadSpec())
    assert made.facts["faces"] == 2 * len(quads)
    assert any(warning.startswith("faces_turned") for warning in made.facts["warnings"])
    import trimesh

    mesh = trimesh.load_scene(io.BytesIO(made.glb), file_type="glb", process=False).to_geometry()
    triangles = mesh.vertices[mesh.faces]
    wound_normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert ((wound_normals * mesh.vertex_normals[mesh.faces].mean(axis=1)).sum(axis=1) > 0).all()
    assert all(material["doubleSided"] for material in makers.document(made.glb)["materials"])


def test_normals_that_have_nothing_to_do_with_the_faces_are_computed_anew(tmp_path: Path) -> None:
    text = makers.write_obj(tmp_path / "a.obj").read_text().splitlines()
    faces = [
        " ".join(word if word == "f" else word.split("/")[0] + "//1" for word in line.split()) for line in text if line[0] == "f"
    ]
    (tmp_path / "a.obj").write_text("\n".join([*(line for line in text if line[0] == "v"), "vn 0 0 1", *faces]))
    made = canonicalise(tmp_path / "a.obj", CadSpec())
    assert any(warning.startswith("normals_dropped") for warning in made.facts["warnings"])


def test_smooth_surfaces_are_smooth_and_edges_are_sharp(tmp_path: Path) -> None:
    import trimesh

    for name, mesh, smooth in (
        ("ball", trimesh.creation.icosphere(subdivisions=3), True),
        ("box", trimesh.creation.box(), False),
    ):
        mesh.export(tmp_path / f"{name}.stl")
        made = canonicalise(tmp_path / f"{name}.stl", CadSpec())
        loaded = trimesh.load_scene(io.BytesIO(made.glb), file_type="glb", process=False).to_geometry()
        assert len(loaded.vertices) == (642 if smooth else 24)


def test_faces_that_lie_in_each_other_are_kept_once_with_their_texture(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(makers.picture())
    path = makers.write_obj(tmp_path / "a.obj", mtl="a.mtl", texture="t.png")
    _, quads = makers.wedge()
    backs = ["f " + " ".join(str(corner + 1) for corner in triangle[::-1]) for triangle in makers.triangles(quads)]
    lines = path.read_text().splitlines()
    first_face = next(i for i, line in enumerate(lines) if line.startswith("f "))
    path.write_text("\n".join([*lines[: first_face - 1], *backs, *lines[first_face - 1 :]]))
    made = canonicalise(path, CadSpec())
    assert made.facts["faces"] == 2 * len(quads)
    assert made.facts["watertight"]
    assert made.facts["textured"]
    assert made.facts["materials"] == 1
    assert made.facts["warnings"][0].startswith("doubled_faces")


def test_hundreds_of_parts_are_joined_by_material(tmp_path: Path) -> None:
    lines: list[str] = []
    for i in range(200):
        lines += [f"o part{i}", *(f"v {x + 2 * i} {y} {z}" for x, y, z in makers.box((0, 0, 0), (1, 1, 1)))]
        lines += ["f " + " ".join(str(corner + 1 + 8 * i) for corner in quad) for quad in makers.BOX_QUADS]
    (tmp_path / "many.obj").write_text("\n".join(lines))
    made = canonicalise(tmp_path / "many.obj", CadSpec())
    assert made.facts["parts"] == 1
    assert made.facts["faces"] == 2400


def test_facts_say_what_the_file_holds(tmp_path: Path) -> None:
    facts = canonicalise(makers.write_stl(tmp_path / "a.stl"), CadSpec()).facts
    assert facts["source_name"] == "a.stl"
    assert facts["extents"] == pytest.approx([2.2, 4.5, 1.0])
    assert (facts["faces"], facts["vertices"], facts["parts"], facts["textured"]) == (36, 24, 1, False)
    assert (facts["up"], facts["front"], facts["warnings"]) == ("+z", "-y", [])
    assert np.array(facts["canonical_from_source"]).shape == (4, 4)
    hollow = makers.write_off(tmp_path / "b.off")
    hollow.write_text("\n".join(hollow.read_text().replace("24 18 0", "24 17 0").splitlines()[:-1]) + "\n")
    assert not canonicalise(hollow, CadSpec()).facts["watertight"]
