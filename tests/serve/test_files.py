"""The read-only file server over real sockets: what it shows, and everything it must not."""

from __future__ import annotations

import base64
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.artifacts import Artifact, ArtifactStore, Record, at
from storage.files import url_of
from storage.fileserver import FileServer
from storage.keys import digest
from tests.storage.memory import MemoryBlobs

PAGE = b"<!doctype html><title>report</title>"
KEY = digest(b"an image")
IMAGE = f"/artifacts/{at('image', KEY)}"
PICTURE = b"\x89PNG picture"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("served")
    home = tmp_path / "home"
    for folder in ("reports", "validation/run", "prefect", "artifacts/image/.tmp", "artifacts/.damaged/image"):
        (home / folder).mkdir(parents=True)
    (home / "reports" / "a run.html").write_bytes(PAGE)
    (home / "reports" / "index.html").write_bytes(PAGE)
    for unfinished in (".damaged/image/half.png", "image/.tmp/half.png", "image/half.png"):
        (home / "artifacts" / unfinished).write_bytes(b"half")
    for secret in ("catalog.sqlite", "prefect/prefect.db", "prefect/profiles.toml", "reports/notes.pickle", "secret.html"):
        (home / secret).write_bytes(b"SECRET")
    (tmp_path / "outside.html").write_bytes(b"SECRET")
    (home / "reports" / "link.html").symlink_to(tmp_path / "outside.html")
    (home / "reports" / "folder").symlink_to(tmp_path)
    (home / "reports" / "inner.html").symlink_to(home / "secret.html")
    os.mkfifo(home / "reports" / "pipe.html")
    return home


@pytest.fixture(scope="module", params=["folder", "memory"])
def store(request: pytest.FixtureRequest, home: Path) -> ArtifactStore:
    return ArtifactStore(home / "artifacts" if request.param == "folder" else MemoryBlobs())


@pytest.fixture(scope="module")
def image(store: ArtifactStore) -> Artifact:
    record = Record(key=KEY, stage="image", version=1, spec={}, inputs={})
    return store.put(record, {"image.png": PICTURE, "drawing.svg": b"<svg/>", "secret.pickle": b"SECRET"})


@pytest.fixture(scope="module")
def server(home: Path, store: ArtifactStore, image: Artifact) -> Iterator[FileServer]:
    server = FileServer(home, store)
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
    [
        ("/reports/a%20run.html", "text/html; charset=utf-8"),
        (f"{IMAGE}/image.png?v=1", "image/png"),
        (f"{IMAGE}/drawing.svg", "image/svg+xml"),
    ],
)
def test_reports_and_pictures_come_with_their_type(server: FileServer, path: str, kind: str) -> None:
    status, head, body = ask(server, path)
    assert status == 200
    assert f"content-type: {kind}\r\n" in f"{head}\r\n"
    assert "x-content-type-options: nosniff" in head
    assert f"content-length: {len(body)}" in head
    assert ("content-security-policy: sandbox" in head) == path.endswith(".svg")


@pytest.mark.parametrize("path", ["/reports/index.html", f"{IMAGE}/image.png"])
def test_what_a_browser_has_is_not_sent_again_and_a_part_is_sent_alone(server: FileServer, path: str) -> None:
    _, head, body = ask(server, path)
    tag = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("etag"))
    assert ask(server, path, headers=f"If-None-Match: {tag}\r\n")[::2] == (304, b"")
    assert ask(server, path, headers='If-None-Match: "another"\r\n')[::2] == (200, body)
    assert ask(server, path, headers="Range: bytes=2-5\r\n")[::2] == (206, body[2:6])
    assert ask(server, path, headers=f"Range: bytes=-3\r\nIf-Range: {tag}\r\n")[::2] == (206, body[-3:])
    assert ask(server, path, headers='Range: bytes=2-5\r\nIf-Range: "another"\r\n')[::2] == (200, body)
    assert ask(server, path, headers="Range: bytes=5000-\r\n")[0] == 416


def test_the_tag_of_an_artifact_is_its_digest(server: FileServer) -> None:
    assert f'etag: "{digest(PICTURE)}"' in ask(server, f"{IMAGE}/image.png")[1]


def test_a_damaged_artifact_is_not_shown(server: FileServer, store: ArtifactStore) -> None:
    damaged = store.put(Record(key="d" * 64, stage="image", version=1, spec={}, inputs={}), {"image.png": PICTURE})
    address = store.address(damaged, "image.png")
    assert ask(server, f"/artifacts/{address}")[0] == 200
    store.blobs.write(address, PICTURE.replace(b"p", b"q"))
    assert ask(server, f"/artifacts/{address}")[0] == 404


def test_nothing_stays_behind_when_a_browser_goes_away(server: FileServer, store: ArtifactStore) -> None:
    big = store.put(Record(key="b" * 64, stage="cad", version=1, spec={}, inputs={}), {"model.glb": bytes(30_000_000)})
    before = set(Path(tempfile.gettempdir()).glob("*/model.glb"))
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        asked = f"GET /artifacts/{store.address(big, 'model.glb')} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(asked.encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    until = time.monotonic() + 10
    while (left := set(Path(tempfile.gettempdir()).glob("*/model.glb")) - before) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def test_head_says_the_same_without_the_file(server: FileServer) -> None:
    status, head, body = ask(server, "/reports/index.html", "HEAD")
    assert (status, body) == (200, b"")
    assert f"content-length: {len(PAGE)}" in head


def test_the_first_address_leads_to_the_reports(server: FileServer) -> None:
    status, head, _ = ask(server, "/")
    assert status == 302
    assert "location: /reports/index.html" in head


@pytest.mark.parametrize(
    "path",
    [
        "/catalog.sqlite", "/prefect/prefect.db", "/prefect/profiles.toml", "/secret.html", "/reports/notes.pickle",
        "/reports/../secret.html", "/reports/%2e%2e/secret.html", "/reports/%2E%2E/secret.html", "/reports/..%2fsecret.html",
        "/reports/..%5csecret.html", "/reports/%252e%252e/secret.html", "/reports/.%2e/.%2e/outside.html", "//secret.html",
        "/../outside.html", "/..//../outside.html", "/reports//../../outside.html", "reports/../secret.html",
        "/reports/%00/../secret.html", "/reports/index.html%00.png", "/reports/%c0%ae%c0%ae/secret.html", "/reports/%ff.html",
        "/reports/link.html", "/reports/inner.html", "/reports/folder/outside.html", "/reports/pipe.html",
        "/artifacts/image/.tmp/half.png", "/artifacts/image/half.png", "/artifacts/.damaged/image/half.png",
        f"{IMAGE}/secret.pickle", f"{IMAGE}/record.json",
        f"{IMAGE}/..%2f..%2f..%2fhalf.png", f"{IMAGE}/none.png",
        f"{IMAGE}/image.png/", f"/artifacts//{at('image', KEY)}/image.png",
        "/artifacts/../reports/index.html", "/reports/../reports/index.html", "/reports/x/../index.html",
        "/reports", "/reports/", "/artifacts", "/artifacts/image/ab/", "/reports/none.html", "/reports/index.html/",
        "/reports/" + "a" * 5000 + ".html", "/artifacts/" + "a" * 5000 + ".png",
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
    assert ask(server, "/reports/index.html", method)[0] == 405
    assert (home / "reports" / "index.html").read_bytes() == PAGE


def test_a_name_that_was_pointed_at_this_machine_is_not_let_in(server: FileServer) -> None:
    assert ask(server, "/reports/index.html", host="evil.example")[0] == 400
    assert ask(server, "/reports/index.html", host="[::1]:80")[0] == 200
    assert ask(server, "/reports/index.html", host=f"localhost:{server.port}")[0] == 200


def test_it_listens_on_this_host_only_and_elsewhere_not_without_a_password(server: FileServer, home: Path) -> None:
    assert server.host == "127.0.0.1"
    with pytest.raises(ValueError, match="authentication"):
        FileServer(home, ArtifactStore(home / "artifacts"), host="0.0.0.0")


def test_a_port_that_is_taken_is_an_error_at_once_and_one_that_was_left_is_free(home: Path) -> None:
    store = ArtifactStore(home / "artifacts")
    for _ in range(2):
        server = FileServer(home, store)
        with pytest.raises(OSError, match="in use"):
            FileServer(home, store, port=server.port)
        server.start()
        # A browser keeps its connection; the server ends all the same, and soon.
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(b"GET /reports/index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 3


def test_with_a_password_only_those_who_know_it_see_anything(home: Path) -> None:
    server = FileServer(home, ArtifactStore(home / "artifacts"), host="0.0.0.0", auth="dst:pass")
    server.start()
    try:
        status, head, _ = ask(server, "/reports/index.html")
        assert status == 401
        assert "www-authenticate: Basic" in head
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
    from tasks.plan.pages import address, docs_path, gallery_path, report_path
    from tasks.plan.place import Place
    from tasks.train import training

    served = Place.of(Settings(home=home, files_url="http://127.0.0.1:4201"))
    alone = Place.of(Settings(home=home, files_url=""))
    trained = training(home, ["duck"], "maker/model@0123abc").page
    for path in (report_path(home, "run"), docs_path(home, "run"), gallery_path(home), trained):
        assert address(served, path) == f"http://127.0.0.1:4201/{path.relative_to(home).as_posix()}"
        assert address(alone, path) == path.as_uri()


def test_an_artifact_of_any_class_has_a_name_that_prefect_takes() -> None:
    from tasks.faults import artifact_name

    assert artifact_name("delivery truck", "counts") == "delivery-truck-counts"
    assert artifact_name("t-shirt", "report") == "t-shirt-report"
