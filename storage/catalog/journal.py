"""The journal: what people and runs did, kept in the store so that a lost catalog can be restored wholly.

Artifacts say how pixels came to be. Which class a CAD model was registered for and which samples a run ended with is no property
of an artifact, so it is written down as a record without files, under a stage of its own. So it is with files that were refused,
releases, tags, filters that were named, and rows that came from elsewhere.

Entries are numbered by the catalog, and replayed in that order they give the same rows again: a clock may go back, a number does
not. Entries from before schema 0005 bear no number. They come first, in order of time, but never before what they refer to.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import Any

from storage.artifacts import Record
from storage.catalog import before_0004
from storage.keys import artifact_key, canonical_json, digest, plain

REGISTRATION = "registration"
QUARANTINE = "quarantine"
RUN = "run"
RELEASE = "release"
FOREIGN = "foreign"
TAG = "tag"
DECISION = "decision"
JOURNAL = (REGISTRATION, QUARANTINE, RUN, DECISION, RELEASE, FOREIGN, TAG)
"""Stages of the journal, in the order in which they are replayed."""
_TOGETHER = {DECISION: RUN}
"""Entries that change the same rows are replayed among each other, by number: a run sets back what was decided before it."""

_VERSION = 1


def now() -> str:
    """Return the time, UTC, ISO 8601 with microseconds."""
    seconds = time.time_ns() / 1e9
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1e6):06d}Z"


def registration(row: Mapping[str, Any]) -> Record:
    """Return the record of a CAD model's row in the catalog, which says the entry's number."""
    inputs = {"class_name": row["class_name"], "cad_id": row["cad_id"]}
    return _entry(REGISTRATION, row["entry"], inputs, {"row": plain(row)})


def quarantine(number: int, path: str, row: Mapping[str, Any] | None) -> Record:
    """Return the record of a file that was refused; without a row: that it is refused no longer."""
    return _entry(QUARANTINE, number, {"path": path}, {"row": plain(row)})


def run(row: Mapping[str, Any], members: Sequence[Mapping[str, Any]], unfinished: bool = False) -> Record:
    """Return the record of a run that has ended: its row, which says the entry's number, and its samples.

    unfinished: it did not come to its end. Its samples are those it had finished, and the class's cohort stayed what it was.
    """
    values = {"row": plain(row), "unfinished": unfinished, **_listed("member", members)}
    return _entry(RUN, row["entry"], {"run_id": row["run_id"]}, values)


def members_of(record: Record) -> list[dict[str, Any]]:
    """Return the members that a run's record lists."""
    return [before_0004.member_today(member, record.values["row"]) for member in _unlisted("member", record)]


def release(number: int, row: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of a release: its row, and the rows of its samples."""
    return _entry(RELEASE, number, {"name": row["name"]}, {"row": plain(row), **_listed("sample", samples)})


def released(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the samples that a release's record lists."""
    return _unlisted("sample", record)


def foreign(number: int, table: str, rows: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of rows that came from elsewhere, for one of the tables foreign_images and foreign_captions."""
    inputs = {"table": table, "rows": digest(canonical_json([plain(row) for row in rows]).encode())}
    return _entry(FOREIGN, number, inputs, _listed("row", rows))


def foreign_rows(record: Record) -> list[dict[str, Any]]:
    """Return the rows that such a record lists."""
    return _unlisted("row", record)


def tags(number: int, rows: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of what somebody said of images."""
    inputs = {"tags": digest(canonical_json([plain(row) for row in rows]).encode())}
    return _entry(TAG, number, inputs, _listed("row", rows))


def tagged(record: Record) -> list[dict[str, Any]]:
    """Return the rows of tags that such a record lists."""
    return _unlisted("row", record)


def decision(number: int, row: Mapping[str, Any], image_keys: Sequence[str]) -> Record:
    """Return the record of a named decision: its row, and the images that it decides."""
    inputs = {name: row[name] for name in ("class_name", "recipe", "name")}
    return _entry(DECISION, number, inputs, {"row": plain(row), "images": list(image_keys)})


def decided(record: Record) -> tuple[dict[str, Any], list[str]]:
    """Return the row and the images of such a record."""
    return dict(record.values["row"]), list(record.values["images"])


def _listed(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows that share their columns with those columns said once."""
    columns = sorted(rows[0]) if rows else []
    return {f"{name}_columns": columns, f"{name}s": [[plain(row[column]) for column in columns] for row in rows]}


def _unlisted(name: str, record: Record) -> list[dict[str, Any]]:
    return [dict(zip(record.values[f"{name}_columns"], row, strict=True)) for row in record.values[f"{name}s"]]


def number(record: Record) -> int:
    """Return the entry's number; 0 where it has none."""
    return int(record.inputs.get("number") or 0)


def in_order(entries: Iterable[Record]) -> list[Record]:
    """Return entries as they are replayed: stage by stage, by number, and those without one by time and by causes."""
    stages = {stage: JOURNAL.index(_TOGETHER.get(stage, stage)) for stage in JOURNAL}
    ordered = sorted(entries, key=lambda entry: (stages[entry.stage], number(entry), str(entry.inputs["at"])))
    first: dict[str, int] = {}
    for place, entry in enumerate(ordered):
        if entry.stage == RUN:
            first.setdefault(entry.inputs["run_id"], place)
    causes: TopologicalSorter[int] = TopologicalSorter()
    for place, entry in enumerate(ordered):
        causes.add(place, *sorted({first[run_id] for run_id in _refers_to(entry) if run_id in first} - {place}))
    try:
        causes.prepare()
    except CycleError:
        # Runs of that time were numbered by the clock alone, and one was launched twice while it went to and fro.
        return ordered
    waiting: list[int] = []
    replayed: list[Record] = []
    while causes.is_active():
        for place in causes.get_ready():
            heappush(waiting, place)
        earliest = heappop(waiting)
        replayed.append(ordered[earliest])
        causes.done(earliest)
    return replayed


def _refers_to(entry: Record) -> set[str]:
    """Return the other runs that must be known before this entry; a numbered one comes behind them anyway."""
    if entry.stage != RUN or number(entry) or not entry.values["members"]:
        return set()
    place = entry.values["member_columns"].index("first_run_id")
    return {member[place] for member in entry.values["members"]} - {entry.inputs["run_id"]}


def _entry(stage: str, number: int, inputs: dict[str, Any], values: dict[str, Any]) -> Record:
    inputs = {**inputs, "at": now(), "number": number}
    return Record(
        key=artifact_key(stage, _VERSION, {}, inputs), stage=stage, version=_VERSION, spec={}, inputs=inputs, values=values
    )
