"""Mistakes people make: each ends in one clear line that says what is wrong and what to do, and nothing made is lost."""

from __future__ import annotations

import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, Home

GLB = "car-1.glb"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from models.cad import parametric

    (tmp_path / GLB).write_bytes(parametric.glb("car", 1))
    return tmp_path


@pytest.fixture
def alone(tmp_path: Path) -> Home:
    """A home without any server: these mistakes must be found before one is needed."""
    return Home(tmp_path / "home", "http://127.0.0.1:1/api")


def one_line(home: Home, *command: str) -> str:
    """Type a command that must fail; return its one line."""
    process = home.start(*command)
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0, out
    lines = [line for line in (out + err).splitlines() if line.strip()]
    assert len(lines) == 1, out + err
    return lines[0]


def test_a_missing_file_is_named(alone: Home) -> None:
    assert "no such file" in one_line(alone, "cad", "add", "nowhere.obj", "--class", "car").lower()


def test_a_blend_file_is_refused_because_it_can_run_code(alone: Home, tmp_path: Path) -> None:
    (tmp_path / "car.blend").write_bytes(b"BLENDER-v402")
    assert "can run code" in one_line(alone, "cad", "add", str(tmp_path / "car.blend"), "--class", "car")


def test_an_unknown_format_names_the_known_ones(alone: Home, tmp_path: Path) -> None:
    (tmp_path / "car.step").write_text("ISO-10303-21;")
    line = one_line(alone, "cad", "add", str(tmp_path / "car.step"), "--class", "car")
    assert ".step" in line
    assert ".glb" in line


@pytest.mark.parametrize("name", ["a/b", "Auto Bus", "it's", "größe", "../up", "x; drop table samples", "🚗"])
def test_a_strange_class_name_is_refused_with_a_proposal_or_the_rule(alone: Home, folder: Path, name: str) -> None:
    line = one_line(alone, "cad", "add", str(folder / GLB), f"--class={name}")
    assert "class name" in line


def test_a_model_without_a_class_is_asked_for_one(alone: Home, folder: Path) -> None:
    assert "which class" in one_line(alone, "cad", "add", str(folder / GLB))
    assert "which class" in one_line(alone, "cad", "add", str(folder / GLB), "--class=")


def test_the_same_bytes_twice_are_known_already(alone: Home, folder: Path) -> None:
    (folder / "copy.glb").write_bytes((folder / GLB).read_bytes())
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    assert "known" in alone.dst("cad", "add", str(folder / "copy.glb"), "--class", "car")
    assert len(alone.rows("select * from cad_models")) == 1


def test_broken_files_are_rows_with_a_reason_and_the_others_are_added(alone: Home, folder: Path) -> None:
    (folder / "empty.obj").write_text("# nothing\n")
    (folder / "nan.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (folder / "flat.obj").write_text("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n")
    (folder / "cut.glb").write_bytes((folder / GLB).read_bytes()[:2000])
    (folder / "points.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n"
    )
    (folder / "huge.stl").write_bytes(bytes(80) + struct.pack("<I", 10_000_000) + bytes(500))
    alone.dst("cad", "add", str(folder), "--class", "car")
    rows = {row["cad_name"]: row for row in alone.rows("select cad_name, status, reason, detail from cad_models")}
    assert rows["car-1"]["status"] == "ok"
    broken = {"empty", "nan", "flat", "cut", "points", "huge"}
    assert {name for name, row in rows.items() if row["status"] == "rejected" and row["reason"] and row["detail"]} == broken
    assert all("\n" not in rows[name]["detail"] for name in broken)


def test_a_typo_in_a_class_says_which_one_was_meant(alone: Home, folder: Path) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    assert 'did you mean "car"?' in one_line(alone, "run", "cra")


def test_a_setting_that_cannot_be_is_named_and_its_value_is_not(alone: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DST_WORKERS", "-17")
    line = one_line(alone, "status")
    assert "DST_WORKERS: input should be greater than or equal to 0" in line
    assert "-17" not in line


@pytest.mark.parametrize(
    "command",
    [("serve", "--port", "99999"), ("serve", "--runs", "-1"), ("train", "--shards", "0"), ("train", "--full-share", "2")],
)
def test_a_number_that_cannot_be_is_refused_before_anything_starts(alone: Home, command: tuple[str, ...]) -> None:
    said = alone.dst(*command, code=2)
    assert "Must be" in said
    assert not alone.path.exists()


def test_a_typo_in_a_command_says_which_one_was_meant(alone: Home) -> None:
    process = alone.start("rn", "car")
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert 'Did you mean "run"?' in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipe", "embeded"), 'did you mean "embedded"?'),
        (("--samples", "0"), "at least 1 sample"),
        (("--samples", "-3"), "at least 1 sample"),
        (("--overrides", "missing.toml"), "no such file"),
    ],
)
def test_a_wrong_setting_of_a_run_is_named(alone: Home, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    assert said in one_line(alone, "run", "car", *arguments)


def test_a_recipe_whose_generator_or_judge_lacks_its_weights_is_refused_before_any_work(
    alone: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    line = one_line(alone, "run", "car", "--recipe", "paper-sd15")
    assert line.startswith("dst: paper-sd15 cannot paint here: the weights of stable-diffusion-v1-5/")
    assert " lllyasviel/control_v11p_sd15_canny@" in line.split("dst models fetch ")[1]
    asks = folder / "clip.toml"
    asks.write_text('[verdict.judges.clip]\nmodel = "openai/clip-vit-base-patch32"\nrevision = "' + "a" * 40 + '"\n')
    line = one_line(alone, "run", "car", "--overrides", str(asks))
    assert "cannot be judged by clip here: the weights of openai/clip-vit-base-patch32 are not in" in line
    asks.write_text("[verdict.judges.clip]\n")
    assert "the judge clip needs weights" in one_line(alone, "run", "car", "--overrides", str(asks))
    assert not (alone.path / "prefect").exists()
    assert not list((alone.path / "artifacts").glob("render/*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[render]\nresolutoin = 64", 'did you mean "resolution"?'),
        ("[render]\nresolution = 7", "32 to 4096"),
        ('[render]\nresolution = "256"', "resolution is a whole number, not '256'"),
        ("[render]\nresolution = 100.5", "resolution is a whole number, not 100.5"),
        ("[rendr]\n", 'did you mean "render"?'),
        ("render = 3", "table of fields"),
        ("[render", "not TOML"),
        ('[image]\nmodel = "nobody/nothing"', "revision"),
    ],
)
def test_a_wrong_override_is_named(alone: Home, folder: Path, text: str, said: str) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    (folder / "recipe.toml").write_text(text)
    assert said in one_line(alone, "run", "car", "--overrides", str(folder / "recipe.toml"))


@pytest.mark.parametrize(
    "query", ["delete from samples", "drop table runs", "select 1; select 2", "pragma user_version = 3", "attach 'x' as y"]
)
def test_sql_that_would_write_is_refused(alone: Home, folder: Path, query: str) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    one_line(alone, "sql", query)
    assert len(alone.rows("select * from cad_models")) == 1


def test_sql_before_there_is_a_catalog_says_how_to_get_one(alone: Home) -> None:
    assert "dst" in one_line(alone, "sql", "select 1")


def test_an_unknown_sample_is_one_line(alone: Home, folder: Path) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    assert "no sample" in one_line(alone, "show", "car-000000000000-0000-00")


def test_a_catalog_of_a_newer_schema_is_left_alone(alone: Home, folder: Path) -> None:
    alone.dst("cad", "add", str(folder / GLB), "--class", "car")
    with sqlite3.connect(alone.path / "catalog.sqlite") as catalog:
        catalog.execute("update alembic_version set version_num = '9999'")
    assert "newer" in one_line(alone, "cad", "add", str(folder / GLB), "--class", "car")
    assert "newer" in one_line(alone, "run", "car")


def test_a_full_disk_is_one_clear_line(alone: Home, folder: Path) -> None:
    # A real full disk: a small file system, mounted in a name space of its own.
    alone.path.mkdir()
    (folder / "noise.off").write_text(_many_triangles(6000))
    command = [sys.executable, "-m", "flows.cli", "cad", "add", str(folder / "noise.off"), "--class", "car"]
    mount = 'mount -t tmpfs -o size=420k tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", mount, str(alone.path), *command],
        cwd=ROOT,
        env=alone.settings,
        capture_output=True,
        text=True,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode != 0
    assert len(lines) == 1, lines
    assert "space" in lines[0] or "full" in lines[0]


def _many_triangles(count: int) -> str:
    import random

    dice = random.Random(0)
    points = [f"{dice.random()} {dice.random()} {dice.random()}" for _ in range(3 * count)]
    faces = [f"3 {3 * i} {3 * i + 1} {3 * i + 2}" for i in range(count)]
    return "\n".join(["OFF", f"{3 * count} {count} 0", *points, *faces])
