"""glTF at rest: what moves, shines or looks is dropped, what shapes the mesh is applied."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from models.cad.canonical import CanonicalModel, canonicalise
from models.cad.spec import CadSpec
from tests.cad import makers


def extents(made: CanonicalModel) -> list[float]:
    return [round(value, 4) for value in made.facts["extents"]]


def test_animations_cameras_and_lights_are_dropped(tmp_path: Path) -> None:
    maker = makers.Gltf()
    times, turns = maker.array(np.array([0, 1], np.float32), "SCALAR"), maker.array(np.eye(4, dtype=np.float32)[:2], "VEC4")
    maker.json |= {
        "animations": [
            {
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "rotation"}}],
                "samplers": [{"input": times, "output": turns}],
            }
        ],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}],
        "nodes": [{"mesh": 0, "children": [1, 2, 3]}, {"camera": 0, "translation": [99, 0, 0]}, {"name": "empty"},
                  {"extensions": {"KHR_lights_punctual": {"light": 0}}}],
        "extensions": {"KHR_lights_punctual": {"lights": [{"type": "point"}]}},
    }  # fmt: skip
    made = canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec())
    found = makers.document(made.glb)
    assert not {"animations", "cameras", "skins", "extensions"} & set(found)
    assert len(found["nodes"]) == 1
    assert extents(made) == [2.2, 1.0, 4.5]


def test_a_skin_stands_as_its_joints_do_and_its_nodes_own_place_does_not_count(tmp_path: Path) -> None:
    maker = makers.Gltf()
    attributes = maker.json["meshes"][0]["primitives"][0]["attributes"]
    joints, weights = np.zeros((24, 4), np.uint8), np.zeros((24, 4), np.float32)
    joints[8:, 0], weights[:, 0] = 1, 1
    attributes |= {"JOINTS_0": maker.array(joints, "VEC4"), "WEIGHTS_0": maker.array(weights, "VEC4")}
    inverse = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
    inverse[1, 3, 1] = -5
    maker.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": maker.array(inverse, "MAT4")}]
    maker.json["scenes"] = [{"nodes": [0, 1]}]
    maker.json["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [50, 60, 70]},
        {"children": [2], "translation": [1, 0, 0]},
        {"translation": [0, 8, 0]},
    ]
    made = canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec())
    # The second joint stands 8 up where it was bound at 5: nose and fin are lifted by 3.
    assert extents(made) == [2.2, 3.6, 4.5]
    assert makers.document(made.glb)["meshes"][0]["primitives"][0]["attributes"].keys() == {"POSITION", "NORMAL"}


def test_shape_keys_are_applied_as_they_stand(tmp_path: Path) -> None:
    maker = makers.Gltf()
    shift = np.zeros((24, 3), np.float32)
    shift[8:16, 1] = 10
    maker.json["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": maker.array(shift, "VEC3")}]
    maker.json["meshes"][0]["weights"] = [0.5]
    assert extents(canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec())) == [2.2, 5.4, 4.5]
    maker.json["nodes"][0]["weights"] = [0.0]
    assert extents(canonicalise(maker.glb(tmp_path / "b.glb"), CadSpec())) == [2.2, 1.0, 4.5]


def test_sparse_accessors_strips_and_fans_are_read(tmp_path: Path) -> None:
    maker = makers.Gltf()
    places, values = maker.view(np.array([0], np.uint16).tobytes()), maker.view(np.array([[-3, 0, 1]], np.float32).tobytes())
    sparse = {"count": 1, "indices": {"bufferView": places, "componentType": 5123}, "values": {"bufferView": values}}
    maker.json["accessors"][maker.position]["sparse"] = sparse
    assert extents(canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec())) == [4.2, 1.0, 4.5]
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    for mode, order in ((5, [0, 1, 2, 3]), (6, [0, 1, 3, 2])):
        maker = makers.Gltf()
        primitive = {"attributes": {"POSITION": maker.array(square, "VEC3")}, "mode": mode}
        primitive["indices"] = maker.array(np.array(order, np.uint16), "SCALAR")
        maker.json["meshes"] = [{"primitives": [primitive]}]
        made = canonicalise(maker.glb(tmp_path / f"{mode}.glb"), CadSpec())
        import trimesh

        mesh = trimesh.load_scene(io.BytesIO(made.glb), file_type="glb").to_geometry()
        assert round(mesh.area, 5) == 1
        assert np.allclose(mesh.face_normals, mesh.face_normals[0])


def test_mirrored_nodes_keep_their_outside_outside(tmp_path: Path) -> None:
    maker = makers.Gltf()
    maker.json["nodes"][0]["scale"] = [-1, 1, 1]
    import trimesh

    mesh = trimesh.load_scene(
        io.BytesIO(canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec()).glb), file_type="glb"
    ).to_geometry()
    mesh.merge_vertices(merge_norm=True, merge_tex=True)
    assert mesh.volume > 0


def test_textures_are_carried_over_byte_by_byte_from_any_place(tmp_path: Path) -> None:
    for kind, mime in (("PNG", "image/png"), ("JPEG", "image/jpeg")):
        data = makers.picture(size=32, kind=kind)
        (tmp_path / "skin of paint.png").write_bytes(data)
        inside = makers.Gltf()
        places = [
            makers.Gltf().textured({"uri": "skin%20of%20paint.png"}).gltf(tmp_path / "a.gltf"),
            makers.Gltf().textured({"uri": f"data:{mime};base64,{base64.b64encode(data).decode()}"}).glb(tmp_path / "b.glb"),
            inside.textured({"bufferView": inside.view(data), "mimeType": mime}).glb(tmp_path / "c.glb"),
        ]
        for path in places:
            made = canonicalise(path, CadSpec())
            assert made.facts["textured"]
            assert data in made.glb
            found = makers.document(made.glb)
            assert found["images"] == [{"bufferView": found["images"][0]["bufferView"], "mimeType": mime}]
            assert not any("uri" in entry for kind_ in ("buffers", "images") for entry in found[kind_])


def test_pictures_that_glb_does_not_know_become_png(tmp_path: Path) -> None:
    for kind in ("BMP", "TIFF", "TGA", "WEBP", "GIF"):
        (tmp_path / "a.img").write_bytes(makers.picture((10, 200, 10), 16, kind))
        made = canonicalise(makers.Gltf().textured({"uri": "a.img"}).gltf(tmp_path / "a.gltf"), CadSpec())
        found = makers.document(made.glb)
        view = found["bufferViews"][found["images"][0]["bufferView"]]
        start = made.glb.index(b"\x89PNG")
        picture = Image.open(io.BytesIO(made.glb[start : start + view["byteLength"]]))
        assert found["images"][0]["mimeType"] == "image/png"
        assert abs(picture.convert("RGB").getpixel((8, 8))[1] - 200) < 8


def test_texture_transforms_are_baked_into_the_coordinates(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(makers.picture())
    plain = makers.Gltf().textured({"uri": "a.png"})
    moved = makers.Gltf().textured({"uri": "a.png"})
    info = moved.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    info["extensions"] = {"KHR_texture_transform": {"offset": [0.25, 0.5], "scale": [2, 3]}}
    import trimesh

    uvs = []
    for name, maker in (("p", plain), ("m", moved)):
        made = canonicalise(maker.gltf(tmp_path / f"{name}.gltf"), CadSpec())
        uvs.append(
            trimesh.load_scene(io.BytesIO(made.glb), file_type="glb", process=False).to_geometry().visual.uv * (1, -1) + (0, 1)
        )
    np.testing.assert_allclose(np.sort(uvs[0] * (2, 3) + (0.25, 0.5), axis=0), np.sort(uvs[1], axis=0), atol=1e-5)


def test_glass_becomes_opaque_with_a_warning_and_cut_outs_stay_holes(tmp_path: Path) -> None:
    maker = makers.Gltf()
    maker.json["materials"] = [
        {"name": "glass", "alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.2]}}
    ]
    maker.json["meshes"][0]["primitives"][0]["material"] = 0
    made = canonicalise(maker.glb(tmp_path / "a.glb"), CadSpec())
    material = makers.document(made.glb)["materials"][0]
    assert material["pbrMetallicRoughness"]["baseColorFactor"] == [1, 1, 1, 1]
    assert "alphaMode" not in material
    assert made.facts["warnings"][0].startswith("transparency_dropped")
    (tmp_path / "a.png").write_bytes(makers.picture())
    leaf = makers.Gltf().textured({"uri": "a.png"})
    leaf.json["materials"][0] |= {"alphaMode": "MASK", "alphaCutoff": 0.3}
    material = makers.document(canonicalise(leaf.gltf(tmp_path / "b.gltf"), CadSpec()).glb)["materials"][0]
    assert (material["alphaMode"], material["alphaCutoff"]) == ("MASK", 0.3)
