"""CSV tables that people hand in, checked as a whole before anything is done with them.

Enters: a file, the columns it must have, and a function that reads a row. Leaves: all rows, or one line that names the first
thing wrong, where, and how much else is.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from storage.cad.collections.entry import BadCollection

Read = TypeVar("Read")


def read_table(
    path: Path, columns: Sequence[str | tuple[str, ...]], read: Callable[[int, Mapping[str, str]], Read], example: str
) -> list[Read]:
    """Return `read(line number, row)` of every row. Raises BadCollection, FileNotFoundError.

    columns: what must be there; of a tuple, one of its names (the row then has the value under the first). Names are compared in
    lower case. `read` raises ValueError for what is wrong with a row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(rows, [])]
            places = _places(path, header, columns, example)
            found: list[Read] = []
            wrong: list[str] = []
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                try:
                    if len(row) != len(header):
                        raise ValueError(f"has {len(row)} cells, not {len(header)}")
                    found.append(read(rows.line_num, {name: row[place].strip() for name, place in places.items()}))
                except ValueError as error:
                    wrong.append(f"line {rows.line_num}: {error}")
    except UnicodeDecodeError:
        raise BadCollection(f"{path} is no UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise BadCollection(f"{path} is no CSV: {error}; it looks like: {example}") from None
    if wrong:
        more = f" (and {len(wrong) - 1} more lines)" if len(wrong) > 1 else ""
        raise BadCollection(f"{path} {wrong[0]}{more}; nothing was done")
    if not found:
        raise BadCollection(f"{path} has no rows; it looks like: {example}")
    return found


def _places(path: Path, header: list[str], columns: Sequence[str | tuple[str, ...]], example: str) -> dict[str, int]:
    """Return name -> place of the columns asked for and, under their own names, of all others."""
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise BadCollection(f'{path} has two columns called "{twice}"; say each once')
    places = {name: header.index(name) for name in header}
    missing = []
    for column in columns:
        names = (column,) if isinstance(column, str) else column
        there = [name for name in names if name in places]
        if there:
            places[names[0]] = places[there[0]]
        else:
            missing.append(" or ".join(names))
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise BadCollection(f"{path} lacks the column{plural} {', '.join(missing)}; its first line is like: {example}")
    return places


def number(row: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    """Return a number of a row, None for an empty cell. Raises ValueError outside [low, high]."""
    text = row.get(name, "")
    if text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f'{name} is "{text[:40]}"; it is a number from {low:g} to {high:g}')
    return value


def whole(row: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    """Return a whole number of a row, None for an empty cell. Raises ValueError outside [low, high]."""
    value = number(row, name, low, high)
    if value is None:
        return None
    if value != int(value):
        raise ValueError(f'{name} is "{row[name][:40]}"; it is a whole number from {low} to {high}')
    return int(value)
