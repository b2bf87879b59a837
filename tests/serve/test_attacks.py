"""Who is kept away from a running `dst serve`: pages of other origins, foreign hosts, and runs that say more than they may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.answering import answering
from tests.serve.conftest import Platform

pytestmark = pytest.mark.slow

ATTACK = """async ([api, deployment, file]) => {
    const body = JSON.stringify({job_variables: {command: `touch ${file}`}})
    const create = `${api}/deployments/${deployment}/create_flow_run`
    const json = {"content-type": "application/json"}
    const tries = {
        read: () => fetch(`${api}/work_pools/filter`, {method: "POST", body: "{}", headers: json}),
        look: () => fetch(`${api}/admin/version`),
        launch: () => fetch(create, {method: "POST", body, headers: json}),
        // No question is asked before these two: they arrive, whatever may be read of the answer.
        plain: () => fetch(create, {method: "POST", body, mode: "no-cors", headers: {"content-type": "text/plain"}}),
        bare: () => fetch(create, {method: "POST", body: new Blob([body]), mode: "no-cors"}),
        listen: () => new Promise((ok, no) => {
            const socket = new WebSocket(`${api.replace("http", "ws")}/events/in`)
            socket.onopen = () => ok({ok: true, status: "open"})
            socket.onerror = () => no(new Error("refused"))
        }),
    }
    const got = {}
    for (const [name, attempt] of Object.entries(tries))
        got[name] = await attempt().then(answer => answer.ok ? "let in" : "refused", () => "refused")
    return got
}"""
"""What a page can try: read, launch, launch in the two ways that need no preflight, and a socket, for which there is none."""


def launched(platform: Platform) -> int:
    """Return how often somebody has launched the verification; its schedule plans runs of its own."""
    found = platform.ask("POST", "/flow_runs/filter", json={"flows": {"name": {"any_": ["verify"]}}}).raise_for_status().json()
    return sum(not row["auto_scheduled"] for row in found)


@pytest.mark.parametrize("place", ["another origin", "a sandbox", "a foreign host"])
def test_a_page_from_elsewhere_reaches_nothing(platform: Platform, browser: Any, tmp_path: Path, place: str) -> None:
    file, before = tmp_path / "was-here", launched(platform)
    deployment = platform.deployments()["verify"]["id"]
    page = browser.new_page()
    with answering() as elsewhere:
        # To a browser, a page under a rebound name asks its own origin.
        api = f"{platform.ui}/api".replace("127.0.0.1", "rebound.test" if place == "a foreign host" else "127.0.0.1")
        page.goto(api.removesuffix("/api") if place == "a foreign host" else elsewhere)
        frame = page
        if place == "a sandbox":
            page.set_content("<iframe sandbox='allow-scripts' srcdoc='<p>here</p>'></iframe>")
            page.frame_locator("iframe").get_by_text("here").wait_for()
            frame = page.frames[1]
        got = frame.evaluate(ATTACK, [api, deployment, str(file)])
    page.close()
    assert got == dict.fromkeys(["read", "look", "launch", "plain", "bare", "listen"], "refused")
    assert launched(platform) == before
    assert not file.exists()


def test_the_uis_own_page_reaches_everything_under_each_name_of_this_machine(platform: Platform, browser: Any) -> None:
    for name in ("127.0.0.1", "localhost"):
        page = browser.new_page()
        page.goto(platform.ui.replace("127.0.0.1", name))
        got = page.evaluate(ATTACK, [f"{platform.ui}/api", "no-such-deployment", ""])
        page.close()
        assert {key: got[key] for key in ("read", "look", "listen")} == dict.fromkeys(["read", "look", "listen"], "let in")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "null"},
        {"Host": "rebound.test"},
        {"Host": "rebound.test", "Origin": "http://rebound.test"},
        {"Host": "127.0.0.1.rebound.test:4200"},
    ],
)
def test_a_foreign_origin_or_host_is_refused_before_anything_is_done(platform: Platform, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/admin/version"), ("OPTIONS", "/flow_runs/filter"), ("POST", "/flow_runs/filter")):
        more = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        answer = platform.ask(method, path, headers=headers | more)
        assert answer.status_code == 403, (method, path)
        assert "access-control-allow-origin" not in answer.headers
        assert "PREFECT_SERVER_UI_API_URL" in answer.text


def test_a_run_says_nothing_about_its_command_its_environment_or_its_folder(platform: Platform, tmp_path: Path) -> None:
    """By plain HTTP, as whoever may ask the API at all."""
    file, code = tmp_path / "was-here", tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(f"open({str(file)!r}, 'w')")
    deployment = platform.deployments()["verify"]
    wanted = {
        "command": f"touch {file}",
        "env": {"PYTHONPATH": str(code)},
        "env.PYTHONPATH": str(code),
        "working_dir": str(code),
        "image": "elsewhere/image",
    }
    for name, value in wanted.items():
        said = {"job_variables": {name: value}}
        refused = platform.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", json=said)
        assert refused.status_code == 422, name
        assert f"'{name}' was unexpected" in refused.text
    # In these two ways Prefect asks nobody; the worker passes over it.
    platform.ask("PATCH", f"/deployments/{deployment['id']}", json={"job_variables": wanted}).raise_for_status()
    flow_run = {
        "flow_id": deployment["flow_id"],
        "deployment_id": deployment["id"],
        "work_pool_name": "dst",
        "state": {"type": "SCHEDULED"},
        "job_variables": wanted,
    }
    made = platform.ask("POST", "/flow_runs/", json=flow_run).raise_for_status().json()
    try:
        assert platform.wait(made["id"])["state_type"] == "COMPLETED"
    finally:
        platform.ask("PATCH", f"/deployments/{deployment['id']}", json={"job_variables": {}}).raise_for_status()
    assert not file.exists()
