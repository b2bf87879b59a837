"""A store in S3: writers that die, servers that are down, full or refuse, and what stands in records of them: nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from storage.artifacts import RECORD, ArtifactStore, Record, StoreFull, at
from storage.blobs import door
from storage.blobs.s3 import S3Blobs

KEY = "ab" * 32
HERE = at("control", KEY)
RECORD_OF_IT = Record(key=KEY, stage="control", version=1, spec={}, inputs={})


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """A server that answers everything alike; gives its address."""

    class Refusing(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"0"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = answer

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_killed_writer_left_is_swept_when_it_is_old_and_what_is_finished_stays(bucket: str) -> None:
    store = ArtifactStore(S3Blobs(bucket, "p"))
    store.put(RECORD_OF_IT, {"a.bin": b"a"})
    left = at("control", "cd" * 32)
    store.blobs.write(f"{left}/a.bin", b"half")
    assert store.sweep(3600) == 0
    assert store.sweep(-5) == 1
    assert store.names(left) == []
    assert store.sound("control", KEY) is not None


def test_the_server_s_clock_says_what_is_old(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(S3Blobs(bucket, "p"))
    store.blobs.write(f"{HERE}/a.bin", b"half")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert store.age_s(HERE) < 60
    assert store.sweep(3600) == 0


def test_what_another_machine_is_writing_is_neither_there_nor_damaged(bucket: str) -> None:
    first, second = ArtifactStore(S3Blobs(bucket, "p")), ArtifactStore(S3Blobs(bucket, "p"))
    first.blobs.write(f"{HERE}/a.bin", b"whole")
    assert second.find("control", KEY) is None
    assert not second.is_damaged("control", KEY)
    assert second.names(HERE) == []
    # Whoever is first with the record has made it; the other finds it made.
    assert second.read(second.put(RECORD_OF_IT, {"a.bin": b"whole"}), "a.bin") == b"whole"
    assert first.put(RECORD_OF_IT, {"a.bin": b"whole"}).record == second.get("control", KEY).record
    assert first.sound("control", KEY) is not None


def test_other_bytes_of_a_writer_that_died_are_written_over(bucket: str) -> None:
    store = ArtifactStore(S3Blobs(bucket, "p", patience_s=0.1))
    store.blobs.write(f"{HERE}/a.bin", b"half")
    assert store.read(store.put(RECORD_OF_IT, {"a.bin": b"whole"}), "a.bin") == b"whole"


def test_large_files_go_in_parts(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.blobs.s3._LARGE", 6 << 20)
    data = bytes(range(256)) * (28 << 10)
    store = ArtifactStore(S3Blobs(bucket))
    store.put(RECORD_OF_IT, {"a.bin": data})
    assert store.sound("control", KEY) is not None
    assert store.blobs.size(f"{HERE}/a.bin") == len(data)


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (403, "AccessDenied", PermissionError, "AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", PermissionError, "clock is too far off"),
        (404, "NoSuchBucket", ConnectionError, "no bucket b"),
        (507, "XMinioStorageFull", StoreFull, "no space left"),
        (503, "SlowDown", ConnectionError, "did not answer"),
    ],
)
def test_a_server_that_refuses_is_one_line(
    status: int, code: str, kind: type[Exception], says: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, code) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = ArtifactStore(S3Blobs("b", retry_s=0.3))
        with pytest.raises(kind, match=says) as caught:
            store.put(RECORD_OF_IT, {"a.bin": b"a"})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_bucket_is_looked_at_before_work(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(S3Blobs(bucket, "p"))
    store.try_writing()
    assert store.names("") == [], "nothing is left of it"
    with pytest.raises(ConnectionError, match="no bucket none-such"):
        ArtifactStore(S3Blobs("none-such")).try_writing()
    # One that lets two machines write the same key at once is no place for a store.
    with answering(200, "") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(ConnectionError, match="does not obey If-None-Match"):
            ArtifactStore(S3Blobs(bucket)).try_writing()
    began = time.monotonic()
    monkeypatch.setattr("storage.blobs.s3.TRY_S", 0.3)
    with pytest.raises(ConnectionError, match="did not answer"):
        ArtifactStore(S3Blobs(bucket)).try_writing()
    assert time.monotonic() - began < 30.0, "it is not waited for as in the middle of a run"


def test_a_bucket_is_listed_for_what_is_unfinished_once_a_day(bucket: str) -> None:
    first, second = ArtifactStore(S3Blobs(bucket, "p")), ArtifactStore(S3Blobs(bucket, "p"))
    assert first.sweep(-5, every_s=86_400.0) == 0
    left = at("control", "cd" * 32)
    first.blobs.write(f"{left}/a.bin", b"half")
    assert second.sweep(-5, every_s=86_400.0) == 0, "somebody has looked today"
    assert second.sweep(-5, every_s=-5.0) == 1
    first.blobs.write(f"{left}/a.bin", b"half")
    assert first.sweep(-5) == 1, "asked for, as by dst prune"


def test_a_server_that_comes_back_is_waited_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(503, "SlowDown") as address:
        port = int(address.rpartition(":")[2])
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = ArtifactStore(S3Blobs(bucket, retry_s=20))
        writer = threading.Thread(target=store.put, args=(RECORD_OF_IT, {"a.bin": b"a"}))
        writer.start()
        writer.join(1)
        assert writer.is_alive()
    back = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    back.start()
    writer.join(20)
    try:
        assert not writer.is_alive()
        assert store.sound("control", KEY) is not None
    finally:
        back.stop()


def test_an_address_names_a_bucket_and_no_credentials(bucket: str) -> None:
    for url in ("s3://", "s3:///prefix", f"s3://{bucket}/p?x=1"):
        with pytest.raises(ValueError, match="s3://bucket/prefix"):
            door.open_blobs(url)
    with pytest.raises(ValueError, match="holds credentials") as caught:
        door.open_blobs("s3://me:secret@bucket/p")
    assert "secret" not in str(caught.value)
    store = ArtifactStore(door.open_blobs(f"s3://{bucket}/p"))
    store.put(RECORD_OF_IT, {"a.bin": b"a"})
    assert store.where == f"s3://{bucket}/p"
    assert b"secret" not in store.blobs.get(f"{HERE}/{RECORD}")
