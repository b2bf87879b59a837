"""The whole of docker-compose.yml: checked by docker-compose itself, then its own commands with its own settings, natively.

Two workers on two homes, which share S3 and Postgres and nothing else, make one class; see tests.serve.stack.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import yaml

from storage.stages import OF_A_SAMPLE
from tests import postgres
from tests.flows.conftest import ROOT, add_cars
from tests.serve.stack import QUICK, InStack, Stack, auth, clean, compose, digests, launched, running

pytestmark = pytest.mark.slow

PASSWORDS = {"POSTGRES_PASSWORD": "a", "PREFECT_AUTH": "dst:b", "S3_PASSWORD": "c"}
ONCE = {"catalog", "bucket", "upgrade"}
"""Services that end when they have done their work."""


@pytest.mark.parametrize("missing", sorted(PASSWORDS))
def test_nothing_starts_while_a_password_is_missing_or_empty(tmp_path: Path, missing: str) -> None:
    for given in ({name: value for name, value in PASSWORDS.items() if name != missing}, PASSWORDS | {missing: ""}):
        said = compose(tmp_path, given)
        assert said.returncode != 0
        assert re.search(rf"{missing}.*say .* in \.env", said.stderr), said.stderr


def test_the_example_of_settings_names_what_the_compose_file_reads_and_no_password() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)
    read = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(example) == read
    assert {example[name] for name in PASSWORDS} == {""}


def test_everything_is_pinned_published_on_this_host_only_and_looked_after(tmp_path: Path) -> None:
    said = compose(tmp_path, PASSWORDS, "--profile", "gpu")
    assert said.returncode == 0, said.stderr
    services = yaml.safe_load(said.stdout)["services"]
    assert set(services) == {"postgres", "s3", "server", "files", "worker", "gpu", *ONCE}
    for name, service in services.items():
        assert re.search(r":(\d+\.\d+|RELEASE\.\d{4}-\d\d-\d\d)", service["image"]), name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert (name in ONCE) != ("healthcheck" in service), name
        assert (name in ONCE) != (service.get("restart") == "unless-stopped"), name
    assert services["gpu"]["profiles"] == ["gpu"]
    assert services["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "profiles" not in services["worker"]
    assert re.match(r"FROM python:3\.11\.\d+-slim-bookworm\n", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()))
    libraries = re.search(r"RENDERER_LIBS := (.*)", (ROOT / "Makefile").read_text())
    assert libraries is not None
    assert set(libraries[1].split()) <= set((ROOT / "Dockerfile").read_text().split())


def test_schemas_are_brought_up_to_date_once_before_anybody_uses_them(tmp_path: Path) -> None:
    services = yaml.safe_load(compose(tmp_path, PASSWORDS, "--profile", "gpu").stdout)["services"]

    def behind(name: str) -> set[str]:
        before = set(services[name].get("depends_on", ()))
        return before.union(*(behind(other) for other in before))

    for name in ("server", "files", "worker", "gpu"):
        assert {"postgres", "s3", *ONCE} <= behind(name), name
    waited = {condition["condition"] for each in services.values() for condition in each.get("depends_on", {}).values()}
    assert waited == {"service_healthy", "service_completed_successfully"}
    assert services["server"]["environment"]["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "false"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def test_without_the_password_the_server_answers_nothing(stack: Stack) -> None:
    assert httpx.post(f"{stack.platform.ui}/api/flows/filter", json={}, timeout=30).status_code == 401


def test_two_workers_on_two_homes_make_one_class_at_once_with_the_bytes_of_one_quiet_run(stack: Stack, tmp_path: Path) -> None:
    platform, (first, second) = stack.platform, stack.homes
    add_cars(first, tmp_path / "cars", count=2)
    # The same samples under two names, so that neither waits for the other: each of the first four is dealt to both.
    runs = [launched(stack, class_name="car", samples=4, recipe="small")]
    platform.wait(runs[0], "RUNNING", "COMPLETED", "FAILED", "CRASHED")
    runs.append(launched(stack, class_name="car", samples=8, recipe="twin"))
    ended = [platform.wait(run) for run in runs]
    assert [run["state_type"] for run in ended] == ["COMPLETED", "COMPLETED"], stack.said()
    with psycopg.connect(stack.database.url("catalog")) as connection:
        samples = "select recipe, count(*), count(image_key) from samples where in_cohort = 1 group by 1 order by 1"
        made = connection.execute(samples).fetchall()
        images = "select count(*), count(distinct made_by) from artifacts where stage = 'image'"
        count, makers = connection.execute(images).fetchall()[0]
    assert made == [("small", 4, 4), ("twin", 8, 8)]
    assert count == 8, "none is there twice"
    assert makers == 2, "each made some of them"
    reports = [set((home.path / "reports").glob("*.html")) - {home.path / "reports" / "index.html"} for home in (first, second)]
    assert [len(found) for found in reports] == [1, 1], "each worker made one of the runs, in a home of its own"
    assert "catalog and store say the same" in second.dst("catalog", "verify")

    quiet = InStack(tmp_path / "quiet", "", clean() | QUICK | auth(stack) | {"DST_HOME": str(tmp_path / "quiet")})
    add_cars(quiet, tmp_path / "cars", count=2)
    quiet.dst("run", "car", "--samples", "8", "--overrides", quiet.overrides())
    assert digests(stack) == quiet.digests(*OF_A_SAMPLE)


def test_a_report_of_a_run_elsewhere_is_shown(stack: Stack) -> None:
    runs = stack.platform.ask("POST", "/flow_runs/filter", json={"flows": {"name": {"any_": ["generate a class"]}}}).json()
    for run in runs:
        link = re.search(r"\[report\]\((\S+)\)", stack.platform.artifacts(run["id"])["car-summary"])
        assert link is not None
        until = time.monotonic() + 60
        while not (page := httpx.get(link[1], timeout=30)).text.startswith("<!"):
            assert time.monotonic() < until, page.text
            time.sleep(0.5)


def test_secrets_are_nowhere(stack: Stack) -> None:
    """Neither in the catalog nor in Prefect's database, nor in any file of the platform, nor in what the API shows."""
    platform = stack.platform
    shown = {
        path: platform.ask("POST", f"/{path}/filter", json={}).raise_for_status().json()
        for path in ("flow_runs", "task_runs", "deployments", "artifacts", "logs", "work_pools", "block_documents")
    }
    assert shown["logs"]
    assert shown["artifacts"]
    texts = {f"API: {name}": json.dumps(rows) for name, rows in shown.items()}
    for database in ("prefect", "catalog"):
        dump = subprocess.run(
            [postgres._programs() / "pg_dump", "--data-only", stack.database.url(database)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert "car" in dump.stdout
        texts[f"database {database}"] = dump.stdout
    homes = [platform.home.path, *(home.path for home in stack.homes)]
    files = [file for place in (*homes, *stack.logs) for file in [place, *place.rglob("*")] if file.is_file()]
    assert any("read-cache" in file.parts for file in files)
    assert any(file.name.startswith("worker-") for file in files)
    for file in files:
        texts[str(file)] = file.read_bytes().decode("latin-1")
    for name, secret in stack.secrets.items():
        for spelling in {secret, secret.split(":")[-1]}:
            assert [place for place, text in texts.items() if spelling in text] == [], name


def test_arguments_of_the_processes_hold_no_secret(stack: Stack) -> None:
    ours = [psutil.Process(process.pid) for process in (stack.platform.process, *stack.workers)]
    for process in [*ours, *(child for each in ours for child in each.children(recursive=True))]:
        arguments = " ".join(process.cmdline())
        assert not [name for name, secret in stack.secrets.items() if secret.split(":")[-1] in arguments]
