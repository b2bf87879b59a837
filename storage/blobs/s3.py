"""Bytes in a bucket of S3 (AWS, MinIO, Ceph and others).

Enters: groups of files. Leaves: objects below a prefix. Nothing can be renamed there, so every file is written on the condition
that it is not there, and the last of a group, the store's record, makes the group. Where the bucket is and who may use it is read
from the environment by obstore (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, ...); no word of it is kept or shown here.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from storage.blobs.protocol import NoRoom

_LARGE = 64 << 20
"""Bytes from which a file is sent in parts, which cannot be made conditional."""
_RECORD = "record.json"
_CLOCK, _SWEPT = ".clock", ".swept"
"""Objects of no bytes: what time it is for the server, and when somebody last looked for what is unfinished."""
TRY_S = 15.0
"""How long a server that is down is asked before work."""
_FULL = ("QuotaExceeded", "InsufficientStorage", "StorageFull", "507 ")
_BACKOFF: Any = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2}


class S3Blobs:
    """See storage.blobs.protocol.

    `retry_s`: how long a server that is down is asked again; `patience_s`: how long another writer of the same group, with other
    bytes, is waited for until it is taken for dead.
    """

    folder = None

    def __init__(self, bucket: str, prefix: str = "", *, retry_s: float = 90.0, patience_s: float = 10.0) -> None:
        from obstore.store import S3Store

        self.where = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix, self._retry_s, self._patience_s = bucket, prefix, retry_s, patience_s
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            checksum_algorithm="SHA256",
            # Whether it is http is said by the endpoint's own address.
            client_options={"allow_http": True},
            retry_config={"max_retries": 1000, "retry_timeout": timedelta(seconds=retry_s), "backoff": _BACKOFF},
        )

    def put(self, group: str, files: Mapping[str, bytes]) -> bool:
        *others, last = files
        with self._said():
            for name in others:
                if not self._put_file(f"{group}/{name}", files[name], f"{group}/{last}"):
                    return False
            return self._create(f"{group}/{last}", files[last])

    def write(self, name: str, data: bytes) -> None:
        with self._said():
            self._store.put(name, data)

    def get(self, name: str) -> bytes:
        with self._said():
            return bytes(self._store.get(name).bytes())

    def size(self, name: str) -> int | None:
        try:
            with self._said():
                return int(self._store.head(name)["size"])
        except FileNotFoundError:
            return None

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name.rpartition("/")[2])
            path.write_bytes(self.get(name))
            yield path

    def names(self, path: str) -> list[str]:
        with self._said():
            found = self._store.list_with_delimiter(path or None)
        here = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        names = sorted({name.rstrip("/").rpartition("/")[2] for name in here})
        # What another machine is writing is no damage: it is not there yet, and `put` goes on with it should that machine die.
        return [] if _is_group(path) and _RECORD not in names else names

    def age_s(self, group: str) -> float:
        written = [item["last_modified"] for item in self._below(group)]
        if not written:
            raise FileNotFoundError(group)
        return float((self._now() - max(written)).total_seconds())

    def move(self, group: str, to: str) -> bool:
        names = self._members(group)
        with self._said():
            for name in names:
                self._store.copy(name, f"{to}{name[len(group) :]}")
        self._delete(names)
        return bool(names)

    def remove(self, group: str) -> None:
        self._delete(self._members(group))

    def try_writing(self) -> None:
        """Write an object where there is none, and see the server refuse to write it again.

        A server that is down is not waited for as long as in the middle of a run.
        """
        from obstore import exceptions

        asked = S3Blobs(self._bucket, self._prefix, retry_s=min(TRY_S, self._retry_s))
        name = f".tried-{uuid.uuid4().hex}"
        with asked._said():
            asked._store.put(name, b"", mode="create")
            try:
                asked._store.put(name, b"", mode="create")
            except exceptions.AlreadyExistsError:
                return
            finally:
                # Who may write and not delete may work: an object of no bytes stays.
                with suppress(exceptions.BaseError):
                    asked._store.delete(name)
        raise ConnectionError(
            f"the server of {self.where} does not obey If-None-Match, so two machines could write one artifact at once; "
            "take one that does, see docs/scaling.md"
        )

    def sweep(self, older_than_s: float, every_s: float = 0.0) -> int:
        if every_s:
            # To know what is old takes a list of everything, 1,000 objects a request.
            with suppress(FileNotFoundError), self._said():
                looked, now = self._store.head(_SWEPT)["last_modified"], self._now()
                if (now - looked).total_seconds() < every_s:
                    return 0
        self.write(_SWEPT, b"")
        groups: dict[str, list[Any]] = {}
        for item in self._below(""):
            group = item["path"].rpartition("/")[0]
            if _is_group(group):
                groups.setdefault(group, []).append(item)
        unfinished = [items for items in groups.values() if not any(item["path"].endswith(f"/{_RECORD}") for item in items)]
        if not unfinished:
            return 0
        since = self._now() - timedelta(seconds=older_than_s)
        old = [items for items in unfinished if max(item["last_modified"] for item in items) < since]
        self._delete([item["path"] for items in old for item in items])
        return len(old)

    def _put_file(self, name: str, data: bytes, last: str) -> bool:
        """Write one file of a group that is not finished; False where somebody else has finished the group."""
        if len(data) >= _LARGE and self.size(name) is None:
            self._store.put(name, data)
            return True
        deadline = time.monotonic() + self._patience_s
        while not self._create(name, data):
            if self.size(last) is not None:
                return False
            try:
                if self.get(name) == data:
                    return True
            except FileNotFoundError:
                continue
            if time.monotonic() > deadline:
                # Of a writer that died, or a slow one: should it commit now, its record's digests tell of the damage.
                self._store.put(name, data)
                return True
            time.sleep(0.05)
        return True

    def _create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there; False where it is."""
        from obstore import exceptions

        deadline = time.monotonic() + self._retry_s
        again = False
        while True:
            try:
                self._store.put(name, data, mode="create")
                return True
            except exceptions.AlreadyExistsError:
                # It may be ours, of a try whose answer was lost.
                return again and self.get(name) == data
            except exceptions.GenericError:
                # obstore does not repeat a conditional request that was cut off after it was sent.
                if time.monotonic() > deadline:
                    raise
                again = True
                time.sleep(0.2)

    def _now(self) -> datetime:
        """Return the server's time: this machine's clock may be days off, and would take for old what is being written."""
        self.write(_CLOCK, b"")
        with self._said():
            now: datetime = self._store.head(_CLOCK)["last_modified"]
        return now

    def _below(self, group: str) -> list[Any]:
        with self._said():
            return [item for page in self._store.list(group or None) for item in page]

    def _members(self, group: str) -> list[str]:
        # The record last when it goes elsewhere, first when it goes away: see _delete.
        names = sorted(item["path"] for item in self._below(group))
        return [name for name in names if not name.endswith(f"/{_RECORD}")] + [
            name for name in names if name.endswith(f"/{_RECORD}")
        ]

    def _delete(self, names: list[str]) -> None:
        with self._said():
            for name in reversed(names):
                self._store.delete(name)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what the server says into one line. Raises FileNotFoundError, PermissionError, NoRoom, ConnectionError."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            if "RequestTimeTooSkewed" in str(error):
                raise PermissionError(f"this machine's clock is too far off that of {self.where}: set it right") from None
            line = f"{self.where} may not be used with these credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise PermissionError(f"{line} to ones that may read and write there") from None
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise ConnectionError(f"there is no bucket {self._bucket}; make it, or name another in DST_STORE_URL") from None
            raise FileNotFoundError("no such object") from None
        except exceptions.BaseError as error:
            if any(sign in str(error) for sign in _FULL):
                raise NoRoom(f"{self.where} is full") from None
            raise ConnectionError(
                f"{self.where} did not answer for {self._retry_s:.0f} s; is AWS_ENDPOINT_URL right and the server up? "
                "What was finished is kept: start again"
            ) from None


def _is_group(path: str) -> bool:
    """Say whether a path is an artifact's, stage/ab/abcd...: all else in a store is single files, or what was set aside."""
    return path.count("/") == 2 and not path.startswith(".")


def at_url(url: str) -> S3Blobs:
    """Return the bucket and prefix that an `s3://` URL names. Raises ValueError for one that names something else."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("the store's address holds credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f'"{url}" names no bucket: it is s3://bucket/prefix')
    try:
        return S3Blobs(parts.netloc, parts.path.strip("/"))
    except ImportError:
        raise ValueError("a store in S3 needs obstore: pip install 'dst-platform[s3]'") from None
