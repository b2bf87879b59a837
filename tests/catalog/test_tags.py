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


@pytest.fixture
def made(catalog: Catalog, store: ArtifactStore) -> Made:
    made = Made(catalog, store)
    run(made, "car", 2)
    return made


def said(catalog: Catalog, number: int, tag: str | None, note: str = "") -> Said:
    """A word on one of the images, by its place in order of sample."""
    row = catalog.query("select sample_id, class_name, image_key from samples where file is not null order by 1").iloc[number]
    return Said(image_key=row.image_key, sample_id=row.sample_id, class_name=row.class_name, tag=tag, note=note)


def tags(catalog: Catalog) -> list[tuple[str | None, str | None, str | None]]:
    frame = catalog.query("select tag, tag_note, tagged_by from samples where file is not null order by sample_id")
    frame = frame.astype(object).where(frame.notna(), None)
    return [tuple(row) for row in frame.to_numpy().tolist()]


def test_the_last_tag_of_an_image_stands_and_all_before_it_stay_on_record(made: Made) -> None:
    catalog = made.catalog
    catalog.add_tags([said(catalog, 0, "good"), said(catalog, 1, "doubtful")], by="ada")
    catalog.add_tags([said(catalog, 0, "bad", "no wheels")], by="bob")
    assert tags(catalog) == [("bad", "no wheels", "bob"), ("doubtful", None, "ada"), (None, None, None), (None, None, None)]
    history = catalog.tag_history(said(catalog, 0, None).image_key)
    assert [(row["tag"], row["tagged_by"]) for row in history] == [("good", "ada"), ("bad", "bob")]
    assert all(len(row["tagged_at"]) == 27 for row in history)
    assert catalog.tag_counts() == {"good": 0, "bad": 1, "doubtful": 1}


def test_a_tag_that_is_taken_away_is_gone_from_the_row_and_not_from_the_record(made: Made) -> None:
    catalog = made.catalog
    catalog.add_tags([said(catalog, 0, "good", "fine")], by="ada")
    catalog.add_tags([said(catalog, 0, None)], by="ada")
    assert tags(catalog)[0] == (None, None, None)
    assert catalog.tags() == []
    assert len(catalog.tag_history(said(catalog, 0, None).image_key)) == 2


def test_tags_are_asked_like_any_other_column_of_a_sample(made: Made) -> None:
    catalog = made.catalog
    catalog.add_tags([said(catalog, number, "good" if number else "bad") for number in range(4)], by="ada")
    for view in ("samples", "accepted", "provenance"):
        frame = catalog.query(f"select tag, tag_note, tagged_by, tagged_at from {view} where tag = 'good'")
        assert set(frame.tagged_by) == {"ada"}, view
    assert catalog.query("select count(*) as n from samples where tag is null and file is not null").n[0] == 0


def test_a_rebuild_from_nothing_keeps_tags_whatever_the_clock_said(
    made: Made, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalog = made.catalog
    catalog.add_tags([said(catalog, 0, "good", "first"), said(catalog, 1, "bad")], by="ada")
    # The clock goes back an hour between the two words on one image.
    now = time.time_ns
    monkeypatch.setattr(journal.time, "time_ns", lambda: now() - 3600 * 10**9)
    catalog.add_tags([said(catalog, 0, "doubtful", "second")], by="bob")
    monkeypatch.undo()
    before = tags(catalog)
    assert before[0] == ("doubtful", "second", "bob")
    assert list(verify(catalog, made.store)) == []
    left_out: list[str] = []
    restored = Catalog(f"sqlite:///{tmp_path / 'restored.sqlite'}", made.store)
    restored.rebuild(everything(made.store, left_out.append))
    assert left_out == []
    assert tags(restored) == before
    assert list(verify(restored, made.store)) == []


def test_a_row_of_tags_that_was_lost_or_altered_is_named(made: Made) -> None:
    made.catalog.add_tags([said(made.catalog, 0, "good"), said(made.catalog, 1, "bad")], by="ada")
    made.sql("UPDATE tags SET tag = 'good' WHERE tag = 'bad'")
    assert [(one.kind, "tag is" in one.what) for one in made.differences()] == [("other_value", True)]
    made.sql("DELETE FROM tags WHERE tagged_by = 'ada'")
    assert [one.kind for one in made.differences()] == ["no_row", "no_row"]


def test_an_image_that_is_made_otherwise_is_untagged(made: Made) -> None:
    catalog = made.catalog
    catalog.add_tags([said(catalog, number, "bad") for number in range(4)], by="ada")
    others = records.cohort("car", 2, 2, recipe="another")
    judged = records.verdict(others, "car")
    catalog.index([*records.put(made.store, records.records(others)), *judged.put(made.store)])
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=4)
    catalog.set_cohort("car", "embedded", run_id, [one.member(judged.key) for one in others])
    catalog.finish_run(run_id, status="complete")
    frame = catalog.query("select sample_id, in_cohort, tag from samples where file is not null order by sample_id, in_cohort")
    assert set(frame[frame.in_cohort == 0].tag) == {"bad"}
    assert frame[frame.in_cohort == 1].tag.isna().all()
    assert set(frame[frame.in_cohort == 1].sample_id) == set(frame[frame.in_cohort == 0].sample_id)


def test_prune_takes_no_tag_and_one_comes_back_with_its_image(made: Made) -> None:
    catalog, store = made.catalog, made.store
    stray = records.history("car", 0, 7)
    artifacts = records.put(store, stray.records.values())
    catalog.index(artifacts)
    key = stray.records["image"].key
    catalog.add_tags([said(catalog, 0, "good"), Said(image_key=key, sample_id="s", class_name="car", tag="bad")], by="ada")
    assert key in {item.key for item in made.prune().unreferenced}
    assert not store.has("image", key)
    assert tags(catalog)[0] == ("good", None, "ada")
    assert made.differences() == []
    assert catalog.tags_of([key])[key]["tag"] == "bad"
    assert prune.plan(catalog, store, 0.0).unreferenced == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"tag": "fine"}, 'no tag "fine"; a tag is good, bad or doubtful'), ({"note": "x" * 1001}, "at most 1000")],
)
def test_what_is_no_tag_is_refused_in_a_line(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Said(**{"image_key": "k", "sample_id": "s", "class_name": "car", "tag": "good", **wrong})
    assert "\n" not in str(refused.value)


def test_a_tag_that_cannot_be_put_on_record_is_not_in_the_catalog_either(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArtifactStore, "put", full)
    with pytest.raises(OSError, match="No space left"):
        made.catalog.add_tags([said(made.catalog, 0, "good")], by="ada")
    assert tags(made.catalog)[0] == (None, None, None)
