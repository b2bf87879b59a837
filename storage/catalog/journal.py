"""The journal: what people and runs did, kept in the store so that a lost catalog can be restored wholly.

Artifacts say how pixels came to be. Which class a CAD model was registered for and which samples a run ended with is no property
of an artifact, so it is written down as a record without files, under a stage of its own. Replayed in order of time, the journal
gives the same rows again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from storage.artifacts import Record
from storage.keys import artifact_key, plain

REGISTRATION = "registration"
RUN = "run"
JOURNAL = (REGISTRATION, RUN)
"""Stages of the journal, in the order in which they are replayed."""

_VERSION = 1


def now() -> str:
    """Return the time, UTC, ISO 8601 with microseconds: entries sort by it."""
    seconds = time.time_ns() / 1e9
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1e6):06d}Z"


def registration(row: Mapping[str, Any]) -> Record:
    """Return the record of a CAD model's row in the catalog."""
    return _entry(REGISTRATION, {"class_name": row["class_name"], "cad_id": row["cad_id"], "at": now()}, {"row": plain(row)})


def run(row: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> Record:
    """Return the record of a finished run: its row, and the members of the cohort it left behind."""
    columns = sorted(members[0]) if members else []
    values = {
        "row": plain(row),
        "member_columns": columns,
        "members": [[plain(member[name]) for name in columns] for member in members],
    }
    return _entry(RUN, {"run_id": row["run_id"], "at": now()}, values)


def members_of(record: Record) -> list[dict[str, Any]]:
    """Return the members that a run's record lists."""
    return [dict(zip(record.values["member_columns"], member, strict=True)) for member in record.values["members"]]


def moment(record: Record) -> str:
    """Return when the entry was made."""
    return str(record.inputs["at"])


def _entry(stage: str, inputs: dict[str, Any], values: dict[str, Any]) -> Record:
    return Record(
        key=artifact_key(stage, _VERSION, {}, inputs), stage=stage, version=_VERSION, spec={}, inputs=inputs, values=values
    )
