"""Knowing, mending and repeating: status, preview, dry run, retry, show and reproduce, on a class whose run was killed once."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows import pending, recipes, runs
from storage.artifacts import at
from storage.images import from_png, png_text, to_png
from storage.keys import digest
from storage.settings import Settings
from tasks.plan.cohort import Cohort, Planned, Shard
from tasks.plan.place import Place
from tasks.shard import Finished, Missing, fill
from tests.flows.conftest import Home, Server, add_cars, kill, small

pytestmark = pytest.mark.slow

SAMPLES = 40
"""One shard of so many, where the run that was killed had one of 24."""


class Otherwise(Home):
    """The same home on a machine that is set up otherwise: what a record says of batch shape and threads must win."""

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {"DST_BATCH": "7", "DST_THREADS": "2", "DST_WORKERS": "1"}


def place_of(home: Home) -> Place:
    return Place.of(Settings(home=home.path, catalog_url=""))


def cohort_of(home: Home, samples: int = SAMPLES) -> Cohort:
    return runs.cohort(place_of(home), "car", samples, recipes.resolve("embedded", small()))


def fails(place: Place, cohort: Cohort, planned: Planned) -> None:
    """Leave behind what a renderer leaves that dies on a view at every try."""
    detail = "the renderer died (signal SIGSEGV) on model.glb; its last words: Error: no memory | Segmentation fault"

    def dies(todo: Sequence[Missing]) -> Iterator[Finished]:
        yield from (missing.failed("renderer_killed", detail, "RendererDied") for missing in todo)

    fill("render", Shard(index=0, samples=(planned,)), cohort.recipe, place, dies)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Home:
    """A class of 40 samples: its run was killed among its images, went on with other shards, and has one failed sample."""
    home = Home(tmp_path_factory.mktemp("mending"), server.api)
    add_cars(home, home.path / "cars")
    cohort = cohort_of(home)
    fails(place_of(home), cohort, cohort.samples[7])
    process = home.start("run", "car", "--samples", "24", "--overrides", home.overrides())
    while process.poll() is None and len(list((home.path / "artifacts").glob("image/*/*"))) < 3:
        time.sleep(0.01)
    if process.poll() is None:
        kill(process.pid)
    process.communicate(timeout=60)
    said = home.dst("run", "car", "--samples", str(SAMPLES), "--overrides", home.overrides())
    failed = str(cohort.samples[7].sample)
    assert "1 failed at render: renderer_killed" in said
    assert f"to repeat it: dst reproduce {failed}" in said
    return home


def failed_sample(home: Home) -> str:
    return str(cohort_of(home).samples[7].sample)


def made_samples(home: Home) -> list[str]:
    rows = home.rows("select sample_id from samples where in_cohort = 1 and status = 'made' and recipe = 'small' order by 1")
    return [row["sample_id"] for row in rows]


def test_status_counts_every_stage_and_names_what_failed_and_what_was_killed(home: Home, server: Server) -> None:
    (status,) = pending.class_status(place_of(home), "car")
    assert (status.samples, status.cad_models, status.run_status) == (SAMPLES, 3, "complete")
    assert {s.stage: (s.done, s.pending, s.failed) for s in status.stages} == {
        "cad": (40, 0, 0),
        "render": (39, 0, 1),
        "control": (39, 0, 0),
        "caption": (39, 0, 0),
        "image": (39, 0, 0),
        "score": (39, 0, 0),
        "verdict": (39, 0, 0),
    }
    assert status.failures == {("render", "renderer_killed"): 1}
    assert status.kept + status.dropped == 39
    said = home.dst("status")
    assert "39, 1 failed" in said
    assert 'dst retry "car" --stage render --reason renderer_killed' in said
    assert "crashed" in said
    # Other tests' runs leave such tables at the same server.
    tables = server.post("/artifacts/filter", {"artifacts": {"key": {"any_": ["status"]}}, "sort": "CREATED_DESC"})
    rows = [row for table in tables for row in json.loads(table["data"])]
    assert any(row["class"] == "car" and row["render"] == "39, 1 failed" for row in rows)


def test_status_of_a_run_that_goes_on_shows_its_heartbeat_and_the_time_to_go(home: Home) -> None:
    catalog = place_of(home).catalog
    before = catalog.runs("car")[0]
    run_id = catalog.start_run(
        class_name="car", recipe="small", recipe_specs=before["recipe_specs"], samples=60, run_id="going", flow_run_id=None
    )
    try:
        said = home.dst("status")
        (status,) = pending.class_status(place_of(home), "car")
    finally:
        with catalog.database.writing() as connection:
            connection.exec_driver_sql(f"delete from runs where run_id = '{run_id}'")
    assert status.stage("image").pending == 20
    assert "s ago" in said
    assert "39 of 60 images" in said
    assert "about" in said


def test_a_server_that_does_not_answer_costs_status_a_moment_and_a_line(home: Home) -> None:
    away = Home(home.path, "http://127.0.0.1:1/api")
    said = away.dst("status")
    assert "does not say what is scheduled" in said
    assert "39, 1 failed" in said


def test_a_dry_run_says_what_is_cached_and_missing_and_what_that_costs_here(home: Home) -> None:
    before = home.digests()
    said = home.dst("run", "car", "--samples", "50", "--overrides", home.overrides(), "--dry-run")
    assert '"resolution": 64' not in said
    assert "39 cached, 10 missing" in said
    assert "past run" in said
    assert "of this machine" in said
    other = home.dst("run", "car", "--samples", "50", "--recipe", "paper-sd15", "--dry-run")
    # Its words are others too: of quality, and those that are not to be painted.
    assert "nothing is known here of: render, caption, image" in other
    assert home.digests() == before


def test_a_preview_makes_a_picture_and_leaves_the_class_as_it_is(home: Home) -> None:
    members = "select sample_id, image_key, in_cohort, run_id from members order by 1, 2"
    before = home.rows(members)
    said = home.dst("run", "car", "--samples", "30", "--overrides", home.overrides({"caption": {"suffix": "sharp"}}), "--preview")
    path = Path(said.split("8 samples in ")[1].splitlines()[0])
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 600
    assert picture.std() > 10
    assert "all 30: about" in said
    assert home.rows(members) == before
    (run,) = home.rows("select status, samples, counts from runs where kind = 'preview'")
    assert (run["status"], run["samples"]) == ("complete", 8)
    (status,) = pending.class_status(place_of(home), "car")
    assert status.samples == SAMPLES
    place_of(home).catalog.rebuild(place_of(home).store.records())
    assert home.rows(members) == before


def test_a_picture_tells_where_it_comes_from_with_and_without_a_catalog(home: Home, tmp_path: Path) -> None:
    (row,) = home.rows("select * from provenance where in_cohort = 1 and recipe = 'small' and kept is not null limit 1")
    image = home.path / "artifacts" / row["image_folder"] / "image.png"
    (tmp_path / "elsewhere.png").write_bytes(image.read_bytes())
    known = home.dst("show", "--image", str(tmp_path / "elsewhere.png"))
    assert "the bytes on record" in known
    for told in (row["cad_source"], row["prompt"], str(row["seed"]), row["generator_revision"], row["code"], row["flow_run_url"]):
        assert told in known
    assert known.count("  sound\n") == 10
    alone = Home(tmp_path / "nowhere", home.api).dst("show", "--image", str(tmp_path / "elsewhere.png"))
    assert "there is no catalog" in alone
    for told in (
        row["sample_id"],
        row["prompt"],
        str(row["seed"]),
        row["generator_revision"],
        row["image_key"],
        row["scheduler"],
    ):
        assert told in alone
    for name, key in (("rgba.png", "render"), ("mask.png", "render"), ("control.png", "control")):
        assert row["sample_id"] in home.dst("show", "--image", str(home.path / "artifacts" / row[f"{key}_folder"] / name))
    touched = from_png(image.read_bytes()).copy()
    touched[0, 0] ^= 1
    (tmp_path / "touched.png").write_bytes(to_png(touched, png_text(image.read_bytes())))
    assert "not the bytes on record" in home.dst("show", "--image", str(tmp_path / "touched.png"))
    (tmp_path / "plain.png").write_bytes(to_png(touched))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    for name, word in (("plain.png", "says nothing"), ("photo.jpg", "not a PNG"), ("gone.png", "no such file")):
        assert word in home.dst("show", "--image", str(tmp_path / name), code=2)


def test_twenty_samples_chosen_at_random_are_made_again_with_the_same_bytes(home: Home) -> None:
    made = made_samples(home)
    chosen = random.sample(made, 20)
    said = Otherwise(home.path, home.api).dst("reproduce", *chosen)
    assert "20 of 20 with the same bytes" in said, (chosen, said)


def test_what_is_made_again_otherwise_is_measured_and_what_differs_is_named(home: Home, tmp_path: Path) -> None:
    near, far, newer = made_samples(home)[:3]
    restore = [_rewrite(home, near, lambda p: p ^ (np.arange(p.size).reshape(p.shape) % 7 == 0).astype(np.uint8))]
    restore.append(_rewrite(home, far, lambda p: p[::-1].copy()))
    restore.append(_rewrite(home, newer, lambda p: p, runtime={"torch": "9.9.9"}))
    try:
        said = home.dst("reproduce", near, newer)
        assert "1 of 2 with the same bytes, 1 within 40 dB" in said
        assert "image: torch 9.9.9 then" in said
        assert " dB" in said.split("image.png")[1].splitlines()[0]
        beyond = home.dst("reproduce", far, "--into", str(tmp_path / "again"), code=1)
        assert "1 beyond 40 dB" in beyond
        assert list((tmp_path / "again" / "artifacts").glob("image/*/*/image.png"))
        assert "not empty" in home.dst("reproduce", far, "--into", str(tmp_path / "again"), code=2)
    finally:
        for put_back in restore:
            put_back()


def _rewrite(home: Home, sample_id: str, change: Any, runtime: dict[str, Any] | None = None) -> Any:
    """Let the store hold another picture, and another runtime, for a sample, with a right digest; return how to undo it."""
    (row,) = home.rows(f"select image_key from samples where sample_id = '{sample_id}' and in_cohort = 1 and recipe = 'small'")
    folder = home.path / "artifacts" / at("image", row["image_key"])
    before = {name: (folder / name).read_bytes() for name in ("image.png", "record.json")}
    record = json.loads(before["record.json"])
    if not runtime:
        data = to_png(change(from_png(before["image.png"])), png_text(before["image.png"]))
        (folder / "image.png").write_bytes(data)
        record["files"]["image.png"] = {"sha256": digest(data), "bytes": len(data)}
    record["runtime"] |= runtime or {}
    (folder / "record.json").write_text(json.dumps(record))

    def put_back() -> None:
        for name, data in before.items():
            (folder / name).write_bytes(data)

    return put_back


def test_mistakes_about_samples_are_one_line_each(home: Home, tmp_path: Path) -> None:
    sample = made_samples(home)[0]
    assert "no sample" in home.dst("reproduce", "car-000000000000-0000-00", code=2)
    assert 'not made under a recipe "paper"' in home.dst("reproduce", sample, "--recipe", "paper", code=2)
    assert "no sample" in home.dst("retry", "--sample", "car-000000000000-0000-00", code=2)
    assert 'did you mean "car"' in home.dst("retry", "carr", code=2)
    assert "nothing to try again" in home.dst("retry", "car", "--stage", "control")
    assert "renderer_killed" in home.dst("retry", "car", "--reason", "empty_mask")


def test_a_failed_sample_is_repeated_alone_then_tried_again_and_nothing_else_is_made(home: Home) -> None:
    failed = failed_sample(home)
    assert "failed then (renderer_killed), is made now" in home.dst("reproduce", failed, "--stage", "render", code=1)
    before = home.digests("render", "control", "caption", "image")
    said = home.dst("retry", "--sample", failed)
    assert "car: 1 made now, 0 failed again" in said
    after = home.digests("render", "control", "caption", "image")
    assert before.items() <= after.items()
    assert sorted(name.split("/")[0] for name in after.keys() - before.keys()) == ["caption", "control", "image"] + ["render"] * 5
    rows = home.rows("select status from samples where in_cohort = 1 and recipe = 'small'")
    assert [row["status"] for row in rows] == ["made"] * SAMPLES
    assert "nothing to try again" in home.dst("retry", "car")


def test_a_cad_model_that_joined_is_known_to_be_missing(home: Home, tmp_path: Path) -> None:
    (status,) = pending.class_status(place_of(home), "car")
    assert status.new_cad_models == ()
    assert status.pending == 0
    add_cars(home, tmp_path / "late", count=1, first=31_000)
    (status,) = pending.class_status(place_of(home), "car")
    assert len(status.new_cad_models) == 1
    assert status.stage("image").pending == 10
    assert status.kept + status.dropped == SAMPLES
    assert "1 not in the cohort" in home.dst("status")
