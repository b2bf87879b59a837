"""How many files a second a store writes and reads: a folder, a bucket by obstore (what the project takes), a bucket by s3fs.

    .venv/bin/python -m tests.benchmarks.scale_store --kilobytes 20 450 --files 400 --threads 1 8

Without AWS_ENDPOINT_URL the bucket is one of moto's server, in a process of its own on this machine: what differs between the two
clients is then their own, what both have in common is moto's. With it, the bucket that --bucket names. s3fs is measured where it
is installed (`pip install s3fs`); the project does without. Every file is put on the condition that it is not there, as the store
does, except in a folder, where whole artifacts are renamed into place (storage/blobs/folder.py). --list N: seconds to list so
many files, and by them those of a million.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Way:
    """One way to keep files."""

    title: str
    put: Callable[[str, bytes], object]
    get: Callable[[str], bytes]
    count: Callable[[str], int]
    """Says how many files lie below a name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilobytes", nargs="+", type=int, default=[20, 450])
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--list", type=int, default=0, metavar="N")
    parser.add_argument("--bucket", default="")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dst-scale-") as folder, _server(asked.bucket) as bucket:
        ways = list(_ways(folder, bucket))
        server = "moto on this machine" if not asked.bucket else os.environ["AWS_ENDPOINT_URL"]
        table = Table("kilobytes", "threads", "way", "puts a second", "gets a second")
        for kilobytes in asked.kilobytes:
            for threads in asked.threads:
                for way in ways:
                    rates = _rates(way, kilobytes, asked.files, threads)
                    table.add_row(str(kilobytes), str(threads), way.title, *(f"{rate:.0f}" for rate in rates))
        Console().print(f"{asked.files} files, {os.cpu_count()} cores, S3: {server}", table)
        if asked.list:
            for way in ways:
                names = [f"list/{index // 256:04x}/{index:08x}" for index in range(asked.list)]
                _each(lambda name, way=way: way.put(name, b"0"), names, 8)  # type: ignore[misc]
                began = time.perf_counter()
                found = way.count("list")
                spent = time.perf_counter() - began
                said = f"{found} of {asked.list} files in {spent:.2f} s, a million in about {spent / found * 1e6:.0f} s"
                Console().print(f"{way.title}: listed {said}")


def _rates(way: Way, kilobytes: int, files: int, threads: int) -> tuple[float, float]:
    """Return puts and gets a second."""
    data = os.urandom(kilobytes * 1000)
    names = [f"rate/{uuid.uuid4().hex}/file.bin" for _ in range(files)]
    put = _each(lambda name: way.put(name, data), names, threads)

    def get(name: str) -> None:
        assert way.get(name) == data

    return files / put, files / _each(get, names, threads)


def _each(act: Callable[[str], object], names: Sequence[str], threads: int) -> float:
    """Do something for each name; return the seconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(act, names))
    return time.perf_counter() - began


def _ways(folder: str, bucket: str) -> Iterator[Way]:
    from pathlib import Path

    from obstore.store import S3Store

    from storage.blobs.folder import FolderBlobs

    blobs = FolderBlobs(Path(folder))
    yield Way(
        "folder",
        lambda name, data: blobs.put(name.rpartition("/")[0] if name.endswith("/file.bin") else name, {"file.bin": data}),
        lambda name: blobs.get(name),
        lambda name: sum(len(files) for _, _, files in os.walk(Path(folder, name))),
    )
    prefix = uuid.uuid4().hex
    store = S3Store(bucket, prefix=prefix, checksum_algorithm="SHA256", client_options={"allow_http": True})
    yield Way(
        "S3, obstore",
        lambda name, data: store.put(name, data, mode="create"),
        lambda name: bytes(store.get(name).bytes()),
        lambda name: sum(len(page) for page in store.list(name)),
    )
    if importlib.util.find_spec("s3fs") is None:
        return
    import s3fs

    files = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False)
    place = f"{bucket}/{prefix}-s3fs"
    yield Way(
        "S3, s3fs",
        lambda name, data: files.pipe_file(f"{place}/{name}", data, mode="create"),
        lambda name: bytes(files.cat_file(f"{place}/{name}")),
        lambda name: len(files.find(f"{place}/{name}")),
    )


@contextmanager
def _server(bucket: str) -> Iterator[str]:
    """Give the bucket that was named, or one of a server that is started for it."""
    if bucket:
        yield bucket
        return
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address, name = f"http://127.0.0.1:{port}", f"b-{uuid.uuid4().hex}"
    credentials = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1", **credentials}
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT")).close()
                break
            except urllib.error.URLError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield name
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
