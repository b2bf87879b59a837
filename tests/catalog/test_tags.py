"""Tags: what people say of images is on record, belongs to the image, and outlives the catalog."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog import journal, prune
from storage.catalog.catalog import Catalog
from storage.catalog.restore import everything
from storage.catalog.tags import Said
from storage.catalog.verify import verify
from tests.catalog import records
from tests.catalog.test_upkeep import Made, run


def furnished(catalog: Catalog, store: ArtifactStore) -> Made:
    made = Made(catalog, store)
    run(made, "car", 2)
    return made


@pytest.fixture
def made(sqlite_url: str, store: ArtifactStore) -> Made:
    catalog = Catalog(sqlite_url, store)
    catalog.migrate()
    return furnished(catalog, store)


def said(catalog: Catalog, number: int, tag: str | None, note: str = "") -> Said:
    """A word on one of the images, by its place in order of sample."""
    row = catalog.query("select sample_id, class_name, image_key from samples where file is not null order by 1").iloc[number]
    return Said(image_key=row.image_key, sample_id=row.sample_id, class_name=row.class_name, tag=tag, note=note)


def tags(catalog: Catalog) -> list[tuple[str | None, str | None, str | None]]:
    frame = catalog.query("select tag, tag_note, tagged_by from samples where file is not null order by sample_id")
    frame = frame.astype(object).where(frame.notna(), None)
    return [tuple(row) for row in frame.to_numpy().tolist()]


def test_the_last_tag_stands_whatever_the_clock_said_and_all_come_back_with_a_rebuild_from_nothing(
    catalog: Catalog, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    furnished(catalog, store)
    catalog.add_tags([said(catalog, 0, "good"), said(catalog, 1, "doubtful"), said(catalog, 2, "good", "fine")], by="ada")
    now = time.time_ns
    monkeypatch.setattr(journal.time, "time_ns", lambda: now() - 3600 * 10**9)
    catalog.add_tags([said(catalog, 0, "bad", "no wheels"), said(catalog, 2, None)], by="bob")
    monkeypatch.undo()
    expected = [("bad", "no wheels", "bob"), ("doubtful", None, "ada"), (None, None, None), (None, None, None)]
    assert tags(catalog) == expected
    assert catalog.tag_counts() == {"good": 0, "bad": 1, "doubtful": 1}
    history = catalog.tag_history(said(catalog, 0, None).image_key)
    assert [(row["tag"], row["tagged_by"]) for row in history] == [("good", "ada"), ("bad", "bob")]
    assert all(len(row["tagged_at"]) == 27 for row in history)
    for view in ("samples", "accepted", "provenance"):
        frame = catalog.query(f"select tag, tag_note, tagged_by, tagged_at from {view} where tag = 'doubtful'")
        assert set(frame.tagged_by) == {"ada"}, view
    assert list(verify(catalog, store)) == []
    left_out: list[str] = []
    restored = Catalog(f"sqlite:///{tmp_path / 'restored.sqlite'}", store)
    restored.rebuild(everything(store, left_out.append))
    assert left_out == []
    assert tags(restored) == expected
    assert restored.tag_history(history[0]["image_key"]) == history
    assert list(verify(restored, store)) == []
    restored.add_tags([said(restored, 0, "good")], by="ada")
    assert tags(restored)[0] == ("good", None, "ada")


def test_a_row_of_tags_that_was_lost_or_altered_is_named_and_what_is_not_on_record_is_no_row(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    made.catalog.add_tags([said(made.catalog, 0, "good"), said(made.catalog, 1, "bad")], by="ada")
    made.sql("UPDATE tags SET tag = 'good' WHERE tag = 'bad'")
    assert [(one.kind, "tag is" in one.what) for one in made.differences()] == [("other_value", True)]
    made.sql("DELETE FROM tags WHERE tagged_by = 'ada'")
    assert [one.kind for one in made.differences()] == ["no_row", "no_row"]
    monkeypatch.setattr(ArtifactStore, "put", full)
    with pytest.raises(OSError, match="No space left"):
        made.catalog.add_tags([said(made.catalog, 2, "good")], by="ada")
    assert tags(made.catalog)[2] == (None, None, None)


def test_an_image_that_is_made_otherwise_is_untagged_and_prune_takes_no_tag(made: Made) -> None:
    catalog, store = made.catalog, made.store
    catalog.add_tags([said(catalog, number, "bad") for number in range(4)], by="ada")
    others = records.cohort("car", 2, 2, recipe="another")
    judged = records.verdict(others, "car")
    stray = records.history("car", 0, 7)
    catalog.index([*records.put(store, records.records([*others, stray])), *judged.put(store)])
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=4)
    catalog.set_cohort("car", "embedded", run_id, [one.member(judged.key) for one in others])
    catalog.finish_run(run_id, status="complete")
    key = stray.records["image"].key
    catalog.add_tags([Said(image_key=key, sample_id="s", class_name="car", tag="good")], by="ada")
    assert key in {item.key for item in made.prune().unreferenced}
    assert not store.has("image", key)
    assert made.differences() == []
    # It would be the same image that is made again under its key.
    assert catalog.tags_of([key])[key]["tag"] == "good"
    assert prune.plan(catalog, store, 0.0).unreferenced == ()
    frame = catalog.query("select sample_id, in_cohort, tag from samples where file is not null order by sample_id, in_cohort")
    assert set(frame[frame.in_cohort == 0].tag) == {"bad"}
    assert frame[frame.in_cohort == 1].tag.isna().all()
    assert set(frame[frame.in_cohort == 1].sample_id) == set(frame[frame.in_cohort == 0].sample_id)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"tag": "fine"}, 'no tag "fine"; a tag is good, bad or doubtful'), ({"note": "x" * 1001}, "at most 1000")],
)
def test_what_is_no_tag_is_refused_in_a_line(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Said(**{"image_key": "k", "sample_id": "s", "class_name": "car", "tag": "good", **wrong})
    assert "\n" not in str(refused.value)
