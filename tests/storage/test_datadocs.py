"""Data Docs: one page over the validation results, readable offline, that believes nothing it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from storage import datadocs

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def result(
    name: str, found: dict[str, Any], *, met: bool = True, kind: str = "expect_column_values_to_be_between"
) -> dict[str, Any]:
    """Return a result as Great Expectations 1.24 writes it."""
    return {
        "success": met,
        "expectation_config": {
            "type": kind,
            "kwargs": {"batch_id": "catalog-made", "column": "azimuth_deg", "min_value": 0.0, "strict_max": True},
            "meta": {"name": name},
        },
        "result": found,
        "exception_info": {"raised_exception": False, "exception_traceback": None, "exception_message": None},
    }


def rows(count: int, *values: Any) -> dict[str, Any]:
    counts = [{"value": value, "count": 1} for value in values]
    return {"element_count": 24, "unexpected_count": count, "partial_unexpected_counts": counts}


def table(name: str, *results: dict[str, Any]) -> dict[str, Any]:
    return {"suite_name": name, "results": list(results), "meta": {"great_expectations_version": "1.24.1"}}


def test_every_expectation_is_there_and_what_is_not_met_comes_first(tmp_path: Path) -> None:
    results = [
        table("samples", result("each sample_id occurs once", rows(0))),
        table("made", result("azimuth_deg is in range", rows(2, 360.0, 361.5), met=False), result("seed is never null", rows(0))),
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.html").write_text("of another check")
    page = datadocs.write(tmp_path / "run", title="Run 17", results=results)
    text = page.read_text()
    assert page == tmp_path / "run" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "results.json"]
    assert json.loads((page.parent / "results.json").read_text()) == results
    assert "1 of 3 expectations not met" in text
    assert text.index("azimuth_deg is in range") < text.index("each sample_id occurs once") < text.index("seed is never null")
    for said in ("Run 17", "2 of 24 rows", "360.0", "361.5", "strict_max", "1 of 2 met", "Great Expectations 1.24.1"):
        assert said in text
    assert "catalog-made" not in text
    all_met = datadocs.write(tmp_path / "met", title="Run 18", results=results[:1]).read_text()
    assert "All 1 expectations met" in all_met
    assert 'id="unmet"' not in all_met


@pytest.mark.parametrize(
    ("kind", "outcome", "found"),
    [
        ("expect_column_values_to_be_unique", rows(3), "3 of 24 rows"),
        ("expect_column_values_to_be_unique", rows(0), "as promised"),
        ("expect_table_row_count_to_equal", {"observed_value": 24}, "found 24"),
        ("expect_column_mean_to_be_between", {"observed_value": 0.125}, "found 0.125"),
        ("expect_column_mean_to_be_between", {"observed_value": None}, "as promised"),
        ("unexpected_rows_expectation", {"observed_value": 0}, "as promised"),
        ("unexpected_rows_expectation", {"observed_value": 1}, "1 row"),
        ("unexpected_rows_expectation", {"observed_value": 2}, "2 rows"),
    ],
)
def test_what_was_found_is_said_in_words(kind: str, outcome: dict[str, Any], found: str) -> None:
    (check,) = datadocs.checks([table("made", result("so it is", outcome, kind=kind))])["made"]
    assert check.found == found


@pytest.mark.parametrize("nested", [False, True])
def test_a_check_that_could_not_be_carried_out_says_why(nested: bool) -> None:
    broken = result("so it is", {}, met=False)
    info = {"raised_exception": True, "exception_message": "no such column: azimuth\nin line 3", "exception_traceback": "..."}
    broken["exception_info"] = {"('column_values', 'x')": info} if nested else info
    (check,) = datadocs.checks([table("made", broken)])["made"]
    assert not check.met
    assert check.found == "could not be checked: no such column: azimuth"


def test_values_are_counted_only_where_all_of_them_were_seen() -> None:
    some = {"element_count": 24, "unexpected_count": 24, "partial_unexpected_counts": [{"value": None, "count": 20}]}
    every = {"element_count": 24, "unexpected_count": 20, "partial_unexpected_counts": [{"value": None, "count": 20}]}
    found = datadocs.checks([table("made", result("a", some, met=False), result("b", every, met=False))])["made"]
    assert [check.examples for check in found] == [("null",), ("null × 20",)]


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    evil = result(EVIL, rows(1, EVIL), met=False)
    evil["expectation_config"]["kwargs"]["query"] = EVIL
    text = datadocs.write(tmp_path, title=EVIL, results=[table(EVIL, evil)]).read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "url(" not in text
