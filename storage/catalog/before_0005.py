"""What code before schema 0005 wrote into the journal, told in today's shape, so that an old home stays readable.

Enters: rows of CAD models and runs as old entries hold them. Leaves: the same with today's columns; what was not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cad_model_today(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CAD model's row; its name was called `name`, and whether a person had said how it faces was not a column."""
    today = {("cad_name" if column == "name" else column): value for column, value in row.items()}
    said = (row["up"], row["front"]) != ("auto", "auto") and (row.get("collection") is None or row.get("alignment") is not None)
    unknown = dict.fromkeys(("entry", "symmetry_detail", "orientation_why", "orientation_doubts"))
    return {**unknown, "orientation": "set" if said else "assumed", **today}


def run_today(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's row; what it waited for others was part of its seconds, and neither runs nor entries were numbered."""
    return {"waited": None, "number": None, "entry": None, **row}
