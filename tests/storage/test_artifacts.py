"""The artifact store: written once and whole, damage found and named, also by writers that are killed and disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore, DamagedArtifact, MissingArtifact, Record, _mine
from storage.keys import artifact_key

KEY = artifact_key("edge", 1, {}, {"render": "a"})


def record(key: str = KEY, **fields: object) -> Record:
    return Record(key=key, stage="edge", version=1, spec={}, inputs={"render": "a"}, **fields)  # type: ignore[arg-type]


def test_what_was_put_is_read_back_with_its_record(store: ArtifactStore) -> None:
    store.put(record(values={"edge_pixels": 3}), {"edge.png": b"pixels"})
    found = store.get("edge", KEY)
    assert found.record.values == {"edge_pixels": 3}
    assert store.read(found, "edge.png") == b"pixels"


def test_the_first_writer_wins(store: ArtifactStore) -> None:
    store.put(record(), {"edge.png": b"first"})
    again = store.put(record(), {"edge.png": b"second"})
    assert store.read(again, "edge.png") == b"first"
    assert not list((store.root / ".unfinished").iterdir())


def test_a_failed_artifact_has_a_reason_and_no_files(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="reason"):
        store.put(record(outcome="failed"))
    store.put(record(outcome="failed", reason="empty_edge_map"))
    assert store.has("edge", KEY)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing"])
def test_damage_is_found_by_digest_and_named(store: ArtifactStore, damage: str) -> None:
    path = store.put(record(), {"edge.png": b"many pixels"}).path("edge.png")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": data[:4], "empty": b"", "flipped": bytes([data[0] ^ 1]) + data[1:]}[damage])
    with pytest.raises(DamagedArtifact, match=r"edge\.png"):
        store.read(store.get("edge", KEY), "edge.png")
    before = store.generation
    assert store.sound("edge", KEY) is None
    with pytest.raises(MissingArtifact):
        store.get("edge", KEY)
    assert store.generation != before
    store.put(record(), {"edge.png": b"many pixels"})
    assert store.sound("edge", KEY) is not None


@pytest.mark.parametrize("text", ["", "{", '{"key": 1}', "[]"])
def test_a_damaged_record_is_no_artifact(store: ArtifactStore, text: str) -> None:
    store.put(record(), {"edge.png": b"pixels"}).path("record.json").write_text(text)
    assert store.find("edge", KEY) is None
    with pytest.raises(DamagedArtifact):
        store.get("edge", KEY)


def test_a_writer_killed_at_any_moment_leaves_no_half_artifact(store: ArtifactStore) -> None:
    code = f"""
import itertools
from storage.artifacts import ArtifactStore, Record
from storage.keys import artifact_key
store = ArtifactStore({str(store.root)!r})
for i in itertools.count():
    key = artifact_key("edge", 1, {{}}, {{"i": i}})
    record = Record(key=key, stage="edge", version=1, spec={{}}, inputs={{"i": i}})
    store.put(record, {{"a.bin": bytes(200_000), "b.bin": b"x" * 100_000}})
"""
    for pause in (0.25, 0.31, 0.37, 0.43, 0.5):
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + 30
        while not any(store.records()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    artifacts = list(store.records())
    assert artifacts
    for artifact in artifacts:
        store.verify(artifact)
    store.sweep()
    assert not list((store.root / ".unfinished").iterdir())


def test_what_another_machine_is_writing_is_left_alone_until_it_is_old(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    unfinished = tmp_path / ".unfinished"
    theirs, ours = unfinished / f"{gone.pid}-0a1b2c3d-xyz", unfinished / f"{_mine(gone.pid)}xyz"
    theirs.mkdir(parents=True)
    ours.mkdir()
    assert store.sweep() == 1
    assert theirs.exists()
    assert not ours.exists()
    os.utime(theirs, (0, 0))
    assert store.sweep() == 1


def test_a_full_disk_is_one_clear_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    # A real full disk: a file system of 300 kB, mounted in a name space of its own.
    code = f"""
from storage.artifacts import ArtifactStore, Record, StoreFull
store = ArtifactStore({str(tmp_path)!r})
def put(name, size):
    store.put(Record(key=name * 64, stage="edge", version=1, spec={{}}, inputs={{}}), {{"a.bin": bytes(size)}})
put("a", 1000)
try:
    put("b", 1_000_000)
except StoreFull as error:
    left = len(list((store.root / ".unfinished").iterdir()))
    print(str(error).count("\\n"), store.has("edge", "a" * 64), store.has("edge", "b" * 64), left)
"""
    mount = 'mount -t tmpfs -o size=300k tmpfs "$0" && exec "$1" -c "$2"'
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", mount, str(tmp_path), sys.executable, code]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "True", "False", "0"], done.stderr
