"""Images in the layout of the official code: their poses in our frame, kept apart, and judged by the filter."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from flows.commands import imports as commands
from models.cad.alignment import turn_of
from models.render.camera import rotation
from models.render.official import canonical_view, pose_from
from models.render.viewpoint import Pose
from storage.cad.collections.entry import BadCollection
from storage.catalog.catalog import Catalog
from storage.foreign.official import BadAnnotation, images, pose_of, read_annotation
from storage.settings import Settings
from tasks.intake import foreign
from tests.foreign.official import annotate, write
from tests.verdict.cars import cars, exchanged


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def few(count: int = 6) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    poses = np.column_stack([rng.uniform(0, 360, count), rng.uniform(-20, 80, count), np.zeros(count)])
    return rng.integers(0, 255, (count, 32, 32, 3), np.uint8), poses, [f"m{i % 2}" for i in range(count)]


# -- annotations -------------------------------------------------------------------------------------------------------


def test_an_annotation_is_read_without_running_anything(tmp_path: Path) -> None:
    said = read_annotation(annotate(tmp_path / "a.npy", theta=np.float64(1.25), scale32=np.float32(0.5), count=np.int64(3)))
    assert (said["theta"], said["scale32"], said["count"], said["principal"], said["source"]) == (
        1.25,
        0.5,
        3,
        [256, 256],
        "shapenet",
    )
    assert said["matrix_world"] == np.eye(4).tolist()

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    for trap in ({"theta": Trap()}, Trap()):
        np.save(tmp_path / "trap.npy", np.array(trap, dtype=object), allow_pickle=True)
        with pytest.raises(BadAnnotation, match="holds what no annotation holds"):
            read_annotation(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "bare.npy").write_bytes(pickle.dumps({"theta": 1}))
    with pytest.raises(BadAnnotation, match="no numpy file"):
        read_annotation(tmp_path / "bare.npy")
    whole = annotate(tmp_path / "cut.npy").read_bytes()
    for length in range(0, len(whole) - 1, 37):
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(BadAnnotation):
            pose_of(read_annotation(tmp_path / "cut.npy"))


def test_a_pose_that_no_camera_can_have_is_refused(tmp_path: Path) -> None:
    for wrong in ({"theta": 1000.0}, {"dist": -1.0}, {"phi": float("nan")}, {"theta": "left"}, {"azimuth": 1e9}):
        with pytest.raises(BadAnnotation):
            pose_of(read_annotation(annotate(tmp_path / "a.npy", **wrong)))


# -- poses -------------------------------------------------------------------------------------------------------------


def test_official_angles_are_ours_turned_by_a_quarter() -> None:
    view = canonical_view(90, 90, 0, 1.5, 0, 0)
    assert (view.azimuth_deg, view.elevation_deg, view.inplane_deg, view.distance) == pytest.approx((0, 0, 0, 1.5))
    view = canonical_view(120, 60, 0, 2, 0, 0)
    assert (view.azimuth_deg, view.elevation_deg) == pytest.approx((30, 30))
    # Past the pole below, from the other side.
    view = canonical_view(90, 190, 0, 2, 0, 0)
    assert (view.azimuth_deg, view.elevation_deg) == pytest.approx((180, -80))


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (40, 0), (40, 25), (-100, -60)])
def test_labels_in_the_files_frame_become_canonical_ones(azimuth: float, elevation: float) -> None:
    """The same camera, said in both frames: points of the file land on the same pixels."""
    turn = np.eye(3) if (azimuth, elevation) == (0, 0) else np.array(turn_of(azimuth, elevation))
    points = np.random.default_rng(0).normal(size=(20, 3))
    for theta, phi in ((10.0, 80.0), (200.0, 35.0), (90.0 + azimuth, 90.0 - elevation)):
        view = canonical_view(theta, phi, 0, 1.5, azimuth, elevation)
        raw = rotation(Pose(azimuth_deg=theta - 90, elevation_deg=90 - phi, inplane_deg=0, distance=1.5))
        np.testing.assert_allclose(points @ turn.T @ rotation(view).T, points @ raw.T, atol=1e-9)
    # What the class calls its front is seen as such.
    assert min(view.azimuth_deg, 360 - view.azimuth_deg) == pytest.approx(0, abs=1e-6)
    assert (view.elevation_deg, view.inplane_deg) == pytest.approx((0, 0), abs=1e-6)


def test_a_pose_comes_back_from_its_rotation() -> None:
    for azimuth, elevation, inplane in ((0, 0, 0), (123, 45, -30), (300, -80, 170), (17, 90, 0), (250, -90, 0)):
        R = rotation(Pose(azimuth_deg=azimuth, elevation_deg=elevation, inplane_deg=inplane, distance=1))
        np.testing.assert_allclose(rotation(pose_from(R, 1.0)), R, atol=1e-9)


# -- imports -----------------------------------------------------------------------------------------------------------


def test_images_come_in_apart_with_what_is_known_of_them(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, poses, models = few()
    root = write(tmp_path / "DST3D", pictures, poses, models)
    folder = root / "train" / "n02814533" / "m0"
    (folder / "annotation" / "002.npy").unlink()
    (folder / "image_dst" / "001_01.png").write_bytes((folder / "image_dst" / "001_00.png").read_bytes())
    (folder / "image_dst" / "000_01.png").write_bytes(b"no picture")
    commands.images(root, origin="released")
    out = capsys.readouterr().out
    assert "released: 6 added, 1 duplicate, 1 quarantined" in out
    assert "1 without a pose: no annotation" in out
    found = Catalog(settings.catalog).foreign_images("released", "beach wagon")
    assert len(found) == 6
    by_model = {(row["cad_uid"], Path(row["path"]).stem): row for row in found}
    first = by_model[("m0", "000_00")]
    assert (first["azimuth_deg"], first["elevation_deg"]) == pytest.approx((poses[0, 0], poses[0, 1]))
    assert (first["caption"], first["kept"], first["distance"]) == ("a photo of m0, number 0", None, 1.5)
    assert (first["facts"]["width"], first["facts"]["annotation"]["pose_sampling"]) == (32, 3)
    assert by_model[("m0", "002_00")]["azimuth_deg"] is None
    assert [row["reason"] for row in Catalog(settings.catalog).quarantined()] == ["unreadable_image"]
    assert Catalog(settings.catalog).rows("select count(*) as n from samples") == [{"n": 0}]
    # Nothing is read twice; and the catalog can be made again from the store.
    monkeypatch.setattr("tasks.intake.foreign._looked_at", None)
    commands.images(root, origin="released")
    assert "released: 8 remembered" in capsys.readouterr().out
    (settings.root / "catalog.sqlite").unlink()
    Catalog(settings.catalog, settings.store).rebuild(settings.store.records())
    assert Catalog(settings.catalog).foreign_images() == found


def test_classes_come_from_synsets_or_are_given(settings: Settings, tmp_path: Path) -> None:
    pictures, poses, models = few(2)
    root = write(tmp_path / "a", pictures, poses, models, synset="my_cars")
    assert {image.class_name for image in images(root)} == {"my cars"}
    write(tmp_path / "b", pictures, poses, models, synset="n99999999")
    with pytest.raises(BadCollection, match='no synset "n99999999" is known'):
        list(images(tmp_path / "b"))
    assert {image.class_name for image in images(tmp_path / "b" / "train" / "n99999999", "odd thing")} == {"odd thing"}
    for wrong, said in ((tmp_path / "gone", "no such folder"), (tmp_path / "home", "no such folder"), (root, 'of class "bus"')):
        with pytest.raises(BadCollection, match=said):
            list(images(wrong, "bus"))
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"x")
    (root / "train" / "my_cars" / "m0" / "image_dst" / "777_00.png").symlink_to(outside)
    with pytest.raises(BadCollection, match="leads out of its collection"):
        list(images(root))


def test_the_filter_finds_wrong_labels_of_released_images(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, poses, models = cars(5, 30)
    moved, wrong = exchanged(poses, 0.1)
    root = write(tmp_path / "DST3D", pictures, moved, models)
    commands.images(root, origin="3d-dst")
    with pytest.raises(
        ValueError, match='no images with poses of origin "3d-dst" in class "car"; imported are: "3d-dst" beach wagon'
    ):
        commands.filter_("3d-dst", class_name="car")
    commands.filter_("3d-dst", class_name="beach wagon")
    assert "dropped; " in capsys.readouterr().out
    order = {model: iter(range(1000)) for model in models}
    names = [(model, f"{next(order[model]):03d}_00") for model in models]
    found = {(row["cad_uid"], Path(row["path"]).stem): row for row in Catalog(settings.catalog).foreign_images("3d-dst")}
    kept = np.array([found[name]["kept"] for name in names])
    assert (kept[wrong] == 0).mean() >= 3 * (kept[~wrong] == 0).mean()
    assert (kept[wrong] == 0).mean() >= 0.4
    said = found[names[0]]["facts"]["verdict"]
    assert {"scores", "reason", "rule", "rules"} <= set(said)
    assert {"kcf", "kcf_fold"} <= set(said["scores"])
    assert [(rule["name"], rule["threshold"]) for rule in said["rules"]] == [("kcf", 2.25)]
    assert found[names[0]]["facts"]["width"] == 64
    commands.export(tmp_path / "out", where="kept = 0")
    with (tmp_path / "out" / "metadata.csv").open(newline="") as file:
        handed = list(csv.DictReader(file))
    by_image = {row["image_id"]: row["facts"]["verdict"]["scores"] for row in found.values()}
    assert len(handed) == (kept == 0).sum()
    assert all(float(row["kcf"]) == by_image[row["image_id"]]["kcf"] for row in handed)


def test_where_an_imported_image_shows_its_object_follows_from_its_cad_model_and_pose() -> None:
    row = {"azimuth_deg": 0.0, "elevation_deg": 0.0, "inplane_deg": 0.0, "distance": 2.0}
    said = foreign._posed(row, {"symmetry": None, "extents": [0.4, 1.0, 0.3]}).annotation
    corners = np.array(said["box3d"])
    wide, high = np.ptp(corners, axis=0)
    assert corners.mean(axis=0) == pytest.approx([(said["width"] - 1) / 2] * 2)
    # The near face is 1.5 longest sides away: focal length times size over distance.
    assert wide == pytest.approx(35 / 32 * said["width"] * 0.4 / 1.5)
    assert high / wide == pytest.approx(0.3 / 0.4)
    assert said["box"] is None
    assert "box3d" not in foreign._posed(row, {}).annotation
    assert "box3d" not in foreign._posed({**row, "distance": None}, {"extents": [1.0, 1.0, 1.0]}).annotation


def test_what_was_imported_is_handed_over_whole_or_not_at_all(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, poses, models = few()
    root = write(tmp_path / "DST3D", pictures, poses, models)
    commands.images(root, origin="released")
    for where, said in (
        ("kept = 1", "no imported image is"),
        ("nonsense =", r"^[^\n]*$"),
        ("1 = 1); drop table runs; --", r"^[^\n]*$"),
    ):
        with pytest.raises(ValueError, match=said):
            commands.export(tmp_path / "out", where=where)
    assert not (tmp_path / "out").exists()
    commands.export(tmp_path / "out", where="elevation_deg > 0")
    expected = int((poses[:, 1] > 0).sum())
    assert f"{expected} images in" in capsys.readouterr().out
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == expected
    assert set(loaded["class_name"]) == {"beach wagon"}
    np.testing.assert_allclose(sorted(loaded["azimuth_deg"]), sorted(poses[poses[:, 1] > 0, 0]), atol=1e-5)
    with pytest.raises(ValueError, match="not empty"):
        commands.export(tmp_path / "out", where="1 = 1")
    first = root / "train" / "n02814533" / "m0" / "image_dst" / "000_00.png"
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(ValueError, match="has changed since"):
        commands.export(tmp_path / "again", where="1 = 1")
    first.unlink()
    with pytest.raises(ValueError, match="1 of 6 images have gone"):
        commands.export(tmp_path / "again", where="1 = 1")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob(".*partial"))
