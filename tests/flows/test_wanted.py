"""What a scan would make: pending is what time or a person has changed, not what was tried in vain."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows import recipes, runs
from flows.pending import class_status
from flows.wanted import RETRIES, another_try, wanted
from models.render import spec as render_spec
from storage.artifacts import Record
from storage.catalog.catalog import Catalog
from storage.keys import digest, plain
from storage.settings import Settings
from tasks.intake.watch import WatchReport
from tasks.plan.cohort import Cohort
from tasks.plan.place import Place
from tests.flows.conftest import ROOT

SAMPLES = 4


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    return Settings()


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    catalog = Catalog(settings.catalog, settings.store)
    catalog.migrate()
    for number in range(2):
        add(catalog, number)
    return catalog


def add(catalog: Catalog, number: int) -> None:
    cad_id = digest(f"model {number}".encode())
    catalog.add_cad_model(cad_id=cad_id, class_name="car", source=f"/models/{number}.glb", cad_key=digest(cad_id.encode()))


def ended(settings: Settings, catalog: Catalog, status: str, reason: str | None = None, recipe: str = "embedded") -> Cohort:
    """Note a run of the class that ended so."""
    cohort = runs.cohort(Place.of(settings), "car", SAMPLES, recipes.resolve(recipe))
    run_id = catalog.start_run(class_name="car", recipe=cohort.recipe.name, recipe_specs=plain(cohort.recipe), samples=SAMPLES)
    catalog.finish_run(run_id, status=status, reason=reason)
    return cohort


def test_a_class_that_was_never_run_is_made_only_if_it_lies_in_a_watched_folder(settings: Settings, catalog: Catalog) -> None:
    assert wanted(settings, WatchReport()) == []
    (want,) = wanted(settings, WatchReport(classes={"car"}))
    assert (want.class_name, want.samples, want.recipe, want.overrides) == ("car", 200, "embedded", {})


def test_a_watched_class_without_a_usable_cad_model_is_not_made(settings: Settings, catalog: Catalog) -> None:
    for row in catalog.cad_models():
        catalog.mark_cad_model("car", row["cad_id"], status="rejected", reason="no_faces")
    assert wanted(settings, WatchReport(classes={"car"})) == []


def test_a_wrong_default_recipe_is_said_at_once(settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = settings.model_copy(update={"watch_recipe": "embeded"})
    with pytest.raises(ValueError, match='did you mean "embedded"'):
        wanted(wrong, WatchReport(classes={"car"}))


@pytest.mark.parametrize(
    ("status", "reason"), [("stopped", "stopped by Ctrl-C"), ("stopped", "cancelled in Prefect"), ("failed", "KeyboardInterrupt")]
)
def test_a_run_that_a_person_stopped_is_not_started_again_until_a_cad_model_joins(
    settings: Settings, catalog: Catalog, status: str, reason: str
) -> None:
    ended(settings, catalog, status, reason)
    assert wanted(settings, WatchReport()) == []
    add(catalog, 2)
    (want,) = wanted(settings, WatchReport())
    assert "CAD models are not in its cohort" in want.why


def test_runs_that_end_with_their_service_are_taken_up_however_often(settings: Settings, catalog: Catalog) -> None:
    for _ in range(4):
        assert len(wanted(settings, WatchReport())) == (0 if not catalog.runs() else 1)
        ended(settings, catalog, "stopped", "stopped with its service or its machine")
    assert len(wanted(settings, WatchReport())) == 1


@pytest.mark.parametrize("status", ["crashed", "failed"])
def test_what_a_dead_run_left_is_taken_up(settings: Settings, catalog: Catalog, status: str) -> None:
    ended(settings, catalog, status, "StoreFull: no space left")
    (want,) = wanted(settings, WatchReport())
    assert (want.samples, want.recipe) == (SAMPLES, "embedded")
    assert f"its last run {status} (StoreFull: no space left)" in want.why


def test_a_class_whose_runs_fail_again_and_again_is_left_alone_until_something_changes(
    settings: Settings, catalog: Catalog
) -> None:
    for _ in range(3):
        assert len(wanted(settings, WatchReport())) == (0 if not catalog.runs() else 1)
        ended(settings, catalog, "failed", "RuntimeError: always")
    assert wanted(settings, WatchReport()) == []
    add(catalog, 2)
    assert len(wanted(settings, WatchReport())) == 1


def test_a_recipe_of_ones_own_that_was_mended_since_the_runs_failed_is_tried_again(settings: Settings, catalog: Catalog) -> None:
    own = settings.root / "recipes" / "mine.toml"
    own.parent.mkdir()
    own.write_text("[image]\nsteps = 3\n")
    for _ in range(3):
        ended(settings, catalog, "failed", "RuntimeError: always", recipe="mine")
    assert wanted(settings, WatchReport()) == []
    own.write_text("[image]\nsteps = 4\n")
    (want,) = wanted(settings, WatchReport())
    assert "its recipe has changed" in want.why


@pytest.mark.parametrize(
    ("text", "said"),
    [("[image]\nsteps = -3", "steps -3"), ('base = "mine"', "base is 'mine'"), ("base = 3", "base is 3"), ("[image", "not TOML")],
)
def test_a_recipe_of_ones_own_that_is_wrong_by_now_stops_neither_scan_nor_status(
    settings: Settings, catalog: Catalog, text: str, said: str
) -> None:
    own = settings.root / "recipes" / "mine.toml"
    own.parent.mkdir()
    own.write_text("[image]\nsteps = 3\n")
    ended(settings, catalog, "complete", recipe="mine")
    own.write_text(text)
    with pytest.raises(ValueError, match=said):
        recipes.resolve("mine")
    (want,) = wanted(settings, WatchReport())
    assert "recipe has changed" not in want.why


def test_imported_captions_are_a_changed_recipe_only_when_they_have_changed(settings: Settings, catalog: Catalog) -> None:
    catalog.add_foreign_captions([{"origin": "3d-dst", "class_name": "car", "number": 1, "prompt": "a red car"}])
    own = settings.root / "recipes" / "theirs.toml"
    own.parent.mkdir()
    own.write_text('[caption]\nkind = "imported"\norigin = "3d-dst"\n')
    ended(settings, catalog, "complete", recipe="theirs")
    assert not class_status(Place.of(settings), "car")[0].recipe_changed
    catalog.add_foreign_captions([{"origin": "3d-dst", "class_name": "car", "number": 2, "prompt": "a blue car"}])
    assert class_status(Place.of(settings), "car")[0].recipe_changed


def failed_renders(settings: Settings, catalog: Catalog, reason: str, age: timedelta) -> Cohort:
    """A finished class whose every render failed for a reason, so long ago."""
    cohort = ended(settings, catalog, "complete")
    members = []
    for planned in cohort.samples:
        settings.store.put(
            Record(
                key=planned.key("render"),
                stage=render_spec.STAGE,
                version=render_spec.VERSION,
                spec={},
                inputs={},
                outcome="failed",
                reason=reason,
                created_at=(datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
        )
        members.append(
            {
                "sample_id": str(planned.sample),
                "cad_id": planned.sample.cad_id,
                "view_index": planned.sample.view_index,
                "draw_index": 0,
                "cad_key": planned.key("cad"),
                "render_key": planned.key("render"),
                "status": "failed",
                "stage": "render",
                "reason": reason,
            }
        )
    catalog.set_cohort("car", "embedded", catalog.runs("car")[0]["run_id"], members)
    return cohort


@pytest.mark.parametrize(
    ("reason", "age", "again"),
    [
        ("renderer_killed", timedelta(hours=2), SAMPLES),
        ("renderer_killed", timedelta(minutes=2), 0),
        ("empty_mask", timedelta(hours=2), 0),
    ],
)
def test_failed_samples_are_tried_again_for_reasons_that_pass_and_after_a_while(
    settings: Settings, catalog: Catalog, reason: str, age: timedelta, again: int
) -> None:
    failed_renders(settings, catalog, reason, age)
    found = wanted(settings, WatchReport())
    assert [len(want.again) for want in found] == ([again] if again else [])


def test_failed_samples_are_tried_so_many_times_and_no_more(settings: Settings, catalog: Catalog) -> None:
    for _ in range(RETRIES):
        cohort = failed_renders(settings, catalog, "renderer_killed", timedelta(hours=2))
        (want,) = wanted(settings, WatchReport())
        another_try(settings, want)
        assert not any(settings.store.has("render", planned.key("render")) for planned in cohort.samples)
    failed_renders(settings, catalog, "renderer_killed", timedelta(hours=2))
    assert wanted(settings, WatchReport()) == []


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any]]]:
    """A server that hears events, and what it heard: path, authorization, body."""
    heard: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((self.path, self.headers["Authorization"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api", heard
    server.shutdown()


ADD = """
import sys
from flows.cli import app
try:
    app(["cad", "add", sys.argv[1], "--class", "car"])
finally:
    assert "prefect" not in sys.modules
"""


def _add(home: Path, model: Path, api: str) -> subprocess.CompletedProcess[str]:
    import os

    environment = os.environ | {"DST_HOME": str(home), "DST_PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": "me:secret"}
    return subprocess.run([sys.executable, "-c", ADD, str(model)], cwd=ROOT, env=environment, text=True, capture_output=True)


def test_adding_a_cad_model_tells_the_server_once_and_without_prefect(tmp_path: Path, listener: tuple[str, list[Any]]) -> None:
    from models.cad import parametric

    api, heard = listener
    model = tmp_path / "a.glb"
    model.write_bytes(parametric.glb("car", 30_500))
    first = _add(tmp_path / "home", model, api)
    assert "added" in first.stdout, first.stderr
    assert "known" in _add(tmp_path / "home", model, api).stdout
    ((path, authorization, (event,)),) = heard
    assert path == "/api/events"
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:secret"
    assert event["event"] == "cad.model.registered"
    assert event["resource"]["prefect.resource.id"].startswith("cad.")
    assert "secret" not in json.dumps(event)


def test_adding_a_cad_model_works_without_the_server_it_is_told_of(tmp_path: Path) -> None:
    from models.cad import parametric

    model = tmp_path / "a.glb"
    model.write_bytes(parametric.glb("car", 30_501))
    done = _add(tmp_path / "home", model, "http://127.0.0.1:1/api")
    assert (done.returncode, done.stderr) == (0, "")
    assert "added" in done.stdout
