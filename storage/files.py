"""A small read-only web server for what people look at: reports, sheets, Data Docs, galleries and pictures of the store.

Enters: requests for paths below the home folder. Leaves: files of a few kinds from a few folders, and 404 for everything else:
the catalog, Prefect's database and results are in the same home and are never served. No path leads out of it, through `..`
in any spelling or through a link.
"""

from __future__ import annotations

import base64
import hmac
import os
import shutil
import stat
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

FOLDERS = ("reports", "sheets", "validation", "gallery", "artifacts")
"""The folders of a home that can be looked at."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".glb": "model/gltf-binary",
}
"""What is served, by the end of its name."""
LOCAL = ("127.0.0.1", "localhost", "::1")


def url_of(base: str, root: Path, path: Path) -> str | None:
    """Return the address of a file of the home under a server's base address; None where it is not served."""
    if not base or path.suffix not in TYPES or not path.is_relative_to(root):
        return None
    inside = path.relative_to(root)
    return f"{base.rstrip('/')}/{quote(inside.as_posix())}" if inside.parts[0] in FOLDERS else None


def find(root: Path, asked: str) -> Path | None:
    """Return the file that the path of a request means, or None if there is none to be shown.

    Every part must be a plain name, the first one of FOLDERS; and the file must lie below the root when all links are followed.
    """
    try:
        parts = [unquote(part, errors="strict") for part in asked.removeprefix("/").split("/")]
    except UnicodeDecodeError:
        return None
    if parts[0] not in FOLDERS or any(not _plain(part) for part in parts):
        return None
    real = Path(os.path.realpath(root))
    path = Path(os.path.realpath(real.joinpath(*parts)))
    return path if path.is_relative_to(real / parts[0]) and path.suffix in TYPES and os.path.isfile(path) else None


def _plain(part: str) -> bool:
    return bool(part) and not part.startswith(".") and not any(sign in part for sign in "/\\\0")


class FileServer:
    """The server, in a thread of its own. `auth`: "user:password" that every request must bring; "" asks for none."""

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = 0, auth: str = "", names: Sequence[str] = LOCAL) -> None:
        if host not in LOCAL and not auth:
            raise ValueError(f"files are not served on {host} without authentication")
        handler = type("Handler", (_Handler,), {"root": root, "auth": auth, "names": names if host in LOCAL else ()})
        self._server = _Server((host, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="files", daemon=True)

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the server and let its port go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD; the base class answers 501 to every other method."""

    root: Path
    auth: str
    names: Sequence[str]
    server_version, sys_version = "dst", ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        asked = urlsplit(self.path).path
        if not self._known_host():
            # A page elsewhere whose name was pointed at this machine is not let in.
            self._refuse(HTTPStatus.FORBIDDEN)
        elif not self._allowed():
            self._refuse(HTTPStatus.UNAUTHORIZED)
        elif asked == "/":
            self._refuse(HTTPStatus.FOUND, location="/reports/index.html")
        elif (path := find(self.root, asked)) is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send(path, body)

    def _send(self, path: Path, body: bool) -> None:
        try:
            # What was looked at is what is opened: a link put in its place meanwhile is not followed.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with os.fdopen(descriptor, "rb") as file:
            self._send_file(file, TYPES[path.suffix], body)

    def _send_file(self, file: BinaryIO, kind: str, body: bool) -> None:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(facts.st_size))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Last-Modified", self.date_time_string(int(facts.st_mtime)))
        if kind.startswith("image/svg"):
            # A drawing may hold scripts; shown on its own it must not run them.
            self.send_header("Content-Security-Policy", "sandbox")
        self.end_headers()
        if body:
            shutil.copyfileobj(file, self.wfile)

    def _refuse(self, status: HTTPStatus, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="dst", charset="UTF-8"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _known_host(self) -> bool:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        return not self.names or host in self.names

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        wanted = "Basic " + base64.b64encode(self.auth.encode()).decode()
        return not self.auth or hmac.compare_digest(given.encode(), wanted.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a terminal that serves shows runs."""
