"""Data Docs: what was expected of a run and what was found, as one page that opens without internet.

Enters: Great Expectations' validation results, as JSON. Leaves: `index.html`, with its style inside and nothing fetched from
anywhere, what is not met first; and beside it `results.json`, the results as they came. Great Expectations' own pages ask seven
content networks for their style and scripts, so that they are bare offline and, online, tell strangers when somebody reads them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.report.page import environment, frame, save


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation and what became of it."""

    name: str
    """What is true when it is met."""
    met: bool
    """Whether it was."""
    found: str
    """What was found, in words."""
    asked: tuple[tuple[str, str], ...] = ()
    """What was asked of Great Expectations: (name of an argument, value)."""
    examples: tuple[str, ...] = ()
    """Values that should not be there, as JSON; with how often each was seen, where all of them were counted."""


def checks(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Check]]:
    """Return what was checked of each table: name of the suite -> checks, in order. `results`: one for each table."""
    return {str(table["suite_name"]): [_check(result) for result in table["results"]] for table in results}


def write(folder: Path, *, title: str, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page over validation results into a folder, in place of what was there; return the page."""
    shutil.rmtree(folder, ignore_errors=True)
    save(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False, default=str) + "\n")
    versions = {table.get("meta", {}).get("great_expectations_version", "") for table in results}
    return _save(folder, title, checks(results), ", ".join(sorted(versions)))


def _save(folder: Path, title: str, tables: Mapping[str, Sequence[Check]], version: str = "") -> Path:
    html = environment().get_template("checks.html").render(title=title, tables=tables, version=version, **frame())
    return save(folder / "index.html", html)


def _check(result: Mapping[str, Any]) -> Check:
    config, outcome = result["expectation_config"], result.get("result") or {}
    asked = {"expectation": config["type"], **config["kwargs"]}
    asked.pop("batch_id", None)
    seen = [(json.dumps(one.get("value"), default=str), one["count"]) for one in outcome.get("partial_unexpected_counts") or ()]
    counted = sum(count for _, count in seen) == outcome.get("unexpected_count")
    return Check(
        name=str(config["meta"]["name"]),
        met=bool(result["success"]),
        found=_found(config["type"], outcome, result.get("exception_info") or {}),
        asked=tuple((name, value if isinstance(value, str) else json.dumps(value)) for name, value in asked.items()),
        examples=tuple(f"{value} × {count}" if counted and count > 1 else value for value, count in seen),
    )


def _found(kind: str, outcome: Mapping[str, Any], trouble: Mapping[str, Any]) -> str:
    # A check that could not be carried out has not been met; its message is Great Expectations' own.
    messages = [trouble] if "exception_message" in trouble else list(trouble.values())
    raised = [info["exception_message"] for info in messages if info.get("raised_exception")]
    if raised:
        return f"could not be checked: {str(raised[0]).splitlines()[0]}"
    if outcome.get("unexpected_count"):
        return f"{outcome['unexpected_count']} of {outcome['element_count']} rows"
    found = outcome.get("observed_value")
    if kind == "unexpected_rows_expectation":
        return f"{found} {'row' if found == 1 else 'rows'}" if found else "as promised"
    return f"found {found:g}" if isinstance(found, (int, float)) else "as promised"


def make_offline(site: Path, *, title: str, verdicts: Sequence[tuple[str, bool, str]]) -> None:
    """Write the page over verdicts alone, (name, whether it was met, what was found), in place of what is in `site`."""
    for page in site.iterdir():
        shutil.rmtree(page) if page.is_dir() else page.unlink()
    _save(site, title, {"checks": [Check(name=name, met=met, found=found) for name, met, found in verdicts]})
