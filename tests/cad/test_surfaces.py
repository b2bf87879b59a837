"""Colours and textures of the formats that have them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from models.cad.canonical import canonicalise
from models.cad.sheet import VIEWS, camera_axes, sheet
from models.cad.spec import CadSpec
from tests.cad import makers


def materials(path: Path) -> list[dict]:
    return list(makers.document(canonicalise(path, CadSpec()).glb)["materials"])


def test_vertex_colours_are_kept_as_linear_values(tmp_path: Path) -> None:
    ply = makers.write_ply(tmp_path / "a.ply", colors=True)
    text = makers.write_ply(tmp_path / "b.ply", colors=True, text=True)
    points, quads = makers.wedge()
    lines = [f"v {x} {z} {-y} 1 0.5 0" for x, y, z in points] + ["f " + " ".join(str(c + 1) for c in quad) for quad in quads]
    (tmp_path / "c.obj").write_text("\n".join(lines))
    for path, green in ((ply, 0.0), (text, 0.0), (tmp_path / "c.obj", 0.2140)):
        glb = canonicalise(path, CadSpec()).glb
        found = makers.document(glb)
        accessor = found["accessors"][found["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
        start = 20 + int.from_bytes(glb[12:16], "little") + 8 + found["bufferViews"][accessor["bufferView"]]["byteOffset"]
        np.testing.assert_allclose(np.frombuffer(glb, "<f4", 4, start), (1, green, 0, 1), atol=1e-3)
        assert found["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] == [1, 1, 1, 1]


def test_mtl_colours_roughness_and_metal_are_kept(tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "a.obj", mtl="a.mtl")
    (tmp_path / "a.mtl").write_text("newmtl paint\nKd 1 0.5 0\nPr 0.3\nPm 0.9\nd 0.3\n")
    (material,) = materials(path)
    assert material["pbrMetallicRoughness"] == {
        "baseColorFactor": [1, 0.214041, 0, 1],
        "roughnessFactor": 0.3,
        "metallicFactor": 0.9,
    }
    assert material["doubleSided"]
    assert canonicalise(path, CadSpec()).facts["warnings"][0].startswith("transparency_dropped")


def test_a_texture_with_options_and_spaces_in_its_name_is_found(tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "my car.obj", mtl="my car.mtl", texture="-s 1 1 1 -bm 0.5 -clamp on My Paint 2.png")
    (tmp_path / "My Paint 2.png").write_bytes(makers.picture())
    made = canonicalise(path, CadSpec())
    assert made.facts["textured"]
    assert made.facts["warnings"] == []


def test_a_mask_becomes_holes(tmp_path: Path) -> None:
    path = makers.write_obj(tmp_path / "a.obj", mtl="a.mtl")
    (tmp_path / "a.mtl").write_text("newmtl paint\nmap_Kd a.png\nmap_d m.png\n")
    (tmp_path / "a.png").write_bytes(makers.picture())
    half = Image.new("RGB", (8, 8), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 4, 8))
    half.save(tmp_path / "m.png")
    made = canonicalise(path, CadSpec())
    assert makers.document(made.glb)["materials"][0]["alphaMode"] == "MASK"
    picture = Image.open(io.BytesIO(made.glb[made.glb.index(b"\x89PNG") :]))
    assert picture.mode == "RGBA"
    assert picture.getextrema()[3] == (0, 255)


def test_colladas_and_plys_textures_are_carried_over(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(makers.picture())
    dae = makers.write_dae(tmp_path / "a.dae", texture="a%20b.png")
    assert canonicalise(dae, CadSpec()).facts["textured"]
    assert makers.picture() in canonicalise(dae, CadSpec()).glb
    rows = "0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n"
    head = "ply\nformat ascii 1.0\ncomment TextureFile a b.png\nelement vertex 3\n"
    head += "".join(f"property float {name}\n" for name in ("x", "y", "z", "s", "t"))
    (tmp_path / "a.ply").write_text(head + "element face 1\nproperty list uchar int vertex_indices\nend_header\n" + rows)
    assert makers.picture() in canonicalise(tmp_path / "a.ply", CadSpec()).glb


def test_colladas_plain_colour_is_kept(tmp_path: Path) -> None:
    (material,) = materials(makers.write_dae(tmp_path / "a.dae"))
    assert material["name"] == "paint"
    np.testing.assert_allclose(material["pbrMetallicRoughness"]["baseColorFactor"], (0.603827, 0.010023, 0.010023, 1), atol=1e-4)


def test_a_sixteen_bit_and_a_cmyk_texture_become_readable_ones(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(out, "PNG")
    (tmp_path / "deep.png").write_bytes(out.getvalue())
    out = io.BytesIO()
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(out, "JPEG")
    (tmp_path / "print.jpg").write_bytes(out.getvalue())
    for name in ("deep.png", "print.jpg"):
        made = canonicalise(makers.write_obj(tmp_path / "a.obj", mtl="a.mtl", texture=name), CadSpec())
        picture = Image.open(io.BytesIO(made.glb[made.glb.index(b"\x89PNG") :]))
        assert picture.mode == "RGB"


# -- the sheet ---------------------------------------------------------------------------------------------------------


def test_the_sheet_shows_front_left_and_top_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(canonicalise(makers.write_obj(tmp_path / "a.obj"), CadSpec()).glb)
    page = np.asarray(Image.open(io.BytesIO(sheet(tmp_path / "a.glb", "wedge", 200))))
    assert page.shape == (428, 604, 3)
    front = page[26:226, :200]
    # The low fin is on the object's left: on the right of the picture that looks at its front.
    grey = np.ptp(front.astype(int), axis=2) < 12
    solid = grey & (front[..., 0] < 225)
    heights = solid[60:140].sum(axis=0)
    columns = np.flatnonzero(heights > 4)
    assert heights[columns.max() - 1] < 0.7 * heights[columns.min() + 1]


def test_views_are_named_as_the_camera_stands() -> None:
    for label, azimuth, elevation in VIEWS:
        right, up, towards = camera_axes(azimuth, elevation)
        np.testing.assert_allclose(np.cross(right, up), towards, atol=1e-12)
        if label.startswith("front"):
            np.testing.assert_allclose(towards, (0, -1, 0), atol=1e-12)
        if label.startswith("its left"):
            np.testing.assert_allclose(towards, (1, 0, 0), atol=1e-12)
        if label == "top":
            np.testing.assert_allclose(towards, (0, 0, 1), atol=1e-12)
