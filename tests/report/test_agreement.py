"""Tags as truth for filters: shares and areas that a person can count by hand."""

from __future__ import annotations

from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.catalog.tags import Said
from storage.report.agreement import Agreement, Share, of_class
from tests.catalog import records

DROPPED = 5
"""Of 24 images every fifth is dropped, by `kcf` 3 instead of 1 (tests.catalog.records)."""


@pytest.fixture
def catalog(tmp_path: Any, store: ArtifactStore) -> Catalog:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", store)
    catalog.migrate()
    histories = records.cohort("car", 2, 12)
    judged = records.verdict(histories, "car")
    catalog.index([*records.records(histories), *judged.put(store)])
    run_id = catalog.start_run(class_name="car", recipe="r", recipe_specs={}, samples=24)
    catalog.set_cohort("car", "r", run_id, [one.member(judged.key) for one in histories])
    catalog.finish_run(run_id, status="complete")
    return catalog


def agreement(catalog: Catalog, dropped: str, kept: str) -> Agreement:
    """Tag the images that were dropped, and the kept ones, a letter each: g, b, d or - for none."""
    words: dict[str, str | None] = {"g": "good", "b": "bad", "d": "doubtful"}
    said = []
    for decision, letters in ((0, dropped), (1, kept)):
        keys = catalog.query(f"select image_key from samples where kept = {decision} order by 1").image_key
        for key, letter in zip(keys, letters, strict=False):
            if letter in words:
                said.append(Said(image_key=key, sample_id="s", class_name="car", tag=words[letter]))
    catalog.add_tags(said, by="ada")
    return of_class(catalog, "car")["r"]


def test_precision_recall_and_area_are_those_of_the_counts(catalog: Catalog) -> None:
    # Dropped: 4 bad, 1 good. Kept: 2 bad, 15 good, 2 doubtful.
    found = agreement(catalog, "bbbbg", "bb" + "g" * 15 + "dd")
    assert (found.good, found.bad, found.doubtful) == (16, 6, 2)
    by_name = {rule.name: rule for rule in found.rules}
    assert list(by_name) == ["all rules", "pose", "control"]
    for name in ("all rules", "pose"):
        assert (by_name[name].precision.count, by_name[name].precision.total) == (4, DROPPED)
        assert (by_name[name].recall.count, by_name[name].recall.total) == (4, 6)
    # Fidelity is 0.9 everywhere: this rule drops nothing, so nothing is known of its precision.
    assert by_name["control"].recall == Share(count=0, total=6)
    assert by_name["control"].precision.value is None
    scores = {score.name: score for score in found.scores}
    # A pair of a bad and a good one is told apart where only the bad one is dropped, told wrongly where only the good one is.
    right, wrong = 4 * 15, 2 * 1
    assert scores["kcf"].auroc == pytest.approx((right + (6 * 16 - right - wrong) / 2) / (6 * 16))
    assert (scores["kcf"].bad_is, scores["kcf"].by_rule, scores["kcf"].good, scores["kcf"].bad) == ("high", True, 16, 6)
    assert (scores["fidelity"].auroc, scores["fidelity"].bad_is) == (0.5, "low")
    assert next(iter(scores)) == "kcf"


def test_too_few_tags_give_no_figures_and_say_how_many_are_needed(catalog: Catalog) -> None:
    for dropped, kept in (("ddddd", "d" * 19), ("", "g" * 19), ("bbbb-", "g" * 19), ("bbbbb", "g" * 14 + "d" * 5)):
        found = agreement(catalog, dropped, kept)
        assert (found.rules, found.scores) == ((), ()), (dropped, kept)
        assert "from 20 on, with at least 5 of each" in found.wanting


def test_an_image_that_no_rule_could_judge_is_in_no_share(catalog: Catalog) -> None:
    with catalog.database.writing() as connection:
        connection.exec_driver_sql("UPDATE verdicts SET kept = NULL WHERE kept = 0")
        connection.exec_driver_sql("DELETE FROM scores WHERE value = 3")
    for key in catalog.query("select image_key from samples where kept is null").image_key:
        catalog.add_tags([Said(image_key=key, sample_id="s", class_name="car", tag="bad")], by="ada")
    found = agreement(catalog, "", "bb" + "g" * 17)
    for rule in found.rules[:2]:
        assert (rule.not_judged, rule.recall.total) == (DROPPED, 2)


def test_a_share_says_how_far_it_can_be_trusted() -> None:
    low, high = Share(count=4, total=5).interval or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.376, 0.964)
    assert str(Share(count=4, total=5)) == "4 of 5: 80% (38% to 96%)"
    assert str(Share(count=0, total=0)) == "–"
