"""Bytes in a folder: its layout, and writers that are killed, machines that share it, disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from storage.artifacts import ArtifactStore, Record, at
from storage.blobs.folder import _mine
from storage.keys import artifact_key


def test_an_artifact_is_a_folder_of_its_files(store: ArtifactStore) -> None:
    key = artifact_key("control", 1, {}, {})
    store.put(Record(key=key, stage="control", version=1, spec={}, inputs={}), {"control.png": b"pixels"})
    folder = Path(store.where, "control", key[:2], key)
    assert sorted(path.name for path in folder.iterdir()) == ["control.png", "record.json"]
    assert folder.stat().st_mode & 0o777 == 0o755
    with store.local(store.get("control", key), "control.png") as path:
        assert path == folder / "control.png"
    assert sorted(path.name for path in Path(store.where).iterdir()) == [".unfinished", "control"]


def test_a_writer_killed_at_any_moment_leaves_no_half_artifact(store: ArtifactStore) -> None:
    code = f"""
import itertools
from storage.artifacts import ArtifactStore, Record
from storage.keys import artifact_key
store = ArtifactStore({store.where!r})
for i in itertools.count():
    key = artifact_key("control", 1, {{}}, {{"i": i}})
    record = Record(key=key, stage="control", version=1, spec={{}}, inputs={{"i": i}})
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
    assert not list(Path(store.where, ".unfinished").iterdir())


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
    store.put(Record(key=name * 64, stage="control", version=1, spec={{}}, inputs={{}}), {{"a.bin": bytes(size)}})
put("a", 1000)
try:
    put("b", 1_000_000)
except StoreFull as error:
    left = len(store.names(".unfinished"))
    print(str(error).count("\\n"), store.has("control", "a" * 64), store.has("control", "b" * 64), left)
"""
    mount = 'mount -t tmpfs -o size=300k tmpfs "$0" && exec "$1" -c "$2"'
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", mount, str(tmp_path), sys.executable, code]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "True", "False", "0"], done.stderr


def test_a_folder_that_lost_all_its_files_is_written_again(store: ArtifactStore) -> None:
    key = artifact_key("control", 1, {}, {})
    Path(store.where, at("control", key)).mkdir(parents=True)
    record = Record(key=key, stage="control", version=1, spec={}, inputs={})
    assert store.read(store.put(record, {"control.png": b"pixels"}), "control.png") == b"pixels"
