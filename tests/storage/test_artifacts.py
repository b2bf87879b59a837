"""The artifact store on every place for bytes: written once and whole, damage found and named, counted and deleted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from storage.artifacts import (
    RECORD,
    ArtifactError,
    ArtifactStore,
    DamagedArtifact,
    MissingArtifact,
    MissingFile,
    Record,
    StoreFull,
    at,
)
from storage.blobs import door
from storage.blobs.folder import FolderBlobs
from storage.blobs.protocol import Blobs
from storage.blobs.s3 import S3Blobs
from storage.keys import artifact_key
from storage.settings import Settings
from tests.storage.memory import MemoryBlobs, opened

KEY = artifact_key("control", 1, {}, {"render": "a"})
HERE = at("control", KEY)


def record(key: str = KEY, **fields: object) -> Record:
    return Record(key=key, stage="control", version=1, spec={}, inputs={"render": "a"}, **fields)  # type: ignore[arg-type]


@pytest.fixture(params=["folder", "memory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "s3":
        return S3Blobs(request.getfixturevalue("bucket"), "some/prefix")
    return FolderBlobs(tmp_path / "artifacts") if request.param == "folder" else MemoryBlobs()


@pytest.fixture
def store(blobs: Blobs) -> ArtifactStore:
    return ArtifactStore(blobs)


def lose(store: ArtifactStore, address: str) -> None:
    """Take a file away behind the store's back."""
    if isinstance(store.blobs, MemoryBlobs):
        del store.blobs.blobs[address]
    elif isinstance(store.blobs, S3Blobs):
        store.blobs._delete([address])
    else:
        Path(store.where, address).unlink()


def test_what_was_put_is_read_back_with_its_record(store: ArtifactStore) -> None:
    store.put(record(values={"pixels": 3}), {"control.png": b"pixels"})
    found = store.get("control", KEY)
    assert found.record.values == {"pixels": 3}
    assert store.read(found, "control.png") == b"pixels"


def test_a_library_gets_a_file_of_this_machine(store: ArtifactStore) -> None:
    artifact = store.put(record(), {"model.glb": b"a mesh"})
    with store.local(artifact, "model.glb") as path:
        assert path.read_bytes() == b"a mesh"
        assert path.suffix == ".glb"


def test_what_goes_wrong_with_a_local_file_is_not_taken_for_its_absence(store: ArtifactStore) -> None:
    artifact = store.put(record(), {"model.glb": b"a mesh"})
    with pytest.raises(FileNotFoundError):
        with store.local(artifact, "model.glb") as path:
            path.with_name("another").read_bytes()


def test_the_first_writer_wins(store: ArtifactStore) -> None:
    store.put(record(), {"control.png": b"first"})
    again = store.put(record(), {"control.png": b"second"})
    assert store.read(again, "control.png") == b"first"
    assert store.sweep(0) == 0


def test_of_many_writers_at_once_one_is_read_whole(store: ArtifactStore) -> None:
    ready, found = threading.Barrier(8), []

    def write(data: bytes) -> None:
        ready.wait()
        artifact = store.put(record(), {"a.bin": data * 50_000, "b.bin": data})
        found.append((store.read(artifact, "a.bin")[:1], store.read(artifact, "b.bin")))

    writers = [threading.Thread(target=write, args=(bytes([65 + i]),)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(found) == 8
    assert len({byte for pair in found for byte in pair}) == 1


def test_a_failed_artifact_has_a_reason_and_no_files(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="reason"):
        store.put(record(outcome="failed"))
    store.put(record(outcome="failed", reason="empty_edge_map"))
    assert store.has("control", KEY)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing"])
def test_damage_is_found_by_digest_and_named(store: ArtifactStore, damage: str) -> None:
    data = b"many pixels"
    address = store.address(store.put(record(), {"control.png": data}), "control.png")
    if damage == "missing":
        lose(store, address)
    else:
        store.blobs.write(address, {"truncated": data[:4], "empty": b"", "flipped": bytes([data[0] ^ 1]) + data[1:]}[damage])
    artifact = store.get("control", KEY)
    with pytest.raises(MissingFile if damage == "missing" else DamagedArtifact, match=r"control\.png"):
        store.read(artifact, "control.png")
    with pytest.raises(DamagedArtifact, match=r"control\.png"):
        with store.local(artifact, "control.png"):
            pass
    with pytest.raises(DamagedArtifact, match=r"control\.png"):
        store.check(address, artifact.record.files["control.png"])
    assert store.is_damaged("control", KEY) == (damage != "flipped")
    before = store.generation
    assert store.sound("control", KEY) is None
    with pytest.raises(MissingArtifact):
        store.get("control", KEY)
    assert store.generation != before
    assert (store.times_set_aside("control", KEY), len(store.aside())) == (1, 1)
    store.put(record(), {"control.png": data})
    assert store.sound("control", KEY) is not None
    assert not store.is_damaged("control", KEY)


@pytest.mark.parametrize("text", ["", "{", '{"key": 1}', "[]"])
def test_a_damaged_record_is_no_artifact(store: ArtifactStore, text: str) -> None:
    store.put(record(), {"control.png": b"pixels"})
    store.blobs.write(f"{HERE}/{RECORD}", text.encode())
    assert store.find("control", KEY) is None
    assert store.is_damaged("control", KEY)
    assert list(store.keys("control")) == [KEY]
    assert not list(store.records())
    with pytest.raises(DamagedArtifact):
        store.get("control", KEY)


def test_what_has_lost_its_record_is_damaged_and_what_was_never_there_is_missing(store: ArtifactStore) -> None:
    assert not store.is_damaged("control", KEY)
    store.put(record(), {"control.png": b"pixels"})
    lose(store, f"{HERE}/{RECORD}")
    if isinstance(store.blobs, S3Blobs):
        # There the record makes the group: without it the group may be what another machine is writing now.
        with pytest.raises(MissingArtifact):
            store.get("control", KEY)
        store.put(record(), {"control.png": b"pixels"})
        assert store.sound("control", KEY) is not None
        return
    with pytest.raises(DamagedArtifact, match="record is missing"):
        store.get("control", KEY)
    assert store.is_damaged("control", KEY)


def test_a_store_without_room_says_so_in_one_line_and_keeps_what_it_has() -> None:
    store = ArtifactStore(MemoryBlobs(room=2000))
    store.put(record(), {"a.bin": bytes(1000)})
    with pytest.raises(StoreFull, match=r"no space left for artifacts in memory://here; [^\n]*$"):
        store.put(record("b" * 64), {"a.bin": bytes(1000)})
    assert store.sound("control", KEY) is not None
    assert not store.has("control", "b" * 64)


def test_everything_in_the_store_comes_in_order_of_stage_and_key(store: ArtifactStore) -> None:
    made = sorted(artifact_key(stage, 1, {}, {"i": i}) for stage in ("image", "cad") for i in range(20))
    for i, key in enumerate(made):
        store.put(Record(key=key, stage="image" if i % 2 else "cad", version=1, spec={}, inputs={}), {"a": b"a"})
    store.renew_generation()
    store.add_to_count("deaths/one")
    store.set_aside("cad", made[0])
    assert store.stages() == ["cad", "image"]
    assert list(store.keys("image")) == made[1::2]
    assert [artifact.key for artifact in store.records()] == made[2::2] + made[1::2]
    assert list(store.records("render")) == []


def test_what_lies_somewhere_is_measured_and_deleted_as_a_whole(store: ArtifactStore) -> None:
    artifact = store.put(record(), {"a.bin": bytes(700), "b.bin": bytes(300)})
    store.blobs.write(f"{HERE}/strange.txt", b"who wrote this?")
    assert store.names(HERE) == ["a.bin", "b.bin", RECORD, "strange.txt"]
    assert store.size(HERE) == 1015 + len(store.blobs.get(f"{HERE}/{RECORD}"))
    assert 0 <= store.age_s(HERE) < 60
    store.remove(HERE)
    store.remove(HERE)
    assert store.find("control", artifact.key) is None
    assert store.names(HERE) == []
    with pytest.raises(FileNotFoundError):
        store.age_s(HERE)


def test_an_address_leads_to_its_file_and_nowhere_else(store: ArtifactStore) -> None:
    artifact = store.put(record(), {"control.png": b"pixels"})
    address = store.address(artifact.record, "control.png")
    assert address == f"control/{KEY[:2]}/{KEY}/control.png"
    assert store.open_address(address) == b"pixels"
    store.set_aside("control", KEY)
    store.put(record(), {"control.png": b"pixels"})
    hostile = [
        "", "control", f"{HERE}/", f"{HERE}/{RECORD}", f"{HERE}/none.png", f"{HERE}/../{KEY}/control.png", f"/{address}",
        f"control/{'00' if KEY[:2] != '00' else '01'}/{KEY}/control.png", f"control/{KEY[:2]}/{KEY[:-1]}/control.png",
        f"{store.aside()[0]}/control.png", ".generation", f"{HERE}/control.png\0", f"{HERE}/{'a' * 5000}.png", f"{address}\n",
    ]  # fmt: skip
    for asked in hostile:
        with pytest.raises(ArtifactError):
            store.open_address(asked)


def test_a_counter_is_shared_by_all_who_count(store: ArtifactStore, blobs: Blobs) -> None:
    assert store.count("deaths/one") == 0
    counters = [threading.Thread(target=ArtifactStore(blobs).add_to_count, args=("deaths/one",)) for _ in range(10)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    assert store.add_to_count("deaths/one") == 11
    assert ArtifactStore(blobs).count("deaths/one") == 11
    assert store.count("deaths/two") == 0


def test_a_page_links_to_the_store_beside_it_or_on_the_server(store: ArtifactStore, tmp_path: Path) -> None:
    page, inside = tmp_path / "reports" / "run.html", tmp_path / "artifacts" / "car-v1"
    in_folder = store.blobs.folder is not None
    assert store.link(page) == ("../artifacts" if in_folder else "/artifacts")
    assert store.holds(inside) == in_folder
    assert not store.holds(page)


def test_a_place_joins_by_one_line_and_is_opened_by_its_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(door.PLACES, "memory", "tests.storage.memory:opened")
    store = Settings(home=tmp_path, store_url="memory://there").store
    store.put(record(), {"control.png": b"pixels"})
    assert opened("memory://there").size(f"{HERE}/control.png") == 6
    assert Settings(home=tmp_path, store_url=f"file://{tmp_path}/else%20where").store.where == f"{tmp_path}/else where"
    assert Settings(home=tmp_path, store_url="").store.where == str(tmp_path / "artifacts")
    with pytest.raises(ValueError, match="begins with file://"):
        door.open_blobs("gopher://there")
