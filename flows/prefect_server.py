"""What Prefect's server needs added and repaired, loaded by it as the entry point `prefect.collections` of this package.

It answers every web page and every Host, so a page that a person has open in the same browser could launch runs. Requests from
elsewhere end here, before anything of Prefect's sees them.

Prefect 3.8.8 inserts scheduled flow runs in bulk with a `state` among their values, which SQLAlchemy 2.1 refuses ("please supply
a bulk_dml decorated function") and 2.0 passed over: without this no deployment ever runs on its schedule. The state is written by
Prefect's own next statement. Prefect loads the module in servers, workers and clients; only a server has what is mended.

The server that a command starts for itself would be stopped by the Ctrl-C that stops the command, which then waits for it in
vain, once for each thing it has to say; and it would outlive a command that is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from storage.fileserver import LOCAL

_LOOK_EVERY_S = 1.0


class Door:
    """Lets in who asks for this server by a name of its own and, from a web page, only its own UI's pages.

    `ui_api`: the API's address that pages are told, where a person has set one; it names the server. `origins`: of other pages
    that a person lets in. `password`: whether the server asks for one.
    """

    def __init__(self, app: ASGIApp, ui_api: str, origins: list[str], *, password: bool) -> None:
        self._app, self._password = app, password
        self._origins = {urlsplit(origin).netloc for origin in [ui_api, *origins]} - {""}
        self._names = {*LOCAL, *(_name(netloc) for netloc in self._origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._open(scope):
            refusal = WebSocketClose(1008) if scope["type"] == "websocket" else PlainTextResponse(_REFUSED, 403)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _open(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        arrived = (scope.get("server") or ("",))[0]
        # A page whose name was pointed at this machine says that name. With a password such a page gets nowhere, and a server for
        # other machines cannot know what they call it.
        if not self._password and _name(host) not in {*self._names, arrived}:
            return False
        if origin is None:
            return True
        # "null" (a sandbox, a file) has no place, and is none of ours.
        page = urlsplit(origin).netloc
        return bool(page) and (page == host or page in self._origins or _is_local(page, host))


_REFUSED = (
    "This server answers to its own pages and names only. Is this a name of yours for it, or a proxy's before it? "
    "Start the server with PREFECT_SERVER_UI_API_URL=http://NAME:PORT/api.\n"
)


def _name(netloc: str) -> str:
    """Return the name or address in "name:port"."""
    return urlsplit(f"//{netloc}").hostname or ""


def _is_local(page: str, host: str) -> bool:
    """Say whether two say the same port of this machine."""
    return _name(page) in LOCAL and _name(host) in LOCAL and page.rpartition(":")[2] == host.rpartition(":")[2]


def keep_the_door() -> None:
    """Put the door before every application of this process."""
    from prefect.server.api.server import APP_CACHE
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    # Prefect's own default names port 4200, wherever this server listens.
    ui_api = str(server.ui.api_url) if "api_url" in server.ui.model_fields_set else ""
    # "*" is Prefect's default: every page.
    origins = [origin.strip() for origin in server.api.cors_allowed_origins.split(",") if origin.strip() != "*"]
    for app in APP_CACHE.values():
        # It is starting: what is added with add_middleware now would come too late.
        before = app.middleware_stack or app.build_middleware_stack()
        app.middleware_stack = Door(before, ui_api, origins, password=server.api.auth_string is not None)


def repair() -> bool:
    """Let bulk inserts of flow runs pass over `state`, as SQLAlchemy 2.0 did; return whether there was anything to repair."""
    from prefect.server.database.orm_models import FlowRun

    state = FlowRun.__dict__["state"]
    if getattr(state, "bulk_dml_setter", "unknown") is not None:
        return False

    def pass_over(cls: type[Any], mapping: MutableMapping[str, Any], value: Any) -> None:
        """Leave the mapping as it is."""

    state.bulk_dml_setter = pass_over
    return True


def clean_up_in_short_lives() -> None:
    """Let a command's own server, too, delete runs that are older than a person wants; Prefect does so in standing ones only."""
    from prefect.server.services import db_vacuum, perpetual_services

    wanted = (db_vacuum.schedule_vacuum_tasks, db_vacuum.schedule_orphan_vacuum_tasks)
    for service in perpetual_services._PERPETUAL_SERVICES:
        if service.function in wanted:
            service.run_in_ephemeral = True


def belong_to_the_command() -> None:
    """Let a command's own server end with the command: not by the terminal's Ctrl-C, and not after it."""
    command = os.getppid()
    os.setpgrp()

    def watch() -> None:
        while os.getppid() == command:
            time.sleep(_LOOK_EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="ends with its command").start()


if "prefect.server.api.server" in sys.modules:
    # The migrations have put the working folder first, for whatever is imported from now on.
    sys.path[:] = [entry for entry in sys.path if entry != "."]
    keep_the_door()
    repair()
    if os.environ.get("PREFECT__SERVER_EPHEMERAL") == "1":
        belong_to_the_command()
        clean_up_in_short_lives()
