"""Who is let in by the door before Prefect's server, name by name; test_served.py has Chromium try it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from flows.commands.serve import see_that_strangers_are_refused
from flows.prefect_server import Door
from tests.answering import answering

HERE = "127.0.0.1:4200"
PAGE = f"http://{HERE}"


def status(host: str, origin: str | None, ui_api: str = "", origins: tuple[str, ...] = (), password: bool = False) -> int:
    """Return what a request with these headers, arriving at 127.0.0.1, is answered."""
    behind = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in"))])
    client: httpx.Client = TestClient(Door(behind, ui_api, list(origins), password=password), base_url=PAGE)
    return client.get("/", headers={"host": host} | ({"origin": origin} if origin is not None else {})).status_code


@pytest.mark.parametrize(
    ("host", "origin", "more"),
    [
        (HERE, None, {}),
        (HERE, PAGE, {}),
        ("localhost:4200", "http://localhost:4200", {}),
        ("[::1]:4200", "http://[::1]:4200", {}),
        # The page was opened under another name of this machine than the one that it is told to ask.
        (HERE, "http://localhost:4200", {}),
        ("box.example:4200", "http://box.example:4200", {"ui_api": "http://box.example:4200/api"}),
        # A proxy that hands on its own address as the host.
        (HERE, "https://box.example", {"ui_api": "https://box.example/api"}),
        (HERE, "https://dashboard.example", {"origins": ("https://dashboard.example",)}),
        # Others' names for a server with a password are theirs to choose; what asks without it gets nowhere.
        ("server:4200", None, {"password": True}),
        ("box.example:4200", "http://box.example:4200", {"password": True}),
    ],
)
def test_its_own_names_and_pages_are_let_in(host: str, origin: str | None, more: dict[str, Any]) -> None:
    assert status(host, origin, **more) == 200


@pytest.mark.parametrize(
    ("host", "origin", "more"),
    [
        ("rebound.example:4200", None, {}),
        ("rebound.example:4200", "http://rebound.example:4200", {}),
        ("127.0.0.1.example", None, {}),
        ("127.0.0.1@rebound.example", None, {}),
        ("", None, {}),
        (HERE, "http://127.0.0.1:4201", {}),
        (HERE, "http://localhost:4201", {}),
        (HERE, "http://127.0.0.1", {}),
        (HERE, "https://example.org", {}),
        (HERE, "http://127.0.0.1:4200.example.org", {}),
        (HERE, "null", {}),
        (HERE, "", {}),
        (HERE, "file://", {}),
        (HERE, "https://example.org", {"password": True}),
        (HERE, "http://box.example:4201", {"ui_api": "http://box.example:4200/api"}),
    ],
)
def test_others_are_refused(host: str, origin: str | None, more: dict[str, Any]) -> None:
    assert status(host, origin, **more) == 403


def test_a_socket_from_another_page_is_refused() -> None:
    client = TestClient(Door(Starlette(), "", [], password=False), base_url=PAGE)
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/", headers={"origin": "http://example.org"}):
        pass
    assert refused.value.code == 1008


def test_a_server_without_the_door_is_not_served_and_one_that_is_joined_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200) as address:
        api = f"{address}/api"
        with pytest.raises(ValueError, match="would answer any web page"):
            see_that_strangers_are_refused(api, own=True)
        see_that_strangers_are_refused(api, own=False)
    assert capsys.readouterr().out.startswith(f"note: the server at {api} answers any web page")
    for code in (401, 403):
        with answering(code) as address:
            see_that_strangers_are_refused(f"{address}/api", own=True)
    assert not capsys.readouterr().out
