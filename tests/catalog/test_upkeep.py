"""Catalog and store kept in order: every planted difference is named, and only what nothing refers to goes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.artifacts import ArtifactStore, Record, at
from storage.catalog import prune
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.catalog.restore import everything
from storage.catalog.verify import Difference, verify
from storage.keys import artifact_key
from tests.catalog import records


@dataclasses.dataclass(frozen=True)
class Made:
    """A catalog and a store that say the same."""

    catalog: Catalog
    store: ArtifactStore

    def sql(self, statement: str) -> None:
        with self.catalog.database.writing() as connection:
            assert connection.execute(sa.text(statement)).rowcount, f"{statement} changed nothing"

    def differences(self, digests: bool = True) -> list[Difference]:
        return sorted(verify(self.catalog, self.store, digests=digests))

    def folder(self, stage: str) -> Path:
        return min((Path(self.store.where) / stage).glob("??/*"))

    def prune(self, older_than_s: float = 0.0) -> prune.Plan:
        found = prune.plan(self.catalog, self.store, older_than_s)
        prune.remove(self.catalog, self.store, found)
        return found


def run(made: Made, class_name: str, views: int) -> str:
    """A finished run of a class with two CAD models, one sample failed, its files in the store."""
    catalog, store = made.catalog, made.store
    histories = [*records.cohort(class_name, 2, views), records.history(class_name, 0, 9, fails_at="control")]
    artifacts = records.put(store, records.records(histories))
    verdict = records.verdict([history for history in histories if history.made], class_name)
    for history in histories:
        catalog.add_cad_model(
            cad_id=history.sample.cad_id, class_name=class_name, source="a.obj", cad_key=history.records["cad"].key,
            facts=records.cad_values(),
        )  # fmt: skip
    catalog.index([*artifacts, *verdict.put(store)])
    run_id = catalog.start_run(class_name=class_name, recipe="embedded", recipe_specs={}, samples=len(histories))
    members = [history.member(verdict.key if history.made else None) for history in histories]
    catalog.set_cohort(class_name, "embedded", run_id, members)
    catalog.finish_run(run_id, status="complete", seconds={"render": 1.5})
    return run_id


@pytest.fixture
def made(url: str, store: ArtifactStore) -> Made:
    catalog = Catalog(url, store)
    catalog.migrate()
    made = Made(catalog, store)
    run(made, "car", 3)
    run(made, "mug", 2)
    catalog.quarantine("broken.obj", reason="unreadable", origin="watch")
    key = catalog.query("select min(image_key) as k from members").k[0]
    catalog.add_release(
        name="v1", format="coco", query="1 = 1", digest="d" * 64, path="out", samples=[{"sample_id": "s", "image_key": key}]
    )
    catalog.add_foreign_images([{"image_id": "a" * 64, "origin": "official", "class_name": "car", "path": "1.png"}])
    return made


def test_a_sound_store_and_its_catalog_say_the_same(made: Made) -> None:
    assert made.differences() == []


def test_a_run_that_is_going_on_or_was_killed_is_no_difference(made: Made) -> None:
    made.catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    run_id = made.catalog.start_run(class_name="mug", recipe="other", recipe_specs={}, samples=1)
    made.sql(f"UPDATE runs SET status = 'crashed' WHERE run_id = '{run_id}'")
    assert made.differences() == []


# No two of these are told by the same kind of difference in the same table.
TAMPERED = {
    "DELETE FROM images WHERE image_key = (SELECT min(image_key) FROM images)": ("no_row", "images/"),
    "DELETE FROM artifacts WHERE key = (SELECT max(key) FROM artifacts WHERE stage = 'render')": ("no_row", "render/"),
    "UPDATE views SET azimuth_deg = 400 WHERE render_key = (SELECT min(render_key) FROM views)": ("other_value", "views/"),
    "UPDATE captions SET prompt = 'nonsense' WHERE caption_key = (SELECT min(caption_key) FROM captions)":
        ("other_value", "captions/"),
    "UPDATE artifacts SET bytes = 1 WHERE key = (SELECT min(key) FROM artifacts WHERE stage = 'control')":
        ("other_value", "artifacts/"),
    "UPDATE controls SET density = 1 WHERE control_key = (SELECT min(control_key) FROM controls)": ("other_value", "controls/"),
    "DELETE FROM image_controls WHERE image_key = (SELECT min(image_key) FROM images)": ("no_row", "image_controls/"),
    "DELETE FROM scores WHERE name = 'kcf' AND image_key = (SELECT min(image_key) FROM scores)": ("no_row", "scores/"),
    "UPDATE verdict_scores SET score_key = 'x' WHERE judge = 'kcf'": ("other_value", "verdict_scores/"),
    "DELETE FROM verdicts WHERE image_key = (SELECT min(image_key) FROM verdicts)": ("no_row", "verdicts/"),
    "INSERT INTO verdicts (verdict_key, image_key, kept) SELECT min(verdict_key), 'x', 1 FROM filters": ("no_entry", "verdicts/"),
    "UPDATE filters SET kept_images = 0 WHERE class_name = 'car'": ("other_value", "filters/"),
    "UPDATE cad_models SET licence = 'CC0' WHERE class_name = 'car' AND cad_id = (SELECT min(cad_id) FROM cad_models)":
        ("other_value", "cad_models/"),
    "UPDATE runs SET status = 'failed' WHERE class_name = 'car'": ("other_value", "runs/"),
    "UPDATE members SET status = 'failed' WHERE class_name = 'car' AND view_index = 1": ("other_value", "members/"),
    "DELETE FROM members WHERE class_name = 'car' AND view_index = 0": ("no_row", "members/"),
    "DELETE FROM quarantine": ("no_row", "quarantine/"),
    "DELETE FROM release_samples": ("no_row", "release_samples/"),
    "UPDATE foreign_images SET path = 'other'": ("other_value", "foreign_images/"),
}  # fmt: skip


def test_a_row_that_was_tampered_with_is_named_and_mended_by_a_rebuild(made: Made) -> None:
    for statement in TAMPERED:
        made.sql(statement)
    found = made.differences()
    for statement, (kind, where) in TAMPERED.items():
        assert any(difference.kind == kind and difference.where.startswith(where) for difference in found), (statement, found)
    made.catalog.rebuild(made.store.records())
    assert made.differences() == []


def test_a_row_whose_artifact_is_gone_is_named_with_whoever_refers_to_it(made: Made) -> None:
    folder = made.folder("control")
    shutil.rmtree(folder)
    assert [(d.kind, d.where) for d in made.differences()] == [("no_artifact", f"control/{folder.name[:12]}")]
    made.catalog.rebuild(made.store.records())
    assert {d.kind for d in made.differences()} == {"orphan"}
    assert all(folder.name[:12] in d.what for d in made.differences())


def test_a_stage_that_the_store_has_lost_wholly_is_named(made: Made) -> None:
    shutil.rmtree(Path(made.store.where) / "caption")
    assert [d.kind for d in made.differences()] == ["no_artifact"] * 10


def test_a_file_that_is_missing_cut_altered_or_strange_is_named(made: Made) -> None:
    image, control, render = (made.folder(stage) for stage in ("image", "control", "render"))
    (image / "image.png").unlink()
    (control / "control.png").write_bytes(b"short")
    data = bytearray((render / "mask.png").read_bytes())
    data[5] ^= 1
    (render / "mask.png").write_bytes(data)
    (render / "notes.txt").write_text("mine")
    assert [d.kind for d in made.differences()] == ["damaged_file", "damaged_file", "missing_file", "strange_file"]
    assert [d.kind for d in made.differences(digests=False)] == ["damaged_file", "missing_file", "strange_file"]
    assert all("\n" not in str(d) for d in made.differences())


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_text("{"), lambda path: path.write_text("[]")]
)
def test_a_damaged_record_is_named_and_a_rebuild_goes_on_without_it(made: Made, damage: Callable[[Path], object]) -> None:
    folder = made.folder("caption")
    damage(folder / "record.json")
    assert [(d.kind, d.where) for d in made.differences()] == [("damaged_record", f"caption/{folder.name[:12]}")]
    left_out: list[str] = []
    made.catalog.rebuild(everything(made.store, left_out.append))
    assert len(left_out) == 1
    assert folder.name[:12] in left_out[0]
    assert made.catalog.query("select count(*) as n from captions").n[0] == 9


def test_a_store_without_any_artifact_is_not_taken_for_the_truth(made: Made, tmp_path: Path) -> None:
    unmounted = ArtifactStore(tmp_path / "unmounted")
    with pytest.raises(CatalogError, match="to restore from: nothing was changed"):
        made.catalog.rebuild(everything(unmounted, lambda line: None))
    assert not made.differences()


def test_verdicts_that_were_lost_are_named_and_a_rebuild_goes_on_without_them(made: Made) -> None:
    folder = made.folder("verdict")
    (folder / "verdicts.json").unlink()
    assert [d.kind for d in made.differences()] == ["missing_file"]
    left_out: list[str] = []
    made.catalog.rebuild(everything(made.store, left_out.append))
    assert len(left_out) == 1
    assert "verdicts.json is missing" in left_out[0]


def test_nothing_is_removed_that_a_run_a_release_or_a_cad_model_refers_to(made: Made) -> None:
    before = sorted(str(path) for path in Path(made.store.where).rglob("*.*"))
    found = made.prune()
    assert found.unreferenced == ()
    assert [path for path in before if not Path(path).exists()] == []


def test_samples_that_left_the_cohort_are_still_referred_to(made: Made) -> None:
    run(made, "car", 1)
    assert made.prune().unreferenced == ()
    assert made.differences() == []


def _abandoned(made: Made, class_name: str = "car", view: int = 77) -> records.History:
    """Artifacts of a run that was killed before it wrote rows."""
    history = records.history(class_name, 0, view)
    records.put(made.store, [record for stage, record in history.records.items() if stage != "cad"])
    return history


def test_what_nothing_refers_to_goes_with_its_rows_and_the_rest_stays(made: Made) -> None:
    history = _abandoned(made)
    made.catalog.index(record for stage, record in history.records.items() if stage == "render")
    made.store.set_aside("control", history.records["control"].key)
    generation = made.store.generation
    found = made.prune()
    assert sorted(item.stage for item in found.unreferenced) == ["caption", "image", "render", "set aside"]
    assert found.bytes > 4 * 1000
    assert not any(made.store.has(stage, record.key) for stage, record in history.records.items() if stage != "cad")
    assert made.store.generation != generation
    assert made.differences() == []
    assert not list((Path(made.store.where) / ".unfinished").iterdir())


def test_a_plan_alone_removes_nothing(made: Made) -> None:
    history = _abandoned(made)
    found = prune.plan(made.catalog, made.store, 0.0)
    assert len(found.unreferenced) == 4
    assert made.store.has("image", history.records["image"].key)


def test_what_a_release_holds_stays_when_its_members_are_gone(made: Made) -> None:
    made.sql("DELETE FROM members WHERE class_name = 'mug'")
    found = prune.plan(made.catalog, made.store, 0.0)
    # The journal of the run still says what it ended with.
    assert found.unreferenced == ()


def test_what_is_young_stays(made: Made) -> None:
    _abandoned(made)
    found = made.prune(older_than_s=3600)
    assert (found.unreferenced, found.young) == ((), 4)


def test_a_running_run_keeps_everything_of_its_class(made: Made) -> None:
    mine, other = _abandoned(made, "car"), _abandoned(made, "mug")
    made.catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    found = made.prune()
    assert found.in_use == 4
    assert all(made.store.has(stage, record.key) for stage, record in mine.records.items())
    assert not made.store.has("image", other.records["image"].key)


def test_a_run_that_begins_after_the_plan_stops_the_removal(made: Made) -> None:
    history = _abandoned(made)
    found = prune.plan(made.catalog, made.store, 0.0)
    made.catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=1)
    with pytest.raises(prune.Changed, match="something began or ended meanwhile: 0 of 4 were removed; start again"):
        prune.remove(made.catalog, made.store, found)
    assert made.store.has("image", history.records["image"].key)


def test_a_catalog_that_has_lost_its_runs_removes_nothing(made: Made, sqlite_url: str) -> None:
    empty = Catalog(sqlite_url.replace("catalog.sqlite", "empty.sqlite"), made.store)
    empty.migrate()
    with pytest.raises(CatalogError, match=r"the store knows run \w+, the catalog does not.*first: dst catalog rebuild"):
        prune.plan(empty, made.store, 0.0)


def test_stages_that_prune_does_not_know_are_left_alone(made: Made) -> None:
    key = artifact_key("training", 1, {}, {"shard": 1})
    made.store.put(Record(key=key, stage="training", version=1, spec={}, inputs={"shard": 1}), {"a.bin": b"1"})
    folder = Path(made.store.where) / at("training", key)
    os.utime(folder, (time.time() - 1e6,) * 2)
    made.prune()
    assert folder.exists()
