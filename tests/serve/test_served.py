"""`dst serve` as its users have it: forms in a real browser, a run launched, watched and read there, and a clean end."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.workers.process import ProcessWorker

from flows.forms import ALL_CLASSES
from flows.prefect_env import served
from storage.settings import Settings
from storage.stages import OF_A_SAMPLE
from tests.flows.conftest import ROOT, Home, loaded
from tests.serve.conftest import Platform

pytestmark = pytest.mark.slow

PICTURES = Path(os.environ["DST_DOCS_PICTURES"]) if "DST_DOCS_PICTURES" in os.environ else None
"""Where screenshots for the documents go, when somebody asks for them: then the run is one with real pictures."""


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.set_viewport_size({"width": 1180, "height": 820})
    page.set_default_timeout(120_000)
    yield page
    page.close()


def photograph(page: Any, name: str) -> None:
    """Keep what the page shows for the documents, when asked to."""
    if PICTURES is None:
        return
    import io

    from PIL import Image

    page.wait_for_timeout(2500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def test_every_form_is_flat_described_and_bounded(platform: Platform) -> None:
    found = platform.deployments()
    assert {"generate a class", "generate many classes", "train", "evaluate", "scan for new CAD models", "verify"} <= set(found)
    assert {"preview", "dry run", "retry what failed", "filter", "filter again", "export a release"} <= set(found)
    for name, deployment in found.items():
        fields = deployment["parameter_openapi_schema"]["properties"]
        for field, schema in fields.items():
            assert schema.get("description"), f"{name}: {field} has no description"
            kinds = {schema.get("type"), schema.get("items", {}).get("type")}
            assert kinds <= {"string", "integer", "number", "boolean", "array", None}, f"{name}: {field} is not flat: {schema}"
            assert schema.get("type"), f"{name}: {field} is not flat: {schema}"
            if schema["type"] in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum"} & set(schema), f"{name}: {field} has no range"
        assert deployment["enforce_parameter_schema"]
        assert deployment["description"]
    form = found["generate a class"]["parameter_openapi_schema"]["properties"]
    assert form["class_name"]["enum"] == ["car"]
    assert {"embedded", "small"} <= set(form["recipe"]["enum"])
    assert "paper-sd15" not in form["recipe"]["enum"], "its weights cannot be had here"
    assert "paper-sd15, since the weights of stable-diffusion" in form["recipe"]["description"]
    assert found["generate many classes"]["parameter_openapi_schema"]["properties"]["class_names"]["items"]["enum"] == ["car"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"class_name": "cra"}, "'cra' is not one of ['car']"),
        ({"class_name": "car", "samples": 0}, "0 is less than the minimum of 1"),
        ({"class_name": "car", "samples": "many"}, "'many' is not of type 'integer'"),
        ({"class_name": "car", "recipe": "paper"}, "'paper' is not one of ["),
        ({"samples": 8}, "'class_name' is a required property"),
    ],
)
def test_a_wrong_value_is_refused_at_once_with_its_reason(platform: Platform, wrong: dict[str, Any], said: str) -> None:
    answer = platform.launch("generate a class", **wrong)
    assert answer.status_code == 409
    assert said in answer.json()["detail"]


def test_a_person_fills_in_the_form_watches_the_run_and_opens_the_report(platform: Platform, page: Any) -> None:
    page.goto(platform.ui)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_role("link", name="generate a class", exact=True).first.wait_for()
    photograph(page, "serve-deployments")
    page.get_by_role("link", name="generate a class", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_label("class_name").click()
    page.get_by_role("option", name="car").click()
    page.get_by_label("samples").fill("0")
    page.get_by_role("button", name="Submit").click()
    assert (
        page.get_by_label("samples").evaluate("field => field.validationMessage") == "Value must be greater than or equal to 1."
    )
    page.get_by_label("samples").fill("24" if PICTURES else "9")
    if not PICTURES:
        page.get_by_label("recipe").click()
        page.get_by_role("option", name="small").click()
    photograph(page, "serve-form")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Submit").wait_for(state="hidden")
    launched = platform.ask("POST", "/flow_runs/filter", json={"flows": {"name": {"any_": ["generate a class"]}}}).json()
    assert len(launched) == 1
    run_id = launched[0]["id"]
    page.goto(f"{platform.ui}/v2/runs/flow-run/{run_id}")
    page.get_by_text("Running", exact=True).first.wait_for(timeout=600_000)
    if PICTURES:
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text(re.compile(r"image car: \d+ of \d+, \d+ s to go")).first.wait_for(timeout=600_000)
        photograph(page, "serve-run")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=600_000)
    run = platform.run(run_id)
    assert re.fullmatch(r"car (embedded 24|small 9)", run["name"])
    assert page.get_by_text(run["name"]).first.is_visible()

    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=re.compile("car-summary")).first.click()
    page.get_by_text(re.compile(r"Flow run:")).first.wait_for()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    strip = page.get_by_role("img", name="render, control, image, verdict")
    strip.wait_for()
    page.wait_for_function("picture => picture.naturalWidth > 100", arg=strip.element_handle())
    photograph(page, "serve-summary")
    page.get_by_role("link", name="report", exact=True).click()
    report = next((other for other in page.context.pages if other.url.startswith(platform.files)), page)
    report.wait_for_url(f"{platform.files}/reports/{run_id}.html")
    assert report.inner_text("h1") == "car"
    photograph(report, "serve-report")

    table = page.context.new_page()
    shown = platform.ask("POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [run_id]}}}).json()
    counts = next(row["id"] for row in shown if row["key"] == "car-counts")
    table.goto(f"{platform.ui}/v2/artifacts/artifact/{counts}")
    for heading in ("stage", "outcome", "reason", "samples"):
        table.get_by_role("cell", name=heading).or_(table.get_by_role("columnheader", name=heading)).first.wait_for()
    table.close()


def test_its_stages_and_shards_have_names_progress_and_links_that_open(platform: Platform) -> None:
    run = platform.ask("POST", "/flow_runs/filter", json={"flows": {"name": {"any_": ["generate a class"]}}}).json()[0]
    body = {"task_runs": {"flow_run_id": {"any_": [run["id"]]}}}
    names = {row["name"] for row in platform.ask("POST", "/task_runs/filter", json=body).json()}
    of_shards = {f"{stage} car/0000" for stage in OF_A_SAMPLE}
    assert of_shards | {"score kcf car", "score fidelity car", "verdict car"} <= names
    shown = platform.ask("POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}).json()
    told = [row["description"] for row in shown if row["type"] == "progress"]
    assert len([text for text in told if re.match(r"image car: 9 of 9", text)]) == 1, told
    lines = platform.ask("POST", "/logs/filter", json={"logs": {"flow_run_id": {"any_": [run["id"]]}}}).json()
    # The words of the terminal, once.
    said = [re.sub(r"[\d.]+ s$", "", row["message"]) for row in lines if row["name"] == "dst"]
    assert said.count("image   car/0000  9 made  0 kept from before  0 failed  ") == 1, said
    assert any(row["task_run_id"] for row in lines if row["name"] == "dst")
    data = platform.artifacts(run["id"])
    links = re.findall(r"\((http[^)]+)\)", data["car-summary"] + data["car-report"])
    assert {link.split("/")[3] for link in links} == {"reports", "validation"}
    for link in links:
        answer = httpx.get(link, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(("text/html", "image/png"))


def test_scans_have_a_queue_of_their_own_beside_what_people_launch(platform: Platform) -> None:
    queues = {
        row["name"]: row for row in platform.ask("POST", "/work_pools/dst/queues/filter", json={}).raise_for_status().json()
    }
    assert {name: (row["priority"], row["concurrency_limit"]) for name, row in queues.items()} == {
        "scans": (1, 1),
        "default": (2, 2),
    }
    waits_in = {name: row["work_queue_name"] for name, row in platform.deployments().items()}
    assert waits_in.pop("scan for new CAD models") == "scans"
    assert set(waits_in.values()) == {"default"}


def test_the_live_pages_are_named_linked_and_say_what_status_says_and_strangers_cannot_tag(platform: Platform) -> None:
    said = platform.log.read_text()
    for page in ("state", "pictures"):
        assert f"{platform.files}/live/{page} " in said
        assert httpx.get(f"{platform.files}/live/{page}").status_code == 200
        assert f"../live/{page}" in httpx.get(f"{platform.files}/reports/index.html").text
    (car,) = httpx.get(f"{platform.files}/live/state.json", timeout=60).json()["classes"]
    shown = platform.home.dst("status")
    assert car["run"]["status"] == "complete"
    for word in (car["standing"], *car["why"], car["run"]["status"], f"{car['kept']} kept, {car['dropped']} dropped"):
        assert word in shown
    pictures = httpx.get(f"{platform.files}/live/pictures.json", timeout=60).json()["pictures"]
    assert len(pictures) == car["made"]
    assert (
        httpx.get(f"{platform.files}/live/thumbnails/{pictures[0]['image']}", timeout=60).headers["content-type"] == "image/webp"
    )
    refused = httpx.post(f"{platform.files}/live/tag", json={"image": pictures[0]["key"], "tag": "bad"})
    assert refused.status_code == 403
    assert platform.home.rows("select count(*) as n from tags") == [{"n": 0}]


def test_nothing_of_the_working_folders_own_code_was_loaded(platform: Platform) -> None:
    """The folder has tasks.py, models.py, storage.py and flows/; its owner has launched a run by now."""
    assert loaded(platform.folder) == []


def test_what_is_asked_for_between_runs_has_a_form_too(platform: Platform) -> None:
    """On the class that was made above, all at once: another filter, a preview, a plan, a release and one that cannot be."""
    artifacts, exports = platform.home.path / "artifacts", platform.home.path / "exports"
    painted = len(list(artifacts.glob("image/??/*/record.json")))
    until = time.monotonic() + 60
    while "small" not in platform.deployments()["export a release"]["parameter_openapi_schema"]["properties"]["recipe"]["enum"]:
        assert time.monotonic() < until, "the form does not offer the recipe that there is a run of"
        time.sleep(0.5)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("filter again", {"class_name": "car", "control_at_least": -0.99, "name": "lenient"}),
        ("export a release", {"name": "cars-v1", "format": "yolo", "recipe": "small", "where": "in_cohort = 1"}),
        ("export a release", {"name": "none-v1", "where": "capton = 'x'"}),
        ("preview", {"class_name": "car", "samples": 9, "recipe": "small"}),
        ("dry run", {"class_names": ["car"], "samples": 9, "recipe": "small"}),
        ("filter", {"class_name": "car", "keep": "fidelity at least -0.99", "name": "by form", "recipe": "small"}),
    ]
    runs = [platform.launch(name, **said).raise_for_status().json()["id"] for name, said in asked]
    ended = [platform.wait(run) for run in runs]
    assert [run["state_type"] for run in ended] == ["COMPLETED", "COMPLETED", "FAILED", *["COMPLETED"] * 3], ended
    names = [
        "filter car again",
        "export cars-v1 as yolo",
        "export none-v1 as coco",
        "preview car small",
        "dry run of small 9 of car",
        "filter car: fidelity at least -0.99",
    ]
    assert [run["name"] for run in ended] == names
    judged, released, refused, previewed, planned, decided = (run["state"]["message"] for run in ended)
    assert re.fullmatch(r"car, lenient: 9 kept, 0 dropped, 0 failed; small: \d kept, \d dropped, 0 failed", judged)
    assert re.fullmatch(rf"release cars-v1  yolo  9 samples  digest \w{{12}}: {re.escape(str(exports))}/cars-v1-yolo", released)
    assert refused.startswith('no such column "capton"; did you mean ')
    assert re.fullmatch(r"car \(small\): \S+/previews/car-small\.png; all 9: nothing to make", previewed)
    assert planned == "to make what is missing: nothing to make"
    assert decided == "car, by form: 9 kept, 0 dropped, 0 not judged; kept: fidelity at least -0.99"
    assert platform.home.rows("select name, keep, is_default from decisions") == [
        {"name": "by form", "keep": "fidelity at least -0.99", "is_default": 0}
    ]
    shown = [platform.artifacts(run) for run in runs]
    assert "car-report" in shown[0]
    assert "filter     car" in shown[1]["cars-v1-release"]
    assert "![render, controls, image]" in shown[3]["car-preview"]
    assert "| render | 9 cached |" in shown[4]["dry-run"]
    assert len(list(exports.glob("cars-v1-yolo/images/*/*.png"))) == 9
    assert len(list(artifacts.glob("image/??/*/record.json"))) == painted, "another filter paints nothing"


def test_results_are_json(platform: Platform) -> None:
    files = [path for path in (platform.home.path / "prefect" / "results").rglob("*") if path.is_file()]
    assert files
    for path in files:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and "metadata" in kept:
            assert kept["metadata"]["serializer"]["type"] == "json"


def test_a_class_that_joins_is_offered_by_the_forms(platform: Platform, tmp_path: Path) -> None:
    from models.cad import parametric

    (tmp_path / "chair.glb").write_bytes(parametric.glb("chair", 30_000))
    platform.home.dst("cad", "add", str(tmp_path / "chair.glb"), "--class", "chair")
    import time

    until = time.monotonic() + 120
    offered: list[str] = []
    while "chair" not in offered and time.monotonic() < until:
        time.sleep(1)
        offered = platform.deployments()["generate a class"]["parameter_openapi_schema"]["properties"]["class_name"]["enum"]
    assert offered == ["car", "chair"]


PREFECT_DEPLOY = ("-m", "prefect", "--no-prompt", "deploy", "--all")
SERVED_AGAIN = ("-c", "from flows.deployments import register; register()")


def offered(deployment: dict[str, Any]) -> Any:
    """Return the classes that a deployment's form offers, or "no class" where it asks for none."""
    asked = deployment["parameter_openapi_schema"]["properties"]
    field = asked.get("class_name") or asked.get("class_names", {}).get("items")
    choices = None if field is None else field.get("enum")
    return "no class" if field is None else choices and [name for name in choices if name != ALL_CLASSES]


@pytest.mark.parametrize("way", [PREFECT_DEPLOY, SERVED_AGAIN], ids=["prefect deploy", "dst serve"])
def test_the_same_is_registered_and_what_an_earlier_version_left_is_locked(
    platform: Platform, tmp_path: Path, way: tuple[str, ...]
) -> None:
    own = (
        "id",
        "created",
        "updated",
        "flow_id",
        "last_polled",
        "status",
        "work_queue_id",
        "created_by",
        "updated_by",
        "version_id",
        # The commit, where the folder is a checkout.
        "version",
    )

    def registered() -> dict[str, dict[str, Any]]:
        found = platform.deployments()
        for row in found.values():
            # None and [] are one: no steps.
            row["pull_steps"] = row["pull_steps"] or []
            for schedule in row["schedules"]:
                for name in ("id", "created", "updated", "deployment_id"):
                    schedule.pop(name, None)
            if limit := row.get("global_concurrency_limit"):
                # Scans that run meanwhile take and free its slot; what it allows stays.
                row["global_concurrency_limit"] = limit["limit"]
        return {name: {key: value for key, value in row.items() if key not in own} for name, row in found.items()}

    def pool() -> dict[str, Any]:
        return dict(platform.ask("GET", "/work_pools/dst").raise_for_status().json()["base_job_template"])

    # The forms' choices are renewed one after the other, a moment after a class was added.
    known = [row["class_name"] for row in platform.home.rows("select distinct class_name from cad_models order by 1")] or None
    until = time.monotonic() + 60
    while {str(offered(row)) for row in platform.deployments().values()} - {"no class", str(known)}:
        assert time.monotonic() < until, "the forms do not offer the classes there are"
        time.sleep(0.5)
    before, locked = registered(), pool()
    assert locked["variables"] == {"type": "object", "properties": {}, "additionalProperties": False}
    # As `prefect work-pool create` makes it, and as deployments of an earlier version are.
    opened = ProcessWorker.get_default_base_job_template()
    platform.ask("PATCH", "/work_pools/dst", json={"base_job_template": opened}).raise_for_status()
    for row in platform.deployments().values():
        of_old = {"job_variables": {"env": {"DO_NOT_TRACK": "1"}, "working_dir": str(ROOT)}}
        platform.ask("PATCH", f"/deployments/{row['id']}", json=of_old).raise_for_status()
    assert registered() != before
    environment = platform.home.settings | {
        "PREFECT_API_URL": f"{platform.ui}/api",
        "PREFECT_HOME": str(tmp_path),
        "DO_NOT_TRACK": "1",
        "DST_TIMEZONE": "UTC",
        # The forms say which recipes lack weights here.
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(platform.home.path / "hub"),
    }
    done = subprocess.run(
        [sys.executable, *way],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = registered()
    for name, deployment in before.items():
        assert after[name] == deployment, name
    assert set(after) == set(before)
    # The folder is that of whoever typed it last.
    configuration = locked["job_configuration"] | {"working_dir": str(ROOT)}
    assert pool() == locked | {"job_configuration": configuration}


def test_commands_in_a_terminal_find_the_server_and_a_second_one_is_refused(platform: Platform) -> None:
    there = served(Settings(home=platform.home.path))
    assert there is not None
    assert there["api"] == f"{platform.ui}/api"
    said = platform.home.dst("serve", "--port", "0", code=2)
    assert "already" in said
    assert said.count("\n") == 1


def test_everything_listens_on_this_host_only(platform: Platform) -> None:
    listening = [
        connection.laddr.ip
        for process in [psutil.Process(platform.process.pid), *platform.family()]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert set(listening) == {"127.0.0.1"}


def test_other_hosts_are_let_in_only_with_a_password(tmp_path: Path) -> None:
    said = Home(tmp_path / "home", api="").dst("serve", "--host", "0.0.0.0", "--port", "0", code=2)
    assert said.count("\n") == 1
    assert "needs authentication: set PREFECT_SERVER_API_AUTH_STRING" in said


def test_a_run_that_is_cancelled_in_the_ui_ends_between_two_samples(platform: Platform) -> None:
    run = platform.launch("generate a class", class_name="car", samples=300, recipe="small").raise_for_status().json()
    renders = platform.home.path / "artifacts" / "render"
    before = len(list(renders.glob("??/*/record.json")))
    until = time.monotonic() + 300
    while len(list(renders.glob("??/*/record.json"))) == before:
        assert time.monotonic() < until, platform.said()
        time.sleep(0.1)
    engines = [process for process in platform.family() if "flows.engine" in " ".join(process.cmdline())]
    assert engines, "a run is a process of its own"
    # What the button of the UI asks for.
    asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    began = time.monotonic()
    platform.ask("POST", f"/flow_runs/{run['id']}/set_state", json=asked).raise_for_status()
    state = platform.wait(run["id"])["state"]
    assert (state["type"], state["name"]) == ("CANCELLED", "Cancelled")
    assert time.monotonic() - began < 15
    assert not psutil.wait_procs(engines, timeout=60)[1]
    told = platform.home.rows("select status, reason from runs order by started_at desc limit 1")
    assert told == [{"status": "stopped", "reason": "cancelled in Prefect"}]
    assert "catalog and store say the same" in platform.home.dst("catalog", "verify", "--quick")
    assert platform.home.rows("select count(*) as failed from samples where status = 'failed'") == [{"failed": 0}]


def test_ctrl_c_ends_everything_also_a_run_that_is_going_on(platform: Platform) -> None:
    run = platform.launch("generate a class", class_name="car", samples=300, recipe="small").raise_for_status().json()
    platform.wait(run["id"], "RUNNING")
    family = platform.family()
    assert any("flows.engine" in " ".join(process.cmdline()) for process in family), "a run is a process of its own"
    assert platform.interrupt() == 0
    assert "nothing of it runs on" in platform.log.read_text()
    alive = [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not alive
    with closing(sqlite3.connect(platform.home.path / "prefect" / "prefect.db")) as database:
        (state,) = database.execute("select state_name from flow_run where id = ?", [run["id"]]).fetchone()
    assert state == "Stopped"
    assert served(Settings(home=platform.home.path)) is None
