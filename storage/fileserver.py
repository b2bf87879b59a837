"""A small web server for what people look at: folders of a home that may be shown, the artifacts of its store, the live pages.

Enters: requests for addresses of storage.files, and for what lies below /live (storage.live). Leaves: the files, whole or in
ranges, and 404 for everything else. No path leads out of its folder, through `..` in any spelling or through a link; artifacts
are asked of the store, by their addresses in it. Nothing can be written, but tags by the live pages.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from storage.artifacts import ArtifactError, ArtifactStore
from storage.files import ARTIFACTS, FOLDERS, TYPES
from storage.password import asked_for

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The names of this machine that only this machine can reach."""


class FileServer:
    """The server, in a thread of its own. `auth`: "user:password" that every request must bring; "" asks for none.

    more: further routes (storage.live.mount). Raises OSError when the port cannot be had.
    """

    def __init__(
        self,
        root: Path,
        store: ArtifactStore,
        host: str = "127.0.0.1",
        port: int = 0,
        auth: str = "",
        more: Sequence[BaseRoute] = (),
    ) -> None:
        if host not in LOCAL and not auth:
            raise ValueError(f"files are not served on {host} without authentication")
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = self._socket.getsockname()[:2]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app(root, store, auth, only_here=host in LOCAL, more=more),
                # Says nothing but errors: a terminal that serves shows runs.
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="files", daemon=True)

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the server and let its port go."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def app(root: Path, store: ArtifactStore, auth: str = "", *, only_here: bool = True, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application. `only_here`: answer only to this machine's own names. more: further routes."""
    folders = {name: StaticFiles(directory=root / name, check_dir=False) for name in FOLDERS}

    async def in_home(request: Request) -> Response:
        folder, path = request.path_params["folder"], request.path_params["path"]
        if folder not in folders or not _shown(path):
            raise HTTPException(404)
        response = await folders[folder].get_response(path, request.scope)
        response.headers.update(_headers(path))
        return response

    def in_store(request: Request) -> Response:
        address = request.path_params["address"]
        if not _shown(address):
            raise HTTPException(404)
        with ExitStack() as stack:
            try:
                artifact, name = store.at_address(address)
                path = stack.enter_context(store.local(artifact, name))
            except ArtifactError:
                raise HTTPException(404) from None
            headers = {"etag": f'"{artifact.record.files[name]["sha256"]}"', **_headers(name)}
            response = _Held(path, headers=headers, stat_result=path.stat())
            if folders[FOLDERS[0]].is_not_modified(response.headers, request.headers):
                return NotModifiedResponse(response.headers)
            response.context = stack.pop_all()
            return response

    made = Starlette(
        routes=[
            Route("/", lambda request: RedirectResponse(f"/{FOLDERS[0]}/index.html", 302)),
            Route(f"/{ARTIFACTS}/{{address:path}}", in_store),
            *more,
            Route("/{folder}/{path:path}", in_home),
        ],
        middleware=[
            # A page elsewhere whose name was pointed at this machine is not let in.
            *([Middleware(TrustedHostMiddleware, allowed_hosts=_NAMES, www_redirect=False)] if only_here else []),
            *asked_for(auth),
        ],
    )
    made.router.redirect_slashes = False
    return made


_NAMES = [f"[{name}]" if ":" in name else name for name in LOCAL]


def _shown(path: str) -> bool:
    """Say whether a path may be shown: its parts are plain names, as they were asked for, and its end is a known one."""
    parts = path.split("/")
    plain = all(part and not part.startswith(".") and "\\" not in part and "\0" not in part for part in parts)
    return plain and PurePosixPath(path).suffix in TYPES


def _headers(path: str) -> dict[str, str]:
    suffix = PurePosixPath(path).suffix
    headers = {"content-type": TYPES[suffix], "x-content-type-options": "nosniff", "cache-control": "no-cache"}
    # A drawing may hold scripts; shown on its own it must not run them.
    return headers | ({"content-security-policy": "sandbox"} if suffix == ".svg" else {})


class _Held(FileResponse):
    """A file that may be gone after its context: it ends when the file was sent."""

    context: ExitStack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.context:
            await super().__call__(scope, receive, send)
