"""Tasks work where they are told to, whatever the environment says, and two places in one process do not mix."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import trimesh
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import recipes, runs
from models.cad import parametric
from models.image.kinds import GENERATORS
from models.image.protocol import GeneratedImage, ImageRequest, ImageSpec
from storage.artifacts import ArtifactStore
from storage.images import to_png
from storage.keys import plain
from storage.settings import Settings
from storage.stages import OF_A_SAMPLE, STAGES
from tasks import stages, worker
from tasks.caching import ByArtifactKeys
from tasks.catalog import catalog
from tasks.intake.model import register
from tasks.plan import pages
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tasks.shard import Finished, Missing, fill
from tests.catalog import records
from tests.control.cast import cast
from tests.flows.conftest import ROOT

SIZE = 128
SAMPLES = 4
CHEAP: Mapping[str, Any] = {"image": {"kind": "plain"}, "verdict": {"judges": {"kcf": False}, "rules": {"pose": False}}}
"""What makes the embedded recipe cost next to nothing."""


@dataclass(frozen=True, kw_only=True)
class PlainSpec(ImageSpec):
    """The control in a colour of the sample's own: needs no network."""

    implementation: ClassVar[str] = "tests.flows.test_place:Plain"
    version: ClassVar[int] = 1

    kind: Literal["plain"] = "plain"


class Plain:
    batch = 2

    def __init__(self, spec: PlainSpec, **runtime: Any) -> None:
        self.spec = spec
        self.runtime = runtime

    def generate(self, requests: Sequence[ImageRequest], progress: Any = None) -> list[GeneratedImage]:
        made = []
        for request in requests:
            seed = request.sample.seed("image")
            rgb = np.full((SIZE, SIZE, 3), seed % 200, np.uint8)
            rgb[request.controls["canny"] > 0] = 255
            made.append(GeneratedImage(sample=request.sample, rgb=rgb, seed=seed, attempt=0))
        return made

    def resampled(self, spec: PlainSpec) -> Plain:
        return self


@pytest.fixture(autouse=True)
def _plain_generator() -> Iterator[None]:
    GENERATORS.register(PlainSpec)
    yield
    GENERATORS.unregister(PlainSpec)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the environment names, where nothing may be written."""
    folder = tmp_path / "elsewhere"
    for name, value in {
        "DST_HOME": str(folder),
        "DST_STORE_URL": f"file://{folder / 'store'}",
        "DST_CATALOG_URL": f"sqlite:///{folder / 'other.sqlite'}",
        "DST_DEVICE": "no-such-device",
        "DST_BATCH": "3",
        "DST_THREADS": "77",
        "DST_FILES_URL": "http://elsewhere",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def place(home: Path, **more: Any) -> Place:
    store = ArtifactStore(home / "artifacts")
    catalog_url = f"sqlite:///{home / 'catalog.sqlite'}"
    return Place(home=home, store=store, catalog_url=catalog_url, device="cpu", threads=1, batch=2, **more)


def planned(here: Place, seed: int, changes: Mapping[str, Any] | None = None) -> Cohort:
    """Register a car and plan its samples, under a recipe whose images cost nothing."""
    path = here.home / f"car-{seed}.glb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parametric.glb("car", seed))
    assert register(here, path, "car").status == "added"
    return runs.cohort(here, "car", SAMPLES, recipes.resolve("embedded-quick", {**CHEAP, **(changes or {})}))


def rendered(todo: Sequence[Missing]) -> Iterator[Finished]:
    """What a renderer gives, of a box."""
    seen = cast(trimesh.creation.box([0.4, 0.9, 0.3]), size=SIZE)
    depth = np.rint(seen.depth / 1e-4).astype(np.uint16)
    pictures: Mapping[str, Any] = {"rgba": seen.rgba, "mask": seen.mask, "depth": depth, "normal": seen.normal}
    for missing in todo:
        values = records.annotation(missing.planned.sample) | {"K": seen.K.tolist(), "depth_scale": 1e-4}
        yield missing.record(values=values), {f"{name}.png": to_png(picture) for name, picture in pictures.items()}


def run(here: Place, cohort: Cohort) -> str:
    """Call every stage's task as Prefect would, without Prefect and its server; return the run."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        return _run(here, cohort)


def _run(here: Place, cohort: Cohort) -> str:
    for stage in stages.OF_A_SAMPLE:
        for shard in cohort.shards():
            if stage.name == "render":
                fill("render", shard, cohort.recipe, here, rendered)
            else:
                stage.run().fn(here, shard, cohort.recipe)
    for of_all in stages.OF_A_COHORT:
        for part in of_all.parts(cohort.recipe):
            of_all.run().fn(here, cohort, part)
    run_id = here.catalog.start_run(
        class_name="car", recipe=cohort.recipe.name, recipe_specs=plain(cohort.recipe), samples=SAMPLES
    )
    counts = catalog.fn(here, cohort, run_id)
    here.catalog.finish_run(run_id, status="complete", counts=counts)
    return run_id


def test_a_place_is_what_settings_describe(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, catalog_url="", store_url="", batch=5, threads=3, workers=2, max_faces=10)
    here = Place.of(settings, run="a run")
    assert (here.home, here.catalog_url) == (tmp_path, f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    assert here.store.where == str(tmp_path / "artifacts")
    assert (here.batch, here.threads, here.renderers, here.max_faces, here.run) == (5, 3, 2, 10, "a run")


def test_a_whole_run_works_where_it_is_told_and_not_where_the_environment_says(elsewhere: Path, tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    cohort = planned(here, 30_000)
    run_id = run(here, cohort)
    page = pages.write_report(here, run_id)
    assert page == here.home / "reports" / f"{run_id}.html"
    assert page.is_file()
    assert pages.address(here, page) == page.as_uri(), "no file server was named"
    rows = here.catalog.rows("select status, kept, fidelity, kcf, file from samples where in_cohort = 1")
    assert [(row["status"], row["kept"], row["kcf"]) for row in rows] == [("made", 1, None)] * SAMPLES
    assert all((here.home / "artifacts" / row["file"]).is_file() for row in rows)
    assert {artifact.record.stage for artifact in here.store.records()} >= set(STAGES) - {"readout"}
    image = here.store.get("image", cohort.samples[0].key("image")).record
    assert image.runtime | {"device": "cpu", "threads": 1, "batch": 2} == image.runtime
    assert not elsewhere.exists(), list(elsewhere.rglob("*"))


def test_two_places_in_one_process_do_not_mix(elsewhere: Path, tmp_path: Path) -> None:
    places = [place(tmp_path / name) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as both:
        cohorts = list(both.map(planned, places, (30_000, 30_001)))
        list(both.map(run, places, cohorts))
    for here, cohort, other in zip(places, cohorts, cohorts[::-1], strict=True):
        for stage in OF_A_SAMPLE:
            assert all(here.store.has(stage, key) for key in cohort.keys(stage))
            assert not any(here.store.has(stage, key) for key in other.keys(stage) - cohort.keys(stage))
        assert cohort.keys("image").isdisjoint(other.keys("image"))
        cad_ids = {planned.sample.cad_id for planned in cohort.samples}
        assert {row["cad_id"] for row in here.catalog.rows("select cad_id from members")} == cad_ids
        assert [row["cad_id"] for row in here.catalog.cad_models("car")] == list(cad_ids)
    assert not elsewhere.exists()


def test_a_run_of_one_cad_model_says_in_its_first_lines_what_that_costs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dst"), "propagate", True)
    here = place(tmp_path / "here")
    with caplog.at_level(logging.INFO, logger="dst"):
        runs.announce(here, planned(here, 30_000))
    assert "car  4 samples  to make:" in caplog.text
    assert "car  This class has one CAD model." in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="dst"):
        runs.announce(here, planned(here, 30_001))
    assert "one CAD model" not in caplog.text


def test_a_place_with_other_settings_gets_renderers_of_its_own(tmp_path: Path) -> None:
    one = worker.renderer(place(tmp_path, renderers=1))
    assert worker.renderer(place(tmp_path / "other home", renderers=1)) is one
    assert worker.renderer(place(tmp_path, renderers=2)) is not one
    assert worker.renderer(place(tmp_path, renderers=1, mesh_timeout_s=7)) is not one


def test_where_work_is_done_is_no_part_of_a_key_and_which_store_holds_it_is(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    cohort = planned(here, 30_000)
    shard = cohort.shards()[0]

    def key(at: Place, stage: str = "render") -> str | None:
        return ByArtifactKeys(stage=stage).compute_key(None, {"place": at, "shard": shard}, {})  # type: ignore[arg-type]

    faster = replace(here, device="cuda", threads=8, batch=64, renderers=9, files_url="http://x", run="another")
    assert key(faster) == key(here)
    assert key(here, "image") != key(here)
    assert key(replace(here, store=ArtifactStore(tmp_path / "there"))) != key(here)
    before = key(here)
    here.store.renew_generation()
    assert key(here) != before, "artifacts went away: what Prefect remembers is stale"


def test_what_looks_at_all_images_is_remembered_by_what_it_makes_of_them(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    cohort = planned(here, 30_000)

    def key(stage: str, part: str, of: Cohort = cohort) -> str | None:
        inputs = {"place": here, "cohort": of, "part": part, "after": ()}
        return ByArtifactKeys(stage=stage).compute_key(None, inputs, {})  # type: ignore[arg-type]

    run(here, cohort)
    keys = {key("score", "fidelity"), key("verdict", "")}
    assert len(keys) == 2
    assert None not in keys
    assert keys == {key("score", "fidelity"), key("verdict", "")}
    fewer = replace(cohort, samples=cohort.samples[:3])
    assert keys.isdisjoint({key("score", "fidelity", fewer), key("verdict", "", fewer)})


def test_deaths_of_a_renderer_are_counted_for_every_process_of_a_run_and_for_no_other_run(tmp_path: Path) -> None:
    from models.render.pool import Casualty, RendererDied
    from tasks.render import TRIES, _hopeless

    here = place(tmp_path / "here", run="first")
    cohort = planned(here, 30_000)
    missing = {
        one.sample.view: Missing(recipe=cohort.recipe, planned=one, stage="render", part="", key=one.key("render"))
        for one in cohort.samples
    }
    casualty = Casualty(glb=tmp_path / "model.glb", views=tuple(missing), reason="mesh_timeout", detail="it hung")
    death = RendererDied([casualty])
    # Another object over the same folder: what another process has.
    same_run = [replace(here, store=ArtifactStore(here.home / "artifacts")) for _ in range(TRIES["mesh_timeout"])]
    found = [_hopeless(each, death, missing) for each in same_run]
    assert found == [[]] * (TRIES["mesh_timeout"] - 1) + [[casualty]]
    assert _hopeless(replace(here, run="second"), death, missing) == []


def test_no_task_reads_the_environment() -> None:
    """Events and watched folders are told their settings too: nobody here makes them of the environment."""
    for path in (ROOT / "tasks").rglob("*.py"):
        assert not re.search(r"\bSettings\(\)|os\.environ|getenv", path.read_text()), path
