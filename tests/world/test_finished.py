"""Finished renders: the annotation of the render is true of them, whatever they wear."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.cad import parametric
from models.caption import vocabulary
from models.control.geometry import Geometry, GeometrySpec
from models.control.protocol import View as Rendered
from models.render.pool import RenderedView, RenderPool
from models.render.spec import RenderSpec
from models.render.viewpoint import Pose
from models.sample import SampleId
from models.world import geometry
from models.world.finished import complete, finish
from models.world.glb import load
from models.world.picture import cast, centre_passes
from models.world.spec import WorldSpec

SAMPLE = SampleId(class_name="teapot", cad_id="a" * 64, view_index=0)
ANNOTATION = {
    "azimuth_deg": 40.0,
    "elevation_deg": 20.0,
    "inplane_deg": 0.0,
    "distance": 1.6,
    "K": [[140.0, 0, 63.5], [0, 140.0, 63.5], [0, 0, 1]],
    "width": 128,
}


def test_a_glb_gives_the_same_solid_as_the_scene_it_was_written_from() -> None:
    read, built = load(parametric.glb("teapot", 10_001)), geometry.ray_model(parametric.build("teapot", 10_001))
    assert sorted(read.names) == sorted(built.names)
    np.testing.assert_allclose(read.vertices.min(axis=0), built.vertices.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(read.vertices.max(axis=0), built.vertices.max(axis=0), atol=1e-5)
    order, theirs = np.argsort(read.names), np.argsort(built.names)
    np.testing.assert_allclose(read.colours[order], built.colours[theirs], atol=0.01)


def test_a_finished_render_is_a_pure_function_of_sample_annotation_and_words() -> None:
    model = load(parametric.glb("teapot", 10_001))
    words = {"colour": "blue", "material": "painted", "scene": "studio", "light": "studio"}
    spec = WorldSpec(resolution=96)
    first = finish(model, SAMPLE, ANNOTATION, words, spec)
    assert first.rgb.shape == (96, 96, 3)
    assert np.array_equal(first.rgb, finish(model, SAMPLE, ANNOTATION, words, spec).rgb)
    assert (first.look.colour, first.look.scene) == ("blue", "studio")


def test_missing_words_are_filled_with_ones_that_go_together() -> None:
    for i in range(50):
        sample = SampleId(class_name="car", cad_id="b" * 64, view_index=i)
        whole = complete(sample, {"light": "sunset", "colour": None})
        assert whole["light"] == "sunset"
        assert "sunset" in vocabulary.lights_of(whole["scene"])
    with pytest.raises(ValueError, match="no light 'noon' in the scene 'room'"):
        complete(SAMPLE, {"light": "noon", "scene": "room"})


@pytest.mark.slow
def test_mask_depth_and_edges_are_those_of_the_renderer(tmp_path: Path) -> None:
    """Blender and our ray caster see the same: what is trained on one is used with the other."""
    spec = RenderSpec(resolution=128, samples=8)
    with RenderPool(workers=1) as pool:
        for i, class_name in enumerate(("chair", "airplane", "cup")):
            glb = tmp_path / f"{class_name}.glb"
            glb.write_bytes(parametric.glb(class_name, 11_000 + i))
            sample = SampleId(class_name=class_name, cad_id=f"{i}" * 64, view_index=0)
            (rendered,) = pool.render(glb, [sample.view], spec)
            assert isinstance(rendered, RenderedView)
            pose = {name: rendered.annotation[name] for name in ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")}
            passes = cast(WorldSpec(), load(glb.read_bytes()), sample.view, Pose(**pose))
            ours = centre_passes(passes, 128)
            assert ((ours.mask > 0) != (rendered.mask > 0)).sum() <= 3
            both = (ours.mask > 0) & (rendered.mask > 0)
            assert np.abs(ours.depth - rendered.depth)[both].mean() < 1e-4
            theirs, drawn = (
                Geometry(GeometrySpec()).draw(Rendered(rgba=rendered.rgba, mask=seen.mask, depth=seen.depth, normal=seen.normal))
                for seen in (rendered, ours)
            )
            near = cv2.dilate(drawn, np.ones((3, 3), np.uint8)) > 0
            assert (near & (theirs > 0)).sum() >= 0.95 * (theirs > 0).sum()


def _textured_box() -> bytes:
    """A box whose texture is green on its left half and nearly black on its right."""
    import trimesh
    from PIL import Image
    from trimesh.visual.material import PBRMaterial

    texture = np.zeros((16, 16, 3), np.uint8)
    texture[:, :8] = (40, 200, 60)
    texture[:, 8:] = 12
    mesh = trimesh.creation.box(extents=(1.0, 0.6, 0.6))
    mesh.unmerge_vertices()
    uv = np.stack([mesh.vertices[:, 0] + 0.5, mesh.vertices[:, 1] + 0.5], axis=1).clip(0.03, 0.97)
    material = PBRMaterial(baseColorTexture=Image.fromarray(texture), metallicFactor=0.0, roughnessFactor=0.8)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    data: bytes = trimesh.Scene(mesh).export(file_type="glb")
    return data


def test_a_textured_cad_model_keeps_its_colours_unless_the_words_dye_it() -> None:
    model = load(_textured_box())
    assert model.paint is not None
    annotation = {**ANNOTATION, "azimuth_deg": 0.0}
    place = {"scene": "studio", "light": "studio"}
    own = finish(model, SAMPLE, annotation, place, WorldSpec(resolution=96))
    dyed = finish(model, SAMPLE, annotation, {**place, "colour": "red", "material": "painted"}, WorldSpec(resolution=96))
    inside = cv2.erode(own.mask, np.ones((5, 5), np.uint8)) > 0
    columns = np.nonzero(inside)[1]
    middle = int(np.median(columns))
    halves = [inside & (np.arange(96) < middle - 4), inside & (np.arange(96) > middle + 4)]
    bright, dark = sorted((own.rgb[half].mean(axis=0) for half in halves), key=lambda colour: -colour.sum())
    assert bright[1] > 1.3 * max(bright[0], bright[2]), "the texture's green is gone"
    assert dark.sum() < 0.6 * bright.sum()
    red, shade = sorted((dyed.rgb[half].mean(axis=0) for half in halves), key=lambda colour: -colour.sum())
    assert red[0] > 1.5 * max(red[1], red[2]), "the dye does not show"
    assert shade.sum() < 0.75 * red.sum(), "the texture's dark half is gone"
