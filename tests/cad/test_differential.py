"""Our readers against Blender's importers and trimesh: where they disagree, docs/cad_files.md says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.cad import parametric
from models.cad.bad import BadModel
from models.cad.canonical import CanonicalModel, canonicalise
from models.cad.spec import CadSpec
from tests.cad import makers, mutations, odd, test_odd_files
from tests.cad.differential import disagreements
from tests.render.test_geometry import FORMATS, write

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "cad_files.md"
KNOWN = {
    ("dae_hole", "blender"): "holes", ("dae_hole", "trimesh"): "holes",
    ("gpu_instancing", "trimesh"): "instancing",
    ("grey16", "trimesh"): "grey",
    ("mapkd_s_o", "trimesh"): "texture_options",
    ("mtl_d0", "blender"): "invisible", ("mtl_d0", "trimesh"): "invisible",
    ("mtl_tr1", "blender"): "invisible", ("mtl_tr1", "trimesh"): "invisible",
    ("obj_bom_v2", "blender"): "byte_order_mark", ("obj_bom_v2", "trimesh"): "byte_order_mark",
    ("obj_mixed_uv", "trimesh"): "partial_coordinates",
    ("ply_face_colours", "blender"): "face_colours",
    ("ply_uv_no_texture", "trimesh"): "coordinates_without_texture",
    ("bus", "blender"): "missing_texture",
    ("CesiumMilkTruck", "blender"): "animation",
}  # fmt: skip
"""(file, reader) -> the heading in docs/cad_files.md that says why they disagree with us."""


def found(paths: dict[str, Path], folder: Path) -> set[tuple[str, str]]:
    """Return (name, reader) of every disagreement; a file that we refuse has none."""
    made: dict[Path, tuple[CanonicalModel, Path]] = {}
    for path in paths.values():
        try:
            made[path] = (canonicalise(path, CadSpec()), path)
        except BadModel:
            continue
    said = disagreements(made, folder)
    for path in made:
        for reader, differences in said[path].items():
            print(path, reader, differences)
    return {(name, reader) for name, path in paths.items() for reader, each in said.get(path, {}).items() if each}


def of_ours(folder: Path) -> dict[str, Path]:
    """The kinds of tests/cad/odd.py by the name of the shared folder's file of that kind."""
    makers_of = {
        "dae_hole": lambda at: odd.dae(at, odd.HOLED, odd.WALL),
        "dae_leaf": test_odd_files.cut_out_dae,
        "gpu_instancing": lambda at: odd.Box().with_legs().glb(at / "a.glb"),
        "blend_glass": test_odd_files.glass,
        "mapkd_s_o": lambda at: odd.textured_obj(at, "map_Kd -s 0.5 0.5 1 t.png"),
        "mtl_d0": lambda at: odd.helper_obj(at, "d 0"),
        "mtl_tr1": lambda at: odd.helper_obj(at, "Tr 1"),
        "obj_bom_v2": lambda at: odd.obj(at, b"\xef\xbb\xbf" + (odd.vertices() + "v 9 9 9\n" + odd.FACES).encode()),
        "obj_mixed_uv": lambda at: odd.textured_obj(
            at, "map_Kd t.png", "\n".join([*odd.PAINTED.splitlines()[:-1], odd.FACES.splitlines()[-1]])
        ),
        "obj_rgba": lambda at: odd.obj(at, odd.vertices(after=" 1 0.1 0 1") + odd.FACES),
        "ply_face_colours": odd.face_coloured_ply,
        "ply_uv_no_texture": lambda at: odd.ply(at, odd.COLORS, odd.RED_ROWS, odd.UV_LIST, odd.UV_ROWS),
        "base64_newlines": odd.broken_lines_gltf,
        "textured_ply": lambda at: makers.write_ply(at / "a.ply", colors=True, order=">"),
    }
    made = {}
    for name, maker in makers_of.items():
        (folder / name).mkdir()
        made[name] = maker(folder / name)
    return made


def test_every_disagreement_about_our_odd_files_is_on_the_list(tmp_path: Path) -> None:
    paths = of_ours(tmp_path)
    assert found(paths, tmp_path) == {(name, reader) for name, reader in KNOWN if name in paths}


def test_every_disagreement_about_files_of_others_is_on_the_list(shared_cad_or_none: Path | None, tmp_path: Path) -> None:
    if shared_cad_or_none is None:
        return
    paths = {
        path.stem: path
        for path in sorted(shared_cad_or_none.rglob("*"))
        if path.suffix in (".obj", ".ply", ".dae", ".glb", ".gltf") and "_broken" not in path.parts
    }
    assert found(paths, tmp_path) == set(KNOWN)


def test_bundled_models_are_the_same_in_every_format_whoever_reads_them(tmp_path: Path) -> None:
    paths = {}
    for class_name in ("car", "chair"):
        for kind in FORMATS:
            folder = tmp_path / f"{class_name}_{kind}"
            folder.mkdir()
            paths[folder.name] = write(parametric.build(class_name, 1), kind, folder)
    assert found(paths, tmp_path) == set()


def test_what_is_read_without_a_word_is_what_somebody_else_reads_too(tmp_path: Path) -> None:
    outcome = mutations.tried(range(100), tmp_path)
    assert outcome.differ == {}
    assert outcome.agreed > 30


def test_every_reason_is_in_the_docs() -> None:
    headings = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE)
    assert set(KNOWN.values()) <= set(headings)
