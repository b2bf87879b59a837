"""What is kept of a store elsewhere: the same bytes, read there once, up to a size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage import keys, readcache
from storage.artifacts import ArtifactStore, DamagedArtifact, Record
from storage.readcache import ReadCache
from tests.storage.memory import MemoryBlobs

KEY = "a" * 64
RECORD = Record(key=KEY, stage="image", version=1, spec={}, inputs={})


class Counting(MemoryBlobs):
    """Counts the files that are read, but for records."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def get(self, name: str) -> bytes:
        self.read += not name.endswith("record.json")
        return super().get(name)


def test_a_file_is_read_once_and_its_copy_is_kept_for_other_processes(tmp_path: Path) -> None:
    blobs = Counting()
    store = ArtifactStore(blobs, ReadCache(tmp_path, 1000))
    made = store.put(RECORD, {"image.png": b"pixels"})
    assert [store.read(made, "image.png") for _ in range(3)] == [b"pixels"] * 3
    again = ArtifactStore(blobs, ReadCache(tmp_path, 1000))
    assert again.read(made, "image.png") == b"pixels"
    with again.local(made, "image.png") as path:
        assert (path.name, path.read_bytes()) == ("image.png", b"pixels")
    assert blobs.read == 1


def test_a_copy_that_went_bad_here_is_read_again_and_what_is_bad_there_is_not_kept(tmp_path: Path) -> None:
    blobs = Counting()
    store = ArtifactStore(blobs, ReadCache(tmp_path, 1000))
    made = store.put(RECORD, {"image.png": b"pixels"})
    store.read(made, "image.png")
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    kept.write_bytes(b"pixelz")
    assert store.read(made, "image.png") == b"pixels"
    assert kept.read_bytes() == b"pixels"
    kept.unlink()
    blobs.write(f"image/aa/{KEY}/image.png", b"other!")
    with pytest.raises(DamagedArtifact):
        store.read(made, "image.png")
    assert not kept.exists()
    # Whether the store itself is sound is asked of the store, whatever is kept here.
    blobs.write(f"image/aa/{KEY}/image.png", b"pixels")
    store.read(made, "image.png")
    blobs.write(f"image/aa/{KEY}/image.png", b"other!")
    assert store.sound("image", KEY) is None


def test_what_was_read_the_longest_ago_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readcache, "_LOOK_EVERY", 0)
    cache = ReadCache(tmp_path, 1000)
    files = {keys.digest(data): data for data in (bytes([number]) * 300 for number in range(3))}
    first = next(iter(files))
    for age, name in enumerate(files):
        cache.read(name, lambda name=name: files[name])  # type: ignore[misc]
        os.utime(tmp_path / name[:2] / name, (1000 + age, 1000 + age))
    assert cache.read(first, lambda: b"") == files[first], "read now, so no longer the oldest"
    fourth = b"x" * 300
    cache.read(keys.digest(fourth), lambda: fourth)
    # 1,200 bytes were too many: two go, which leaves less than four fifths of what may be there.
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {first, keys.digest(fourth)}


def test_a_disk_without_room_keeps_nothing_and_nobody_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(readcache.os, "replace", full)
    data = b"pixels"
    assert ReadCache(tmp_path, 1000).read(keys.digest(data), lambda: data) == data
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    large = bytes(2000)
    assert ReadCache(tmp_path, 1000).read(keys.digest(large), lambda: large) == large
