"""Full scenes: the words and the object are those of the traced world, the light is Blender's."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.caption import vocabulary
from models.world import full, shard
from models.world.picture import Traced, captioned, look_of
from models.world.scene import GROUNDS, sample_words
from models.world.spec import WorldCad, WorldSpec

SPEC = WorldSpec(full_samples=4)


def test_a_scene_is_described_for_every_place_light_and_material(views: list[Traced]) -> None:
    from models.world.scene import MATERIAL_SHARES

    view = views[0]
    for i, scene in enumerate(GROUNDS):
        for light in vocabulary.lights_of(scene):
            for material in MATERIAL_SHARES:
                words = {"colour": "red", "material": material, "scene": scene, "light": light}
                described, meshes = full.describe(SPEC, view, look_of(view, i, words))
                assert json.loads(json.dumps(described))["objects"][0]["mesh"] == "body"
                for item in described["objects"]:
                    name = item["mesh"]
                    assert np.isfinite(meshes[f"{name}.vertices"]).all()
                    assert meshes[f"{name}.faces"].max() < len(meshes[f"{name}.vertices"])
                    if f"{name}.part" in meshes:
                        assert meshes[f"{name}.part"].max() < len(item["materials"])
                indoor = scene in vocabulary.INDOOR
                assert described["sky"]["kind"] == ("physical" if light in ("noon", "sunset") and not indoor else "gradient")
                assert described["lamps"], "nothing lights the scene"


def test_the_ground_lies_under_object_and_camera_and_rooms_hold_both(views: list[Traced]) -> None:
    for i, view in enumerate(views):
        for scene in ("grass", "studio", "room"):
            words = {"colour": "red", "material": "painted", "scene": scene, "light": "night"}
            described, meshes = full.describe(SPEC, view, look_of(view, i, words))
            eye = view.passes.camera.centre
            ground = float(meshes["sweep.vertices" if scene == "studio" else "ground.vertices"][:, 2].min())
            assert ground <= float(meshes["body.vertices"][:, 2].min()) + 1e-6
            assert ground < float(eye[2])
            walls = [meshes[f"{item['mesh']}.vertices"] for item in described["objects"] if item["mesh"].startswith("wall")]
            assert len(walls) == (4 if scene == "room" else 0)
            for wall in walls:
                outward = wall.mean(axis=0) * [1, 1, 0]
                assert outward @ eye < outward @ outward, "the camera stands outside the room"


def test_a_shard_is_of_one_kind_and_full_ones_are_spread_evenly() -> None:
    spec = WorldSpec(full_share=0.1)
    assert [index for index in range(44) if spec.full(index)] == [9, 19, 29, 39]
    assert not any(WorldSpec().full(index) for index in range(100))
    assert all(WorldSpec(full_share=1.0).full(index) for index in range(5))


def test_the_share_is_no_part_of_a_shards_identity_but_its_kind_is() -> None:
    old, new = WorldSpec(), WorldSpec(full_share=0.1, full_samples=99)
    assert old.identity(3) == new.identity(3)
    assert old.identity(9) != new.identity(9)
    assert new.identity(9) == WorldSpec(full_share=1.0, full_samples=99).identity(9)
    assert new.identity(9) != WorldSpec(full_share=1.0).identity(9)


def test_shards_from_before_there_were_full_scenes_are_kept_and_those_of_another_spec_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "shard-00003"
    folder.mkdir()
    (folder / "rows.json").write_text("[]")
    said = WorldSpec().identity(3)
    del said["kind"]
    (folder / "world.json").write_text(json.dumps(said))
    assert shard.missing(tmp_path, 3, 1, WorldSpec(full_share=0.1)) == []
    assert shard.missing(tmp_path, 3, 1, WorldSpec(distance=2.0)) == [3]
    assert shard.missing(tmp_path, 3, 1, WorldSpec(full_share=1.0)) == [3]
    assert shard.missing(tmp_path, 3, 1) == []


def test_registered_cad_models_are_dealt_beside_the_parametric_ones_and_captioned_by_class_and_keywords(tmp_path: Path) -> None:
    from models.cad import parametric
    from models.cad.canonical import canonicalise
    from models.cad.spec import CadSpec

    glbs = {}
    for seed in (1, 2):
        source = tmp_path / f"{seed}.glb"
        source.write_bytes(parametric.glb("lamp", seed))
        glbs[f"key{seed}"] = tmp_path / f"canonical-{seed}.glb"
        glbs[f"key{seed}"].write_bytes(canonicalise(source, CadSpec()).glb)
    cads = tuple(
        WorldCad(class_name="zorglub", cad_id=f"{seed}" * 64, cad_key=f"key{seed}", keywords=("bulbous",)) for seed in (1, 2)
    )
    spec = WorldSpec(classes=("cup",), cad_models=cads, views_per_shard=4, appearances=1, resolution=64)
    dealt = list(shard.placed(spec, 0))
    assert [place.class_name for place in dealt] == ["cup", "zorglub", "cup", "zorglub"]
    assert [place.cad.cad_id[0] for place in dealt if place.cad] == ["1", "2"]
    made = shard.make_shard(spec, 0, glbs=glbs)
    own = [row for row in made.rows if row["class_name"] == "zorglub"]
    assert {row["cad_id"][0] for row in own} == {"1", "2"}
    said = " ".join(caption for row in own for caption in row["captions"])
    assert "zorglub" in said
    assert "bulbous" in said
    assert WorldSpec(classes=("cup",)).identity(0)["spec"].keys() != spec.identity(0)["spec"].keys()


@pytest.mark.slow
def test_blender_sees_the_object_where_the_rays_did_and_a_killed_renderer_is_replaced(views: list[Traced]) -> None:
    import os
    import signal

    rng = np.random.default_rng(4)
    pictures = []
    with full.scene_renderer() as renderer:
        for i, view in enumerate(views[:5]):
            look = look_of(view, i, sample_words(rng))
            if i == 2:
                assert renderer.pid
                os.kill(renderer.pid, signal.SIGKILL)
            rgb = full.paint(SPEC, view, look, renderer)
            assert rgb is not None, view.placed
            assert rgb.shape == (128, 128, 3)
            pictures.append(captioned(view, i, look, rgb))
            # The object's outline is where its mask says: the picture changes more there than a few pixels beside it.
            change = np.abs(cv2.Laplacian(cv2.GaussianBlur(rgb, (3, 3), 0), cv2.CV_32F)).sum(axis=2)
            outline = cv2.morphologyEx(view.mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
            assert change[outline].mean() > change.mean(), view.placed
        pid = renderer.pid
        shot = renderer.shoot(*full.describe(SPEC, views[0], look_of(views[0], 0)))
        again = renderer.shoot(*full.describe(SPEC, views[0], look_of(views[0], 0)))
        assert shot is not None
        assert again is not None
        assert np.array_equal(shot[0], again[0])
    assert pid
    assert not Path(f"/proc/{pid}").exists(), "a renderer outlived its scenes"
    assert len({picture.rgb.tobytes() for picture in pictures}) == 5
