"""The scan: only what is pending is made, once, whoever starts it, and a served platform does it by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.cad import parametric
from storage.stages import STAGES
from tests.flows.conftest import Home, Server

pytestmark = pytest.mark.slow
QUOTA = 12


class Watched(Home):
    """A home whose watched folder makes `QUOTA` samples of a new class under the small recipe."""

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {
            "DST_WATCH_SAMPLES": str(QUOTA),
            "DST_WATCH_RECIPE": "small",
            "DST_WATCH_SETTLE_S": "1",
            "DST_SCAN_CRON": "* * * * *",
            "DST_TIMEZONE": "Europe/Berlin",
        }

    def recipe(self, changes: dict[str, Any] | None = None) -> None:
        """Save the small recipe under its name."""
        written = Path(self.overrides(changes))
        (self.path / "recipes").mkdir(exist_ok=True)
        os.replace(written, self.path / "recipes" / "small.toml")

    def put(self, first: int, count: int) -> None:
        """Put cars into the watched folder."""
        folder = self.path / "watch" / "car"
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + count):
            (folder / f"car-{seed}.glb").write_bytes(parametric.glb("car", seed))

    def stamps(self) -> dict[str, int]:
        """File of the store -> when it was written."""
        root = self.path / "artifacts"
        return {str(file.relative_to(root)): file.stat().st_mtime_ns for file in root.glob("[!.]*/??/*/*")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Watched:
    """A class of six CAD models that a scan found and finished, and a broken file beside them."""
    home = Watched(tmp_path_factory.mktemp("watched"), server.api)
    home.recipe()
    home.put(30_200, 6)
    (home.path / "watch" / "car" / "points.obj").write_text("v 0 0 0\n")
    (home.path / "watch" / "car" / "empty.obj").write_text("")
    assert "a new class with 6 CAD models" in home.dst("scan")
    return home


def test_a_watched_class_is_made_and_broken_files_are_listed_with_their_reason(finished: Watched, server: Server) -> None:
    assert finished.rows("select count(*) as n, count(distinct cad_id) as models from samples where kept is not null") == [
        {"n": QUOTA, "models": 6}
    ]
    said = finished.dst("cad", "list", "--rejected")
    assert re.search(r"points\.obj.*no_faces", said)
    assert re.search(r"empty\.obj.*empty_file", said)
    artifacts = server.post("/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["refused-cad-files"]}}})
    assert "no_faces" in artifacts[0]["data"]
    assert "empty_file" in artifacts[0]["data"]


def test_a_scan_with_nothing_pending_starts_no_server_and_makes_nothing(finished: Watched) -> None:
    before = finished.stamps()
    offline = Watched(finished.path, "http://127.0.0.1:1/api")
    assert "nothing to make" in offline.dst("scan")
    assert finished.stamps() == before
    assert len(finished.rows("select * from runs")) == 1


def test_two_cad_models_that_join_get_just_their_share_even_from_two_scans_at_once(finished: Watched) -> None:
    digests, stamps = finished.digests(), finished.stamps()
    old = {row["sample_id"]: row for row in finished.rows("select * from samples")}
    finished.put(30_206, 2)
    scans = [finished.start("scan") for _ in range(2)]
    said = [process.communicate(timeout=900) for process in scans]
    assert [process.returncode for process in scans] == [0, 0], said
    assert len(finished.rows("select * from runs")) == 2, said
    rows = {row["sample_id"]: row for row in finished.rows("select * from samples")}
    cohort = {name: row for name, row in rows.items() if row["in_cohort"] == 1}
    left = {name: row for name, row in rows.items() if row["in_cohort"] == 0}
    new = rows.keys() - old.keys()
    # 6 CAD models had 2 samples each; now 8 have one and 4 of them a second: what is more leaves, and stays on record.
    assert len(cohort) == QUOTA
    shares = Counter(row["cad_id"] for row in cohort.values())
    assert sorted(shares.values()) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert 2 <= len(new) == len(left) <= 4
    assert {row["view_index"] for row in left.values()} == {1}
    assert new <= cohort.keys()
    assert not cohort.keys() & left.keys()
    for name, row in left.items():
        assert (row["image_key"], row["sha256"]) == (old[name]["image_key"], old[name]["sha256"])
        assert (finished.path / "artifacts" / row["file"]).is_file()
    assert len({row["verdict_key"] for row in cohort.values()}) == 1
    assert {row["verdict_key"] for row in cohort.values()}.isdisjoint(row["verdict_key"] for row in old.values())
    assert all(row["fidelity"] is not None for row in cohort.values())
    after = finished.digests()
    fresh = {stage: [name for name in after.keys() - digests.keys() if name.startswith(f"{stage}/")] for stage in STAGES}
    keys = {stage: {Path(name).parent.name for name in names} for stage, names in fresh.items()}
    assert {stage: len(of_stage) for stage, of_stage in keys.items()} == {
        "cad": 2, "render": len(new), "control": len(new), "caption": len(new), "image": len(new), "readout": 0, "score": 2,
        "verdict": 1,
    }  # fmt: skip
    assert keys["image"] == {rows[name]["image_key"] for name in new}
    assert digests.items() <= after.items()
    assert stamps.items() <= finished.stamps().items()


def test_a_changed_recipe_is_pending(finished: Watched) -> None:
    assert "nothing to make" in Watched(finished.path, "http://127.0.0.1:1/api").dst("scan")
    finished.recipe({"caption": {"suffix": "sharp focus"}})
    try:
        assert "its recipe has changed" in finished.dst("scan", "--dry-run")
    finally:
        finished.recipe()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Watched, str]]:
    """A served platform that watches an empty folder, and its API."""
    home = Watched(tmp_path / "home", "")
    log = (tmp_path / "serve.log").open("w+")
    arguments = ["--port", "0", "--files-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "flows.cli", "serve", *arguments],
        # The embedded generator itself: what a random one paints, the filter does not accept.
        env=home.settings | {"DST_WATCH_SAMPLES": "8", "DST_WATCH_RECIPE": "embedded-quick"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        said = _until(600, lambda: re.search(r"Prefect UI\s+(http://[^/\s]+)", (tmp_path / "serve.log").read_text()))
        yield home, f"{said[1]}/api"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
        print((tmp_path / "serve.log").read_text()[-3000:])


def _until(seconds: float, true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(1)
    return found


def test_files_in_a_served_watched_folder_become_accepted_samples_with_nobody_touching_it(
    served: tuple[Watched, str], tmp_path: Path
) -> None:
    home, api = served
    accepted = "select cad_id, count(*) as n from samples where kept = 1 and in_cohort = 1 group by 1"

    def kept() -> list[dict[str, Any]]:
        return home.rows(accepted) if list((home.path / "artifacts").glob("verdict/*/*/record.json")) else []

    origins: set[str] = set()

    def scans() -> list[dict[str, Any]]:
        found = httpx.post(f"{api}/flow_runs/filter", json={"flows": {"name": {"any_": ["scan"]}}}, timeout=30).json()
        # One that finds nothing goes when the next one does.
        origins.update(run["created_by"]["type"] for run in found if run.get("created_by"))
        return list(found)

    def complete(runs: int) -> bool:
        scans()
        return len(kept()) > 0 and len(home.rows("select * from runs where status in ('complete', 'invalid')")) >= runs

    home.put(30_300, 2)
    _until(1500, lambda: complete(1))
    assert len(home.rows("select distinct cad_id from samples where in_cohort = 1")) == 2
    # A file that lies elsewhere is added by a command, which tells the server.
    (tmp_path / "other.glb").write_bytes(parametric.glb("car", 30_400))
    home.dst("cad", "add", str(tmp_path / "other.glb"), "--class", "car")
    _until(1500, lambda: complete(2))
    assert len(home.rows("select distinct cad_id from samples where in_cohort = 1")) == 3
    assert len(home.rows("select * from samples where in_cohort = 1 and status = 'made'")) == 8
    assert {"SCHEDULE", "AUTOMATION"} <= origins
    ended = [run["name"] for run in scans() if run["state_type"] == "COMPLETED"]
    assert "scan: 2 new, 1 class" in ended, ended
    assert ended.count("scan: nothing new") <= 1, ended
    assert {run["work_queue_name"] for run in scans()} == {"scans"}
