"""The journal: what people and runs did, kept in the store so that a lost catalog can be restored wholly.

Artifacts say how pixels came to be. Which class a CAD model was registered for and which samples a run ended with is no property
of an artifact, so it is written down as a record without files, under a stage of its own. Replayed in order of time, the journal
gives the same rows again. So it is with files that were refused, releases, and rows that came from elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from storage.artifacts import Record
from storage.catalog import before_0004
from storage.keys import artifact_key, canonical_json, digest, plain

REGISTRATION = "registration"
QUARANTINE = "quarantine"
RUN = "run"
RELEASE = "release"
FOREIGN = "foreign"
JOURNAL = (REGISTRATION, QUARANTINE, RUN, RELEASE, FOREIGN)
"""Stages of the journal, in the order in which they are replayed."""

_VERSION = 1


def now() -> str:
    """Return the time, UTC, ISO 8601 with microseconds: entries sort by it."""
    seconds = time.time_ns() / 1e9
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1e6):06d}Z"


def registration(row: Mapping[str, Any]) -> Record:
    """Return the record of a CAD model's row in the catalog."""
    return _entry(REGISTRATION, {"class_name": row["class_name"], "cad_id": row["cad_id"], "at": now()}, {"row": plain(row)})


def quarantine(path: str, row: Mapping[str, Any] | None) -> Record:
    """Return the record of a file that was refused; without a row: that it is refused no longer."""
    return _entry(QUARANTINE, {"path": path, "at": now()}, {"row": plain(row)})


def run(row: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of a finished run: its row, and the members of the cohort it left behind."""
    return _entry(RUN, {"run_id": row["run_id"], "at": now()}, {"row": plain(row), **_listed("member", members)})


def members_of(record: Record) -> list[dict[str, Any]]:
    """Return the members that a run's record lists."""
    return [before_0004.member_today(member, record.values["row"]) for member in _unlisted("member", record)]


def release(row: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of a release: its row, and the rows of its samples."""
    return _entry(RELEASE, {"name": row["name"], "at": now()}, {"row": plain(row), **_listed("sample", samples)})


def released(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the samples that a release's record lists."""
    return _unlisted("sample", record)


def foreign(table: str, rows: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of rows that came from elsewhere, for one of the tables foreign_images and foreign_captions."""
    inputs = {"table": table, "rows": digest(canonical_json([plain(row) for row in rows]).encode()), "at": now()}
    return _entry(FOREIGN, inputs, _listed("row", rows))


def foreign_rows(record: Record) -> list[dict[str, Any]]:
    """Return the rows that such a record lists."""
    return _unlisted("row", record)


def _listed(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows that share their columns with those columns said once."""
    columns = sorted(rows[0]) if rows else []
    return {f"{name}_columns": columns, f"{name}s": [[plain(row[column]) for column in columns] for row in rows]}


def _unlisted(name: str, record: Record) -> list[dict[str, Any]]:
    return [dict(zip(record.values[f"{name}_columns"], row, strict=True)) for row in record.values[f"{name}s"]]


def moment(record: Record) -> str:
    """Return when the entry was made."""
    return str(record.inputs["at"])


def _entry(stage: str, inputs: dict[str, Any], values: dict[str, Any]) -> Record:
    return Record(
        key=artifact_key(stage, _VERSION, {}, inputs), stage=stage, version=_VERSION, spec={}, inputs=inputs, values=values
    )
