"""A run against a real Prefect server: resumed, cached, retried, and the same bytes whatever happened to it."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import psutil
import pytest

from storage.images import png_text
from storage.stages import STAGES
from tests.flows.conftest import RUN, Home, Server, add_cars, kill, small

pytestmark = pytest.mark.slow


def flow_runs(home: Home) -> list[str]:
    return [row["flow_run_id"] for row in home.rows("select flow_run_id from runs order by started_at")]


def test_a_run_makes_every_sample_with_its_whole_history(unbroken: Home) -> None:
    rows = unbroken.rows("select * from samples where in_cohort = 1")
    assert len(rows) == 12
    assert len({row["cad_id"] for row in rows}) == 3
    for row in rows:
        assert row["status"] == "made"
        needed = ("prompt", "seed", "azimuth_deg", "box_x0", "fidelity", "kept", "model_revision", "image_key", "render_spec")
        assert all(row[name] is not None for name in needed)
        assert row["kcf"] is None, "four images of a CAD model are too few to be a fold"
        assert (unbroken.path / "artifacts" / row["file"]).exists()
    runs = unbroken.rows("select * from runs")
    assert [run["status"] for run in runs] == ["complete"]


def test_a_picture_on_its_own_can_be_traced(unbroken: Home) -> None:
    row = unbroken.rows("select * from samples where in_cohort = 1 order by sample_id limit 1")[0]
    said = json.loads(png_text((unbroken.path / "artifacts" / row["file"]).read_bytes())["dst"])
    assert said["sample"] == row["sample_id"]
    assert said["identity"]["cad_id"] == row["cad_id"]
    assert said["caption"]["prompt"] == row["prompt"]
    assert said["keys"]["render"] == row["render_key"]
    assert said["seed"] == row["seed"]
    assert said["annotation"]["azimuth_deg"] == row["azimuth_deg"]
    assert said["specs"]["image"]["steps"] == 2
    for name, key in (("render_file", "render_key"), ("control_file", "control_key")):
        assert json.loads(png_text((unbroken.path / "artifacts" / row[name]).read_bytes())["dst"])["key"] == row[key]


def test_a_finished_run_started_again_starts_no_server_and_makes_nothing(unbroken: Home) -> None:
    before = unbroken.digests()
    offline = Home(unbroken.path, "http://127.0.0.1:1/api")
    started = time.monotonic()
    said = offline.dst(*RUN, "--overrides", offline.overrides())
    assert "nothing to make" in said
    assert time.monotonic() - started < 20
    assert unbroken.digests() == before


def test_a_second_flow_run_shows_its_tasks_as_cached(unbroken: Home, server: Server) -> None:
    # `dst run` would not even start Prefect; a run launched from the UI calls the flow itself.
    code = (
        "import sys, json; from flows.prefect_env import prepare; from storage.settings import Settings; prepare(Settings())\n"
        "from flows.generate import generate; generate('car', 12, 'embedded', json.loads(sys.argv[1]))"
    )
    done = unbroken.python("-c", code, json.dumps(small()))
    assert done.returncode == 0, done.stderr
    second = flow_runs(unbroken)[-1]
    states = {run["name"]: run["state_name"] for run in server.task_runs(second)}
    stages = {name: state for name, state in states.items() if name.split()[0] in STAGES}
    assert {name.split()[0] for name in stages} == set(STAGES) - {"readout"}, "no judge of the recipe is taught"
    assert set(stages.values()) == {"Cached"}, stages
    # Their old reports credit it with nothing.
    credited = "select count(*) as n, sum(seconds) as seconds from costs"
    assert unbroken.rows(f"{credited} where run_id = '{second}'") == [{"n": 0, "seconds": None}]
    assert unbroken.rows("select count(distinct made_by_run) as n from samples") == [{"n": 1}]
    assert unbroken.rows("select count(*) as n from run_members") == [{"n": 24}]


def test_one_deleted_image_is_made_again_and_nothing_else(unbroken: Home) -> None:
    before = unbroken.digests()
    victim = sorted(name for name in before if name.startswith("image/"))[0]
    (unbroken.path / "artifacts" / victim).unlink()
    said = unbroken.dst(*RUN, "--overrides", unbroken.overrides())
    assert re.search(r"image\s+car/0000\s+1 made\s+11 kept from before", said), said
    assert not re.search(r"(cad|render|control|caption)\s+car/0000\s+[1-9]\d* made", said), said
    assert unbroken.digests() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_damaged_artifacts_are_made_again_with_the_same_bytes(unbroken: Home, damage: str) -> None:
    before = unbroken.digests()
    for stage in ("render", "control", "image"):
        victim = (
            unbroken.path
            / "artifacts"
            / sorted(name for name in before if name.startswith(f"{stage}/") and name.endswith(".png"))[1]
        )
        data = victim.read_bytes()
        victim.write_bytes(
            {"truncated": data[:100], "empty": b"", "flipped": data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]}[damage]
        )
    unbroken.dst(*RUN, "--overrides", unbroken.overrides())
    assert unbroken.digests() == before


def test_a_changed_caption_recipe_renders_nothing(unbroken: Home) -> None:
    before = unbroken.digests()
    unbroken.dst(*RUN, "--overrides", unbroken.overrides({"name": "suffixed", "caption": {"suffix": "sharp focus"}}))
    after = unbroken.digests()
    fresh = {name.split("/")[0] for name in after.keys() - before.keys()}
    assert fresh == {"caption", "image", "score", "verdict"}
    assert before.items() <= after.items()


def test_a_killed_renderer_shows_as_retrying_then_completed(home: Home, server: Server, tmp_path: Path) -> None:
    add_cars(home, tmp_path / "cars")
    process = home.start(*RUN, "--overrides", home.overrides())
    deadline = time.monotonic() + 120
    while not list((home.path / "artifacts").glob("render/*/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for worker in home.renderers(process):
        kill(worker.pid)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    runs = [run for run in server.task_runs(flow_runs(home)[-1]) if run["name"].startswith("render")]
    histories = [server.states(run["id"]) for run in runs]
    assert any("Retrying" in names and names[-1] == "Completed" for names in histories), histories
    # What the try that was broken off had made is credited with the rest, and each says at which try it was made.
    assert home.rows("select made from costs where stage = 'render'") == [{"made": 12}]
    assert home.rows("select count(distinct attempt) as tries from artifacts where stage = 'render'")[0]["tries"] >= 2


def test_a_run_killed_five_times_ends_with_the_bytes_of_one_that_was_not(unbroken: Home, home: Home) -> None:
    add_cars(home, home.path / "cars")
    dice = random.Random(5)
    deadline = time.monotonic() + 400
    for stage in ("render", "control", "caption", "image", "verdict"):
        process = home.start(*RUN, "--overrides", home.overrides())
        while process.poll() is None and not list((home.path / "artifacts").glob(f"{stage}/*/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(dice.random() * 0.3)
        workers = home.renderers(process)
        if process.poll() is None:
            kill(process.pid)
        process.wait(30)
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE], "a renderer outlived its run"
    home.dst(*RUN, "--overrides", home.overrides())
    asked = "sample_id, image_key, sha256, kcf, fidelity, kept"
    question = f"select {asked} from samples where in_cohort = 1 and recipe = 'small' order by 1"
    assert home.rows(question) == unbroken.rows(question)
    mine = home.digests()
    assert mine.items() <= unbroken.digests().items()
    assert sum(name.startswith("image/") for name in mine) == 12
    statuses = [row["status"] for row in home.rows("select status from runs order by started_at")]
    assert statuses[-1] == "complete"
    assert set(statuses[:-1]) <= {"crashed", "complete"}
