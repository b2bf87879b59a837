"""Whole collections in their publishers' layouts: what is read of them, and what an import makes of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.commands import cad as commands
from models.cad import parametric
from storage.cad.collections import layouts
from storage.cad.collections.entry import BadCollection, OutsideCollection, check_inside
from storage.cad.collections.ledger import Ledger, stamp
from storage.cad.collections.synsets import class_of_synset, imagenet
from storage.cad.names import check_class_name
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tests.cad import collections as made
from tests.cad import makers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DST_WORKERS", "2")
    monkeypatch.chdir(tmp_path)
    return Settings()


def rows(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["class_name"], row["uid"]): row for row in Catalog(settings.catalog).cad_models(status=None)}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


# -- reading -----------------------------------------------------------------------------------------------------------


def test_every_layout_says_uid_class_and_what_its_collection_knows(tmp_path: Path) -> None:
    found = {
        name: [(e.uid, e.class_name, e.keywords, e.licence) for e in layouts.entries(name, make(tmp_path / name))]
        for name, make in made.LAYOUTS.items()
    }
    terms = "ShapeNet terms of use"
    cars = [(f"c{i}", "car", ("auto", "automobile"), terms) for i in range(1, 6)]
    assert found["shapenet"] == [("x1", "glass eye", (), terms), *cars, ("m1", "mug", (), terms)]
    assert found["objaverse"] == [
        (made.DUCK, "cup", ("cup", "ceramic"), "CC BY 4.0"),
        (made.LAMP, "lamp floor", (), "CC0 1.0"),
    ]
    assert found["omniobject3d"] == [
        ("omniobject3d_teapot_007", "teapot", (), None),
        ("omniobject3d_toy_animals_001", "toy animals", (), None),
    ]
    assert [entry[:2] for entry in found["toys4k"]] == [("toys4k_airplane_000", "airplane"), ("toys4k_airplane_001", "airplane")]
    assert found["folder"] == [("Coffee Mug/b.obj", "coffee mug", (), "CC0"), ("car/small.stl", "car", (), None)]


@pytest.mark.parametrize("name", made.LAYOUTS)
def test_a_folder_that_is_no_such_collection_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    for root in (tmp_path / "gone", tmp_path):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            list(layouts.entries(name, root))


def test_synsets_become_class_names() -> None:
    assert len(imagenet()) == len(set(imagenet().values())) == 1000
    for name in imagenet().values():
        check_class_name(name)
    assert [class_of_synset(text) for text in ("n02690373", "02958343", "n99999999", "99999999", "Coffee Mug")] == [
        "airliner",
        "car",
        None,
        None,
        "coffee mug",
    ]
    # Two lemmas that ImageNet has twice are told apart.
    assert {imagenet()[s] for s in ("n02012849", "n03126707", "n02113186", "n02963159")} == {
        "crane bird",
        "crane",
        "cardigan welsh corgi",
        "cardigan",
    }


def test_a_link_that_leads_out_of_its_collection_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "secret.obj").write_text("v 0 0 0\n")
    root = made.shapenet(tmp_path / "sn")
    outside = root / "02958343" / "c1" / "models" / "model_normalized.obj"
    outside.unlink()
    outside.symlink_to(tmp_path / "secret.obj")
    with pytest.raises(OutsideCollection, match="leads out of its collection"):
        check_inside(root, outside)


def test_damaged_annotations_are_named(tmp_path: Path) -> None:
    root = made.objaverse(tmp_path / "ob")
    (root / "metadata" / "000-023.json.gz").write_bytes(b"nothing of the kind")
    with pytest.raises(BadCollection, match=r"000-023.json.gz is no JSON"):
        list(layouts.entries("objaverse", root))
    (tmp_path / "sn" / "02958343").mkdir(parents=True)
    (tmp_path / "sn" / "taxonomy.json").write_text('{"a": 1}')
    with pytest.raises(BadCollection, match=r"no ShapeNet taxonomy"):
        layouts.entries("shapenet", tmp_path / "sn")


# -- importing ---------------------------------------------------------------------------------------------------------


def test_an_import_says_what_became_of_each_model_and_reads_nothing_twice(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made.shapenet(tmp_path / "sn")
    commands.import_("shapenet", root)
    out = said(capsys)
    assert "shapenet: 4 added, 1 duplicate, 1 rejected, 1 quarantined" in out
    assert "the same bytes as" in out
    assert "no_faces 1" in out
    assert "missing_file 1" in out
    found = rows(settings)
    assert {key: row["status"] for key, row in found.items()}.items() >= {
        ("car", "c1"): "ok",
        ("car", "c4"): "rejected",
        ("mug", "m1"): "ok",
        ("glass eye", "x1"): "ok",
    }.items()
    car = found[("car", "c1")]
    assert (car["collection"], car["keywords"], car["up"], car["front"]) == ("shapenet", ["auto", "automobile"], "+y", "-z")
    (refused,) = Catalog(settings.catalog).quarantined()
    assert (refused["class_name"], refused["reason"], refused["origin"]) == ("car", "missing_file", "import")
    # Nothing is opened again: not to be told what it is, and not to be read.
    monkeypatch.setattr("tasks.intake.collections.identify", None)
    monkeypatch.setattr("tasks.intake.collections.prepare", None)
    commands.import_("shapenet", root)
    assert "shapenet: 6 remembered, 1 duplicate" in said(capsys)


def test_what_has_changed_is_read_again_and_what_was_mended_leaves_the_quarantine(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made.shapenet(tmp_path / "sn")
    commands.import_("shapenet", root, class_names=["car"])
    makers.write_stl(tmp_path / "other.stl")
    makers.write_obj(root / "02958343" / "c5" / "models" / "model_normalized.obj", "+y", "+x")
    said(capsys)
    commands.import_("shapenet", root, class_names=["car"])
    assert "shapenet: 1 added, 3 remembered, 1 duplicate" in said(capsys)
    assert Catalog(settings.catalog).quarantined() == []
    # A new catalog over the same ledger: the ledger is not believed.
    (settings.root / "catalog.sqlite").unlink()
    commands.import_("shapenet", root, class_names=["car"])
    assert "3 added" in said(capsys)


@pytest.mark.parametrize("name", ["objaverse", "omniobject3d", "toys4k", "folder"])
def test_every_collection_comes_in(
    name: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_cad_or_none: Path | None
) -> None:
    root = tmp_path / name
    made.folder(root, shared_cad_or_none) if name == "folder" else made.LAYOUTS[name](root)
    commands.import_(name, root)  # type: ignore[arg-type]
    found = rows(settings)
    wanted = {
        "objaverse": {("cup", made.DUCK), ("lamp floor", made.LAMP)},
        "omniobject3d": {("teapot", "omniobject3d_teapot_007"), ("toy animals", "omniobject3d_toy_animals_001")},
        "toys4k": {("airplane", "toys4k_airplane_000")},
        "folder": {("car", "car/small.stl"), ("coffee mug", "Coffee Mug/b.obj")},
    }[name]
    assert wanted <= {key for key, row in found.items() if row["status"] == "ok"}
    if name == "toys4k":
        assert [row["reason"] for row in Catalog(settings.catalog).quarantined()] == ["blend_refused"]
    if name == "folder":
        mug = found[("coffee mug", "Coffee Mug/b.obj")]
        assert (mug["symmetry"], mug["symmetry_origin"], mug["licence"]) == (0, "class", "CC0")
        if shared_cad_or_none is not None:
            assert ("real cars", "real cars/suv/suv.obj") in found


def test_classes_and_limits_choose(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.shapenet(tmp_path / "sn")
    with pytest.raises(BadCollection, match='has no class "cart"; it has: car, glass eye, mug'):
        commands.import_("shapenet", root, class_names=["cart"])
    with pytest.raises(BadCollection, match="--limit is 0"):
        commands.import_("shapenet", root, limit=0)
    commands.import_("shapenet", root, class_names=["car"], limit=2, dry_run=True)
    assert "2 CAD models of 1 classes would be read" in said(capsys)
    assert not (settings.root / "catalog.sqlite").exists()
    commands.import_("shapenet", root, class_names=["car"], limit=2)
    assert set(rows(settings)) == {("car", "c1"), ("car", "c2")}
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / f"{made.LAMP}.glb").write_bytes(parametric.glb("lamp", 3))
    with pytest.raises(BadCollection, match="does not say which class its 1 models are"):
        commands.import_("objaverse", loose)
    commands.import_("objaverse", loose, class_names=["lamp"])
    assert ("lamp", made.LAMP) in rows(settings)


def test_only_broken_models_end_with_an_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "f" / "car").mkdir(parents=True)
    (tmp_path / "f" / "car" / "a.obj").write_text("v 0 0 0\n")
    with pytest.raises(SystemExit) as caught:
        commands.import_("folder", tmp_path / "f")
    assert caught.value.code == 1


def test_downloading_without_the_package_or_without_a_list_says_what_to_do(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadCollection, match="--download fetches a list's models"):
        commands.import_("objaverse", tmp_path, download=True)
    (tmp_path / "list.csv").write_text(f"synset,model,distance,azimuth,elevation,strength,sampling\nlamp,{made.LAMP},,,,,\n")
    monkeypatch.setitem(sys.modules, "objaverse", None)
    with pytest.raises(BadCollection, match=r"pip install 'dst-platform\[objaverse\]'"):
        commands.import_("objaverse", tmp_path / "ob", cad_list=tmp_path / "list.csv", download=True)


def test_the_publishers_package_fetches_into_the_folder_and_its_silence_is_one_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real package, with its host played by files: nothing is fetched from anywhere."""
    objaverse = pytest.importorskip("objaverse")
    publisher = made.objaverse(tmp_path / "publisher")
    (tmp_path / "list.csv").write_text(
        f"synset,model,distance,azimuth,elevation,strength,sampling\nlamp,{made.LAMP},1.5,0,0,1,1\nlamp,{'c' * 32},1.5,0,0,1,1\n"
    )

    def silent(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(objaverse.urllib.request, "urlretrieve", silent)
    monkeypatch.setattr(objaverse, "_VERSIONED_PATH", "unused")
    with pytest.raises(BadCollection, match="cannot be downloaded now"):
        commands.import_("objaverse", tmp_path / "ob", cad_list=tmp_path / "list.csv", download=True)
    import gzip

    paths = {made.LAMP: f"glbs/000-023/{made.LAMP}.glb"}
    (publisher / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps(paths).encode()))

    def fetch(url: str, target: str) -> None:
        Path(target).write_bytes((publisher / url.split("/main/")[1]).read_bytes())

    monkeypatch.setattr(objaverse.urllib.request, "urlretrieve", fetch)
    monkeypatch.setenv("DST_WORKERS", "1")
    commands.import_("objaverse", tmp_path / "ob", cad_list=tmp_path / "list.csv", download=True)
    out = said(capsys)
    assert "1 of 2 models of the list are not Objaverse's" in out
    assert rows(settings)[("lamp", made.LAMP)]["licence"] == "CC0 1.0"


@pytest.mark.slow
def test_a_killed_import_goes_on_where_it_was(settings: Settings, tmp_path: Path) -> None:
    for seed in range(24):
        (tmp_path / "cars" / "car").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cars" / "car" / f"{seed:02d}.glb").write_bytes(parametric.glb("car", seed))
    command = [sys.executable, "-m", "flows.cli", "cad", "import", "folder", str(tmp_path / "cars")]
    environment = os.environ | {"DST_HOME": str(tmp_path / "home"), "DST_WORKERS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    ledger, deadline = tmp_path / "home" / "imports" / "folder.jsonl", time.monotonic() + 300
    while not ledger.is_file():
        assert process.poll() is None, f"it ended before it could be killed: {process.stdout and process.stdout.read()!r}"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    remembered = len(Ledger(ledger)._known)
    assert 0 < remembered < 24
    with open(ledger, "ab") as file:
        file.write(b'{"path": "cut sho')
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=True)
    assert f"{24 - remembered} added, {remembered} remembered" in done.stdout
    with sqlite3.connect(settings.root / "catalog.sqlite") as catalog:
        assert catalog.execute("select count(*), sum(status = 'ok') from cad_models").fetchone() == (24, 24)
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=True)
    assert "24 remembered" in done.stdout


def test_a_ledger_forgets_what_has_changed(tmp_path: Path) -> None:
    path = makers.write_stl(tmp_path / "a.stl")
    entry = {"path": str(path), "class_name": "car", "said": "x", "stamp": stamp(path), "status": "added", "cad_id": "1"}
    Ledger(tmp_path / "l.jsonl").note([entry])
    ledger = Ledger(tmp_path / "l.jsonl")
    assert ledger.find(path, "car", "x") == entry
    assert ledger.find(path, "car", "y") is None
    assert ledger.find(path, "truck", "x") is None
    path.write_bytes(path.read_bytes() + b" ")
    assert ledger.find(path, "car", "x") is None
