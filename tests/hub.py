"""A hub of the tests' own: models in folders, over HTTP as the real one answers, which can break off, refuse and lack."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


@dataclass
class Hub:
    """What it has, what goes wrong with it, and what it was asked."""

    models: Mapping[str, Path]
    """Hub id -> folder with its files."""
    address: str = ""
    gated: set[str] = field(default_factory=set)
    """Models of which everybody is told what they are, and nobody without a token is given a file."""
    cut: dict[str, int] = field(default_factory=dict)
    """File -> bytes behind which the connection breaks, once."""
    down: bool = False
    """Whether every file is answered with 503."""
    damaged: set[str] = field(default_factory=set)
    """Files that come with another first byte."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(file, its Range) of every GET of a file."""
    tokens: set[str] = field(default_factory=set)
    """What stood in Authorization."""

    def about(self, model: str) -> dict[str, Any]:
        """Return what the hub's API says of a model."""
        folder = self.models[model]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            "id": model, "sha": COMMIT, "gated": "manual" if model in self.gated else False, "cardData": {"license": "mit"},
            "tags": [], "siblings": [_stated(path, path.relative_to(folder).as_posix()) for path in files],
        }  # fmt: skip


def etag_of(path: Path) -> str:
    """Return the digest by which the hub names a file: sha256 of large ones, git's id of small ones."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def _stated(path: Path, name: str) -> dict[str, Any]:
    size, digest = path.stat().st_size, etag_of(path)
    large = {"lfs": {"sha256": digest, "size": size, "pointerSize": 134}} if len(digest) == 64 else {}
    return {"rfilename": name, "size": size, "blobId": "b" * 40 if large else digest, **large}


@contextmanager
def serving(models: Mapping[str, Path]) -> Iterator[Hub]:
    """Serve models; yield the hub."""
    hub = Hub(models=models)

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            token = self.headers.get("Authorization", "")
            hub.tokens |= {token} if token else set()
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                model = "/".join(parts[2:4])
                if model not in hub.models:
                    return self.refuse(404 if token else 401, "RepoNotFound")
                if len(parts) > 5 and parts[5] not in ("main", COMMIT):
                    return self.refuse(404, "RevisionNotFound")
                return self.send(200, json.dumps(hub.about(model)).encode(), {"Content-Type": "application/json"}, body)
            model, name = "/".join(parts[:2]), "/".join(parts[4:])
            if model not in hub.models:
                return self.refuse(404, "")
            if model in hub.gated and token != "Bearer let-me-in":
                return self.refuse(403 if token else 401, "GatedRepo")
            path = hub.models[model] / name
            if not path.is_file():
                return self.refuse(404, "EntryNotFound")
            if hub.down and body:
                return self.refuse(503, "")
            return self.give(path, name, body)

        def give(self, path: Path, name: str, body: bool) -> None:
            data, etag = path.read_bytes(), etag_of(path)
            said = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "X-Linked-Size": str(len(data))}
            if not body:
                return self.send(200, data, said, body)
            asked = self.headers.get("Range", "")
            hub.asked.append((name, asked))
            begin = int(asked.removeprefix("bytes=").rstrip("-") or 0)
            data = b"x" + data[1:] if name in hub.damaged else data
            if begin:
                said["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            return self.send(206 if begin else 200, data[begin:], said, body, hub.cut.pop(name, None))

        def send(self, code: int, data: bytes, said: Mapping[str, str], body: bool, cut: int | None = None) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": str(len(data)), **said}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True

        def refuse(self, code: int, why: str) -> None:
            self.send(code, b"{}", {"X-Error-Code": why} if why else {}, self.command != "HEAD")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
