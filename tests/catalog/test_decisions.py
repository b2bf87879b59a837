"""Decisions: a filter that was named is on record, one of them is what `kept` shows, and all outlive the catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog import prune
from storage.catalog.catalog import Catalog
from storage.catalog.restore import everything
from storage.catalog.verify import verify
from storage.keys import artifact_key
from storage.stages import FILE
from tests.catalog import records
from tests.catalog.test_upkeep import Made, run


@pytest.fixture
def made(url: str, store: ArtifactStore) -> Made:
    catalog = Catalog(url, store)
    catalog.migrate()
    made = Made(catalog, store)
    run(made, "car", 3)
    return made


def other_verdict(made: Made, kept: bool) -> tuple[str, list[str]]:
    """A verdict over the images of the class that keeps all of them, or none."""
    images = sorted(row["image_key"] for row in made.catalog.rows("SELECT image_key FROM members WHERE status = 'made'"))
    judged = records.verdict([h for h in records.cohort("car", 2, 3) if h.made], "car")
    inputs = {**judged.verdict.inputs, "kept": kept}
    record = judged.verdict.__class__(
        **{**judged.verdict.__dict__, "key": artifact_key("verdict", 2, {}, inputs), "inputs": inputs, "files": {}}
    )
    words = None if kept else "kcf: sees another azimuth"
    rows = [
        {**row, "kept": kept, "reason": None if kept else "pose_inconsistent", "words": words}
        for row in judged.rows
    ]  # fmt: skip
    values = {**record.values, "kept": len(rows) * kept, "dropped": len(rows) * (not kept), "not_judged": 0}
    record = record.__class__(**{**record.__dict__, "values": values})
    made.catalog.index([made.store.put(record, {FILE["verdict"]: json.dumps(rows).encode()})])
    return record.key, images


def row(name: str, verdict_key: str, default: bool = False) -> dict[str, Any]:
    return {
        "class_name": "car", "recipe": "embedded", "name": name, "verdict_key": verdict_key, "is_default": default,
        "keep": "kcf at most 1", "verdict": {"judges": {}, "rules": {}}, "expected": {"recall": 0.9},
    }  # fmt: skip


def kept(catalog: Catalog) -> list[tuple[Any, ...]]:
    found = catalog.rows("SELECT kept, drop_words FROM samples WHERE status = 'made' AND in_cohort = 1 ORDER BY sample_id")
    return [tuple(entry.values()) for entry in found]


def test_the_default_decision_is_what_kept_shows_until_a_run_ends_or_another_is_the_default(made: Made, tmp_path: Path) -> None:
    catalog, store = made.catalog, made.store
    before = kept(catalog)
    (all_key, images), (none_key, _) = other_verdict(made, True), other_verdict(made, False)
    assert len({True, False} & {bool(value) for value, _ in before}) == 2
    catalog.add_decision(row("generous", all_key), images, by="ada")
    assert kept(catalog) == before
    assert catalog.default_decision("car", "embedded") is None
    catalog.add_decision(row("strict", none_key, default=True), images, by="bob")
    assert set(kept(catalog)) == {(0, "kcf: sees another azimuth")}
    catalog.add_decision(row("generous", all_key, default=True), images, by="ada")
    assert set(kept(catalog)) == {(1, None)}
    # Said again without a word about it, the default stays the default.
    standing = catalog.add_decision(row("generous", none_key), images, by="ada")
    assert standing["is_default"] == 1
    assert set(kept(catalog)) == {(0, "kcf: sees another azimuth")}
    assert [(r["name"], r["is_default"], r["decided_by"], r["expected"]) for r in catalog.decisions("car")] == [
        ("generous", 1, "ada", {"recall": 0.9}),
        ("strict", 0, "bob", {"recall": 0.9}),
    ]
    assert list(verify(catalog, store)) == []
    restored = Catalog(f"sqlite:///{tmp_path / 'restored.sqlite'}", store)
    restored.rebuild(everything(store, pytest.fail))
    assert kept(restored) == kept(catalog)
    assert restored.decisions() == catalog.decisions()
    assert list(verify(restored, store)) == []
    # A run that ends later sets its own verdict, also when both are replayed.
    run(made, "car", 3)
    assert kept(catalog) == before
    assert list(verify(catalog, store)) == []


def test_a_lost_row_of_a_decision_is_named_and_prune_keeps_its_verdict(made: Made) -> None:
    all_key, images = other_verdict(made, True)
    none_key, _ = other_verdict(made, False)
    made.catalog.add_decision(row("generous", all_key), images, by="ada")
    gone = made.prune()
    assert [item.key for item in gone.unreferenced if item.stage == "verdict"] == [none_key]
    found = prune.plan(made.catalog, made.store, 0.0)
    made.catalog.add_decision(row("again", all_key), images, by="ada")
    with pytest.raises(prune.Changed):
        prune.remove(made.catalog, made.store, prune.Plan(**{**found.__dict__, "unreferenced": gone.unreferenced}))
    made.sql("DELETE FROM decisions WHERE name = 'generous'")
    assert [(d.kind, d.where) for d in made.differences()] == [("no_row", "decisions/car/embedded/generous")]
