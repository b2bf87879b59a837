"""Places and machines that are not as they should be: one line each, before work is done, and nothing made by a question."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import cli
from flows.commands import doctor
from flows.commands.run import launch
from flows.commands.terminal import watched
from flows.prefect_env import prepare
from models.cad import parametric
from models.device import NoDevice, pick_device
from storage.blobs.door import open_blobs
from storage.catalog.catalog import Catalog
from storage.catalog.database import Database
from storage.folders import NoRoomLeft, try_folder
from storage.settings import Settings
from tasks import worker
from tasks.intake.model import register
from tasks.plan.place import Place
from tests.flows.conftest import ROOT, Server

ODD = "my data ü'q"
RUN_ONE = ("run", "car", "--samples", "1", "--recipe", "embedded-quick")


@pytest.fixture(autouse=True)
def _nobodys_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with no setting but those that a test makes; what a command sets is gone afterwards."""
    for name in [name for name in os.environ if name.startswith(("DST_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def line_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *command: str) -> str:
    """Type a command that must fail; return its one line."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["dst", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code not in (0, None)
    said = "".join(capsys.readouterr())
    assert len(said.splitlines()) == 1, said
    return said


def with_a_car(home: Path) -> Settings:
    home.mkdir(parents=True, exist_ok=True)
    (home / "car.glb").write_bytes(parametric.glb("car", 30_000))
    settings = Settings(home=home)
    register(Place.of(settings), home / "car.glb", "car")
    return settings


QUESTIONS = (
    "run car", "run car --dry-run", "run car --preview", "status", "cad list", "cad show x", "cad align x --front -y", "show x",
    "reproduce x", "report", "release list", "export coco out --name a", "gallery", "retry", "catalog verify", "catalog copy",
    "prune", "train --class car",
)  # fmt: skip


@pytest.mark.parametrize("command", QUESTIONS)
def test_from_another_folder_nothing_is_made_and_the_home_that_was_looked_in_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path / "here" / "dst-data") in line_of(capsys, monkeypatch, *command.split())
    assert not list((tmp_path / "here").iterdir())


def test_the_doctor_makes_nothing(tmp_path: Path) -> None:
    assert "none yet" in doctor._home(Settings())
    assert not list((tmp_path / "here").iterdir())


WRITTEN = "DST_HOME=elsewhere\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (WRITTEN.encode("utf-16"), "is in UTF-16: save it as UTF-8"),
        (WRITTEN.encode("utf-16-be"), "is in UTF-16: save it as UTF-8"),
        ("DST_HOME=größe\n".encode("latin-1"), "is in another encoding than UTF-8: save it as UTF-8"),
        (b"DST_HOME=\n", "DST_HOME: is empty"),
        (b"DST_HOME='  '\n", "DST_HOME: is empty"),
        (b"DST_DEVICE=\n", "DST_DEVICE: is empty"),
    ],
)
def test_an_env_file_that_cannot_be_meant_is_one_line(
    data: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_bytes(data)
    assert said in line_of(capsys, monkeypatch, "run", "car")
    assert [path.name for path in (tmp_path / "here").iterdir()] == [".env"]


def test_an_env_file_with_the_mark_that_windows_sets_is_read_like_any_other() -> None:
    Path(".env").write_text(WRITTEN, encoding="utf-8-sig")
    assert Settings().home == Path("elsewhere")


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    for name in (ODD, "100%25 sure?", "a#b"):
        settings = Settings(home=tmp_path / name)
        Catalog(settings.catalog).migrate()
        assert (tmp_path / name / "catalog.sqlite").is_file(), sorted(tmp_path.rglob("catalog*"))
        assert Catalog(settings.catalog).classes() == []
        assert str(Database(settings.catalog)) == f"sqlite:///{tmp_path / name / 'catalog.sqlite'}"


def test_great_expectations_finds_a_catalog_wherever_it_lies(tmp_path: Path) -> None:
    import great_expectations as gx

    from storage.expectations import _source

    settings = Settings(home=tmp_path / ODD)
    Catalog(settings.catalog).migrate()
    source = _source(gx.get_context(mode="ephemeral"), Database(settings.catalog))
    source.test_connection()
    assert Path(source.get_engine().url.database) == tmp_path / ODD / "catalog.sqlite"


def test_postgres_may_be_spelt_as_hosts_of_databases_do() -> None:
    database = Database("postgres://me:a%20b@host:5433/name")
    assert database.kind == "postgresql"
    assert database.url.render_as_string(hide_password=False) == "postgresql+psycopg://me:a b@host:5433/name"


@pytest.mark.parametrize("url", ["file://srv/artifacts", "file:///srv/a#b", "file:///srv/a?b", "file://"])
def test_an_address_of_a_store_that_names_another_folder_than_it_seems_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no folder"):
        open_blobs(url)


def test_a_class_or_a_device_that_is_not_there_is_one_line_before_work_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_car(tmp_path / "home")
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    said = line_of(capsys, monkeypatch, "run", "cra")
    assert f'no such class "cra" in {tmp_path / "home"}; did you mean "car"?' in said
    monkeypatch.setenv("DST_DEVICE", "cuda:77")
    before = {path.name for path in (tmp_path / "home").iterdir()}
    for command in (("run", "car"), ("evaluate", "generator"), ("run", "car", "--preview")):
        assert "this machine has no cuda:77; it has: auto, cpu" in line_of(capsys, monkeypatch, *command)
    assert {path.name for path in (tmp_path / "home").iterdir()} <= before | {"catalog.sqlite-shm", "catalog.sqlite-wal"}
    with pytest.raises(NoDevice, match="cuda:77"):
        doctor._device(Settings())
    with pytest.raises(NoDevice, match='no device "gpu"'):
        pick_device("gpu")


def test_a_home_that_is_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("no folder")
    with pytest.raises(NotADirectoryError, match="is no folder"):
        prepare(Settings(home=tmp_path / "home"))


def test_a_database_of_prefects_that_is_damaged_is_one_line_before_a_server_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match=r"Prefect's database .* is damaged"):
        prepare(Settings(home=tmp_path))


def mounted(script: str, home: Path, options: str) -> subprocess.CompletedProcess[str]:
    """Run a bash script in a name space of its own, where a small file system is mounted at `home`."""
    home.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o {options} tmpfs "$DST_HOME" && {{ {script}; }}'
    environment = os.environ | {"DST_HOME": str(home), "dst": f"{sys.executable} -m flows.cli", "PYTHONPATH": str(ROOT)}
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", mount]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_folder_nobody_may_write_to_and_a_disk_without_room_for_prefect_are_one_line_at_once(tmp_path: Path) -> None:
    (tmp_path / "car.glb").write_bytes(parametric.glb("car", 30_000))
    script = f"""
        $dst cad add {tmp_path}/car.glb --class car >&2
        fallocate -l $(( $(stat -f -c '%a * %S' "$DST_HOME") - 10000000 )) "$DST_HOME/filled"
        SECONDS=0; $dst run car --samples 1; echo $SECONDS
        rm "$DST_HOME/filled"; mount -o remount,ro "$DST_HOME"
        $dst run car --samples 1"""
    done = mounted(f"({script}) 2>&1", tmp_path / "home", "size=200m")
    _added, full, seconds, read_only = done.stdout.splitlines()[-4:]
    assert "no space left" in full, done.stdout
    assert int(seconds) < 60
    assert "nothing can be written there (read-only file system)" in read_only


def test_a_disk_that_fills_at_any_stage_is_one_line_and_with_room_again_the_work_goes_on(tmp_path: Path) -> None:
    done = mounted(f"{sys.executable} -m tests.flows.fills_up", tmp_path / "home", "size=48m")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    stages = "cad add, render, control, caption, image, score, verdict, run, catalog, check, report, export, copy"
    assert list(found) == stages.split(", ")
    for stage, said in found.items():
        assert "no space left" in said.lower(), (stage, said)
        assert "\n" not in said


def test_a_full_disk_is_seen_by_what_it_has_free(tmp_path: Path) -> None:
    with pytest.raises(NoRoomLeft, match=r"no space left in .*: \d+ MB are free"):
        try_folder(tmp_path, least=1 << 60)


@pytest.mark.slow
def test_what_made_a_run_fail_is_what_flow_run_row_and_terminal_say(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(place: Place) -> None:
        raise ValueError("the renderer is on holiday")

    monkeypatch.setattr(worker, "renderer", none)
    with_a_car(tmp_path / "home")
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DST_PREFECT_API_URL", server.api)
    with temporary_settings({PREFECT_API_URL: server.api}):
        for command in (RUN_ONE, (*RUN_ONE, "--preview")):
            monkeypatch.setattr(sys, "argv", ["dst", *command])
            with pytest.raises(SystemExit):
                cli.main()
            assert capsys.readouterr().err.splitlines()[-1] == "dst: the renderer is on holiday"
    runs = Catalog(Settings().catalog).runs()
    assert [row["reason"] for row in runs] == ["ValueError: the renderer is on holiday"] * 2
    for row in runs:
        flow_run = server.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [row["flow_run_id"]]}}})[0]
        assert "ValueError: the renderer is on holiday" in flow_run["state"]["message"]


@pytest.mark.slow
def test_an_evaluation_of_a_bad_model_says_what_is_wrong_with_it(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "model_index.json").write_text("{}")
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DST_PREFECT_API_URL", server.api)
    with temporary_settings({PREFECT_API_URL: server.api}):
        monkeypatch.setattr(sys, "argv", ["dst", "evaluate", "generator", "--model", str(bad), "--samples", "8", "--sweep", "0"])
        with pytest.raises(SystemExit):
            cli.main()
    assert f"dst: {bad} cannot be loaded" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_that_was_ended_from_elsewhere_ends_its_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from prefect.exceptions import CancelledRun

    with pytest.raises(SystemExit) as ended, watched():
        raise CancelledRun("stopped: its service or its machine ended it; started again, it goes on where it was")
    assert ended.value.code == 130
    assert capsys.readouterr().err == (
        "dst: stopped: its service or its machine ended it; started again, it goes on where it was\n"
    )


def test_log_lines_do_not_wrap_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with watched():
        logging.getLogger("dst").info("image %s", "x" * 300)
    assert [line for line in capsys.readouterr().err.splitlines() if line.endswith("image " + "x" * 300)]


def test_a_dry_run_prints_its_table_first_and_the_recipe_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_a_car(tmp_path / "home")
    launch(settings, ["car"], 2, "embedded", dry_run=True)
    short = capsys.readouterr().out
    assert short.startswith("cached and missing")
    assert "resolution" not in short
    launch(settings, ["car"], 2, "embedded", dry_run=True, verbose=True)
    long = capsys.readouterr().out
    assert long.startswith(short)
    assert '"resolution": 128' in long
