"""Files that were read wrongly without a word, or refused without need: each kind of trouble, in every format that knows it.

Where this checkout has the shared folder beside it, its `_odd` files are held to the same words as ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cad.bad import BadModel
from models.cad.canonical import CanonicalModel, canonicalise
from models.cad.gltf import read_gltf
from models.cad.sheet import Caster
from models.cad.spec import CadSpec
from tests.cad import makers, odd

Maker = Callable[[Path], Path]
GREEN, BLUE = (20, 200, 20), (20, 20, 200)


def warned(made: CanonicalModel) -> list[str]:
    return [warning.split(":")[0] for warning in made.facts["warnings"]]


def caster(made: CanonicalModel, folder: Path) -> Caster:
    (folder / "canonical.glb").write_bytes(made.glb)
    return Caster(read_gltf(folder / "canonical.glb", 10**6))


def seen(made: CanonicalModel, folder: Path, azimuth: float = 0, elevation: float = 0) -> np.ndarray:
    """What is seen from a side: (64, 64, 3) sRGB in bytes, 0 where nothing is."""
    linear = np.nan_to_num(caster(made, folder).seen(azimuth, elevation, 64, 0.6, np.zeros(3))[..., 1:])
    return np.asarray(np.rint(np.clip(linear, 0, 1) ** (1 / 2.2) * 255), np.int64)


def middle(made: CanonicalModel, folder: Path, azimuth: float = 0, elevation: float = 0) -> tuple[int, ...]:
    return tuple(seen(made, folder, azimuth, elevation)[31, 31].tolist())


def close(color: tuple[int, ...], other: tuple[int, ...], by: int = 14) -> bool:
    return max(abs(a - b) for a, b in zip(color, other, strict=True)) <= by


# -- required extensions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["KHR_meshopt_compression", "EXT_meshopt_compression", "KHR_draco_mesh_compression", "ACME_bent"]
)
def test_a_required_extension_that_is_not_known_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    box = odd.Box()
    box.json["extensionsRequired"] = ["KHR_mesh_quantization", "KHR_materials_clearcoat", name]
    with pytest.raises(BadModel, match=name) as caught:
        canonicalise(box.glb(tmp_path / "a.glb"), CadSpec())
    assert "\n" not in caught.value.detail
    box.json["extensionsRequired"].remove(name)
    assert canonicalise(box.glb(tmp_path / "a.glb"), CadSpec()).facts["faces"] == 12


@pytest.mark.parametrize("required", [True, False])
def test_every_instance_of_a_mesh_is_there(required: bool, tmp_path: Path) -> None:
    made = canonicalise(odd.Box().with_legs(required).glb(tmp_path / "a.glb"), CadSpec())
    assert made.facts["faces"] == 5 * 12
    assert made.facts["extents"] == pytest.approx([1, 2.5, 0.5])
    with pytest.raises(BadModel, match="more than 59 faces"):
        canonicalise(tmp_path / "a.glb", CadSpec(), 59)


# -- transparency ------------------------------------------------------------------------------------------------------


def glass(folder: Path) -> Path:
    return odd.Box(odd.leaf(77), alphaMode="BLEND").opaque_neighbour().glb(folder / "a.glb")


def whole_glass(folder: Path) -> Path:
    picture = np.full((8, 8, 4), (30, 160, 30, 77), np.uint8)
    return odd.Box(odd.png(picture), alphaMode="BLEND").opaque_neighbour().glb(folder / "a.glb")


def tinted(folder: Path) -> Path:
    box = odd.Box(alphaMode="BLEND").opaque_neighbour()
    box.json["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][3] = 0.3
    return box.glb(folder / "a.glb")


def vertex_alpha(folder: Path) -> Path:
    box = odd.Box(alphaMode="BLEND").opaque_neighbour()
    colors = np.tile(np.array([1, 1, 1, 0.3], np.float32), (24, 1))
    box.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = box.array(colors, "VEC4")
    return box.glb(folder / "a.glb")


def transmission(folder: Path) -> Path:
    extensions = {"KHR_materials_transmission": {"transmissionFactor": 1}}
    return odd.Box(extensions=extensions).opaque_neighbour().glb(folder / "a.glb")


def masked_glass(folder: Path) -> Path:
    grey = np.full((64, 64), 77, np.uint8)
    return odd.obj(
        folder,
        f"mtllib a.mtl\n{odd.vertices()}{odd.CORNERS}usemtl m\n{odd.PAINTED}\n",
        a_mtl="newmtl m\nmap_Kd t.png\nmap_d d.png\n",
        t_png=odd.quarters(),
        d_png=odd.png(grey),
    )


def collada_glass(folder: Path) -> Path:
    effect = '<transparent opaque="A_ONE"><color>1 1 1 0.3</color></transparent><transparency><float>1</float></transparency>'
    return odd.dae(folder, odd.POLYLIST, effect=effect)


@pytest.mark.parametrize("maker", [glass, whole_glass, tinted, vertex_alpha, transmission, masked_glass, collada_glass])
def test_glass_is_a_surface_and_said(maker: Maker, tmp_path: Path) -> None:
    made = canonicalise(maker(tmp_path), CadSpec())
    assert warned(made) == ["transparency_dropped"]
    assert (seen(made, tmp_path, 35, 25).max(axis=2) > 0).sum() > 400
    found = makers.document(made.glb)
    # Whoever reads the GLB sees the same: nothing blends, and texels of glass lie above the cutoff.
    assert all(material.get("alphaMode", "MASK") == "MASK" for material in found["materials"])
    assert all(material.get("alphaCutoff", 0) < 0.3 for material in found["materials"] if maker is not masked_glass)


def cut_out_gltf(folder: Path) -> Path:
    return odd.Box(odd.leaf(), alphaMode="BLEND").glb(folder / "a.glb")


def cut_out_mask(folder: Path) -> Path:
    return odd.Box(odd.leaf(), alphaMode="MASK", alphaCutoff=0.3).glb(folder / "a.glb")


def cut_out_obj(folder: Path) -> Path:
    return odd.textured_obj(folder, "map_Kd l.png\nmap_d l.png") if odd.write(folder / "l.png", odd.leaf()) else folder


def cut_out_dae(folder: Path) -> Path:
    effect = '<transparent opaque="A_ONE"><texture texture="s" texcoord="UV"/></transparent>'
    return odd.dae(folder, odd.POLYLIST, effect=effect, t_png=odd.leaf())


@pytest.mark.parametrize("maker", [cut_out_gltf, cut_out_mask, cut_out_obj, cut_out_dae])
def test_what_is_cut_out_is_a_hole_also_on_the_sheet(maker: Maker, tmp_path: Path) -> None:
    made = canonicalise(maker(tmp_path), CadSpec())
    assert warned(made) == []
    assert makers.document(made.glb)["materials"][0]["alphaMode"] == "MASK"
    shape = seen(made, tmp_path, 0, 0).max(axis=2) > 0
    rows, columns = np.nonzero(shape)
    box = shape[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    # Half of each side is leaf; the far side shows through the holes only where it is one itself.
    assert 0.3 < box.mean() <= 1
    assert close(tuple(seen(made, tmp_path)[rows[0], columns[0]].tolist()), (30, 160, 30))


@pytest.mark.parametrize("clear", ["d 0", "Tr 1", "d 0.0\nTr 1.0", "d -halo 0"])
def test_an_invisible_part_around_the_object_is_left_out_by_name(clear: str, tmp_path: Path) -> None:
    made = canonicalise(odd.helper_obj(tmp_path, clear), CadSpec())
    assert made.facts["extents"] == pytest.approx([1, 2, 0.5])
    assert made.facts["warnings"] == ["invisible_dropped: part helper (material air) is fully transparent; left out"]


def test_transparency_that_would_leave_nothing_means_something_else(tmp_path: Path) -> None:
    for clear in ("Tr 1", "d 0"):
        made = canonicalise(odd.textured_obj(tmp_path, clear), CadSpec())
        assert (made.facts["faces"], warned(made)) == (12, ["transparency_dropped"])
    made = canonicalise(odd.helper_obj(tmp_path, "d 1\nTr 1"), CadSpec())
    assert (made.facts["faces"], warned(made)) == (24, [])


# -- encodings ---------------------------------------------------------------------------------------------------------

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_a_byte_order_mark_and_any_line_ends_change_nothing(mark: bytes, end: bytes, tmp_path: Path) -> None:
    plain = odd.textured_obj(tmp_path, "map_Kd t.png")
    wanted = canonicalise(plain, CadSpec())
    for name in ("model.obj", "a.mtl"):
        file = tmp_path / name
        file.write_bytes(mark + file.read_bytes().replace(b"\n", end))
    made = canonicalise(plain, CadSpec())
    assert (made.glb, made.facts) == (wanted.glb, wanted.facts)
    bare = odd.obj(tmp_path, mark + (odd.vertices() + odd.FACES).encode().replace(b"\n", end))
    assert canonicalise(bare, CadSpec()).facts["extents"] == [1, 2, 0.5]
    for writer in (makers.write_off, lambda p: makers.write_ply(p, text=True), lambda p: makers.write_stl(p, text=True)):
        path = writer(tmp_path / {makers.write_off: "a.off"}.get(writer, "a.ply"))
        path = path if path.read_bytes()[:5] != b"solid" else path.rename(tmp_path / "a.stl")
        path.write_bytes(mark + path.read_bytes().replace(b"\n", end))
        assert canonicalise(path, CadSpec()).facts["faces"] == 36


def test_a_binary_ply_with_an_old_macs_header_is_read(tmp_path: Path) -> None:
    path = makers.write_ply(tmp_path / "a.ply", colors=True)
    head, body = path.read_bytes().split(b"end_header\n")
    for end in (b"\r", b"\r\n"):
        path.write_bytes(head.replace(b"\n", end) + b"end_header" + end + body)
        assert canonicalise(path, CadSpec()).facts["faces"] == 36


@pytest.mark.parametrize(("line", "mark"), [("\n", b""), ("\r\n", MARK), (" ", b""), ("", MARK)])
def test_base64_in_lines_and_without_padding_is_read(line: str, mark: bytes, tmp_path: Path) -> None:
    assert canonicalise(odd.broken_lines_gltf(tmp_path, line, mark), CadSpec()).facts["faces"] == 12


# -- bit depth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_sixteen_bits_is_as_dark_as_of_eight(kind: str, tmp_path: Path) -> None:
    shades = np.tile(np.arange(20, 84, dtype=np.uint8), (64, 1))
    colors = []
    for pixels in (shades, shades.astype(np.uint16) * 257):
        Image.fromarray(pixels).save(tmp_path / "t.png", kind)
        made = canonicalise(odd.Box((tmp_path / "t.png").read_bytes()).glb(tmp_path / "a.glb"), CadSpec())
        colors.append(seen(made, tmp_path)[24:40, 24:40].mean())
    assert colors[0] == pytest.approx(colors[1], abs=1)
    assert 20 <= colors[0] <= 84


# -- options of textures -----------------------------------------------------------------------------------------------


def test_scale_and_offset_of_a_map_are_applied(tmp_path: Path) -> None:
    # Only the blue quarter: bottom left, as v counts upwards.
    made = canonicalise(odd.textured_obj(tmp_path, "map_Kd -s 0.5 0.5 1 t.png"), CadSpec())
    assert close(middle(made, tmp_path), BLUE)
    made = canonicalise(odd.textured_obj(tmp_path, "map_Kd -o 0.5 0.5\t-s 0.4 0.4 -clamp on t.png"), CadSpec())
    assert close(middle(made, tmp_path), GREEN)
    assert warned(made) == []
    assert makers.document(made.glb)["samplers"][0]["wrapS"] == 33071


@pytest.mark.parametrize("option", ["-mm 0.2 0.5", "-t 1 1 1", "-imfchan m"])
def test_an_option_that_is_not_obeyed_is_said(option: str, tmp_path: Path) -> None:
    made = canonicalise(odd.textured_obj(tmp_path, f"map_Kd {option} t.png"), CadSpec())
    assert made.facts["warnings"] == [f"texture_option: material m: map_Kd {option} is not obeyed"]
    assert canonicalise(odd.textured_obj(tmp_path, "map_Kd -mm 0 1 -t 0 0 0 -bm 1 t.png"), CadSpec()).facts["warnings"] == []


def test_colladas_wrapping_is_kept(tmp_path: Path) -> None:
    params = "<wrap_s>MIRROR</wrap_s><wrap_t>CLAMP</wrap_t>"
    made = canonicalise(odd.dae(tmp_path, odd.POLYLIST, params=params, t_png=odd.quarters()), CadSpec())
    sampler = makers.document(made.glb)["samplers"][0]
    assert (sampler["wrapS"], sampler["wrapT"]) == (33648, 33071)


# -- partial and per-face attributes -----------------------------------------------------------------------------------


def test_one_face_without_a_place_in_the_texture_does_not_cost_the_others_theirs(tmp_path: Path) -> None:
    faces = odd.PAINTED.splitlines()
    for last in (odd.FACES.splitlines()[-1], "f 4/9 1/9 5/9 8/9"):
        path = odd.textured_obj(tmp_path, "map_Kd t.png", "\n".join([*faces[:-1], last]))
        made = canonicalise(path, CadSpec())
        assert made.facts["warnings"] == ["uv_partial: model: 1 of 6 faces have no place in the texture"]
        assert made.facts["textured"]
        assert len(np.unique(seen(made, tmp_path).reshape(-1, 3), axis=0)) > 3


def test_a_part_without_texture_coordinates_says_that_it_is_plain(tmp_path: Path) -> None:
    made = canonicalise(odd.textured_obj(tmp_path, "map_Kd t.png", odd.FACES), CadSpec())
    assert warned(made) == ["texture_unused"]


@pytest.mark.parametrize("after", [" 1 0.1 0", " 1 0.1 0 1", " 255 26 0", " 255 26 0 255"])
def test_colours_at_an_objs_vertices_are_read_with_and_without_alpha(after: str, tmp_path: Path) -> None:
    made = canonicalise(odd.obj(tmp_path, odd.vertices(after=after) + odd.FACES), CadSpec())
    assert close(middle(made, tmp_path), (255, 26, 0))
    assert warned(made) == []


@pytest.mark.parametrize("bad", ["", " nan 0 0", " 1 inf 0"])
def test_one_vertex_without_a_colour_does_not_cost_the_others_theirs(bad: str, tmp_path: Path) -> None:
    lines = odd.vertices(after=" 1 0.1 0").splitlines()
    lines[3] = " ".join(lines[3].split()[:4]) + bad
    made = canonicalise(odd.obj(tmp_path, "\n".join([*lines, odd.FACES])), CadSpec())
    assert close(middle(made, tmp_path), (255, 26, 0))
    assert warned(made) == ["numbers_missing"]


@pytest.mark.parametrize("kind", ["NORMAL", "COLOR_0", "TEXCOORD_0"])
def test_one_nan_in_a_gltf_does_not_cost_the_others_theirs(kind: str, tmp_path: Path) -> None:
    box = odd.Box(odd.quarters())
    width = {"NORMAL": 3, "COLOR_0": 4, "TEXCOORD_0": 2}[kind]
    values = np.ones((24, width), np.float32)
    values[5, 1] = np.nan
    box.primitive["attributes"][kind] = box.array(values, f"VEC{width}")
    made = canonicalise(box.glb(tmp_path / "a.glb"), CadSpec())
    assert "numbers_missing" in warned(made)
    assert all(np.isfinite(part.points).all() for part in read_gltf(caster_file(made, tmp_path), 10**6).parts)
    assert np.isfinite(seen(made, tmp_path)).all()
    assert b"\x00\x00\xc0\x7f" not in made.glb


def caster_file(made: CanonicalModel, folder: Path) -> Path:
    (folder / "canonical.glb").write_bytes(made.glb)
    return folder / "canonical.glb"


def six_colours(made: CanonicalModel, folder: Path) -> bool:
    sides = [(0, 0), (90, 0), (180, 0), (270, 0), (0, 89.9), (0, -89.9)]
    found = [middle(made, folder, *side) for side in sides]
    return all(any(close(color, wanted) for color in found) for wanted in odd.SIX)


def test_colours_of_faces_are_kept_whatever_their_type(tmp_path: Path) -> None:
    for kind, scale in (("uchar", 1.0), ("ushort", 257.0), ("float", 1 / 255)):
        made = canonicalise(odd.face_coloured_ply(tmp_path, kind, scale), CadSpec())
        assert six_colours(made, tmp_path), kind
        assert warned(made) == []
    assert six_colours(canonicalise(odd.face_coloured_off(tmp_path), CadSpec()), tmp_path)


def test_a_dark_colour_of_bytes_stays_dark(tmp_path: Path) -> None:
    made = canonicalise(odd.ply(tmp_path, odd.COLORS, ["1 1 0"] * 8), CadSpec())
    assert max(middle(made, tmp_path)) < 20


def test_colours_and_texture_coordinates_in_one_ply_are_both_looked_at(tmp_path: Path) -> None:
    made = canonicalise(odd.ply(tmp_path, odd.COLORS, odd.RED_ROWS, odd.UV_LIST, odd.UV_ROWS), CadSpec())
    assert close(middle(made, tmp_path), odd.RED)
    comment = "comment TextureFile t.png\n"
    (tmp_path / "t.png").write_bytes(odd.quarters())
    made = canonicalise(odd.ply(tmp_path, odd.COLORS, odd.RED_ROWS, odd.UV_LIST, odd.UV_ROWS, comment), CadSpec())
    assert made.facts["textured"]
    assert warned(made) == ["colours_dropped"]


def test_every_texture_of_a_ply_is_on_its_own_faces(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(makers.picture(odd.RED))
    (tmp_path / "b.png").write_bytes(makers.picture(BLUE))
    comment = "comment TextureFile a.png\ncomment TextureFile b.png\n"
    faces = [f"{row} {i % 2}" for i, row in enumerate(odd.UV_ROWS)]
    path = odd.ply(tmp_path, "", [""] * 8, odd.UV_LIST + "property int texnumber\n", faces, comment)
    made = canonicalise(path, CadSpec())
    assert (made.facts["faces"], made.facts["materials"]) == (12, 2)
    assert len(makers.document(made.glb)["images"]) == 2


def test_colours_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    assert warned(canonicalise(odd.stl_with_colours(tmp_path), CadSpec())) == ["colours_dropped"]


# -- faces -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("face", "name"), [("f 1 2", "short_faces"), ("f 1 2 99", "stray_faces"), ("f 0 1 2", "stray_faces")])
def test_one_bad_face_does_not_cost_an_obj_its_sound_ones(face: str, name: str, tmp_path: Path) -> None:
    made = canonicalise(odd.obj(tmp_path, f"{odd.vertices()}{odd.FACES}\n{face}\n"), CadSpec())
    assert (made.facts["faces"], made.facts["watertight"], warned(made)) == (12, True, [name])


def test_one_bad_face_does_not_cost_other_formats_theirs(tmp_path: Path) -> None:
    text = makers.write_ply(tmp_path / "a.ply", text=True)
    text.write_text(text.read_text().replace("face 18", "face 20") + "2 0 1\n3 0 1 99\n")
    made = canonicalise(text, CadSpec())
    assert (made.facts["faces"], warned(made)) == (36, ["short_faces", "stray_faces"])
    off = makers.write_off(tmp_path / "a.off")
    off.write_text(off.read_text().replace("24 18 0", "24 20 0") + "2 0 1\n3 0 1 99\n")
    assert warned(canonicalise(off, CadSpec())) == ["short_faces", "stray_faces"]
    more = odd.POLYLIST.replace("4 </vcount>", "4 2 </vcount>").replace("</p>", " 0 0 1 0</p>")
    made = canonicalise(odd.dae(tmp_path, more), CadSpec())
    assert (made.facts["faces"], warned(made)) == (12, ["short_faces"])
    box = odd.Box()
    order = np.array([*range(4)] * 6 + [0, 1, 999, 0], np.uint16)[:10]
    box.primitive["indices"] = box.array(np.concatenate([np.arange(24, dtype=np.uint16), order[6:]]), "SCALAR")
    assert warned(canonicalise(box.glb(tmp_path / "a.glb"), CadSpec()))[0] == "short_faces"


def test_lines_beside_faces_are_said(tmp_path: Path) -> None:
    assert warned(canonicalise(odd.obj(tmp_path, f"{odd.vertices()}{odd.FACES}\nl 1 2\n"), CadSpec())) == ["no_surface"]
    box = odd.Box()
    box.json["meshes"][0]["primitives"].append(box.primitive | {"mode": 1})
    assert warned(canonicalise(box.glb(tmp_path / "a.glb"), CadSpec())) == ["no_surface"]
    lines = '<lines count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1</p></lines>'
    assert warned(canonicalise(odd.dae(tmp_path, odd.POLYLIST + lines), CadSpec())) == ["no_surface"]


def test_colladas_polygons_with_holes_are_walls_with_windows(tmp_path: Path) -> None:
    made = canonicalise(odd.dae(tmp_path, odd.HOLED, odd.WALL), CadSpec())
    assert warned(made) == []
    assert made.facts["extents"] == pytest.approx([4, 0.2, 3])
    turned = canonicalise(odd.dae(tmp_path, odd.HOLED.replace("4 5 6 7", "7 6 5 4"), odd.WALL), CadSpec())
    for one in (made, turned):
        points = caster(one, tmp_path)
        corners = points.points[points.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2 * 16
        assert area == pytest.approx(12 - 0.8 - 0.8 + 4 * 0.3 / 2, rel=1e-4)
        shape = seen(one, tmp_path).max(axis=2) > 0
        assert shape[32, 32]  # between the windows
        assert not shape[32, 32 - 8]
        assert not shape[32, 32 + 8]


# -- strays ------------------------------------------------------------------------------------------------------------


def test_a_stray_triangle_far_away_is_said(tmp_path: Path) -> None:
    stray = "v 5000 0 0\nv 5000.01 0 0\nv 5000 0.01 0\nf 9 10 11\n"
    made = canonicalise(odd.obj(tmp_path, f"{odd.vertices()}{odd.FACES}\n{stray}"), CadSpec())
    assert made.facts["warnings"][0].startswith("stray_geometry: 1 of 13 faces lie far from the rest, which takes up only 0.04 %")


def test_long_thin_things_have_no_strays(tmp_path: Path) -> None:
    from models.cad import parametric

    for name in parametric.CLASSES:
        (tmp_path / "a.glb").write_bytes(parametric.glb(name, 1))
        assert warned(canonicalise(tmp_path / "a.glb", CadSpec(up="+z", front="-y"))) in ([], ["doubled_faces"]), name


# -- the shared folder -------------------------------------------------------------------------------------------------

SHARED = {
    "base64_newlines": (12, []), "blend_glass": (24, ["transparency_dropped"]), "dae_hole": (10, []), "dae_leaf": (14, []),
    "gpu_instancing": (60, []), "grey16": (12, []), "grey8": (12, []), "mapkd_s_o": (12, []),
    "mtl_d0": (12, ["invisible_dropped"]), "mtl_tr1": (12, ["invisible_dropped"]), "obj_bom_v2": (12, []), "obj_cr": (12, []),
    "obj_mixed_uv": (12, ["uv_partial"]), "obj_rgba": (12, []), "obj_stray": (13, ["stray_geometry"]),
    "ply_face_colours": (12, []), "ply_uv_no_texture": (12, []),
}  # fmt: skip
"""What is in each file of the shared folder, and which warnings it deserves (SOURCES.md there)."""


def test_the_odd_files_of_others_are_what_their_sources_say(shared_cad_or_none: Path | None, tmp_path: Path) -> None:
    if shared_cad_or_none is None:
        return
    looks = {}
    for folder in sorted((shared_cad_or_none / "_odd").iterdir()):
        (path,) = folder.glob(f"{folder.name}.*")
        if folder.name == "meshopt_khr2":
            with pytest.raises(BadModel, match="KHR_meshopt_compression"):
                canonicalise(path, CadSpec())
            continue
        made = canonicalise(path, CadSpec())
        assert (made.facts["faces"], warned(made)) == SHARED[folder.name], folder.name
        looks[folder.name] = middle(made, tmp_path, 30, 20)
    assert close(looks["grey16"], looks["grey8"], 2)
    assert close(looks["obj_rgba"], (255, 26, 0))
    assert close(looks["ply_uv_no_texture"], odd.RED)
