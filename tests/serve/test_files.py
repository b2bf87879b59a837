"""The read-only file server over real sockets: what it shows, and everything it must not."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.files import FileServer, url_of

PAGE = b"<!doctype html><title>report</title>"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for folder in ("reports", "validation/run", "artifacts/image/ab", "prefect", "artifacts/image/.tmp"):
        (home / folder).mkdir(parents=True)
    (home / "reports" / "a run.html").write_bytes(PAGE)
    (home / "reports" / "index.html").write_bytes(PAGE)
    (home / "artifacts" / "image" / "ab" / "image.png").write_bytes(b"\x89PNG picture")
    (home / "artifacts" / "image" / ".tmp" / "half.png").write_bytes(b"half")
    for secret in ("catalog.sqlite", "prefect/prefect.db", "prefect/profiles.toml", "reports/notes.pickle", "secret.html"):
        (home / secret).write_bytes(b"SECRET")
    (tmp_path / "outside.html").write_bytes(b"SECRET")
    (home / "reports" / "link.html").symlink_to(tmp_path / "outside.html")
    (home / "reports" / "folder").symlink_to(tmp_path)
    (home / "reports" / "inner.html").symlink_to(home / "secret.html")
    os.mkfifo(home / "reports" / "pipe.html")
    return home


@pytest.fixture
def server(home: Path) -> Iterator[FileServer]:
    server = FileServer(home)
    server.start()
    yield server
    server.stop()


def ask(server: FileServer, path: str, method: str = "GET", host: str = "127.0.0.1", headers: str = "") -> tuple[int, str, bytes]:
    """Ask with the path exactly as given; return status, headers and body."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n".encode("latin-1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1"), body


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/reports/a%20run.html", "text/html; charset=utf-8"), ("/artifacts/image/ab/image.png?v=1", "image/png")],
)
def test_reports_and_pictures_come_with_their_type(server: FileServer, path: str, kind: str) -> None:
    status, head, body = ask(server, path)
    assert status == 200
    assert f"Content-Type: {kind}\r\n" in f"{head}\r\n"
    assert "X-Content-Type-Options: nosniff" in head
    assert f"Content-Length: {len(body)}" in head


def test_head_says_the_same_without_the_file(server: FileServer) -> None:
    status, head, body = ask(server, "/reports/index.html", "HEAD")
    assert (status, body) == (200, b"")
    assert f"Content-Length: {len(PAGE)}" in head


def test_the_first_address_leads_to_the_reports(server: FileServer) -> None:
    status, head, _ = ask(server, "/")
    assert status == 302
    assert "Location: /reports/index.html" in head


@pytest.mark.parametrize(
    "path",
    [
        "/catalog.sqlite", "/prefect/prefect.db", "/prefect/profiles.toml", "/secret.html", "/reports/notes.pickle",
        "/reports/../secret.html", "/reports/%2e%2e/secret.html", "/reports/%2E%2E/secret.html", "/reports/..%2fsecret.html",
        "/reports/..%5csecret.html", "/reports/%252e%252e/secret.html", "/reports/.%2e/.%2e/outside.html", "//secret.html",
        "/../outside.html", "/..//../outside.html", "/reports//../../outside.html", "reports/../secret.html",
        "/reports/%00/../secret.html", "/reports/index.html%00.png", "/reports/%c0%ae%c0%ae/secret.html", "/reports/%ff.html",
        "/reports/link.html", "/reports/inner.html", "/reports/folder/outside.html", "/reports/pipe.html",
        "/artifacts/image/.tmp/half.png",
        "/reports", "/reports/", "/artifacts/image/ab/", "/reports/none.html", "/reports/" + "a" * 5000 + ".html",
        "http://elsewhere/../outside.html", "*",
    ],
)  # fmt: skip
def test_nothing_else_is_shown(server: FileServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert status in (400, 404)
    assert b"SECRET" not in body
    assert b"half" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_only_looking_is_allowed(server: FileServer, home: Path, method: str) -> None:
    assert ask(server, "/reports/index.html", method)[0] == 501
    assert (home / "reports" / "index.html").read_bytes() == PAGE


def test_a_name_that_was_pointed_at_this_machine_is_not_let_in(server: FileServer) -> None:
    assert ask(server, "/reports/index.html", host="evil.example")[0] == 403
    assert ask(server, "/reports/index.html", host=f"localhost:{server.port}")[0] == 200


def test_it_listens_on_this_host_only_and_elsewhere_not_without_a_password(server: FileServer, home: Path) -> None:
    assert server._server.server_address[0] == "127.0.0.1"
    with pytest.raises(ValueError, match="authentication"):
        FileServer(home, host="0.0.0.0")


def test_with_a_password_only_those_who_know_it_see_anything(home: Path) -> None:
    server = FileServer(home, host="0.0.0.0", auth="dst:pass")
    server.start()
    try:
        status, head, _ = ask(server, "/reports/index.html")
        assert status == 401
        assert "WWW-Authenticate: Basic" in head
        for given, expected in (("dst:pass", 200), ("dst:wrong", 401), ("", 401)):
            sent = f"Authorization: Basic {base64.b64encode(given.encode()).decode()}\r\n"
            assert ask(server, "/reports/index.html", headers=sent)[0] == expected
    finally:
        server.stop()


def test_an_address_is_given_only_for_what_is_served(home: Path) -> None:
    base = "http://127.0.0.1:4201/"
    assert url_of(base, home, home / "reports" / "a run.html") == "http://127.0.0.1:4201/reports/a%20run.html"
    assert url_of(base, home, home / "catalog.sqlite") is None
    assert url_of(base, home, home.parent / "outside.html") is None
    assert url_of("", home, home / "reports" / "index.html") is None


def test_links_are_addresses_where_there_is_a_server_and_files_where_there_is_none(home: Path) -> None:
    from storage.settings import Settings
    from tasks.page import address, docs_path, gallery_path, report_path
    from tasks.train import place

    served = Settings(home=home, files_url="http://127.0.0.1:4201")
    training = place(served.root, ["duck"], "maker/model@0123abc").page
    for path in (report_path(served, "run"), docs_path(served, "run"), gallery_path(served), training):
        assert address(served, path) == f"http://127.0.0.1:4201/{path.relative_to(home).as_posix()}"
        assert address(Settings(home=home, files_url=""), path) == path.as_uri()


def test_an_artifact_of_any_class_has_a_name_that_prefect_takes() -> None:
    from tasks.page import artifact_name

    assert artifact_name("delivery truck", "counts") == "delivery-truck-counts"
    assert artifact_name("t-shirt", "report") == "t-shirt-report"
