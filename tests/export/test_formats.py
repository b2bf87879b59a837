"""Every format, read back with its own library: right counts, right pictures, and poses that put the CAD model on its pixels."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from flows.commands import imports
from models.render.camera import rotation
from models.render.viewpoint import Pose
from storage.catalog.catalog import Catalog
from storage.export.release import export
from storage.images import from_png
from storage.settings import Settings
from tests.export import reading
from tests.export.conftest import Made
from tests.export.reading import READERS, Seen

pytestmark = pytest.mark.slow

GEOMETRIC = [name for name in READERS if name != "imagefolder"]


@pytest.fixture(scope="session")
def vertices(made: Made) -> dict[str, Any]:
    """cad_key -> vertices in the canonical frame, read from the store by somebody else's code."""
    for cad in made.store.records("cad"):
        with made.store.local(cad, "model.glb") as path:
            mesh = trimesh.load(path, force="mesh")
        x, y, z = np.asarray(mesh.vertices).T
        reading.CANONICAL[cad.key] = np.stack([x, -z, y], axis=1), np.asarray(mesh.faces)
    return reading.CANONICAL


@pytest.fixture
def seen(made: Made, released: Callable[[str], Path], vertices: dict[str, Any], request: pytest.FixtureRequest) -> list[Seen]:
    return list(READERS[request.param](released(request.param)))


def rendered(made: Made, sample_id: str, name: str) -> Any:
    """Return one of a sample's pictures as it was rendered."""
    return from_png(made.store.read(made.store.get("render", made.samples[sample_id]["render_key"]), name))


@pytest.mark.parametrize("seen", READERS, indirect=True)
def test_every_sample_is_there_once_with_its_own_picture_byte_for_byte(seen: list[Seen], made: Made) -> None:
    assert sorted(one.sample_id for one in seen) == sorted(made.samples)
    for one in seen:
        data = one.image if isinstance(one.image, bytes) else one.image.read_bytes()
        assert hashlib.sha256(data).hexdigest() == made.samples[one.sample_id]["sha256"], one.sample_id


@pytest.mark.parametrize("seen", [name for name in GEOMETRIC if name != "official"], indirect=True)
def test_the_box_is_that_of_the_renders_mask(seen: list[Seen], made: Made) -> None:
    for one in seen:
        assert one.box == extent(rendered(made, one.sample_id, "mask.png")), one.sample_id


@pytest.mark.parametrize("seen", ["coco", "bop", "webdataset", "huggingface"], indirect=True)
def test_the_mask_is_the_renders_mask(seen: list[Seen], made: Made) -> None:
    for one in seen:
        mask = rendered(made, one.sample_id, "mask.png")
        assert one.mask is not None
        assert np.array_equal(one.mask, mask), one.sample_id


@pytest.mark.parametrize("seen", ["bop", "webdataset", "huggingface", "official"], indirect=True)
def test_the_depth_is_the_renders_in_the_units_of_the_format(seen: list[Seen], made: Made) -> None:
    for one in seen:
        steps = rendered(made, one.sample_id, "depth.png").astype(np.float64)
        assert one.depth is not None
        assert np.abs(one.depth - steps * 1e-4).max() < 1e-6, one.sample_id
        assert one.depth.max() > 0


@pytest.mark.parametrize("seen", ["bop", "pascal3d", "official"], indirect=True)
def test_the_projected_model_covers_the_pixels_it_was_rendered_to(seen: list[Seen], made: Made) -> None:
    for one in seen:
        mask = rendered(made, one.sample_id, "mask.png") > 0
        covered = one.silhouette(mask.shape[1], mask.shape[0])
        assert np.abs(np.subtract(extent(covered), extent(mask))).max() <= 1, (one.sample_id, extent(covered), extent(mask))
        assert (covered & mask).sum() / (covered | mask).sum() > 0.98, one.sample_id


@pytest.mark.parametrize("seen", ["coco", "webdataset", "huggingface"], indirect=True)
def test_the_3d_boxs_corners_fall_where_the_annotation_put_them_and_around_the_mask(seen: list[Seen], made: Made) -> None:
    for one in seen:
        said = np.array(json.loads(made.samples[one.sample_id]["box3d"]))
        assert np.abs(one.pixels - said).max() < 1e-6, one.sample_id
        mask = rendered(made, one.sample_id, "mask.png")
        low, high = outline(one.pixels, mask.shape[1], mask.shape[0])
        x0, y0, x1, y1 = extent(mask)
        assert (low <= np.array([x0, y0]) + 1).all()
        assert (high >= np.array([x1, y1]) - 1).all()


@pytest.mark.parametrize("seen", ["bop", "pascal3d", "official"], indirect=True)
def test_nearest_and_farthest_vertex_enclose_the_rendered_depth(seen: list[Seen], made: Made) -> None:
    for one in seen:
        steps = rendered(made, one.sample_id, "depth.png").astype(np.float64) * 1e-4
        assert one.behind is not None
        assert one.behind.min() - 1e-3 <= steps[steps > 0].min()
        assert steps.max() <= one.behind.max() + 1e-3


def test_an_export_taken_in_again_still_puts_the_model_on_the_pixels_it_was_rendered_to(
    released: Callable[[str], Path], made: Made, vertices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out in the layout of the official code, in with `dst import images` into a home that knows nothing else."""
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DST_CATALOG_URL", "")
    out = released("official")
    imports.images(out, origin="mine")
    told = json.loads((out / "samples.json").read_text())
    settings = Settings()
    taken = Catalog(settings.catalog, settings.store).foreign_images("mine")
    assert len(taken) == len(made.samples)
    for row in taken:
        sample = made.samples[told[str(Path(row["path"]).relative_to(out))]["sample_id"]]
        said = row["facts"]["annotation"]
        (x, y), focal = said["principal"], said["focal_length"] / said["sensor_width"] * row["facts"]["width"]
        # Its principal point counts from the corner of the picture, ours from the centre of its first pixel.
        K = [[focal, 0, x - 0.5], [0, focal, y - 0.5], [0, 0, 1]]
        view = Pose(**{name: row[name] for name in ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")})
        points, faces = vertices[sample["cad_key"]]
        pixels, _ = reading.projected(K, rotation(view), [0, 0, view.distance], points)
        mask = rendered(made, sample["sample_id"], "mask.png") > 0
        covered = Seen(sample_id="", image=b"", pixels=pixels, faces=faces).silhouette(mask.shape[1], mask.shape[0])
        assert np.abs(np.subtract(extent(covered), extent(mask))).max() <= 1, sample["sample_id"]
        assert (covered & mask).sum() / (covered | mask).sum() > 0.98, sample["sample_id"]
        assert (row["class_name"], row["caption"]) == (sample["class_name"], sample["prompt"])
        assert row["image_id"] == sample["sha256"]


def extent(mask: Any) -> tuple[int, int, int, int]:
    """Return first column, first row, last column, last row of a mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def outline(pixels: Any, width: int, height: int) -> tuple[Any, Any]:
    """Return the least and the greatest pixel that points reach inside the picture."""
    edge = np.array([width - 1, height - 1])
    return np.clip(pixels.min(axis=0), 0, edge), np.clip(pixels.max(axis=0), 0, edge)


# -- each in its own library -------------------------------------------------------------------------------------------------


def test_coco_evaluates_to_a_perfect_score_against_itself(released: Callable[[str], Path], made: Made) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(released("coco") / "annotations" / "instances_default.json"))
    assert {c["name"]: c["id"] for c in truth.loadCats(truth.getCatIds())} == {"car": 1, "garden chair": 2}
    found = truth.loadAnns(truth.getAnnIds())
    assert len({annotation["id"] for annotation in found}) == len(found) == len(made.samples)
    assert all(annotation["area"] == truth.annToMask(annotation).sum() for annotation in found)
    names = ("image_id", "category_id", "bbox", "segmentation")
    detected = truth.loadRes([{**{name: annotation[name] for name in names}, "score": 0.9} for annotation in found])
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, detected, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0), kind


def test_bop_keeps_the_rules_the_toolkit_reads_by(released: Callable[[str], Path], made: Made) -> None:
    out = released("bop")
    infos = json.loads((out / "models" / "models_info.json").read_text())
    objects = json.loads((out / "objects.json").read_text())
    assert list(infos) == list(objects) == ["1", "2", "3", "4"]
    for number, info in infos.items():
        points, faces = reading.ply(out / "models" / f"obj_{int(number):06d}.ply")
        assert info["size_x"] == pytest.approx(np.ptp(points[:, 0]), abs=0.01)
        assert info["min_z"] == pytest.approx(points[:, 2].min(), abs=0.01)
        apart = np.linalg.norm(points[None, ::7] - points[::7, None], axis=2).max()
        assert apart <= info["diameter"] + 0.01
        assert max(info[f"size_{axis}"] for axis in "xyz") == pytest.approx(1000, abs=0.01)
        assert max(info[f"size_{axis}"] for axis in "xyz") <= info["diameter"] <= 1000 * np.sqrt(3)
        assert faces.max() < len(points)
    camera = json.loads((out / "camera.json").read_text())
    assert set(camera) == {"fx", "fy", "cx", "cy", "width", "height", "depth_scale"}
    for scene in sorted((out / "train").iterdir()):
        truths = json.loads((scene / "scene_gt.json").read_text())
        for image, (info,) in json.loads((scene / "scene_gt_info.json").read_text()).items():
            name = f"{int(image):06d}"
            mask = cv2.imread(str(scene / "mask" / f"{name}_000000.png"), cv2.IMREAD_UNCHANGED)
            depth = cv2.imread(str(scene / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            assert cv2.imread(str(scene / "rgb" / f"{name}.png")).shape[:2] == mask.shape == depth.shape
            assert info["px_count_visib"] == np.count_nonzero(mask)
            assert info["px_count_valid"] == np.count_nonzero(depth[mask > 0])
            assert info["visib_fract"] == pytest.approx(info["px_count_visib"] / info["px_count_all"], abs=0.01)
            assert truths[image][0]["obj_id"] == int(scene.name)
            R = np.reshape(truths[image][0]["cam_R_m2c"], (3, 3))
            assert np.allclose(R @ R.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(R) == pytest.approx(1.0)


def test_bop_boxes_reach_beyond_the_picture_where_the_object_does(released: Callable[[str], Path]) -> None:
    cut = 0
    for scene in sorted((released("bop") / "train").iterdir()):
        for (info,) in json.loads((scene / "scene_gt_info.json").read_text()).values():
            (x, y, w, h), (vx, vy, vw, vh) = info["bbox_obj"], info["bbox_visib"]
            if info["visib_fract"] == 1.0:
                assert info["bbox_obj"] == info["bbox_visib"]
                continue
            cut += 1
            assert x <= vx
            assert y <= vy
            assert x + w >= vx + vw
            assert y + h >= vy + vh
            assert min(x, y) < 0 or max(x + w, y + h) > 127
    assert cut > 0, "no chair reaches beyond its picture: the fixture shows nothing"


def test_webdataset_decodes_every_member(released: Callable[[str], Path], made: Made) -> None:
    import webdataset as wds

    shards = sorted(str(path) for path in released("webdataset").glob("shard-*.tar"))
    samples = list(wds.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert len(samples) == len(made.samples)
    classes = json.loads((released("webdataset") / "classes.json").read_text())
    for sample in samples:
        row = made.samples[sample["__key__"].split("/")[-1]]
        assert classes[sample["cls"]] == row["class_name"] == sample["json"]["class_name"]
        assert sample["txt"] == row["prompt"]
        assert sample["png"].size == (row["width"], row["height"])
        assert sample["depth.npz"]["depth"].dtype == np.uint16
        assert sample["mask.png"].size == sample["png"].size


def test_the_hugging_face_folder_loads_offline_as_a_table_and_as_a_dataset(
    released: Callable[[str], Path], made: Made, tmp_path: Path
) -> None:
    from datasets import load_dataset

    out = released("huggingface")
    whole = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "whole"))
    table = load_dataset("parquet", data_files=f"{out}/data/*.parquet", split="train", cache_dir=str(tmp_path / "table"))
    assert len(whole) == len(table) == len(made.samples)
    assert table.features["label"].names == ["car", "garden chair"]
    for row in table:
        known = made.samples[row["sample_id"]]
        assert row["image"].size == (known["width"], known["height"])
        assert table.features["label"].int2str(row["label"]) == known["class_name"]
        assert row["seed"] == known["seed"]
        assert np.asarray(row["depth"]).max() > 1000


def test_croissant_describes_the_table_and_reads_it(released: Callable[[str], Path], made: Made) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=str(released("huggingface") / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records(record_set="samples"))
    assert {record["samples/sample_id"].decode() for record in records} == set(made.samples)
    assert all(record["samples/image"].size == (128, 128) for record in records)


def test_imagefolder_loads_with_its_labels_and_never_mixes_in_what_the_filter_dropped(
    released: Callable[[str], Path], made: Made, tmp_path: Path
) -> None:
    from datasets import load_dataset

    for verdict, kept in (("kept", 1), ("dropped", 0)):
        folder = str(released("imagefolder") / verdict)
        dataset = load_dataset(
            "imagefolder", data_dir=folder, split="train", drop_labels=False, cache_dir=str(tmp_path / verdict)
        )
        wanted = sorted(row["class_name"] for row in made.samples.values() if row["kept"] == kept)
        assert wanted
        assert sorted(dataset.features["label"].int2str(row["label"]) for row in dataset) == wanted


def test_pascal3d_lists_every_picture_and_states_pixels_from_1(released: Callable[[str], Path], made: Made) -> None:
    out = released("pascal3d")
    for class_name, folder in (("car", "car_dst"), ("garden chair", "garden_chair_dst")):
        listed = (out / "Image_sets" / f"{folder}_train.txt").read_text().split()
        assert sorted(listed) == sorted(name for name, row in made.samples.items() if row["class_name"] == class_name)
        assert all((out / "Images" / folder / f"{name}.png").exists() for name in listed)
        mesh = trimesh.load(out / "CAD" / folder.removesuffix("_dst") / "01.off")
        assert mesh.extents.max() == pytest.approx(1.0, abs=1e-5)


def test_the_official_loaders_find_every_picture_and_its_annotation(released: Callable[[str], Path], made: Made) -> None:
    """As DST3DPose does: pngs whose path holds `image_dst`, their annotation by replacing two words."""
    out = released("official")
    keys = {
        "theta", "phi", "dist", "camera_rotation", "principal", "source", "shape_id", "rendering_scale", "rendering_offset",
        "azimuth", "elevation", "pose_sampling", "strength", "matrix_world", "modelview_matrix", "projection_matrix",
        "focal_length", "sensor_width", "sensor_height",
    }  # fmt: skip
    told = json.loads((out / "samples.json").read_text())
    for class_name in ("car", "garden chair"):
        folder = out / "train" / class_name
        pictures = [str(path) for path in folder.glob("**/*.png") if "image_dst" in str(path)]
        assert len(pictures) == sum(row["class_name"] == class_name for row in made.samples.values())
        prompts = json.loads((folder / "prompts.json").read_text())
        for picture in pictures:
            path = picture.replace("_00.png", ".npy")
            path = path.replace(Path(path).parent.name, "annotation")
            annotation = np.load(path, allow_pickle=True)[()]
            assert set(annotation) == keys
            row = made.samples[told[str(Path(picture).relative_to(out))]["sample_id"]]
            assert annotation["theta"] == pytest.approx(np.radians((row["azimuth_deg"] + 90) % 360))
            assert np.pi / 2 - annotation["phi"] == pytest.approx(np.radians(row["elevation_deg"]))
            assert annotation["principal"].tolist() == [64.0, 64.0]
            # Its own formula for the camera's place, in its own frame.
            theta, phi, dist = annotation["theta"], annotation["phi"], annotation["dist"]
            place = dist * np.array([np.sin(phi) * np.cos(theta), np.sin(phi) * np.sin(theta), np.cos(phi)])
            assert np.allclose(annotation["matrix_world"][:3, 3], place, atol=1e-6)
            stem = Path(picture).stem
            assert prompts[Path(picture).parents[1].name][stem] == row["prompt"]
            assert (Path(picture).parents[1] / "image_render" / f"{stem[:-3]}.png").exists()
        assert json.loads((folder / "kcf_losses.json").read_text()) == {}, "so few images are not judged"


def test_official_losses_are_the_scores_of_what_the_filter_judged(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.home, tmp_path / "home")
    judged = Made(tmp_path / "home")
    with judged.catalog.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO scores SELECT verdict_key, image_key, 'kcf', view_index + 0.5 FROM members "
            "WHERE class_name = 'car' AND view_index < 2"
        )
    export(judged.catalog, judged.store, format="official", out=tmp_path / "out", name="judged-v1", where="class_name = 'car'")
    told = json.loads((tmp_path / "out" / "samples.json").read_text())
    losses = json.loads((tmp_path / "out" / "train" / "car" / "kcf_losses.json").read_text())
    assert len(losses) == 4
    for name, loss in losses.items():
        assert loss == told[f"train/car/{name}"]["scores"]["kcf"] == told[f"train/car/{name}"]["view_index"] + 0.5


def test_scores_and_controls_go_out_under_their_names(released: Callable[[str], Path], made: Made) -> None:
    import csv

    from datasets import load_dataset

    (row, *_) = load_dataset("parquet", data_files=f"{released('huggingface')}/data/*.parquet", split="train")
    known = made.samples[row["sample_id"]]
    assert row["fidelity"] == known["fidelity"]
    assert row["control_canny"] == known["control_key"]
    assert "kcf" not in row, "a score that none of the release's samples has"
    with (released("imagefolder") / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["fidelity"]) == made.samples[row["sample_id"]]["fidelity"]
    (image, *_) = json.loads((released("coco") / "annotations" / "instances_default.json").read_text())["images"]
    known = made.samples[image["dst"]["sample_id"]]
    assert image["dst"]["scores"]["fidelity"] == known["fidelity"]
    assert image["dst"]["controls"] == {"canny": known["control_key"]}
