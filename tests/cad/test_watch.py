"""Watched folders: what is new is registered once, what is broken stops nothing, what has gone stays traceable."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from flows.commands import cad as commands
from storage.catalog.catalog import Catalog
from storage.settings import Settings
from tasks.intake import watch
from tasks.intake.model import Registration, identify, register
from tasks.intake.watch import look, refused
from tasks.plan.place import Place
from tests.cad import makers


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DST_WATCH", str(tmp_path / "watch"))
    monkeypatch.setenv("DST_WATCH_SETTLE_S", "0")
    (tmp_path / "watch" / "car").mkdir(parents=True)
    return Settings()


@pytest.fixture
def cars(settings: Settings) -> Path:
    return settings.watched[0] / "car"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were handed in, in order."""
    handed: list[Path] = []

    def noting(place: Place, path: Path, *rest: Any, **more: Any) -> Registration:
        handed.append(path)
        return register(place, path, *rest, **more)

    monkeypatch.setattr(watch, "register", noting)
    return handed


def rows(settings: Settings) -> dict[str, dict[str, Any]]:
    """cad_id -> row."""
    return {row["cad_id"]: row for row in Catalog(settings.catalog).cad_models(status=None)}


def rewrite(path: Path, **changes: Any) -> None:
    """Put a file with other bytes in the place of one."""
    other = makers.write_stl(path.with_name(f".{path.name}.new.stl"), **changes)
    os.replace(other, path)


def test_a_new_file_is_registered_under_its_folders_name_and_read_once(settings: Settings, cars: Path, reads: list[Path]) -> None:
    makers.write_stl(cars / "a.stl")
    (seen,) = look(settings).registered
    assert (seen.class_name, seen.name, seen.status) == ("car", "a", "added")
    again = look(settings)
    assert not again.changed
    assert again.unchanged == 1
    assert reads == [cars / "a.stl"]


def test_a_dry_look_changes_nothing(settings: Settings, cars: Path) -> None:
    makers.write_stl(cars / "a.stl")
    assert look(settings, dry=True).new == [cars / "a.stl"]
    assert not settings.root.exists()


def test_a_file_that_is_being_written_waits_until_nobody_has_written_it_for_a_while(
    settings: Settings, cars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOKS_AT_MOST", 0)
    patient = settings.model_copy(update={"watch_settle_s": 600})
    whole = makers.write_stl(cars.parent / "whole.stl").read_bytes()
    (cars.parent / "whole.stl").unlink()
    half = cars / "a.stl"
    half.write_bytes(whole[: len(whole) // 2])
    # Tools that keep times set them at the end, as old as they like: when the file was put there tells.
    os.utime(half, (1, 1))
    assert look(patient).waiting == [half]
    half.write_bytes(whole)
    assert look(patient).waiting == [half]
    assert not rows(settings)
    assert [made.status for made in look(settings).registered] == ["added"]


def test_one_look_waits_for_what_settles_in_a_moment(settings: Settings, cars: Path) -> None:
    makers.write_stl(cars / "a.stl")
    assert len(look(settings.model_copy(update={"watch_settle_s": 0.5})).registered) == 1


def test_a_file_whose_references_have_not_come_yet_waits_longer(
    settings: Settings, cars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOKS_AT_MOST", 0)
    patient = settings.model_copy(update={"watch_settle_s": 2})
    path = makers.write_obj(cars / "a.obj")
    path.write_text("mtllib a.mtl\n" + path.read_text())
    time.sleep(2.5)
    assert look(patient).waiting == [path]
    (cars / "a.mtl").write_text("newmtl paint\nKd 1 0 0\n")
    time.sleep(2.5)
    (made,) = look(patient).registered
    assert made.cad_id == identify(path)


@pytest.mark.parametrize("name", [".a.stl.Xf3k2p", ".a.stl", "_parts.stl", "a.stl.part", "a.stl~"])
def test_temporary_names_are_passed_over(settings: Settings, cars: Path, name: str) -> None:
    makers.write_stl(cars / "x.stl").rename(cars / name)
    assert not look(settings).changed


def test_a_replaced_file_is_a_new_cad_model_and_the_old_one_is_marked_and_kept(settings: Settings, cars: Path) -> None:
    path = makers.write_stl(cars / "a.stl")
    (old,) = look(settings).registered
    rewrite(path, up="+z", front="+x")
    seen = look(settings)
    (new,) = seen.registered
    assert new.cad_id != old.cad_id
    assert seen.replaced == [old.cad_id]
    row = rows(settings)[old.cad_id]
    assert (row["status"], row["reason"]) == ("replaced", "replaced")
    assert new.cad_id[:12] in row["detail"]
    assert settings.store.sound("cad", str(old.cad_key)) is not None
    assert [row["cad_id"] for row in Catalog(settings.catalog).cad_models("car")] == [new.cad_id]
    # Its old bytes again make it what it was.
    rewrite(path)
    look(settings)
    assert rows(settings)[old.cad_id]["status"] == "ok"
    assert rows(settings)[new.cad_id]["status"] == "replaced"


def test_bytes_that_lie_in_another_file_too_are_not_replaced(settings: Settings, cars: Path) -> None:
    path = makers.write_stl(cars / "a.stl")
    shutil.copy(path, cars / "b.stl")
    look(settings)
    (old,) = rows(settings)
    rewrite(path, up="+z", front="+x")
    assert not look(settings).replaced
    assert (rows(settings)[old]["status"], rows(settings)[old]["source"]) == ("ok", str(cars / "b.stl"))


def test_a_removed_file_is_marked_stays_in_its_class_and_can_come_back(settings: Settings, cars: Path) -> None:
    path = makers.write_stl(cars / "a.stl")
    (made,) = look(settings).registered
    data = path.read_bytes()
    path.unlink()
    assert look(settings).gone == [made.cad_id]
    row = rows(settings)[made.cad_id]
    assert (row["status"], row["reason"]) == ("ok", "source_gone")
    assert str(path) in row["detail"]
    assert not look(settings).changed
    path.write_bytes(data)
    assert look(settings).back == [made.cad_id]
    assert rows(settings)[made.cad_id]["reason"] is None


def test_a_cad_model_that_a_person_took_out_stays_out(settings: Settings, cars: Path) -> None:
    makers.write_stl(cars / "a.stl")
    (made,) = look(settings).registered
    commands.remove("a")
    (settings.root / "scan" / "seen.json").unlink()
    assert not look(settings).changed
    assert rows(settings)[made.cad_id]["status"] == "removed"


def test_a_file_that_moves_to_another_class_leaves_its_first_one(settings: Settings, cars: Path) -> None:
    path = makers.write_stl(cars / "a.stl")
    look(settings)
    (cars / "dst.toml").write_text('class = "truck"\n')
    look(settings)
    catalog = Catalog(settings.catalog)
    assert [row["source"] for row in catalog.cad_models("truck")] == [str(path)]
    assert [row["status"] for row in catalog.cad_models("car", status=None)] == ["replaced"]


def test_a_source_outside_the_folders_that_is_replaced_is_registered_anew(
    settings: Settings, tmp_path: Path, reads: list[Path]
) -> None:
    path = makers.write_stl(tmp_path / "own.stl")
    old = register(Place.of(settings), path, "tool", keywords=("steel",), up="+z", front="-y")
    assert not look(settings).changed
    assert reads == []
    rewrite(path, up="+z", front="+x")
    (new,) = look(settings).registered
    assert rows(settings)[old.cad_id]["status"] == "replaced"
    row = rows(settings)[new.cad_id]
    assert (row["class_name"], row["keywords"], row["up"], row["front"]) == ("tool", ["steel"], "+z", "-y")


def test_broken_files_are_quarantined_with_a_reason_read_once_and_stop_nothing(
    settings: Settings, cars: Path, reads: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (cars / "empty.obj").write_bytes(b"")
    (cars / "points.obj").write_text("v 0 0 0\n")
    (cars / "said.stl").write_bytes(makers.write_stl(cars / "whole.stl").read_bytes())
    (cars / "said.dst.toml").write_text("up = nonsense")
    makers.write_stl(cars.parent / "loose.stl")
    bad_class = cars.parent / "Sports Cars!"
    bad_class.mkdir()
    makers.write_stl(bad_class / "x.stl")
    bad_folder = cars / "sub"
    bad_folder.mkdir()
    (bad_folder / "dst.toml").write_text("=")
    with caplog.at_level(logging.WARNING, logger="dst"):
        seen = look(settings)
    assert [made.name for made in seen.registered] == ["whole"]
    listed = {Path(row["file"]).name: row["reason"] for row in refused(Catalog(settings.catalog))}
    assert listed == {
        "empty.obj": "empty_file",
        "points.obj": "no_faces",
        "said.stl": "bad_sidecar",
        "loose.stl": "bad_class_name",
        "x.stl": "bad_class_name",
        "dst.toml": "bad_sidecar",
    }
    handed = list(reads)
    assert not look(settings).changed
    assert reads == handed
    os.utime(cars / "empty.obj")
    (cars / "points.obj").write_text("v 0 0 1\n")
    assert set(look(settings).refused) == {cars / "points.obj"}


def test_a_mesh_for_collisions_is_listed_as_such_until_a_person_adds_it(settings: Settings, cars: Path) -> None:
    (cars / "suv_vhacd.stl").write_bytes(makers.write_stl(cars / "suv.stl").read_bytes() + b" ")
    seen = look(settings)
    assert ([made.name for made in seen.registered], list(seen.refused)) == (["suv"], [cars / "suv_vhacd.stl"])
    (listed,) = refused(Catalog(settings.catalog))
    assert listed["reason"] == "stand_in"
    assert f'dst cad add "{cars / "suv_vhacd.stl"}" --class "car"' in listed["detail"]
    assert not look(settings).changed
    commands.add(cars / "suv_vhacd.stl", class_name="car")
    assert refused(Catalog(settings.catalog)) == []
    assert not look(settings).changed
    assert {row["status"] for row in rows(settings).values()} == {"ok"}


def test_a_quarantined_file_that_was_put_right_is_registered_and_no_longer_listed(settings: Settings, cars: Path) -> None:
    good = makers.write_stl(cars.parent / "whole.stl").read_bytes()
    (cars.parent / "whole.stl").unlink()
    path = cars / "a.stl"
    path.write_bytes(b"")
    sidecar = cars / "dst.toml"
    look(settings)
    sidecar.write_text("=")
    look(settings)
    path.write_bytes(good)
    assert {row["reason"] for row in refused(Catalog(settings.catalog))} == {"empty_file", "bad_sidecar"}
    sidecar.write_text('keywords = ["red"]')
    (made,) = look(settings).registered
    assert made.status == "added"
    assert refused(Catalog(settings.catalog)) == []
    (cars / "b.obj").write_bytes(b"")
    look(settings)
    (cars / "b.obj").unlink()
    look(settings)
    assert refused(Catalog(settings.catalog)) == []


def test_without_its_memory_a_look_finds_the_same(settings: Settings, cars: Path) -> None:
    makers.write_stl(cars / "a.stl")
    (cars / "empty.obj").write_bytes(b"")
    look(settings)
    before = rows(settings)
    (settings.root / "scan" / "seen.json").unlink()
    assert not look(settings).changed
    assert rows(settings) == before
